"""The real stack: ``pushpals up`` as processes of its own, and somebody who watches from outside.

:class:`Stack` starts, kills and ends the team of one checkout in a data directory of its own, and knows
which processes are its. :class:`Watcher` follows a session with a bare HTTP client, remembers every frame
that arrives, resumes with ``Last-Event-ID`` after every cut, and calls back at once, so that a part can be
killed in the middle of something that has just been told.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec

from pushpals.client import Backoff, HubClient
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import Decide
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing
from pushpals.testing.repos import Repository

PATIENCE_S = 100.0
"""How long anything may take. Longer than a lease of 30 s and the wait before a sixth restart together."""

LOOK_AGAIN_S = 0.05
PATIENT = Backoff(first_s=0.05, most_s=0.5, tries=200)
"""The hub is killed on purpose: ask again until it is back."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it came over the wire."""

    cursor: int
    type: str
    payload: dict[str, Any]
    envelope: dict[str, Any]


Seen = Callable[[Frame], None]


class Watcher:
    """Every frame of a session that arrived, in the order of arrival. Use it as an async context manager."""

    def __init__(self, url: str, token: str, session_id: str = "dev") -> None:
        self.frames: list[Frame] = []
        self.cuts = 0
        self._url = f"{url}/sessions/{session_id}/events"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._came = asyncio.Condition()
        self._calls: list[Seen] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow(), name="watcher")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def call(self, seen: Seen) -> None:
        """Call ``seen`` with each further frame, before anything else happens in this process."""
        self._calls.append(seen)

    @property
    def cursor(self) -> int:
        return self.frames[-1].cursor if self.frames else 0

    def of(self, *types: str) -> list[Frame]:
        return [frame for frame in self.frames if frame.type in types]

    async def until(self, where: Callable[[Frame], bool], *, after: int = 0) -> Frame:
        """The first frame behind cursor ``after`` that ``where`` holds for; waits for it."""
        async with asyncio.timeout(PATIENCE_S), self._came:
            while True:
                assert self._task is not None
                if self._task.done():
                    self._task.result()
                for frame in self.frames:
                    if frame.cursor > after and where(frame):
                        return frame
                await self._came.wait()

    async def until_type(self, kind: str, *, after: int = 0, **fields: Any) -> Frame:
        """The first frame of a type whose payload has these fields."""
        return await self.until(
            lambda frame: frame.type == kind and fields.items() <= frame.payload.items(), after=after
        )

    async def _follow(self) -> None:
        async with httpx.AsyncClient(timeout=httpx.Timeout(5.0, read=60.0), trust_env=False) as http:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await self._once(http)
                self.cuts += 1
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _once(self, http: httpx.AsyncClient) -> None:
        headers = {**self._headers, "Last-Event-ID": str(self.cursor)}
        async with http.stream("GET", self._url, headers=headers) as response:
            if response.status_code in (404, 503):
                return
            response.raise_for_status()
            cursor, data = "", ""
            async for line in response.aiter_lines():
                name, _, value = line.partition(":")
                if name == "id":
                    cursor = value.strip()
                elif name == "data":
                    data = value.strip()
                elif not line and data:
                    await self._take(int(cursor), json.loads(data))
                    data = ""

    async def _take(self, cursor: int, envelope: dict[str, Any]) -> None:
        frame = Frame(cursor=cursor, type=envelope["type"], payload=envelope["payload"], envelope=envelope)
        self.frames.append(frame)
        for seen in self._calls:
            seen(frame)
        async with self._came:
            self._came.notify_all()


