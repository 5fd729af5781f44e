"""How many check runs and how long a queue of branches costs: real git, the real pusher, the real hub.

    python bench/landing.py --branches 50 --bad 5 --check-seconds 2 --slots 1 --seed 7 --json

``--branches`` branches, ``--bad`` of them failing, are submitted, published and approved; then a pusher is
started and the clock runs until its queue is empty. A check is a sleep of ``--check-seconds``, and its
verdict is a function of the files of the commit, as a test suite's is: it names the failing test of each bad
branch that is in. With probability ``--flake`` a run fails whatever is in the commit.

``--hub http`` (the default) is the hub as it runs: SQLite with durable commits, HTTP, the client. ``direct``
calls the same hub without HTTP. ``--simulate N`` leaves out git and the hub and asks the search alone about N
seeds: for shares of bad branches and flakes, where one run of the whole says little.

Ratios: ``serial_ratio`` is runs over what one by one needs under the same rule of evidence (one run for each
branch, one more to confirm all that failed, and one to look at a main that nobody has tested yet);
``floor_ratio`` is runs over the least that any plan of yes/no tests needs: log2 of the number of ways to
choose the bad ones, at least one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pushpals.client import HubClient
from pushpals.hub import decisions, landings, sessions, tokens
from pushpals.hub.hub import SYSTEM, Hub
from pushpals.hub.of import Of
from pushpals.protocol.commands import CreateSession, Decide, NewToken, SubmitLanding
from pushpals.protocol.ids import random_id
from pushpals.protocol.jobs import CheckSpec, Evidence
from pushpals.protocol.landings import Landing
from pushpals.protocol.records import Actor
from pushpals.roles.pusher import PusherSettings, SerialPusher
from pushpals.server import start_service
from pushpals.store.sqlite import open_store
from pushpals.testing.direct import DirectHub
from pushpals.testing.repos import Repository
from pushpals.testing.simulate import simulate
from pushpals.work.git.remotes import parse_remote
from pushpals.work.git.repo import BareRepo

SLEEP = CheckSpec(name="tests", argv=["sleep"])
ADA = Actor(role="operator", token_id="op", label="ada")


class SleepingChecks:
    """A check that takes its time and then names the bad files of the commit."""

    environment = "bench"

    def __init__(self, repo: BareRepo, seconds: float, flake: float, chance: random.Random):
        self._repo = repo
        self._seconds = seconds
        self._flake = flake
        self._chance = chance
        self.runs = 0
        self.checking = 0
        self.busy_s = 0.0
        self._since = 0.0

    async def checks_at(self, base: str) -> tuple[CheckSpec, ...]:
        return (SLEEP,)

    async def run(self, commit: str, check: CheckSpec) -> Evidence:
        self.runs += 1
        flaked = self._chance.random() < self._flake
        if self.checking == 0:
            self._since = time.perf_counter()
        self.checking += 1
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.checking -= 1
            if self.checking == 0:
                self.busy_s += time.perf_counter() - self._since
        bad = sorted(
            e.path for e in await self._repo.tree_entries(commit, sizes=False) if e.path.startswith("BAD")
        )
        names = bad or ([f"flake-{self._chance.randrange(40)}"] if flaked else [])
        return Evidence(
            check=check.name,
            argv=check.argv,
            verdict="failed" if names else "passed",
            commit=commit,
            tree=await self._repo.tree_of(commit) or "",
            exit_code=1 if names else 0,
            seconds=self._seconds,
            failures=names[:50],
            environment=self.environment,
        )

    async def close(self) -> None:
        return None


def make_branches(root: Path, count: int, files: int, bad: set[int]) -> list[tuple[str, str, str]]:
    """A repository of ``files`` files and its branches, by fast-import: name, base and head of each.

    Each branch adds a file and changes a line in another, so that every merge is a real one.
    """
    remote = Repository.create(root / "remote.git", bare=True)
    people = "author W <w@b> 1700000000 +0000\ncommitter W <w@b> 1700000000 +0000\n"

    def data(text: str) -> str:
        return f"data {len(text)}\n{text}\n"

    def text_of(number: int, changed: bool = False) -> str:
        return "".join(f"line {n} of {number}{' changed' * (changed and n == 3)}\n" for n in range(20))

    stream = [f"commit refs/heads/main\nmark :1\n{people}{data('base')}"]
    for number in range(files):
        stream.append(f"M 100644 inline src/d{number % 20}/f{number}.txt\n{data(text_of(number))}")
    for number in range(count):
        name = f"BAD{number}" if number in bad else f"src/new/n{number}.txt"
        stream.append(
            f"commit refs/heads/agent/w1/j{number}\n{people}{data(f'Change {number}')}from :1\n"
            f"M 100644 inline {name}\n{data(f'change {number}')}"
        )
        if number < files:
            stream.append(
                f"M 100644 inline src/d{number % 20}/f{number}.txt\n{data(text_of(number, changed=True))}"
            )
    remote.git("fast-import", "--quiet", stdin="".join(stream).encode())
    base = remote.git("rev-parse", "refs/heads/main")
    return [
        (f"agent/w1/j{number}", base, remote.git("rev-parse", f"refs/heads/agent/w1/j{number}"))
        for number in range(count)
    ]


@contextlib.asynccontextmanager
async def hub_of(kind: str, root: Path) -> AsyncIterator[tuple[Hub, Any]]:
    """A hub on SQLite, and the pusher's way to it."""
    if kind == "direct":
        store = await open_store(root / "hub.db", on_commit=lambda _: None, new_id=random_id)
        hub = Hub(store)
        await hub.start()
        yield hub, DirectHub(hub, Actor(role="pusher", token_id="pu", label="serial-pusher"))
        await store.close()
        return
    service = await start_service(open_store, root / "hub.db", data_dir=root, port=0)
    made = await service.hub.run(tokens.make, NewToken(role="pusher", label="serial-pusher"), actor=SYSTEM)
    async with HubClient(service.url, made.secret) as client:
        yield service.hub, client
    await service.stop()


