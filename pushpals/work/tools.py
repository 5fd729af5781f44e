"""The tool-call path: the one way a job runs a command.

::

    call ─▶ policy ─▶ tool_call event ─▶ (a person) ─▶ executor ─▶ decode ─▶ clean ─▶ redact ─▶ lines
              └─ no ─────────────────────────┴─▶ tool_result with the codes            └─▶ tool_result

Nothing runs that the :class:`~pushpals.work.guard.Guard` has not judged, in exactly the form that was
judged: an
argument list as it is; a script that needs no shell from its parsed form; any other script by ``bash`` with
neither profile nor start-up files.

Nothing leaves this module that has not been decoded with replacement, stripped of terminal control and
redacted, in this order: a secret cannot hide from the redactor behind a colour code or a cut between two
reads. What a kind reads for itself (``Ran.outcome``) is raw and stays in the process.

A command that is cancelled has ended, with its whole tree, when :meth:`Tools.run` returns or raises; its
``tool_result`` is told all the same.
"""

from __future__ import annotations

import codecs
import contextlib
import re
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from pushpals.policy.display import TerminalCleaner
from pushpals.policy.redact import Redactor, Secret
from pushpals.protocol.events import Artifact, ToolCall, ToolResult
from pushpals.protocol.ids import Ids
from pushpals.protocol.records import StoredArtifact
from pushpals.work.environment import Environment
from pushpals.work.executors.base import Command, Executor, Limits, Mount, Outcome, Place, Stream
from pushpals.work.executors.capture import Capture
from pushpals.work.executors.probe import inner_python
from pushpals.work.executors.profile import TREE
from pushpals.work.guard import Asked, CommandRefused, Guard, Judged, described, redacted_env
from pushpals.work.outbox import Outbox

SHOWN_BYTES = 16 * 1024
"""Of each stream in a ``tool_result``: head and tail."""
KEPT_BYTES = 4 * 1024 * 1024
"""Of the whole redacted output, as an artifact: head and tail."""
MAX_ARGV_SHOWN = 200


class Shelf(Protocol):
    """Where artifacts are put."""

    async def put(self, data: bytes, *, kind: str, media_type: str) -> StoredArtifact: ...


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One command. ``tool`` is what people see as its name; ``quiet`` output is no log line.

    It is either ``argv`` or ``script``. ``env`` is part of what is judged, ``own_env`` is the worker's own
    doing.
    ``network`` is what the operator's configuration lets it reach.
    """

    argv: tuple[str, ...] = ()
    script: str | None = None
    tool: str = "run"
    cwd: str = "."
    stdin: bytes = b""
    env: Mapping[str, str] = {}
    own_env: Mapping[str, str] = {}
    limits: Limits = Limits()
    network: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    python_path: tuple[str, ...] = ()
    """Put before the usual ``PYTHONPATH``."""
    quiet: bool = False
    keep: bool = True
    """Store the whole output as an artifact when the event cannot hold it."""


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A finished call. ``output`` is the redacted text of both streams, head and tail."""

    call_id: str
    outcome: Outcome
    output: str
    artifact: str | None = None
    """SHA-256 of the stored output."""

    @property
    def ok(self) -> bool:
        return self.outcome.ok

    @property
    def why(self) -> str:
        """How it ended, in words."""
        return how_it_ended(self.outcome)


