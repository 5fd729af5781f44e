"""The buddy dies between any two writes, or loses any answer, and its successor finishes the same history."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pushpals.protocol.errors import Unavailable
from pushpals.protocol.jobs import JobResult
from pushpals.testing.bench import BUDDY
from pushpals.testing.direct import DirectHub

WRITES = frozenset(
    {"post", "enqueue", "submit_landing", "cancel_job", "cancel_landing", "retry_job", "set_mark"}
)


class Killed(BaseException):
    """What SIGKILL looks like from inside: nothing catches it."""


class Frail:
    """A hub whose caller dies at write number ``at``: before it is sent, or before its answer arrives."""

    def __init__(
        self, hub: DirectHub, *, at: int, answered: bool, error: Callable[[], BaseException] = Killed
    ):
        self.writes = 0
        self._hub = hub
        self._at = at
        self._answered = answered
        self._error = error

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._hub, name)
        if name not in WRITES:
            return method

        async def write(*args: Any, **options: Any) -> Any:
            self.writes += 1
            if self.writes == self._at and not self._answered:
                raise self._error()
            reply = await method(*args, **options)
            if self.writes == self._at:
                raise self._error()
            return reply

        return write


LANDED = ("prepared", "composed", "checking", "green", "pushing", "landed")
Story = Callable[[Any, Any, Any], Awaitable[None]]


async def a_landing(team: Any, receipt: Any, changed: Any) -> None:
    await team.say("fix the lint and fix typos")
    await team.complete(JobResult(summary="ruff finds nothing.", base="b" * 40))
    await team.complete(changed(receipt()))
    await team.say("status")
    await team.decide("approve")
    await team.push(*LANDED)
    await team.say("thanks")


async def a_bad_day(team: Any, receipt: Any, changed: Any) -> None:
    await team.say("run the tests")
    await team.fail("no space left", "environment")
    await team.say("retry")
    job = await team.take()
    await team.say("stop")
    await team.complete(JobResult(summary="done after all", base="b" * 40), job)
    await team.say("fix the lint")
    red = receipt("pytest", "failed", failures=["t::x"])
    await team.complete(changed(red))
    await team.say("land it")
    await team.decide("approve")
    await team.push("prepared", "conflict", conflict_paths=["a.py"])
    await team.say("retry")
    await team.say("what is the weather?")


class Restarting:
    """Stands in for the buddy of a team: catches up, and on its death a fresh one takes over."""

    def __init__(self, team: Any, frail: Frail):
        self._team = team
        self._buddy = team.new_buddy(frail)
        self.died = False

    async def catch_up(self) -> int:
        try:
            return await self._buddy.catch_up()
        except Killed:
            self.died = True
            self._buddy = self._team.new_buddy()
            return await self._buddy.catch_up()


def history(team: Any) -> list[Any]:
    return [(event.type, event.payload, event.turn_id, event.correlation_id) for event in team.events]


async def tell(story: Story, team: Any, receipt: Any, changed: Any) -> list[Any]:
    await story(team, receipt, changed)
    return history(team)


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", [a_landing, a_bad_day])
async def test_a_death_at_any_write_changes_nothing(
    opened: Any, receipt: Any, changed: Any, story: Story, answered: bool
) -> None:
    async with opened() as team:
        undisturbed = await tell(story, team, receipt, changed)
        assert len(undisturbed) > 20
    at = 0
    while True:
        at += 1
        async with opened() as team:
            frail = Frail(DirectHub(team.bench.hub, BUDDY), at=at, answered=answered)
            team.buddy = Restarting(team, frail)
            assert await tell(story, team, receipt, changed) == undisturbed, f"died at write {at}"
            if not team.buddy.died:
                break
    assert at > 18


async def test_a_hub_that_is_away_is_asked_again_for_the_same_event(
    team: Any, receipt: Any, changed: Any
) -> None:
    await team.person.say("dev", "run the tests")
    frail = Frail(
        DirectHub(team.bench.hub, BUDDY), at=4, answered=False, error=lambda: Unavailable("restarting")
    )
    buddy = team.new_buddy(frail)
    with pytest.raises(Unavailable):
        await buddy.catch_up()
    await buddy.catch_up()
    assert team.types()[1:] == [
        "assistant_message",
        "plan_made",
        "task_created",
        "job_enqueued",
        "task_started",
    ]


class Pair:
    """Two buddies of one token, both reading everything."""

    def __init__(self, team: Any, together: bool):
        self._buddies = [team.new_buddy(), team.new_buddy()]
        self._together = together

    async def catch_up(self) -> int:
        if self._together:
            return sum(await asyncio.gather(*(buddy.catch_up() for buddy in self._buddies)))
        return sum([await buddy.catch_up() for buddy in self._buddies])


@pytest.mark.parametrize("together", [False, True], ids=["in turn", "at once"])
@pytest.mark.parametrize("story", [a_landing, a_bad_day])
async def test_a_second_buddy_is_harmless(
    opened: Any, receipt: Any, changed: Any, story: Story, together: bool
) -> None:
    async with opened() as team:
        alone = await tell(story, team, receipt, changed)
    async with opened() as team:
        team.buddy = Pair(team, together)
        both = await tell(story, team, receipt, changed)
    assert sorted(map(repr, both)) == sorted(map(repr, alone))


async def test_a_restart_folds_what_was_dealt_with_and_says_nothing_twice(team: Any) -> None:
    await team.say("clean up the code")
    before = team.types()
    successor = team.new_buddy()
    await successor.catch_up()
    assert team.types() == before
    team.buddy = successor
    await team.say("2")
    assert team.said()[-1].startswith("I will apply the formatter")


async def test_the_mark_moves_only_after_the_last_write(team: Any) -> None:
    await team.person.say("dev", "run the tests")
    frail = Frail(DirectHub(team.bench.hub, BUDDY), at=5, answered=False)
    with pytest.raises(Killed):
        await team.new_buddy(frail).catch_up()
    assert await team.person.mark("dev", "buddy") is None
    await team.buddy.catch_up()
    mark = await team.person.mark("dev", "buddy")
    assert mark.cursor >= 1
