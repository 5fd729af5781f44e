"""What a command costs in the sandbox, compared with the same command as a plain child process.

Every round runs the same program once in each way, in a new order each time, so that a noisy
neighbour hits all of them alike. Times are wall clock from the call to the reaped exit, the program's
start-up included. The target is at most 25 ms more than a plain process at the median.

    python bench/sandbox.py [--json] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pushpals.work.executors.base import Command, Executor, Place
from pushpals.work.executors.bubblewrap import BubblewrapExecutor
from pushpals.work.executors.local import LocalExecutor
from pushpals.work.executors.tools import find_tool

TARGET_MS = 25.0

PROGRAM = "/usr/bin/true"

WARM_UP = 5


def plain_asyncio() -> Callable[[], Awaitable[object]]:
    async def once() -> None:
        child = await asyncio.create_subprocess_exec(
            PROGRAM, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        await child.communicate()

    return once


def through(executor: Executor, place: Place) -> Callable[[], Awaitable[object]]:
    command = Command(argv=(PROGRAM,), env={"PATH": "/usr/bin:/bin"})

    async def once() -> None:
        outcome = await executor.run(place, command)
        assert outcome.ok, outcome

    return once


def filled(folder: Path, files: int) -> Path:
    tree = folder / f"tree-{files}"
    for number in range(files):
        path = tree / f"d{number // 20}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    tree.mkdir(exist_ok=True)
    return tree


async def measure(rounds: int) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory(prefix="pushpals-bench-") as name:
        folder = Path(name)
        small, large = filled(folder, 1), filled(folder, 3000)
        toolchain = tuple({Path(sys.prefix), Path(sys.base_prefix)} - {Path("/usr")})
        local, sandbox = LocalExecutor(), BubblewrapExecutor()
        ways = {
            "plain process": plain_asyncio(),
            "local executor": through(local, Place(tree=small)),
            "sandbox": through(sandbox, Place(tree=small)),
            "sandbox, toolchain shown": through(sandbox, Place(tree=small, toolchain=toolchain)),
            "sandbox, tree of 3,000 files": through(sandbox, Place(tree=large)),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        order = list(ways)
        for number in range(WARM_UP + rounds):
            random.shuffle(order)
            for way in order:
                began = time.perf_counter()
                await ways[way]()
                if number >= WARM_UP:
                    taken[way].append((time.perf_counter() - began) * 1000)
        await local.close()
        await sandbox.close()
    return taken


def summary(taken: dict[str, list[float]]) -> dict[str, object]:
    base = statistics.median(taken["plain process"])
    ways = {
        way: {
            "p50_ms": round(statistics.median(times), 2),
            "p95_ms": round(statistics.quantiles(times, n=20)[-1], 2),
            "over_plain_p50_ms": round(statistics.median(times) - base, 2),
        }
        for way, times in taken.items()
    }
    bwrap = find_tool("bwrap")
    return {
        "compared": f"{PROGRAM} in each way, interleaved; a plain process is asyncio's, with both pipes read",
        "mode": "root, uid dropped inside" if os.geteuid() == 0 else "ordinary user, user namespace",
        "bubblewrap": subprocess.run(
            [str(bwrap), "--version"], capture_output=True, text=True
        ).stdout.strip(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "rounds": len(taken["plain process"]),
        "ways": ways,
        "target_ms": TARGET_MS,
        "met": statistics.median(taken["sandbox"]) - base <= TARGET_MS,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    found = summary(asyncio.run(measure(options.rounds)))
    if options.json:
        print(json.dumps(found, indent=2))
        return 0 if found["met"] else 1
    ways = found["ways"]
    assert isinstance(ways, dict)
    print(f"{found['compared']}\n{found['mode']}; {found['bubblewrap']}; kernel {found['kernel']}\n")
    print(f"{'':32}{'p50 ms':>8}{'p95 ms':>8}{'over plain':>12}")
    for way, figures in ways.items():
        print(f"{way:32}{figures['p50_ms']:8.2f}{figures['p95_ms']:8.2f}{figures['over_plain_p50_ms']:12.2f}")
    print(f"\ntarget: {TARGET_MS:g} ms over plain at the median: {'met' if found['met'] else 'MISSED'}")
    return 0 if found["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
