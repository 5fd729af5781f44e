"""How fast the hub is, beside what anyone would write instead, durability included.

    python bench/hub.py [--json] [--rounds 3] [--seconds 3] [--only NAME ...] [--no-peers]

The server is one process on one core, the load another on the other (`load.c`, built here). Peers are
installed into a venv of their own for the run: starlette + sse-starlette + aiosqlite on uvicorn, aiohttp +
aiosqlite, Bun + bun:sqlite, a raw asyncio loop that keeps nothing (`peers/`). Files lie on a RAM disk and a
flush takes a fixed time (`--flush-ms`, 0.5), because a virtual disk's own takes anything from 0.1 to 100 ms.

What makes the figures mean something: rounds are outermost, so every case meets the same drift; ratios are
medians of the rounds' own ratios; warm-up is not counted; other processes must be quiet before a case
(`--quiet-s`), and what they used all the same is reported; every delivery is parsed and checked; open-loop
latency counts from the time a request was due; after each durable case the server is killed with SIGKILL
and the rows are counted: fewer than were acknowledged, and the run is void.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import inside
from servers import HERE, Server, Tools, finish, running, settle, wait_for_quiet

Result = dict[str, float]
EVENTS = "/sessions/dev/events"
BATCH = ('{"events":[', '{"type":"message","payload":{"text":"%"}}', "]}")


class Bench:
    def __init__(self, tools: Tools, root: Path, *, flush_ms: float, seconds: float, quiet_s: float) -> None:
        self.tools, self.root, self.flush_ms = tools, root, flush_ms
        self.seconds, self.quiet_s = seconds, quiet_s
        self.results: dict[str, list[Result]] = {}
        self.noise: list[float] = []
        self._n = 0

    def server(self, kind: str, flush_ms: float | None = None) -> Any:
        self._n += 1
        self.noise.append(wait_for_quiet(self.quiet_s))
        chosen = self.flush_ms if flush_ms is None else flush_ms
        return running(self.tools, kind, self.root / f"{kind}-{self._n}", chosen)

    def note(self, name: str, result: Result) -> None:
        self.results.setdefault(name, []).append(result)
        print(f"  {name}: " + ", ".join(f"{k} {v:,.2f}" for k, v in result.items()), file=sys.stderr)

    # --- cases --------------------------------------------------------------------------------------

    def posts(self, kind: str) -> None:
        """64 connections, one event a post."""
        with self.server(kind) as server:
            cpu = server.cpu()
            found = server.write(64, self.seconds)
            used = server.cpu() - cpu
            self.note(
                f"post {kind}",
                {
                    "per_s": found["per_s"],
                    "p99_ms": found["p99_ms"],
                    "cpu_us": 1e6 * used / found["acked_all"],
                },
            )
            if kind not in ("empty", "bare"):
                count_rows(server, found["acked_all"])

    def batches(self) -> None:
        """16 connections, 50 events a post."""
        with self.server("hub") as server:
            found = server.write(16, self.seconds, items=50, path="/sessions/dev/events", body=BATCH)
            self.note("batch hub", {"per_s": found["per_s"], "p99_ms": found["p99_ms"]})
            count_rows(server, found["acked_all"])

    def fan_out(self, kind: str, readers: int, writers: int = 32) -> None:
        with self.server(kind) as server:
            watching = server.read(readers)
            cpu = settle(server)
            wrote = server.write(writers, self.seconds)
            saw = finish(watching, wrote["acked_all"])
            used = server.cpu() - cpu
            self.note(
                f"fan-out {kind} {readers}x{writers}",
                {
                    "per_s": saw["counted"] / saw["seconds"],
                    "p99_ms": saw["p99_ms"],
                    "cpu_us": 1e6 * used / saw["deliveries"],
                },
            )
            if kind != "bare":
                count_rows(server, wrote["acked_all"])

    def delay(self, kind: str, rate: float = 200) -> None:
        """Post to delivered: 100 readers, events on schedule."""
        with self.server(kind) as server:
            watching = server.read(100)
            wrote = server.write(32, self.seconds, rate=rate)
            saw = finish(watching, wrote["acked_all"])
            self.note(f"delay {kind}", {"p50_ms": saw["p50_ms"], "p99_ms": saw["p99_ms"]})

    def chat_beside_logs(self) -> None:
        """200 readers of a chat, 50 messages a second, while ten jobs print 1,000 lines a second each."""
        with self.server("hub") as server:
            jobs = inside.claimed_jobs(server, 10, session="work")
            watching = server.read(200)
            logs = [
                inside.printing(self.tools, server, job, seconds=self.seconds + 1.5, lines_per_s=1_000)
                for job in jobs
            ]
            time.sleep(0.5)
            wrote = server.write(16, self.seconds, rate=50)
            saw = finish(watching, wrote["acked_all"])
            lines = sum(json.loads(log.communicate()[0])["acked_all"] for log in logs)
            self.note(
                "chat beside logs",
                {"p50_ms": saw["p50_ms"], "p99_ms": saw["p99_ms"], "lines_s": lines / (self.seconds + 1.5)},
            )

    def progress(self) -> None:
        """Ten jobs report as fast as they can, 500 lines a request."""
        with self.server("hub") as server:
            jobs = inside.claimed_jobs(server, 10, session="work")
            logs = [inside.printing(self.tools, server, job, seconds=self.seconds) for job in jobs]
            found = [json.loads(log.communicate()[0]) for log in logs]
            self.note("progress", {"per_s": sum(one["per_s"] for one in found)})
            count_rows(server, sum(one["acked_all"] for one in found))

    def one_job_prints(self) -> None:
        with self.server("hub") as server:
            (job,) = inside.claimed_jobs(server, 1, session="work")
            log = inside.printing(self.tools, server, job, seconds=self.seconds)
            found = json.loads(log.communicate()[0])
            self.note("one job prints", {"per_s": found["per_s"]})

    def stalled_readers(self) -> None:
        """20 readers that never read are owed 600 MiB; 20 others must not notice."""
        for stalled in (0, 20):
            with self.server("hub") as server:
                idle = [inside.never_reads(server) for _ in range(stalled)]
                watching = server.read(20)
                rss = server.rss()
                wrote = server.write(8, max(4.0, self.seconds), rate=120, items=100, path=EVENTS, body=BATCH)
                grown = server.rss() - rss
                saw = finish(watching, wrote["acked_all"])
                for sock in idle:
                    sock.close()
                self.note(
                    f"stalled {stalled}",
                    {
                        "p99_ms": saw["p99_ms"],
                        "rss_mib": grown,
                        "owed_mib": stalled * wrote["acked_all"] * 500 / 2**20,
                    },
                )

    def replay(self, events: int) -> None:
        with self.server("hub", flush_ms=0) as server:
            server.kill()
            inside.fill_history(server.database, events)
            raw = inside.read_in_chunks(server.database, events)
            server.start()
            rss = server.rss()
            began = time.perf_counter()
            watching = server.read(1)
            peak = rss
            assert watching.stdin is not None
            watching.stdin.write(f"{events}\n")
            watching.stdin.flush()
            while watching.poll() is None:
                peak = max(peak, server.rss())
                time.sleep(0.05)
            took = time.perf_counter() - began
            assert watching.stdout is not None
            saw = json.loads(watching.stdout.read())
            if saw["errors"] or saw["deliveries"] < events:
                raise SystemExit("void: the replay was not whole")
            self.note("replay", {"per_s": events / took, "raw_per_s": raw, "rss_mib": peak - rss})

    def comes_back(self) -> None:
        """SIGKILL with a long log, then the time until it serves again."""
        with self.server("hub", flush_ms=0) as server:
            server.kill()
            inside.make_log_long(server.database, 64)
            wal = server.database.with_name("hub.db-wal").stat().st_size / 2**20
            server.start()
            self.note("back after kill", {"seconds": server.took_s, "wal_mib": wal})

    def idle_worker(self) -> None:
        with self.server("hub") as server:
            self.note("idle worker", inside.enqueue_to_claimed(server, 200))


def count_rows(server: Server, acked: float) -> None:
    server.kill()
    kept = inside.rows(server.database)
    if kept < acked:
        raise SystemExit(f"void: {server.kind} acknowledged {acked:.0f} events and kept {kept}")


# --- what the figures should be ---------------------------------------------------------------------


def targets(bench: Bench, store: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of the table: what, the figure, the target, whether it is met."""
    found = bench.results
    lines: list[dict[str, Any]] = []

    def middle(name: str, figure: str) -> float | None:
        values = [one[figure] for one in found.get(name, ())]
        return statistics.median(values) if values else None

    def ratio(one: str, other: str, figure: str = "per_s") -> float | None:
        pairs = list(zip(found.get(one, ()), found.get(other, ()), strict=False))
        return statistics.median(a[figure] / b[figure] for a, b in pairs) if pairs else None

    def line(number: str, what: str, figure: float | None, least: float | None, most: float | None) -> None:
        if figure is None:
            return
        met = (least is None or figure >= least) and (most is None or figure <= most)
        target = f">= {least:g}" if least is not None else f"<= {most:g}" if most is not None else ""
        lines.append({"n": number, "what": what, "figure": figure, "target": target, "met": met})

    two = 2 * bench.flush_ms
    for flush, least_limit, least_naive in (("2.0", 0.8, 40), ("0.5", 0.65, 30)):
        run = store.get("runs", {}).get(f"a flush of {flush} ms")
        if run:
            line(
                "1",
                f"append of SQLite's limit, {flush} ms flush",
                run["ratios"]["store to limit"],
                least_limit,
                None,
            )
            line(
                "2",
                f"append to aiosqlite, {flush} ms flush",
                run["ratios"]["store to aiosqlite"],
                least_naive,
                None,
            )
            if flush == "2.0":
                line("3", "append p99, in flushes", run["ratios"]["store p99 in flushes"], None, 3)
    line("4", "post of an empty Tornado handler", ratio("post hub", "post empty"), 0.75, None)
    line("4", "post to starlette + aiosqlite", ratio("post hub", "post naive"), 3, None)
    line("5", "batches of 50 to single posts", ratio("batch hub", "post hub"), 10, None)
    for n, least in ((1000, 10), (100, 8)):
        line(
            "6",
            f"fan-out to {n}, to starlette + sse-starlette",
            ratio(f"fan-out hub {n}x32", f"fan-out naive {n}x32"),
            least,
            None,
        )
    for n in (1000, 100):
        line(
            "7",
            f"fan-out to {n}, to Bun",
            ratio(f"fan-out hub {n}x32", f"fan-out bun {n}x32"),
            2 if n == 1000 else None,
            None,
        )
        line(
            "7",
            f"fan-out to {n}, to aiohttp",
            ratio(f"fan-out hub {n}x32", f"fan-out aio {n}x32"),
            None,
            None,
        )
        line(
            "8",
            f"fan-out to {n}, to one bare send a delivery",
            ratio(f"fan-out hub {n}x32", f"fan-out bare {n}x32"),
            1.8 if n == 1000 else None,
            None,
        )
    line(
        "9",
        "CPU a delivery, one event at a time, to the bare loop",
        ratio("fan-out hub 1000x1", "fan-out bare 1000x1", "cpu_us"),
        None,
        1.4,
    )
    line("10", "post to delivered p99, ms", middle("delay hub", "p99_ms"), None, 10 + two)
    line("10", "... of starlette + sse-starlette", ratio("delay hub", "delay naive", "p99_ms"), None, None)
    line("11", "claim, 1 M finished to 1 k", middle("claims", "finished_ratio"), None, 1.2)
    line("11", "claim, 100 k scheduled to none", middle("claims", "scheduled_ratio"), None, 1.2)
    line("12", "32 claimers to processes on the file", middle("claimers", "ratio"), 10, None)
    line("12", "... longest wait, ms", middle("claimers", "max_ms"), None, 20)
    line("13", "enqueue to claimed, idle worker, p99 ms", middle("idle worker", "p99_ms"), None, 10 + two)
    replays = found.get("replay", ())
    if replays:
        line(
            "14",
            "replay of SQLite's chunked read",
            statistics.median(r["per_s"] / r["raw_per_s"] for r in replays),
            0.35,
            None,
        )
        line("14", "... memory, MiB", middle("replay", "rss_mib"), None, 32)
    line("15", "20 stalled readers: memory, MiB", middle("stalled 20", "rss_mib"), None, 64)
    line("15", "... p99 of the others to without", ratio("stalled 20", "stalled 0", "p99_ms"), None, 1.5)
    line("16", "serving after kill -9, 64 MiB log, s", middle("back after kill", "seconds"), None, 1)
    line(
        "A",
        "chat p99 beside ten printing jobs, 200 readers, ms",
        middle("chat beside logs", "p99_ms"),
        None,
        10 + two,
    )
    line("B", "audit chain, share of append throughput", middle("chain", "cost"), None, 0.10)
    line("C", "batched progress, events/s", middle("progress", "per_s"), 30_000, None)
    line("D", "lines/s of one job", middle("one job prints", "per_s"), 10_000, None)
    line("loss", "single post of aiohttp's (same promise)", ratio("post hub", "post aio"), None, None)
    line("loss", "single post of Bun's (same promise)", ratio("post hub", "post bun"), None, None)
    line("loss", "CPU of a post, to Bun's", ratio("post hub", "post bun", "cpu_us"), None, None)
    return lines


