"""Processes for the bench: the hub and its peers on one core, the load on the other, and what each used."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
PEERS = ("sse-starlette", "starlette", "uvicorn", "uvloop", "httptools", "aiosqlite", "aiohttp")

SHIM = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>
static int nap(void) {
    const char *ms = getenv("BENCH_FLUSH_MS");
    double s = (ms ? atof(ms) : 0) / 1e3;
    struct timespec t = { (time_t)s, (long)((s - (time_t)s) * 1e9) };
    return nanosleep(&t, NULL), 0;
}
int fsync(int fd) { (void)fd; return nap(); }
int fdatasync(int fd) { (void)fd; return nap(); }
"""

HUB = """
import asyncio, sys
from pathlib import Path
from msgspec.structs import replace
from pushpals.server import ensure_operator, start_service
from pushpals.store.sqlite import open_store

async def main():
    root = Path(sys.argv[2])
    service = await start_service(
        open_store, root / "hub.db", data_dir=root, port=int(sys.argv[1]),
        configure=lambda o: replace(o, streams=20_000, streams_per_token=20_000, events_per_s=1e9,
                                    events_burst=1e9),
    )
    made = await ensure_operator(service.hub)
    if made is not None:
        (root / "token").write_text(made.secret)
    (root / "ready").write_text("ready")
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Tools:
    """What is built and installed once for a run: the load, the slow flush, the peers."""

    def __init__(self, folder: Path, *, peers: bool = True) -> None:
        self.folder = folder
        self.load = folder / "load"
        self.shim = folder / "flush.so"
        subprocess.run(["cc", "-O2", "-o", str(self.load), str(HERE / "load.c")], check=True)
        command = ["cc", "-shared", "-fPIC", "-O2", "-x", "c", "-", "-o", str(self.shim)]
        subprocess.run(command, input=SHIM, text=True, check=True)
        self.python: str | None = None
        self.bun: str | None = None
        self.versions: dict[str, str] = {}
        if peers:
            self._install()

    def _install(self) -> None:
        venv = self.folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "-q", "install", *PEERS], check=True, stderr=subprocess.DEVNULL)
        self.python = str(venv / "bin" / "python")
        command = [*pip, "list", "--format=json"]
        listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        self.versions = {p["name"]: p["version"] for p in json.loads(listed) if p["name"] in PEERS}
        if shutil.which("npm") is None:
            return
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "cwd": self.folder, "text": True}
        packed = subprocess.run(["npm", "pack", "--silent", "@oven/bun-linux-x64"], **quiet)  # type: ignore[call-overload]
        if packed.returncode == 0:
            name = packed.stdout.strip().splitlines()[-1]
            subprocess.run(["tar", "xf", name], cwd=self.folder, check=True)
            self.bun = str(self.folder / "package" / "bin" / "bun")
            version = subprocess.run([self.bun, "--version"], stdout=subprocess.PIPE, text=True, check=True)
            self.versions["bun"] = version.stdout.strip()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """One server process, pinned. ``kind``: hub, naive, aio, bun, bare or empty."""

    def __init__(self, tools: Tools, kind: str, folder: Path, flush_ms: float | None) -> None:
        self.tools, self.kind, self.folder, self.flush_ms = tools, kind, folder, flush_ms
        folder.mkdir(parents=True, exist_ok=True)
        self.token = "none"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.took_s = 0.0

    @property
    def database(self) -> Path:
        return self.folder / "hub.db"

    def start(self) -> Server:
        self.port = free_port()
        database = str(self.database)
        command = {
            "hub": [sys.executable, "-c", HUB, str(self.port), str(self.folder)],
            "naive": [self.tools.python, str(HERE / "peers" / "naive.py"), str(self.port), database],
            "aio": [self.tools.python, str(HERE / "peers" / "aio.py"), str(self.port), database],
            "bun": [self.tools.bun, "run", str(HERE / "peers" / "bun.js"), str(self.port), database],
            "bare": [sys.executable, str(HERE / "peers" / "bare.py"), str(self.port)],
            "empty": [sys.executable, str(HERE / "peers" / "empty.py"), str(self.port)],
        }[self.kind]
        environment = dict(os.environ)
        if self.flush_ms is not None:
            environment |= {"LD_PRELOAD": str(self.tools.shim), "BENCH_FLUSH_MS": str(self.flush_ms)}
        began = time.perf_counter()
        (self.folder / "ready").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *(str(part) for part in command)], env=environment
        )
        self._wait(began)
        if self.kind == "hub":
            self.token = (self.folder / "token").read_text()
            self.post("/sessions", {"sessionId": "dev"})
        return self

    def _wait(self, began: float) -> None:
        while time.perf_counter() - began < 30:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                if self.kind != "hub" or (self.folder / "ready").exists():
                    self.took_s = time.perf_counter() - began
                    return
            except OSError:
                pass
            assert self.process is not None
            if self.process.poll() is not None:
                raise SystemExit(f"{self.kind} ended with {self.process.returncode}")
            time.sleep(0.005)
        raise SystemExit(f"{self.kind} did not start")

    def kill(self) -> None:
        """End it as a power switch would, as far as a process goes."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def cpu(self) -> float:
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss(self) -> float:
        """Resident memory, in MiB."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def paths(self) -> tuple[str, str]:
        """Where to post and what to read."""
        if self.kind == "hub":
            return "/sessions/dev/message", "/sessions/dev/events"
        return "/post", "/events"

    def read(self, connections: int, path: str | None = None) -> subprocess.Popen[str]:
        """Start readers; returns when all streams are open."""
        process = subprocess.Popen(
            ["taskset", "-c", str(LOAD_CORE), str(self.tools.load), "read", "127.0.0.1", str(self.port),
             path or self.paths()[1], self.token, str(connections)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise SystemExit(f"the readers of {self.kind} did not start")
        return process

    def write(
        self,
        connections: int,
        seconds: float,
        *,
        warm_up: float = 0.5,
        rate: float = 0,
        items: int = 1,
        path: str | None = None,
        body: Sequence[str] = ("", '{"text":"%"}', ""),
        token: str | None = None,
    ) -> dict[str, float]:
        command = [
            "taskset", "-c", str(LOAD_CORE), str(self.tools.load), "post", "127.0.0.1", str(self.port),
            path or self.paths()[0], token or self.token, str(connections), str(seconds), str(warm_up),
            str(rate), str(items), *body,
        ]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0 and not done.stdout:
            raise SystemExit(f"the writers of {self.kind} failed")
        found: dict[str, float] = json.loads(done.stdout)
        if found["bad"]:
            raise SystemExit(f"void: {self.kind} refused {found['bad']} posts")
        return found


def settle(server: Server) -> float:
    """Wait until the server rests from opening streams; the CPU time that it has used by then."""
    before = server.cpu()
    while True:
        time.sleep(0.15)
        now = server.cpu()
        if now - before <= 2 / TICK:
            return now
        before = now


def finish(readers: subprocess.Popen[str], expected: float) -> dict[str, float]:
    """Tell readers how many events there are in all, and hear what they saw."""
    out, _ = readers.communicate(f"{int(expected)}\n", timeout=120)
    found: dict[str, float] = json.loads(out)
    if found["errors"]:
        raise SystemExit(f"void: the readers saw {found['errors']} errors")
    return found


def others_cpu(own: set[int]) -> dict[int, float]:
    used = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in own:
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                used[int(entry)] = (int(fields[11]) + int(fields[12])) / TICK
    return used


def others(seconds: float) -> float:
    """Cores that other processes used in the last ``seconds``."""
    before = others_cpu({os.getpid()})
    time.sleep(seconds)
    after = others_cpu({os.getpid()})
    return sum(after[pid] - before.get(pid, after[pid]) for pid in after) / seconds


def wait_for_quiet(most_s: float, below: float = 0.2) -> float:
    """Wait until other processes use less than ``below`` cores, at most ``most_s``; what they use now."""
    end = time.monotonic() + most_s
    while (used := others(0.5)) >= below and time.monotonic() < end:
        pass
    return used


@contextlib.contextmanager
def running(tools: Tools, kind: str, folder: Path, flush_ms: float | None) -> Iterator[Server]:
    """A server that is killed at the end, and its folder removed."""
    server = Server(tools, kind, folder, flush_ms)
    try:
        yield server.start()
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
