"""How many durable events a second the store takes, beside what else could be done with the same file.

    python bench/store.py [--json] [--seconds 1.0] [--rounds 3] [--flush-ms 0.5 --flush-ms 2]

All cases write the same 500-byte events into the same schema with the same settings (WAL, a flush for each
commit), in turns within one run, so that each meets the same drift of the machine:

- ``limit``     one thread, 64 ready-made rows a commit: what SQLite can do at all with that batch
- ``single``    one thread, one row a commit
- ``aiosqlite`` 64 coroutines, each an insert and a commit through one aiosqlite connection
- ``store``     64 coroutines, each a ``write`` with one ``append``: envelope, id, chain and answer included

``--flush-ms`` runs everything again on a RAM disk with a flush of that fixed length (a preloaded library,
made with the C compiler of the machine), since a virtual disk's own flush is anything from 0.1 to 100 ms.
After each case the rows are counted: at least as many as were acknowledged, or the run is void.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import aiosqlite

from pushpals.protocol.events import Message
from pushpals.protocol.ids import random_id
from pushpals.protocol.records import Actor, Session
from pushpals.store.chain import genesis
from pushpals.store.sqlite import open_store
from pushpals.store.sqlite.connecting import connect, open_database
from pushpals.store.sqlite.queries import sql

POSTERS = 64
TEXT = "x" * 300
BODY = json.dumps({"text": TEXT, "and the rest of an envelope": "y" * 150}).encode()
NOW = datetime(2026, 1, 31, tzinfo=UTC)
ACTOR = Actor(role="operator", token_id="bench")
APPEND = sql("append_event")

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

Result = dict[str, float]


def measure_flush(folder: Path) -> float:
    """The median time of one small append and its flush, in milliseconds."""
    times = []
    fd = os.open(folder / "flush", os.O_WRONLY | os.O_CREAT, 0o600)
    for _ in range(100):
        start = perf_counter()
        os.write(fd, b"x" * 4_096)
        os.fdatasync(fd)
        times.append((perf_counter() - start) * 1e3)
    os.close(fd)
    return statistics.median(times)


def fresh(folder: Path) -> Path:
    path = folder / f"{random_id('db')}.db"
    connection = open_database(path, synchronous="full", busy_s=5)
    connection.execute(
        sql("put_session"), ("s", "2026-01-31", "e", genesis("s", "e"), '{"id":"s","createdAt":"2026-01-31"}')
    )
    connection.close()
    return path


def rows(first: int, number: int) -> list[tuple[Any, ...]]:
    return [(1, n, n, "message", BODY, bytes(32)) for n in range(first, first + number)]


def kept(path: Path) -> int:
    connection = sqlite3.connect(path)
    (number,) = connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()
    return int(number)


def summary(path: Path, times: list[float], per: int, seconds: float, cpu: float) -> Result:
    done = len(times) * per
    if kept(path) < done:
        raise SystemExit(f"void: {done} acknowledged, {kept(path)} kept")
    ordered = sorted(times)
    return {
        "events_s": done / seconds,
        "p50_ms": ordered[len(ordered) // 2] * 1e3,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1e3,
        "cpu_us": cpu / done * 1e6,
    }


def raw(path: Path, seconds: float, batch: int) -> Result:
    connection = connect(path)
    # As SQLite does by itself: these cases have no checkpointer.
    connection.execute("PRAGMA wal_autocheckpoint = 1000").fetchall()
    times: list[float] = []
    ready = [rows(1 + n * batch, batch) for n in range(int(250_000 * seconds / batch) + 1)]
    begin, cpu = perf_counter(), process_time()
    for group in ready:
        start = perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(APPEND, group)
        connection.execute("COMMIT")
        times.append(perf_counter() - start)
        if perf_counter() - begin > seconds:
            break
    took, used = perf_counter() - begin, process_time() - cpu
    connection.close()
    return summary(path, times, batch, took, used)


async def together(seconds: float, post: Callable[[], Awaitable[object]]) -> tuple[list[float], float, float]:
    times: list[float] = []
    begin, cpu = perf_counter(), process_time()

    async def poster() -> None:
        while (start := perf_counter()) - begin < seconds:
            await post()
            times.append(perf_counter() - start)

    await asyncio.gather(*(poster() for _ in range(POSTERS)))
    return times, perf_counter() - begin, process_time() - cpu


async def with_aiosqlite(path: Path, seconds: float) -> Result:
    last = 0
    lock = asyncio.Lock()
    async with aiosqlite.connect(path) as connection:
        await connection.execute("PRAGMA synchronous = FULL")
        await connection.execute("PRAGMA foreign_keys = ON")

        async def post() -> None:
            nonlocal last
            async with lock:
                last += 1
                await connection.execute(APPEND, rows(last, 1)[0])
                await connection.commit()

        times, took, used = await together(seconds, post)
    return summary(path, times, 1, took, used)


async def with_store(path: Path, seconds: float) -> Result:
    commits: list[int] = []
    store = await open_store(path, on_commit=lambda events: commits.append(len(events)), new_id=random_id)
    message = Message(text=TEXT)

    async def post() -> None:
        await store.write(lambda tx: tx.append("s", message), actor=ACTOR, now=NOW)

    times, took, used = await together(seconds, post)
    session = await store.reader.get(Session, "s")
    if session is None or session.last != len(times) or await store.check():
        raise SystemExit("void: the store's own check failed")
    await store.close()
    return summary(path, times, 1, took, used) | {"batch": statistics.mean(commits)}


def run(folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    cases: dict[str, Callable[[Path], Result]] = {
        "limit": lambda path: raw(path, seconds, POSTERS),
        "single": lambda path: raw(path, seconds, 1),
        "aiosqlite": lambda path: asyncio.run(with_aiosqlite(path, seconds)),
        "store": lambda path: asyncio.run(with_store(path, seconds)),
    }
    flush_ms = measure_flush(folder)
    asyncio.run(with_store(fresh(folder), seconds / 4))  # warm-up, not counted
    found: dict[str, list[Result]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            path = fresh(folder)
            found[name].append(case(path))
            for file in folder.glob(f"{path.name}*"):
                file.unlink()

    def middle(name: str, figure: str) -> float:
        return statistics.median(result[figure] for result in found[name])

    def ratio(one: str, other: str) -> float:
        """The median of the rounds' own ratios: both sides met the same drift."""
        pairs = zip(found[one], found[other], strict=True)
        return statistics.median(a["events_s"] / b["events_s"] for a, b in pairs)

    return {
        "flush_ms": flush_ms,
        "cases": {
            name: {figure: middle(name, figure) for figure in results[0]} for name, results in found.items()
        },
        "ratios": {
            "store to limit": ratio("store", "limit"),
            "store to aiosqlite": ratio("store", "aiosqlite"),
            "store to single": ratio("store", "single"),
            "store p99 in flushes": middle("store", "p99_ms") / flush_ms,
        },
    }