async def submit(hub: Hub, branches: list[tuple[str, str, str]]) -> list[str]:
    """Ask for every branch to be landed, and have a person approve it. Returns landing ids in order."""
    found = []
    with contextlib.suppress(Exception):
        await hub.run(sessions.create, CreateSession(session_id="bench"), actor=ADA)
    for name, base, head in branches:
        ask = SubmitLanding(
            session_id="bench", repository="bench", target="main", head=head, base=base, branch=name,
            title=f"Change {name}", agent="w1",
        )  # fmt: skip
        reply = await hub.run(landings.submit, ask, actor=ADA)
        assert reply.approval is not None
        body = Decide(decision="approve", action_hash=reply.approval.action_hash)
        await hub.run(decisions.decide, Of(id=reply.approval.id, body=body), actor=ADA)
        found.append(reply.landing.id)
    return found


async def measure(options: argparse.Namespace, root: Path) -> dict[str, Any]:
    chance = random.Random(options.seed)
    bad = set(chance.sample(range(options.branches), options.bad))
    branches = await asyncio.to_thread(make_branches, root, options.branches, options.files, bad)
    (root / "hub").mkdir()
    async with hub_of(options.hub, root / "hub") as (hub, client):
        ids = await submit(hub, branches)
        repo = await BareRepo.init(root / "pusher" / "pusher.git")
        checks = SleepingChecks(repo, options.check_seconds, options.flake, chance)
        settings = PusherSettings(
            repository="bench",
            branch="main",
            remote=parse_remote(root / "remote.git"),
            data_dir=root / "pusher",
            wait_s=0.0,
            slots=options.slots,
            max_batch=max(64, options.branches),
        )
        pusher = SerialPusher(client, settings, repo, checks)
        began = time.perf_counter()
        ended: list[Landing] = []
        while len(ended) < len(ids):
            await pusher.round()
            states = [await hub.store.reader.get(Landing, id_) for id_ in ids]
            ended = [x for x in states if x is not None and x.ended]
        seconds = time.perf_counter() - began
        await pusher.close()
    by_id = {x.id: x.state for x in ended}
    landed = [n for n, id_ in enumerate(ids) if by_id[id_] == "landed"]
    rejected = [n for n, id_ in enumerate(ids) if by_id[id_] == "rejected"]
    on_main = Repository(root / "remote.git", bare=True).git("ls-tree", "-r", "--name-only", "main")
    assert "BAD" not in on_main, "a bad branch is on main"
    serial = options.branches + (2 if options.bad else 0)
    floor = max(1.0, math.log2(math.comb(options.branches, options.bad)))
    return {
        "branches": options.branches,
        "bad": options.bad,
        "slots": options.slots,
        "flake": options.flake,
        "seed": options.seed,
        "hub": options.hub,
        "files": options.files,
        "check_seconds": options.check_seconds,
        "runs": checks.runs,
        "seconds": round(seconds, 2),
        "landed": len(landed),
        "rejected": len(rejected),
        "wrong_ejections": len(set(rejected) - bad),
        "serial_ratio": round(checks.runs / serial, 3),
        "floor_ratio": round(checks.runs / floor, 2),
        "wall_ratio": round(seconds / (serial * options.check_seconds), 3) if options.check_seconds else None,
        "overhead_ms_per_landing": round(1000 * (seconds - checks.busy_s) / max(1, len(landed)), 1),
        "machine": machine(),
    }


def machine() -> str:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    cores = len(os.sched_getaffinity(0))
    return f"{cores} x {model}, Linux {platform.release()}, Python {platform.python_version()}"


def simulated(options: argparse.Namespace) -> dict[str, Any]:
    runs, waves, wrong, good = [], [], 0, 0
    for seed in range(options.simulate):
        chance = random.Random(seed)
        bad = set(chance.sample(range(options.branches), options.bad))
        done = simulate(options.branches, bad, slots=options.slots, flake=options.flake, chance=chance)
        runs.append(done.runs)
        waves.append(done.waves)
        wrong += len(done.rejected - bad)
        good += options.branches - len(bad)
    runs.sort()
    waves.sort()
    serial = options.branches + (2 if options.bad else 0)
    floor = max(1.0, math.log2(math.comb(options.branches, options.bad)))
    last = int(len(runs) * 0.95)
    return {
        "simulated": options.simulate,
        "branches": options.branches,
        "bad": options.bad,
        "slots": options.slots,
        "flake": options.flake,
        "runs": round(statistics.mean(runs), 1),
        "runs_p95": runs[last],
        "waves": round(statistics.mean(waves), 1),
        "waves_p95": waves[last],
        "wrong_ejections": wrong,
        "wrong_share": round(wrong / good, 5) if good else 0.0,
        "serial_ratio": round(statistics.mean(runs) / serial, 3),
        "floor_ratio": round(statistics.mean(runs) / floor, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--branches", type=int, default=50)
    parser.add_argument("--bad", type=int, default=0)
    parser.add_argument("--check-seconds", type=float, default=2.0)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--flake", type=float, default=0.0)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hub", choices=["http", "direct"], default="http")
    parser.add_argument("--simulate", type=int, default=0, metavar="SEEDS")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args()
    if options.simulate:
        found = simulated(options)
    else:
        with tempfile.TemporaryDirectory(prefix="pushpals-landing-") as folder:
            found = asyncio.run(measure(options, Path(folder)))
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        for name, value in found.items():
            sys.stdout.write(f"{name:>24}  {value}\n")


if __name__ == "__main__":
    main()