class Stack:
    """``pushpals up`` for one checkout. Nothing of it outlives :meth:`close`."""

    def __init__(self, checkout: Path, upstream: Path, data: Path, *, workers: int = 2) -> None:
        self.checkout = checkout
        self.upstream = Repository(upstream, bare=True)
        self.data = data
        self.log = data.with_name(f"{data.name}-up.log")
        self.workers = workers
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._log_began = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, checkout: Path, upstream: Path, data: Path, *, workers: int = 2
    ) -> AsyncIterator[Stack]:
        """A stack that is up; whatever is left of it at the end is killed."""
        stack = cls(checkout, upstream, data, workers=workers)
        try:
            await stack.up()
            yield stack
        finally:
            stack.close()

    # -- the processes --------------------------------------------------------------------------------------

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """``pushpals WORDS`` in this checkout."""
        argv, env = self._argv(*words), self._env()
        return subprocess.run(argv, input=stdin, env=env, capture_output=True, text=True, timeout=PATIENCE_S)

    async def up(self) -> None:
        """Start, and wait until every part is there and main is known."""
        if self.process is not None:
            # A killed process has no command line any more a moment before it can be waited for.
            self.process.wait(timeout=5)
        self.process = process = self._start()

        def ready() -> bool:
            told = self.told()
            assert process.poll() is None, f"up has ended; see {self.log}"
            return bool(told.get("ready")) and told["pids"]["up"] == process.pid

        await _until(ready)

    def _start(self) -> subprocess.Popen[bytes]:
        argv, env = self._argv("up", "--workers", str(self.workers), "--port", str(self.port)), self._env()
        with self.log.open("ab") as log:
            self._log_began = log.tell()
            # A session of its own: signals go to the supervisor alone, as Ctrl-C in a terminal would have it.
            return subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_the_test,
            )

    async def end(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Send ``up`` a signal as a terminal does, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signum)
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)

    async def until_said(self, words: str) -> None:
        """Wait until ``up`` has printed something since its start."""
        await _until(lambda: words in self.log.read_text("utf-8")[self._log_began :])

    def kill(self, part: str) -> int:
        """SIGKILL a part by its name (``up`` is the supervisor). Returns the process id that died."""
        pid = self.pid(part)
        os.kill(pid, signal.SIGKILL)
        return pid

    def pid(self, part: str) -> int:
        return int(self.told()["pids"][part])

    def told(self) -> dict[str, Any]:
        """What ``run.json`` says, empty if there is none."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            found: dict[str, Any] = json.loads((self.data / "run.json").read_bytes())
            return found
        return {}

    async def staffed(self, hub: HubClient) -> None:
        """Wait until each worker process has swept, and said that it is there."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                there = {one.pid for one in (await hub.workers()).items if one.state in ("idle", "busy")}
                if there >= {self.pid(f"worker-{n}") for n in range(1, self.workers + 1)}:
                    return
                await asyncio.sleep(LOOK_AGAIN_S)

    def processes(self, *marks: str) -> dict[int, str]:
        """Processes that have the data directory or one of ``marks`` in their command or environment."""
        return dict(_processes((os.fsencode(self.data), *map(os.fsencode, marks))))

    async def gone(self, *marks: str, within_s: float = PATIENCE_S) -> None:
        """Wait until no process of this stack is left."""
        try:
            await _until(lambda: not self.processes(*marks), within_s)
        except TimeoutError:
            raise AssertionError(f"still there: {self.processes(*marks)}") from None

    def leftovers(self) -> list[str]:
        """Trees, scratch folders and records of processes that should not outlive their job."""
        places = ("workers/trees", "workers/scratch", "workers/running", "pusher/trees", "pusher/running")
        return sorted(
            str(path.relative_to(self.data))
            for place in places
            if (self.data / place).is_dir()
            for path in (self.data / place).iterdir()
            if path.is_dir() or not path.name.endswith((".lock", ".flock"))
        )

    def close(self) -> None:
        """Kill whatever is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # -- the person -----------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        return (self.data / "tokens" / "operator").read_text("ascii").strip()

    def client(self) -> HubClient:
        return HubClient(self.url, self.token, backoff=PATIENT)

    def watch(self) -> Watcher:
        return Watcher(self.url, self.token)

    async def approve(self, hub: HubClient, approval_id: str) -> Approval:
        """Look at exactly what would happen, and say yes to it."""
        shown = await hub.approval(approval_id)
        decide = Decide(decision="approve", action_hash=shown.action_hash, device="test")
        return await hub.decide(approval_id, decide, key=f"yes-{approval_id}")

    async def jobs(self, hub: HubClient) -> list[Job]:
        return (await hub.jobs(session_id="dev")).items

    async def landings(self, hub: HubClient) -> list[Landing]:
        return (await hub.landings(session_id="dev")).items

    def _argv(self, *words: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "pushpals",
            "-C",
            str(self.checkout),
            "--data-dir",
            str(self.data),
            *words,
        ]

    def _env(self) -> dict[str, str]:
        kept = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
        return {name: os.environ[name] for name in kept if name in os.environ}


def _end_with_the_test() -> None:
    """In the child: SIGTERM when the test run dies, even if it is killed and cleans up nothing."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


def fingerprint(checkout: Path) -> dict[str, object]:
    """Every byte below a checkout, ``.git`` and its index included, and every file's time."""
    return {
        str(path.relative_to(checkout)): (path.read_bytes(), path.lstat().st_mtime_ns, path.lstat().st_mode)
        for path in sorted(checkout.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def new_file_patch(name: str, text: str) -> str:
    """A request that adds one file."""
    lines = text.splitlines()
    body = "".join(f"+{line}\n" for line in lines)
    return (
        f"apply this patch\n\n```diff\ndiff --git a/{name} b/{name}\nnew file mode 100644\n"
        f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n{body}```"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _until(holds: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait for something that nobody tells: files and processes of others."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(LOOK_AGAIN_S)


def _processes(marks: tuple[bytes, ...]) -> Iterator[tuple[int, str]]:
    own = os.getpid()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == own:
            continue
        with contextlib.suppress(OSError):
            # A zombie has neither: it has ended, and only its parent has not looked yet.
            words = (entry / "cmdline").read_bytes()
            if any(mark in words or mark in (entry / "environ").read_bytes() for mark in marks):
                yield int(entry.name), words.replace(b"\0", b" ").decode("utf-8", "replace")[:200]
