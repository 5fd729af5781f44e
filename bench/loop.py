"""How long the loop takes, and how much of that is the product and not the repository's own checks.

The real stack (``pushpals up``: hub, buddy, two workers, pusher, as processes; SQLite; the sandbox that is
there) on a small repository whose only check sleeps for a known time. For each of N rounds a person pastes a
patch, approves it the moment it is asked for, and the clock stops at the event that says so::

    say ─▶ diff_ready ─▶ approval_required        approve ─▶ landed

What is compared: the wall clock that a person sees, against the time that the checks themselves report in
their receipts. The difference is the product's overhead: planning, claiming, workspaces, sandboxes, git, the
push, and every trip over HTTP. Times are taken by the person's client, on the same machine.

    python bench/loop.py [--rounds 10] [--check-s 0.2]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

from pushpals.testing.repos import make_cloned
from pushpals.testing.stack import Stack, new_file_patch


async def measure(rounds: int, check_s: float) -> dict[str, list[float]]:
    """Seconds by name, one for each round."""
    found: dict[str, list[float]] = {
        name: [] for name in ("up", "diff", "question", "landed", "checks", "extra")
    }
    with tempfile.TemporaryDirectory(prefix="pushpals-bench-") as folder:
        root = Path(folder)
        checks = f'[[checks]]\nname = "tests"\ncommand = "sleep {check_s}"\n'
        made = make_cloned(root / "repository", {"README.md": "# bench\n", "pushpals.toml": checks})
        began = time.perf_counter()
        async with Stack.running(made.checkout.path, made.upstream.path, root / "data") as stack:
            found["up"].append(time.perf_counter() - began)
            async with stack.client() as hub, stack.watch() as watcher:
                await stack.staffed(hub)
                for number in range(rounds):
                    after = watcher.cursor
                    begin = time.perf_counter()
                    await hub.say("dev", new_file_patch(f"notes/{number}.txt", f"{number}"))
                    await watcher.until_type("diff_ready", after=after)
                    diff = time.perf_counter()
                    asked = await watcher.until_type("approval_required", after=after)
                    question = time.perf_counter()
                    await stack.approve(hub, asked.payload["approvalId"])
                    await watcher.until_type("landing_moved", after=after, state="landed")
                    landed = time.perf_counter()
                    await watcher.until_type("task_completed", after=after)
                    ran = [frame.payload["evidence"]["seconds"] for frame in watcher.of("check_finished")
                           if frame.cursor > after]  # fmt: skip
                    found["diff"].append(diff - begin)
                    found["question"].append(question - begin)
                    found["landed"].append(landed - question)
                    found["checks"].append(sum(ran))
                    found["extra"].append(landed - begin - sum(ran))
            began = time.perf_counter()
            await stack.end()
            found["down"] = [time.perf_counter() - began]
    return found


def show(found: dict[str, list[float]], rounds: int, check_s: float) -> None:
    cores = os.cpu_count()
    print(f"{rounds} rounds, one check of {check_s:g} s, run twice a round (on the branch, and on the merge)")
    print(f"{platform.machine()}, {cores} cores, Python {platform.python_version()}\n")
    rows = [
        ("start of the stack until main is known", "up"),
        ("say → diff on the stream", "diff"),
        ("say → question, with the checks on the branch", "question"),
        ("approve → landed, with the checks on the merge", "landed"),
        ("both check runs, by their receipts", "checks"),
        ("overhead: say → landed, less the checks", "extra"),
        ("clean end", "down"),
    ]
    print(f"{'seconds':<50} {'median':>8} {'worst':>8}")
    for words, name in rows:
        print(f"{words:<50} {statistics.median(found[name]):>8.3f} {max(found[name]):>8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--check-s", type=float, default=0.2)
    args = parser.parse_args()
    show(asyncio.run(measure(args.rounds, args.check_s)), args.rounds, args.check_s)


if __name__ == "__main__":
    main()