def cases(bench: Bench, names: list[str], replayed: int) -> None:
    peers = [
        kind for kind in ("naive", "aio", "bun") if bench.tools.python and (kind != "bun" or bench.tools.bun)
    ]
    todo: dict[str, Callable[[], None]] = {
        "post": lambda: [bench.posts(kind) for kind in ("hub", "empty", *peers)] and None,
        "batch": bench.batches,
        "fan-out": lambda: [
            bench.fan_out(kind, n) for n in (1000, 100) for kind in ("hub", "bare", *peers)
        ] and None,
        "single": lambda: [bench.fan_out(kind, 1000, 1) for kind in ("hub", "bare")] and None,
        "delay": lambda: [bench.delay(kind) for kind in ("hub", *(["naive"] if peers else []))] and None,
        "chat": bench.chat_beside_logs,
        "progress": bench.progress,
        "prints": bench.one_job_prints,
        "claims": lambda: bench.note("claims", inside.claims(bench.root)),
        "claimers": lambda: bench.note("claimers", inside.claimers(bench.root, bench.tools.shim, bench.flush_ms)),
        "worker": bench.idle_worker,
        "chain": lambda: bench.note("chain", inside.chain_cost(bench.root)),
        "stalled": bench.stalled_readers,
        "replay": lambda: bench.replay(replayed),
        "back": bench.comes_back,
    }  # fmt: skip
    for name, case in todo.items():
        if not names or name in names:
            case()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one case")
    parser.add_argument("--flush-ms", type=float, default=0.5, help="length of one flush")
    parser.add_argument("--quiet-s", type=float, default=20.0, help="longest wait for a quiet machine")
    parser.add_argument("--replay", type=int, default=1_000_000, help="events of the replay")
    parser.add_argument("--only", nargs="*", default=[], help="names of cases")
    parser.add_argument("--out", help="write what was measured so far here, after each round")
    parser.add_argument("--no-peers", action="store_true")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        tools = Tools(Path(made), peers=not args.no_peers)
        bench = Bench(tools, Path(memory), flush_ms=args.flush_ms, seconds=args.seconds, quiet_s=args.quiet_s)
        store: dict[str, Any] = {}
        if not args.only or "store" in args.only:
            command = [
                sys.executable,
                str(HERE / "store.py"),
                "--json",
                "--flush-ms",
                "0.5",
                "--flush-ms",
                "2",
            ]
            store = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        for number in range(args.rounds):
            if args.out:
                Path(args.out).write_text(json.dumps(bench.results))
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
            cases(bench, args.only, args.replay)
        report = {
            "machine": machine(),
            "versions": {
                "python": platform.python_version(), "sqlite": sqlite3.sqlite_version,
                "tornado": metadata.version("tornado"), **tools.versions,
            },
            "durability": f"WAL, synchronous=FULL, answered after the commit; a flush takes {args.flush_ms} ms",
            "rounds": args.rounds,
            "others_cores": {
                "median": statistics.median(bench.noise or [0]), "max": max(bench.noise or [0]),
            },
            "targets": targets(bench, store),
            "cases": {
                name: {f: statistics.median(one[f] for one in runs) for f in runs[0]}
                for name, runs in bench.results.items()
            },
            "store": store,
        }  # fmt: skip
    if args.json:
        print(json.dumps(report, indent=2))
        return
    show(report)


def machine() -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}"


def show(report: dict[str, Any]) -> None:
    print(f"{report['machine']}\n{report['versions']}\n{report['durability']}")
    noise = report["others_cores"]
    print(
        f"{report['rounds']} rounds; others used {noise['median']:.2f} cores (at most {noise['max']:.2f})\n"
    )
    for line in report["targets"]:
        met = "" if not line["target"] else "met" if line["met"] else "MISSED"
        print(f"{line['n']:>5}  {line['what']:58} {line['figure']:12,.2f}  {line['target']:>12}  {met}")
    print()
    for name, figures in report["cases"].items():
        print(f"  {name:28} " + "  ".join(f"{k} {v:,.2f}" for k, v in figures.items()))


if __name__ == "__main__":
    main()
