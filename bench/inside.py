"""Cases that look inside: jobs, claims, replays, the cost of the chain; and how their data is made."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from servers import LOAD_CORE, Server, Tools

import pushpals.store.transaction as appending
from pushpals.hub import jobs
from pushpals.hub.hub import Hub
from pushpals.protocol.commands import Claim
from pushpals.protocol.events import Message
from pushpals.protocol.ids import random_id
from pushpals.protocol.jobs import Job
from pushpals.protocol.records import Actor, Session
from pushpals.store import codec
from pushpals.store.base import RECORDS
from pushpals.store.sqlite import open_store
from pushpals.store.sqlite.connecting import connect

NOW = datetime(2026, 1, 31, tzinfo=UTC)
STAMP = "2026-01-31T00:00:00.000Z"
ACTOR = Actor(role="operator", token_id="bench")
WORKER = Actor(role="worker", token_id="bench-worker")


def rows(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        (number,) = connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()
    return int(number)


# --- jobs over HTTP ---------------------------------------------------------------------------------


def claimed_jobs(server: Server, count: int, session: str) -> list[tuple[str, str]]:
    """``(job id, worker token)`` of running jobs."""
    server.post("/sessions", {"sessionId": session})
    token = server.post("/tokens", {"role": "worker", "label": "bench"})["secret"]
    found = []
    for number in range(count):
        server.post("/jobs/enqueue", {"taskId": f"t{number}", "kind": "bench", "sessionId": session})
        operator, server.token = server.token, token
        job = server.post("/jobs/claim", {"workerId": f"w{number}", "kinds": ["bench"], "leaseS": 300})["job"]
        server.token = operator
        found.append((job["id"], token))
    return found


def printing(
    tools: Tools, server: Server, job: tuple[str, str], *, seconds: float, lines_per_s: float = 0
) -> subprocess.Popen[str]:
    """One job's output: as fast as it goes, or so many lines a second in requests of 75 ms."""
    items = 500 if not lines_per_s else max(1, int(lines_per_s * 0.075))
    rate = 0 if not lines_per_s else lines_per_s / items
    return subprocess.Popen(
        ["taskset", "-c", str(LOAD_CORE), str(tools.load), "post", "127.0.0.1", str(server.port),
         f"/jobs/{job[0]}/progress", job[1], "1", str(seconds), "0.2", str(rate), str(items),
         '{"attempt":1,"log":[', '{"stream":"stdout","line":"%"}', "]}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def enqueue_to_claimed(server: Server, count: int) -> dict[str, float]:
    """A worker waits; how long after the enqueue was sent does it have the job?"""
    token = server.post("/tokens", {"role": "worker", "label": "bench"})["secret"]
    base = f"http://127.0.0.1:{server.port}"
    claimed: list[float] = []
    took: list[float] = []
    ready, got = threading.Event(), threading.Event()

    def work() -> None:
        with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=90) as client:
            for _ in range(count):
                ready.set()
                body = {"workerId": "w1", "waitS": 60, "leaseS": 30}
                answer = client.post("/jobs/claim", json=body).json()
                claimed.append(time.perf_counter())
                client.post(f"/jobs/{answer['job']['id']}/complete", json={"attempt": 1, "summary": "done"})
                got.set()

    worker = threading.Thread(target=work)
    worker.start()
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {server.token}"}) as client:
        for number in range(count):
            ready.wait()
            time.sleep(0.02)
            ready.clear()
            got.clear()
            sent = time.perf_counter()
            client.post("/jobs/enqueue", json={"taskId": f"t{number}", "kind": "bench"}).raise_for_status()
            got.wait(30)
            took.append((claimed[-1] - sent) * 1e3)
    worker.join()
    took = sorted(took[count // 10 :])
    return {"p50_ms": took[len(took) // 2], "p99_ms": took[int(len(took) * 0.99)]}


def never_reads(server: Server) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(
        f"GET /sessions/dev/events HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Bearer {server.token}\r\n\r\n".encode()
    )
    return sock


# --- history ----------------------------------------------------------------------------------------


def _connection(path: Path) -> sqlite3.Connection:
    connection = connect(path, synchronous="normal")
    connection.execute("PRAGMA synchronous = OFF").fetchall()
    return connection


def fill_history(path: Path, events: int) -> None:
    """Append to ``dev`` by SQL; hashes are empty, since nobody reads them here."""
    connection = _connection(path)
    session, last = connection.execute("SELECT n, last FROM sessions WHERE id = 'dev'").fetchone()
    (n,) = connection.execute("SELECT coalesce(max(n), 0) FROM events").fetchone()
    text = "x" * 290
    for start in range(1, events + 1, 10_000):
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO events (session, seq, n, type, data, h) VALUES (?, ?, ?, 'message', ?, zeroblob(32))",
            [
                (
                    session,
                    last + i,
                    n + i,
                    b'{"sessionId":"dev","text":"@0@0@%d@%b"}' % (i - 1, text.encode()),
                )
                for i in range(start, min(start + 10_000, events + 1))
            ],
        )
        connection.execute("COMMIT")
    connection.execute("UPDATE sessions SET last = ? WHERE n = ?", (last + events, session))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def read_in_chunks(path: Path, events: int) -> float:
    """Rows a second that SQLite itself reads, 500 at a time."""
    connection = sqlite3.connect(path)
    (session,) = connection.execute("SELECT n FROM sessions WHERE id = 'dev'").fetchone()
    began, cursor, seen = time.perf_counter(), 0, 0
    statement = "SELECT seq, type, data FROM events WHERE session = ? AND seq > ? ORDER BY seq LIMIT 500"
    while chunk := connection.execute(statement, (session, cursor)).fetchall():
        cursor, seen = chunk[-1][0], seen + len(chunk)
        b"".join([b"id: %d\ndata: %b\n\n" % (seq, data) for seq, _, data in chunk])
    took = time.perf_counter() - began
    connection.close()
    assert seen >= events
    return seen / took


def make_log_long(path: Path, mib: int) -> None:
    """Write until the log has so many MiB, and die without copying it."""
    program = (
        "import os, sys, sqlite3\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA wal_autocheckpoint = 0'); c.execute('PRAGMA synchronous = OFF')\n"
        "c.execute('CREATE TABLE IF NOT EXISTS ballast (x)')\n"
        "while os.stat(sys.argv[1] + '-wal').st_size < int(sys.argv[2]) << 20:\n"
        "    c.execute('INSERT INTO ballast VALUES (zeroblob(900000))')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path), str(mib)], check=False)


# --- claims -----------------------------------------------------------------------------------------


def _job(number: int, state: str) -> Job:
    return Job(
        id=f"job-{state}-{number}", session_id="dev", task_id="t", kind="bench", params={}, state=state,
        created_at=STAMP, updated_at=STAMP, due=number * 30_000,
        run_at="2099-01-01T00:00:00.000Z" if state == "scheduled" else None,
    )  # type: ignore[arg-type]  # fmt: skip


async def _with_jobs(path: Path, finished: int, scheduled: int, ready: int) -> float:
    """The median time of a claim, in microseconds, by the writer's own clock."""
    store = await open_store(path, on_commit=lambda events: None, new_id=random_id, synchronous="normal")
    await store.write(lambda tx: tx.put(Session(id="dev", created_at=STAMP, epoch="e")), actor=ACTOR, now=NOW)
    await store.close()
    connection = _connection(path)
    table = RECORDS[Job]
    names = ("id", *table.columns, "doc")
    for state, number in (("completed", finished), ("scheduled", scheduled), ("pending", ready)):
        for start in range(0, number, 20_000):
            connection.execute("BEGIN")
            made = [_job(i, state) for i in range(start, min(start + 20_000, number))]
            connection.executemany(
                f"INSERT INTO jobs ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
                [(job.id, *codec.columns(job), codec.encode(job).decode()) for job in made],
            )
            connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()

    store = await open_store(path, on_commit=lambda events: None, new_id=random_id, synchronous="normal")
    times: list[float] = []
    ask = Claim(worker_id="w1", lease_s=30)

    def timed(tx: Any) -> Job | None:
        began = time.perf_counter()
        job = jobs.claim(tx, ask, NOW)
        times.append(time.perf_counter() - began)
        return job

    for _ in range(ready):
        assert await store.write(timed, actor=WORKER, now=NOW) is not None
    await store.close()
    path.unlink()  # noqa: ASYNC240 - after the measurement
    return statistics.median(times[ready // 5 :]) * 1e6


def claims(root: Path) -> dict[str, float]:
    def case(finished: int, scheduled: int) -> float:
        return asyncio.run(_with_jobs(root / f"{random_id('db')}.db", finished, scheduled, 600))

    few, many, later = case(1_000, 0), case(1_000_000, 0), case(1_000, 100_000)
    return {"us": few, "finished_ratio": many / few, "scheduled_ratio": later / few}


CLAIMER = """
import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
c.execute("PRAGMA synchronous = FULL")
sys.stdin.readline()
end, waits = time.perf_counter() + float(sys.argv[2]), []
while (began := time.perf_counter()) < end:
    row = c.execute("UPDATE jobs SET state = 'claimed' WHERE n = (SELECT n FROM jobs WHERE state = 'pending'"
                    " ORDER BY n LIMIT 1) RETURNING id").fetchone()
    if row is None:
        break
    waits.append(time.perf_counter() - began)
print(len(waits), max(waits, default=0) * 1e3)
"""


def claimers(root: Path, shim: Path, flush_ms: float) -> dict[str, float]:
    """32 claimers through the hub's one writer, against 32 processes on the file. In a process with the flush."""
    environment = os.environ | {"LD_PRELOAD": str(shim), "BENCH_FLUSH_MS": str(flush_ms)}
    own = subprocess.run(
        [sys.executable, __file__, "claimers", str(root)], env=environment, stdout=subprocess.PIPE, check=True
    )
    ours = json.loads(own.stdout)
    path = root / "file.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE jobs (n INTEGER PRIMARY KEY, id TEXT, state TEXT)")
    connection.execute("CREATE INDEX ready ON jobs (n) WHERE state = 'pending'")
    connection.execute("BEGIN")
    rows = ((i, f"job-{i}", "pending") for i in range(60_000))
    connection.executemany("INSERT INTO jobs VALUES (?, ?, ?)", rows)
    connection.execute("COMMIT")
    started = [
        subprocess.Popen([sys.executable, "-c", CLAIMER, str(path), "2"], env=environment,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(32)
    ]  # fmt: skip
    time.sleep(2)
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate()[0].split() for process in started]
    connection.close()
    theirs = sum(int(number) for number, _ in answers) / 2
    return {
        "per_s": ours["per_s"],
        "files_per_s": theirs,
        "ratio": ours["per_s"] / theirs,
        "max_ms": ours["max_ms"],
        "files_max_ms": max(float(wait) for _, wait in answers),
    }


async def _claim_together(path: Path, seconds: float) -> dict[str, float]:
    store = await open_store(path, on_commit=lambda events: None, new_id=random_id)
    await store.write(lambda tx: tx.put(Session(id="dev", created_at=STAMP, epoch="e")), actor=ACTOR, now=NOW)
    for start in range(0, 30_000, 1_000):

        def put(tx: Any, start: int = start) -> None:
            for i in range(start, start + 1_000):
                tx.put(_job(i, "pending"))

        await store.write(put, actor=ACTOR, now=NOW)
    hub = Hub(store, clock=lambda: NOW)
    waits: list[float] = []
    end = time.perf_counter() + seconds

    async def claimer(number: int) -> None:
        ask = Claim(worker_id=f"w{number}", lease_s=30)
        while (began := time.perf_counter()) < end:
            if await hub.run(jobs.claim, ask, actor=WORKER) is None:
                return
            waits.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(claimer(n) for n in range(32)))
    took = time.perf_counter() - began
    await store.close()
    waits.sort()
    return {
        "per_s": len(waits) / took,
        "p99_ms": waits[int(len(waits) * 0.99)] * 1e3,
        "max_ms": waits[-1] * 1e3,
    }


# --- the chain --------------------------------------------------------------------------------------


async def _append(path: Path, seconds: float) -> float:
    store = await open_store(path, on_commit=lambda events: None, new_id=random_id)
    await store.write(lambda tx: tx.put(Session(id="s", created_at=STAMP, epoch="e")), actor=ACTOR, now=NOW)
    message, done = Message(text="x" * 300), 0
    end = time.perf_counter() + seconds

    async def post() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await store.write(lambda tx: tx.append("s", message), actor=ACTOR, now=NOW)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(post() for _ in range(64)))
    took = time.perf_counter() - began
    await store.close()
    path.unlink()  # noqa: ASYNC240 - after the measurement
    return done / took


def chain_cost(root: Path) -> dict[str, float]:
    """Appends with the hash chain against appends that skip it, in turns."""
    real: Callable[[bytes, bytes], bytes] = appending.link
    pairs = []
    for _ in range(7):
        with_chain = asyncio.run(_append(root / f"{random_id('db')}.db", 0.7))
        appending.link = lambda previous, data: previous
        try:
            without = asyncio.run(_append(root / f"{random_id('db')}.db", 0.7))
        finally:
            appending.link = real
        pairs.append((with_chain, without))
    return {
        "with_per_s": statistics.median(a for a, _ in pairs),
        "without_per_s": statistics.median(b for _, b in pairs),
        "cost": max(0.0, 1 - statistics.median(a / b for a, b in pairs)),
    }


if __name__ == "__main__" and sys.argv[1] == "claimers":
    print(json.dumps(asyncio.run(_claim_together(Path(sys.argv[2]) / f"{random_id('db')}.db", 2.0))))
