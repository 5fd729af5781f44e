"""The buddy on a live stream: a real hub on a free port, its real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pushpals.client import HubClient
from pushpals.protocol.events import Event
from pushpals.protocol.wire import read_event
from pushpals.roles.base import RoleEnded
from pushpals.roles.buddy import Buddy
from pushpals.server import start_service
from pushpals.store.sqlite import open_store
from pushpals.testing.site import FAST, RunningSite


async def open_site(folder: Path, port: int = 0) -> RunningSite:
    return RunningSite(
        await start_service(open_store, folder / "hub.db", data_dir=folder / "data", port=port)
    )


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[RunningSite]:
    made = await open_site(tmp_path)
    await made.make_tokens()
    yield made
    await made.close()


async def until(person: HubClient, kind: str, count: int, after: int = 0) -> list[Event]:
    """The first ``count`` events of a type, as soon as they are there."""
    found: list[Event] = []
    async for event in person.follow("dev", after=after, types=[kind]):
        found.append(event)
        if len(found) == count:
            break
    return found


async def test_a_message_is_answered_on_the_live_stream(site: RunningSite) -> None:
    person, hub = await site.client("operator"), await site.client("buddy")
    stop = asyncio.Event()
    running = asyncio.create_task(Buddy(hub, ["dev", "other"]).run(stop))
    for session in ("dev", "other"):
        await person.create_session(session)
    await person.say("dev", "clean up the code")
    await until(person, "assistant_message", 1)
    await person.say("dev", "3")
    (job,) = await until(person, "job_enqueued", 1)
    assert job.payload.params == {"fixer": "typos"}  # type: ignore[attr-defined]
    await until(person, "task_started", 1)
    stop.set()
    await running
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("buddy")] == []


async def test_a_hub_that_restarts_finds_the_buddy_waiting(tmp_path: Path) -> None:
    first = await open_site(tmp_path)
    await first.make_tokens()
    secrets, port = first.secrets, first.service.port
    stop = asyncio.Event()
    async with HubClient(first.url, secrets["buddy"], backoff=FAST) as hub:
        running = asyncio.create_task(Buddy(hub, ["dev"]).run(stop))
        async with HubClient(first.url, secrets["operator"], backoff=FAST) as person:
            await person.create_session("dev")
            await person.say("dev", "help")
            await until(person, "assistant_message", 1)
        await first.close()
        second = await open_site(tmp_path, port)
        async with HubClient(second.url, secrets["operator"], backoff=FAST) as person:
            await person.say("dev", "hello")
            said = await until(person, "assistant_message", 2)
            assert said[1].payload.text.startswith("Hello.")  # type: ignore[attr-defined]
            page = await person.history("dev")
            types = [read_event(bytes(one.envelope), one.cursor).type for one in page.items]
            assert types == ["message", "assistant_message"] * 2
        stop.set()
        await running
        await second.close()


async def test_a_buddy_whose_token_is_refused_ends_and_says_why(site: RunningSite) -> None:
    async with HubClient(site.url, "no such token", backoff=FAST) as hub:
        with pytest.raises(RoleEnded, match="does not accept this token"):
            await Buddy(hub, ["dev"]).run(asyncio.Event())
