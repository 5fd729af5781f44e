"""A real pusher process, killed by SIGKILL at every step of a landing's way, over a real hub on HTTP.

Each kill falls before, during or after the call that makes a step; the next process finds what is left. All
values that main ever had are looked at in the end. ``PUSHPALS_KILLS=300`` for the whole proof, which also
prints its figures (``-s``).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from pushpals.hub import decisions, landings, sessions, tokens
from pushpals.hub.hub import SYSTEM
from pushpals.hub.of import Of
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import CreateSession, Decide, NewToken, SubmitLanding
from pushpals.protocol.landings import Landing
from pushpals.server import Service, start_service
from pushpals.store.sqlite import open_store
from pushpals.testing.bench import BUDDY, OPERATOR
from pushpals.testing.pusher_process import STEPS, Die, Options
from pushpals.testing.repos import Repository

KILLS = int(os.environ.get("PUSHPALS_KILLS", str(len(STEPS))))
PATIENCE_S = 60.0


class Ground:
    """A remote that remembers every value of main, a person's clone, a hub, and pushers that die."""

    def __init__(self, root: Path, service: Service, token: str):
        self.root = root
        self.service = service
        self.token = token
        self.remote = Repository(root / "remote.git", bare=True)
        self.person = Repository(root / "person")
        self.jobs = 0
        self.wanted: dict[str, str] = {}

    async def submit(self, bad: bool) -> None:
        self.jobs += 1
        name, branch = f"{'BAD' if bad else 'f'}{self.jobs}", f"agent/w1/j{self.jobs}"
        base = self.remote.git("rev-parse", "refs/heads/main")
        self.person.git("fetch", "--quiet", str(self.remote.path), "main")
        self.person.git("checkout", "--quiet", "-b", branch, base)
        head = self.person.commit(f"Work {self.jobs}", {name: "x\n"})
        self.person.git("push", "--quiet", str(self.remote.path), branch)
        ask = SubmitLanding(
            session_id="dev", repository="demo", target="main", head=head, base=base, branch=branch,
            title=f"Change {self.jobs}",
        )  # fmt: skip
        hub = self.service.hub
        reply = await hub.run(landings.submit, ask, actor=BUDDY)
        assert reply.approval is not None
        yes = Decide(decision="approve", action_hash=reply.approval.action_hash)
        await hub.run(decisions.decide, Of(id=reply.approval.id, body=yes), actor=OPERATOR)
        self.wanted[reply.landing.id] = "rejected" if bad else "landed"

    @contextlib.asynccontextmanager
    async def pusher(self, die: Die | None) -> AsyncIterator[asyncio.subprocess.Process]:
        options = Options(
            url=self.service.url, token=self.token, remote=str(self.remote.path),
            data=str(self.root / "pusher"), runs=str(self.root / "runs"), die=die,
        )  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pushpals.testing.pusher_process", msgspec.json.encode(options).decode(),
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def states(self) -> dict[str, str]:
        found = await self.service.hub.store.reader.find(Landing, limit=1000)
        return {landing.id: landing.state for landing in found}

    async def done_or(self, process: asyncio.subprocess.Process) -> None:
        """Until everything has ended, or the process has."""
        while process.returncode is None and await self.states() != self.wanted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await process.wait()

    async def settled(self) -> float:
        """Wait until everything has ended; seconds until the first landing moved."""
        began, first, before = time.monotonic(), 0.0, await self.states()
        async with asyncio.timeout(PATIENCE_S):
            while (now := await self.states()) != self.wanted:
                if not first and now != before:
                    first = time.monotonic() - began
                await asyncio.sleep(0.05)
        return first or time.monotonic() - began


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    remote = Repository.create(tmp_path / "remote.git", bare=True)
    remote.git("config", "core.logAllRefUpdates", "always")
    person = Repository.create(tmp_path / "person", {"README": "hello\n"})
    person.git("push", "--quiet", str(remote.path), "main")
    (tmp_path / "hub").mkdir()
    service = await start_service(open_store, tmp_path / "hub" / "hub.db", data_dir=tmp_path / "hub", port=0)
    await service.hub.run(sessions.create, CreateSession(session_id="dev"), actor=OPERATOR)
    made = await service.hub.run(tokens.make, NewToken(role="pusher", label="pusher"), actor=SYSTEM)
    yield Ground(tmp_path, service, made.secret)
    await service.stop()


def every_main(remote: Repository) -> list[str]:
    """All values that main ever had, oldest first."""
    log = (remote.path / "logs" / "refs" / "heads" / "main").read_text().splitlines()
    return [line.split()[1] for line in log]


def is_green(remote: Repository, commit: str) -> bool:
    return not any(
        name.startswith("BAD") for name in remote.git("ls-tree", "--name-only", commit).split("\n")
    )


@pytest.mark.timeout(60 + 15 * KILLS)
async def test_whatever_step_is_killed_nothing_is_lost_doubled_or_red(ground: Ground) -> None:
    chance = random.Random(7)
    names = list(STEPS)
    died: Counter[str] = Counter()
    progress: list[float] = []
    for number in range(KILLS):
        step = names[number % len(names)]
        when = chance.choice(["before", "during", "after"])
        die = Die(step=step, when=when, after_s=chance.uniform(0.0, 0.03))  # type: ignore[arg-type]
        await ground.submit(bad=chance.random() < 0.15)
        await ground.submit(bad=False)
        async with ground.pusher(die) as process:
            async with asyncio.timeout(PATIENCE_S):
                await ground.done_or(process)
            # What dies in the very last step, or never comes to its step, has done its work.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await process.wait()
            died[step] += process.returncode == -9
        if await ground.states() != ground.wanted:
            async with ground.pusher(None):
                progress.append(await ground.settled())
    assert await ground.states() == ground.wanted
    mains = every_main(ground.remote)
    assert all(is_green(ground.remote, commit) for commit in mains)
    for old, new in itertools.pairwise(mains):
        ground.remote.git("merge-base", "--is-ancestor", old, new)
    history = ground.remote.git("log", "--format=%B", "main")
    for landing, state in ground.wanted.items():
        assert history.count(f"Job-Id: {landing}\n") == (state == "landed"), landing
    records = ground.remote.git("for-each-ref", "--format=%(refname)", "refs/pushpals/landed/").split()
    assert len(records) == sum(state == "landed" for state in ground.wanted.values())
    assert not ground.remote.git("for-each-ref", "--format=%(refname)", "refs/heads/agent").split() or {
        *ground.wanted.values()
    } == {"landed", "rejected"}
    passed = Counter(
        line.split()[1] for line in (ground.root / "runs").read_text().splitlines() if line.endswith("passed")
    )
    again = [tree for tree, count in passed.items() if count > 1]
    assert len(again) <= died["check"], "only a run whose answer was lost is repeated"
    assert sum(died.values()) >= KILLS * 0.7, died
    print(
        f"\n{sum(died.values())} killed of {KILLS}: {dict(died)}; {len(ground.wanted)} landings, {len(mains)} "
        f"values of main; first progress after a restart within {max(progress, default=0):.2f} s"
    )


async def test_a_second_process_on_the_same_directory_waits_and_says_why(ground: Ground) -> None:
    await ground.submit(bad=False)
    async with ground.pusher(None):
        await ground.settled()
        async with ground.pusher(None) as second, asyncio.timeout(PATIENCE_S):
            assert await second.wait() == 1
    assert (await ground.service.hub.store.reader.find(Approval))[0].state == "consumed"
