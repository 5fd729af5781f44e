"""Sessions and hubs as objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pushpals import Hub, Session
from pushpals.protocol.errors import PushPalsError
from pushpals.protocol.events import AssistantMessage, TaskCompleted, TaskCreated
from pushpals.testing.site import RunningSite


@pytest.fixture
def session(site: RunningSite) -> Session:
    return Session("ops", url=site.url, token=site.secrets["notebook"])


async def off_loop(call: Callable[[], Any]) -> Any:
    """The hub of these tests lives on this loop, so what blocks goes elsewhere."""
    return await asyncio.to_thread(call)


async def test_what_it_shows_does_not_change_from_run_to_run(site: RunningSite, session: Session) -> None:
    assert repr(session) == "Session('ops')"
    assert site.secrets["notebook"] not in repr(vars(session))
    landings = await off_loop(session.landings)
    assert [row.split() for row in repr(landings).splitlines()[2:]] == [
        ["landing-4", "needs_approval", "Sort", "the", "imports", "waits", "for", "a", "person's", "yes"],
        ["landing-3", "rejected", "Shorten", "the", "README", "denied", "by", "client:ada:", "we", "keep", "the", "long", "one"],
        ["landing-2", "landed", "Rename", "the", "flag", "--wide", "to", "--width", "5555555555"],
        ["landing-1", "landed", "Fix", "the", "lint", "3333333333"],
    ]  # fmt: skip
    workers = await off_loop(session.workers)
    assert sorted(worker.id for worker in workers) == ["w1", "w2"]
    assert await off_loop(lambda: session.sql("SELECT :n + 1 AS n", n=1).scalar()) == 2


async def test_cells_that_await_get_the_same(session: Session) -> None:
    jobs = await session.aio.jobs("failed")
    assert repr(jobs) == repr(await off_loop(lambda: session.jobs("failed")))
    assert (await session.aio.tail(2)).lines[0].startswith("ada")
    with pytest.raises(AttributeError):
        session.aio.id  # noqa: B018


async def test_asking_follows_the_turn_to_its_end(site: RunningSite, session: Session) -> None:
    buddy = await site.client("buddy")
    last = (await buddy.snapshot("ops")).cursor
    heard: list[str] = []
    asked = asyncio.create_task(off_loop(lambda: session.ask("run the tests", on_line=heard.append)))
    async for event in buddy.follow("ops", after=last, types=["message"]):
        mine: dict[str, Any] = {"turn_id": event.id, "correlation_id": "t1"}
        break
    await buddy.post("ops", AssistantMessage(text="On it."), **mine)
    created = TaskCreated(task_id="t1", title="Run the tests", description="", created_by="agent:remote")
    await buddy.post("ops", created, **mine)
    await buddy.post("ops", TaskCompleted(task_id="t1", summary="8 passed"), **mine)
    conversation = await asked
    assert conversation.ended == "done"
    assert heard == conversation.lines
    assert [line.split(None, 1)[1] for line in heard] == [
        "run the tests",
        "On it.",
        "Run the tests",
        "8 passed",
    ]


async def test_there_is_no_way_to_decide(session: Session) -> None:
    names = {name for name in (*dir(session), *dir(session._inner)) if not name.startswith("_")}
    assert names & {"approve", "deny", "decide", "revert", "merge"} == set()


async def test_a_hub_that_is_away_is_said_plainly(site: RunningSite) -> None:
    session = Session("ops", url="http://127.0.0.1:9", token="pp_notebook_x")
    with pytest.raises(PushPalsError, match="no answer from"):
        await off_loop(session.jobs)


async def test_a_hub_lists_its_sessions(site: RunningSite) -> None:
    hub = Hub(site.url, token=site.secrets["viewer"])
    assert repr(hub) == "Hub()"
    assert sorted(one.id for one in await off_loop(hub.sessions)) == ["_hub", "ops"]
    assert (await off_loop(lambda: hub.sql("SELECT count(*) FROM v_landings"))).scalar() == 4
    assert repr(hub.session("ops")) == "Session('ops')"
