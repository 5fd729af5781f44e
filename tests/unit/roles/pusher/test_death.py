"""The pusher dies at every call that it makes, before it and after it, and another one takes over."""

from __future__ import annotations

import pytest

from pushpals.testing.mortal import Died, Life
from pushpals.testing.yard import PusherYard


async def landed_in_the_end(yard: PusherYard, rounds: int = 8) -> None:
    pusher = yard.pusher()
    for _ in range(rounds):
        await pusher.round()


async def lives(yard: PusherYard, life: Life) -> bool:
    """Run a pusher until it dies (False) or has nothing left to do (True)."""
    pusher = yard.pusher(life=life)
    try:
        for _ in range(8):
            await pusher.round()
    except Died:
        return False
    return True


MOMENTS = range(1, 60)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_whenever_the_pusher_dies_the_landing_lands_exactly_once(yard: PusherYard, after: bool) -> None:
    seen: set[str] = set()
    for moment in MOMENTS:
        first = await yard.submit({f"a{moment}{after}.txt": "x\n"})
        second = await yard.submit({f"b{moment}{after}.txt": "x\n"})
        life = Life(moment, after=after)
        runs_before = len(yard.checks.runs)
        survived = await lives(yard, life)
        seen.update(life.log[-1:])
        await landed_in_the_end(yard)
        assert await yard.states(first, second) == ["landed", "landed"], (moment, life.log[-3:])
        assert len(yard.checks.runs) - runs_before <= 2, (moment, life.log[-3:])
        history = yard.remote.git("log", "--format=%B", "main")
        for landing in (first, second):
            assert history.count(f"Job-Id: {landing.id}\n") == 1, (moment, life.log[-3:])
        if survived:
            break
    else:
        pytest.fail("the pusher never came to its end")
    assert {"lease_lane", "fetch", "move_landings", "ls_remote", "push"} <= seen


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_main_is_never_red_whenever_the_pusher_dies_in_a_search(yard: PusherYard, after: bool) -> None:
    for moment in MOMENTS[::5]:
        good = await yard.submit({f"good{moment}{after}.txt": "x\n"})
        bad = await yard.submit({f"BAD{moment}{after}": "x\n"})
        also_good = await yard.submit({f"fine{moment}{after}.txt": "x\n"})
        survived = await lives(yard, Life(moment, after=after))
        await landed_in_the_end(yard)
        assert await yard.states(good, bad, also_good) == ["landed", "rejected", "landed"], moment
        assert not any(name.startswith("BAD") for name in yard.files_on_main())
        if survived:
            return