def run_with_flush(flush_ms: float, seconds: float, rounds: int) -> dict[str, Any] | None:
    """The same in a process whose flushes last ``flush_ms``; ``None`` where that cannot be built."""
    compiler = shutil.which("cc")
    memory = Path("/dev/shm")
    if compiler is None or not memory.is_dir():
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "flush.so"
        command = [compiler, "-shared", "-fPIC", "-O2", "-x", "c", "-", "-o", str(library)]
        subprocess.run(command, input=SHIM, text=True, check=True)
        inner = [
            sys.executable, __file__, "--json", "--in", str(memory),
            "--seconds", str(seconds), "--rounds", str(rounds),
        ]  # fmt: skip
        environment = os.environ | {"LD_PRELOAD": str(library), "BENCH_FLUSH_MS": str(flush_ms)}
        output = subprocess.run(inner, env=environment, stdout=subprocess.PIPE, check=True).stdout
    (report,) = json.loads(output)["runs"].values()
    return dict(report)


def show(name: str, report: dict[str, Any]) -> None:
    print(f"\n{name}: one flush takes {report['flush_ms']:.2f} ms")
    print(f"  {'':10} {'events/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8} {'batch':>6}")
    for case, result in report["cases"].items():
        batch = f"{result['batch']:6.1f}" if "batch" in result else ""
        print(
            f"  {case:10} {result['events_s']:10,.0f} {result['p50_ms']:8.2f} {result['p99_ms']:8.2f}"
            f" {result['cpu_us']:8.1f} {batch}"
        )
    for ratio, value in report["ratios"].items():
        print(f"  {ratio:22} {value:8.2f}")


def main() -> None:
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flush-ms", type=float, action="append", default=[], help="and with such a flush")
    parser.add_argument("--in", dest="folder", default=None, help="folder for the files")
    args = parser.parse_args()

    runs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        runs["this disk"] = run(Path(folder), args.seconds, args.rounds)
    for flush_ms in args.flush_ms:
        report = run_with_flush(flush_ms, args.seconds, args.rounds)
        if report is not None:
            runs[f"a flush of {flush_ms} ms"] = report
    report = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "aiosqlite": metadata.version("aiosqlite"),
        "durability": "WAL, synchronous=FULL, answered after the commit",
        "posters": POSTERS,
        "cpus": os.cpu_count(),
        "runs": runs,
    }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in report.items() if name != "runs"))
    for name, found in runs.items():
        show(name, found)


if __name__ == "__main__":
    main()