class Tools:
    """Runs commands for one job and tells of them."""

    def __init__(
        self,
        *,
        executor: Executor,
        guard: Guard,
        environment: Environment,
        outbox: Outbox,
        shelf: Shelf,
        home: Path,
        new_id: Ids,
        task_id: str = "",
        secrets: Sequence[Secret] = (),
    ) -> None:
        self.executor = executor
        self.guard = guard
        self.environment = environment
        self._outbox = outbox
        self._shelf = shelf
        self.home = home
        """A folder of the attempt, outside the tree."""
        self._new_id = new_id
        self._task_id = task_id or None
        self.secrets = tuple(secrets)
        self._running: dict[str, str] = {}
        self.waited_s = 0.0
        """How long a person was waited for so far."""

    @property
    def running(self) -> tuple[str, ...]:
        """What is running at this moment, as it was called."""
        return tuple(self._running.values())

    def redact(self, text: str) -> str:
        """Text that may be told."""
        cleaner = TerminalCleaner()
        return self.hide(cleaner.feed(text) + cleaner.flush())

    def hide(self, text: str) -> str:
        """Text with its secrets taken out and everything else as it is: for diffs."""
        return Redactor(self.secrets).redact(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    async def run(self, place: Place, call: Call) -> Ran:
        """Run one command to its end.

        Raises CommandRefused when it may not run, and ExecutorUnavailable when the sandbox cannot be kept.
        """
        call_id = self._new_id("call")
        shown = [self.redact(word[:4_096]) for word in call.argv[:MAX_ARGV_SHOWN]]
        said: dict[str, Any] = (
            {"argv": shown} if call.script is None else {"script": self.redact(call.script)}
        )
        words = shlex.join(shown) if call.script is None else said["script"]
        variables = self._variables(place, call)
        asked = Asked(
            argv=call.argv if call.script is None else None,
            script=call.script,
            cwd=call.cwd,
            env=redacted_env(call.env, self.hide),
            stdin=call.stdin,
            network=call.network,
            path=variables.get("PATH", ""),
        )
        secret = {name for name, value in call.env.items() if self.hide(value) != value}
        judged = await self.guard.judge(place, asked)
        self._outbox.event(
            ToolCall(
                tool_call_id=call_id,
                tool=call.tool,
                args={
                    **said,
                    "cwd": call.cwd,
                    "sandbox": self.executor.level,
                    **described(judged, call.network),
                },
                task_id=self._task_id,
            )
        )
        sink = _Sink(self._outbox, self.secrets, quiet=call.quiet)
        outcome = Outcome(cancelled=True)
        try:
            with self._named(call_id, words):
                approval = await self.guard.admit(place, asked, judged)
                network = judged.network if approval is not None else call.network
                argv, toolchain = self._form(call, judged, place)
                async with self.guard.watched(approval, lambda: self._revoke(network)):
                    outcome = await self.executor.run(
                        replace(
                            place,
                            toolchain=(*place.toolchain, *self.environment.toolchain, *toolchain),
                            mounts=(*place.mounts, *call.mounts),
                        ),
                        Command(
                            argv=argv,
                            cwd=call.cwd,
                            env={name: value for name, value in variables.items() if name not in secret},
                            secret_env={name: variables[name] for name in secret},
                            stdin=call.stdin,
                            limits=self.guard.bounded(call.limits),
                            network=network,
                        ),
                        sink.feed,
                    )
        except CommandRefused as refusal:
            outcome = Outcome(error=refusal.message)
            raise
        except Exception as error:
            outcome = Outcome(error=str(error))
            raise
        finally:
            sink.flush()
            if outcome.cancelled or outcome.error is not None:
                self._tell(call_id, outcome, sink, None)
        artifact = None
        if call.keep and sink.total > SHOWN_BYTES and outcome.error is None and not outcome.cancelled:
            stored = await self._shelf.put(
                sink.whole.kept(), kind="output", media_type="text/plain; charset=utf-8"
            )
            artifact = stored.sha256
        if not outcome.cancelled and outcome.error is None:
            self._tell(call_id, outcome, sink, artifact)
        text = sink.whole.kept().decode("utf-8", "replace")
        return Ran(call_id=call_id, outcome=outcome, output=text, artifact=artifact)

    def _form(self, call: Call, judged: Judged, place: Place) -> tuple[tuple[str, ...], tuple[Path, ...]]:
        """What is executed, and what has to be seen for it."""
        if call.script is None:
            return call.argv, ()
        if judged.plain is None:
            return ("/bin/bash", "--noprofile", "--norc", "-p", "-c", call.script), ()
        first = judged.plain[0].steps[0]
        alone = len(judged.plain) == len(judged.plain[0].steps) == 1 and not first.redirects
        if alone and first.argv[0] != "cd":
            return first.argv, ()
        python, toolchain = inner_python()
        root = TREE if self.executor.level != "none" else str(place.tree)
        plan = msgspec.json.encode(judged.plain).decode()
        return (python, "-I", "-S", "-c", _plain_steps(), root, plan), toolchain

    def _revoke(self, network: Sequence[str]) -> None:
        # Only an executor that lets something out has a way to take it back.
        revoke: Callable[[str], None] = getattr(self.executor, "revoke", lambda grant: None)
        for grant in network:
            revoke(grant)

    def _tell(self, call_id: str, outcome: Outcome, sink: _Sink, artifact: str | None) -> None:
        stdout, stderr = sink.shown()
        if not outcome.ok and outcome.exit_code in (None, 0):
            stderr = f"{stderr}[{how_it_ended(outcome)}]"
        self._outbox.event(
            ToolResult(
                tool_call_id=call_id,
                ok=outcome.ok,
                task_id=self._task_id,
                stdout=stdout or None,
                stderr=stderr or None,
                exit_code=outcome.exit_code,
                artifacts=[Artifact(kind="output", uri=f"artifact:{artifact}")] if artifact else None,
            )
        )

    @contextlib.contextmanager
    def _named(self, call_id: str, words: str) -> Iterator[None]:
        self._running[call_id] = words if len(words) <= 200 else f"{words[:199]}…"
        try:
            yield
        finally:
            self._running.pop(call_id, None)

    def _variables(self, place: Place, call: Call) -> dict[str, str]:
        src = (place.tree / "src").is_dir() and not (place.tree / "src").is_symlink()
        base = self.environment.variables(
            call.argv or ("bash",), level=self.executor.level, tree=place.tree, home=self.home, src=src
        )
        path = [*call.python_path, *filter(None, [base.get("PYTHONPATH")])]
        return {**base, **({"PYTHONPATH": ":".join(path)} if path else {}), **call.own_env, **call.env}


@lru_cache(maxsize=1)
def _plain_steps() -> str:
    return Path(__file__).with_name("plain_steps.py").read_text("utf-8")


class _Sink:
    """Both output streams of one call, on their way to people."""

    def __init__(self, outbox: Outbox, secrets: Sequence[Secret], *, quiet: bool) -> None:
        self._outbox = outbox
        self._quiet = quiet
        self.whole = Capture(KEPT_BYTES)
        self._streams = {name: _Channel(secrets) for name in ("stdout", "stderr")}

    @property
    def total(self) -> int:
        return self.whole.total

    def feed(self, stream: Stream, chunk: bytes) -> None:
        self._say(stream, self._streams[stream].feed(chunk))

    def flush(self) -> None:
        for stream in ("stdout", "stderr"):
            self._say(stream, self._streams[stream].flush())

    def shown(self) -> tuple[str, str]:
        out, err = (channel.shown.kept().decode("utf-8", "replace") for channel in self._streams.values())
        return out, err

    def _say(self, stream: Stream, lines: list[str]) -> None:
        for line in lines:
            raw = line.encode() + b"\n"
            self.whole.feed(raw)
            self._streams[stream].shown.feed(raw)
            if not self._quiet:
                self._outbox.line(stream, line)


class _Channel:
    """Bytes in, safe lines out. Holds back an unfinished line, at most :data:`_HELD`."""

    _HELD = 64 * 1024

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._cleaner = TerminalCleaner()
        self._redactor = Redactor(secrets)
        # The redactor works on bytes and may cut inside a character.
        self._joiner = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self.shown = Capture(SHOWN_BYTES)

    def feed(self, chunk: bytes) -> list[str]:
        return self._lines(self._redactor.feed(self._cleaner.feed(self._decoder.decode(chunk)).encode()))

    def flush(self) -> list[str]:
        last = self._cleaner.feed(self._decoder.decode(b"", final=True)) + self._cleaner.flush()
        lines = self._lines(self._redactor.redact(last.encode()))
        rest, self._rest = self._rest, ""
        return [*lines, rest] if rest else lines

    def _lines(self, clean: bytes) -> list[str]:
        *lines, self._rest = (self._rest + self._joiner.decode(clean)).split("\n")
        if len(self._rest) > self._HELD:
            lines.append(self._rest)
            self._rest = ""
        return lines


_LIMIT_SIGNALS: dict[int, str] = {signal.SIGXCPU: "limits.cpu", signal.SIGXFSZ: "limits.fsize"}
_NO_MORE_PROCESSES = re.compile(
    rb"fork: (?:retry: )?Resource temporarily unavailable|can't start new thread|Cannot fork"
    rb"|BlockingIOError: \[Errno 11\]"
)


def how_it_ended(outcome: Outcome) -> str:
    """One phrase: why it did not start, or how it came to its end."""
    if outcome.error is not None:
        return outcome.error
    if outcome.cancelled:
        return "stopped"
    if outcome.timed_out:
        return f"stopped after {outcome.wall_s:.0f} s: the time was up (limits.wall)"
    if outcome.signal is not None:
        limit = _LIMIT_SIGNALS.get(outcome.signal)
        return f"ended by signal {outcome.signal}" + (f" ({limit})" if limit else "")
    if outcome.exit_code and _NO_MORE_PROCESSES.search(outcome.stderr):
        return f"exit {outcome.exit_code} (limits.nproc)"
    return f"exit {outcome.exit_code}"
