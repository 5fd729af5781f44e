"""Starting parts as processes, keeping them, and ending them without leaving anything behind.

Each part is a process in a session of its own: Ctrl-C reaches only the supervisor, which then ends the
parts in order. A part that crashes is started again after a growing wait; one that crashes too often, or
that ends with a code that says "this cannot work here", stays down and is reported.

The supervisor's death is not waited for: each part asks the kernel to be told (:func:`die_with_parent`),
and drains as if asked to.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from pushpals.cli.errors import NO_SANDBOX, USAGE

Tell = Callable[[str, str], None]
"""``tell(part, sentence)`` for what a person should know."""

LOG_BYTES: Final = 8 * 1024 * 1024
"""A part's log is begun anew at a start when it is larger than this; one older log is kept."""

_HOPELESS: Final = frozenset({USAGE, NO_SANDBOX})
_PR_SET_PDEATHSIG: Final = 1
_PARENT: Final = "PUSHPALS_SUPERVISOR_PID"


class Restarts(msgspec.Struct, frozen=True, kw_only=True):
    """When a crashed part is started again. A part that ran for ``calm_s`` is forgiven its past."""

    first_s: float = 0.5
    most_s: float = 15.0
    times: int = 8
    calm_s: float = 60.0

    def wait_s(self, crashes: int) -> float:
        return float(min(self.most_s, self.first_s * 2 ** (crashes - 1)))


class Part:
    """One process that should run. ``argv`` is the same at every start."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        tell: Tell,
        restarts: Restarts | None = None,
        on_start: Callable[[], None] = lambda: None,
    ):
        self.name = name
        self.argv = tuple(argv)
        self.env = {**env, **bound_to_this_process()}
        self.log = log
        self.crashes = 0
        self.gave_up = asyncio.Event()
        self.started = asyncio.Event()
        self.exit_code: int | None = None
        self._tell = tell
        self._restarts = restarts or Restarts()
        self._on_start = on_start
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def run(self) -> None:
        """Keep the part running until :meth:`stop`, or until it is hopeless."""
        while not self._stopping:
            code, seconds = await self._once()
            if self._stopping:
                return
            self.exit_code = code
            if code == 0:
                self._tell(self.name, "ended")
                self.gave_up.set()
                return
            if code in _HOPELESS:
                self._tell(self.name, f"cannot run here (exit code {code}): {self.last_words()}")
                self.gave_up.set()
                return
            self.crashes = 1 if seconds > self._restarts.calm_s else self.crashes + 1
            if self.crashes > self._restarts.times:
                self._tell(self.name, f"crashed {self.crashes} times and stays down; see {self.log}")
                self.gave_up.set()
                return
            wait_s = self._restarts.wait_s(self.crashes)
            self._tell(
                self.name, f"crashed ({_ended(code)}): {self.last_words()}; starts again in {wait_s:g} s"
            )
            await asyncio.sleep(wait_s)

    async def stop(self, drain_s: float) -> None:
        """SIGTERM, then SIGKILL for the whole group after ``drain_s``. Returns when nothing of it is left."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(drain_s):
                    await process.wait()
            except TimeoutError:
                self._tell(self.name, f"did not end within {drain_s:g} s and was killed")
        # The group may outlive its leader; a session id is not reused while a member lives.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    def kill(self) -> None:
        """End the group now, for a second Ctrl-C."""
        self._stopping = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def last_words(self, lines: int = 1) -> str:
        """The last lines that the part wrote."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 4096))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return "no log"
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:]) or "it said nothing"

    async def _once(self) -> tuple[int, float]:
        clock = asyncio.get_running_loop().time
        began = clock()
        log = _open_log(self.log)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.argv,
                env=self.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)
        self.started.set()
        self._on_start()
        code = await self._process.wait()
        return code, clock() - began


def _open_log(path: Path) -> int:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".1.log"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _ended(code: int) -> str:
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def bound_to_this_process() -> dict[str, str]:
    """What a child's environment must hold for :func:`die_with_parent` to bind it to this process."""
    return {_PARENT: str(os.getpid())}


def die_with_parent() -> bool:
    """In a part: get SIGTERM when the supervisor that started us dies, however it dies.

    False, and nothing done, in a process that no supervisor started. The parent may have died before the
    kernel was asked, so that is checked afterwards.
    """
    parent = os.environ.pop(_PARENT, None)
    if parent is None:
        return False
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)
    return True
