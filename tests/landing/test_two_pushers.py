"""Two pushers of two hubs on one remote, and a person who pushes between them: nothing is ever overwritten.

``PUSHPALS_ROUNDS=200`` for the whole proof.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from pushpals.hub import landings
from pushpals.protocol.commands import SubmitLanding
from pushpals.protocol.ids import Ids
from pushpals.protocol.landings import Landing
from pushpals.roles.pusher import PusherSettings, SerialPusher
from pushpals.testing.bench import BUDDY, PUSHER, Bench, open_bench
from pushpals.testing.clock import CountedIds
from pushpals.testing.direct import DirectHub
from pushpals.testing.yard import FileChecks, PusherYard
from pushpals.work.git.remotes import parse_remote
from pushpals.work.git.repo import BareRepo

ROUNDS = int(os.environ.get("PUSHPALS_ROUNDS", "8"))


async def a_pusher(bench: Bench, yard: PusherYard, data: Path) -> SerialPusher:
    repo = await BareRepo.init(data / "pusher.git")
    settings = PusherSettings(
        repository="demo", branch="main", remote=parse_remote(yard.remote.path), data_dir=data, wait_s=0.0
    )
    hub: Any = DirectHub(bench.hub, PUSHER)
    return SerialPusher(hub, settings, repo, FileChecks(repo))


async def submit(bench: Bench, yard: PusherYard, branch: str, head: str, job: str) -> Landing:
    ask = SubmitLanding(
        session_id="dev", repository="demo", target="main", head=head, base=yard.person.git("rev-parse", "main"),
        branch=branch, title=f"Change {job}",
    )  # fmt: skip
    reply = await bench.run(landings.submit, ask, BUDDY)
    mine = PusherYard(bench, yard.root, yard.repo)
    await mine.approve(reply.landing)
    return reply.landing  # type: ignore[no-any-return]


@pytest.mark.timeout(60 + 5 * ROUNDS)
async def test_no_commit_that_was_ever_on_main_is_lost(tmp_path: Path) -> None:
    chance = random.Random(3)
    async with open_bench() as one, open_bench(other_ids()) as two, PusherYard.open(one, tmp_path) as yard:
        yard.remote.git("config", "core.logAllRefUpdates", "always")
        pushers = [await a_pusher(one, yard, tmp_path / "p1"), await a_pusher(two, yard, tmp_path / "p2")]
        asked: list[tuple[Bench, Landing]] = []
        for number in range(ROUNDS):
            for bench in (one, two):
                branch, head = yard.branch({f"f{number}-{id(bench)}": "x\n"})
                asked.append((bench, await submit(bench, yard, branch, head, str(number))))

            async def by_hand(number: int = number) -> None:
                await asyncio.sleep(chance.uniform(0.0, 0.2))
                await asyncio.to_thread(push_by_hand, yard, number)

            await asyncio.gather(*(pusher.round() for pusher in pushers), by_hand())
        for _ in range(6):
            for pusher in pushers:
                await pusher.round()
        states = [(await bench.get(Landing, landing.id)).state for bench, landing in asked]
        assert states == ["landed"] * len(asked)
        log = yard.remote.path / "logs" / "refs" / "heads" / "main"
        values = [line.split()[1] for line in log.read_text().splitlines()]
        held = set(yard.remote.git("rev-list", "main").split())
        assert [value for value in values if value not in held] == []
        history = yard.remote.git("log", "--format=%B%x00", "main").split("\0")
        jobs = [line for text in history for line in text.split("\n") if line.startswith("Job-Id: ")]
        assert sorted(jobs) == sorted(f"Job-Id: {landing.id}" for _, landing in asked)
        assert sum("By hand" in text for text in history) == ROUNDS


def other_ids() -> Ids:
    """Two hubs never name two landings alike."""
    counted = CountedIds()
    return lambda prefix: f"{counted(prefix)}b"


def push_by_hand(yard: PusherYard, number: int) -> None:
    """As a person does: fetch, commit on top, push, and again if somebody was faster."""
    while True:
        yard.person.git("fetch", "--quiet", str(yard.remote.path), "main")
        yard.person.git("checkout", "--quiet", "--detach", "FETCH_HEAD")
        head = yard.person.commit(f"By hand {number}", {f"hand{number}": "x\n"})
        try:
            yard.person.git("push", "--quiet", str(yard.remote.path), f"{head}:refs/heads/main")
        except Exception:
            continue
        finally:
            yard.person.git("checkout", "--quiet", "main")
        return


async def test_the_same_job_on_two_hubs_lands_once(tmp_path: Path) -> None:
    async with open_bench() as one, open_bench() as two, PusherYard.open(one, tmp_path) as yard:
        branch, head = yard.branch({"new.txt": "x\n"})
        first = await submit(one, yard, branch, head, "same")
        second = await submit(two, yard, branch, head, "same")
        assert first.id == second.id
        pushers = [await a_pusher(one, yard, tmp_path / "p1"), await a_pusher(two, yard, tmp_path / "p2")]
        await asyncio.gather(*(pusher.round() for pusher in pushers))
        for pusher in pushers:
            await pusher.round()
        states = {(await bench.get(Landing, first.id)).state for bench in (one, two)}
        assert "landed" in states
        assert states <= {"landed", "noop", "stale", "failed"}
        assert yard.remote.git("log", "--format=%B", "main").count(f"Job-Id: {first.id}\n") == 1
