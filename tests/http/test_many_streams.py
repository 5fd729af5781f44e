"""Several sessions in one connection: each in order and once, with one position for all."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

from pushpals.client import HubClient
from pushpals.client.stream import Frame, FrameReader, Note
from pushpals.protocol.events import Event, Message
from pushpals.store.sqlite import open_store as open_sqlite
from pushpals.testing.raw import connect, request, status
from pushpals.testing.site import RunningSite


async def take(client: HubClient, count: int, names: list[str], **options: Any) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(20), aclosing(client.follow_many(names, **options)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


def seen(events: list[Event]) -> dict[str, list[int]]:
    by: dict[str, list[int]] = {}
    for event in events:
        by.setdefault(event.session_id, []).append(event.cursor)
    return by


async def test_every_session_is_whole_from_its_own_cursor(start: Any, tmp_path: Any) -> None:
    site: RunningSite = await start(store=open_sqlite, path=tmp_path / "hub.db")
    client = await site.client()
    for name in ("a", "b", "c"):
        await client.create_session(name)
    for number in range(60):
        await client.say("a", f"a{number}")
        if number % 3 == 0:
            await client.say("b", f"b{number}")

    states: list[str] = []

    async def later() -> None:
        while "live" not in states:  # noqa: ASYNC110 - the client tells by a callback
            await asyncio.sleep(0.001)
        for number in range(10):
            await client.say("c", f"c{number}")
            await client.say("a", f"more {number}")

    saying = asyncio.create_task(later())
    events = await take(client, 55 + 20 + 20, ["a", "b", "c"], after={"a": 5}, on_state=states.append)
    await saying

    assert seen(events) == {"a": list(range(6, 71)), "b": list(range(1, 21)), "c": list(range(1, 11))}
    assert states[:2] == ["catching_up", "live"]


async def test_a_cut_in_the_middle_loses_and_repeats_nothing(site: RunningSite) -> None:
    client = await site.client()
    await client.create_session("b")
    found: list[Event] = []
    async with asyncio.timeout(20), aclosing(client.follow_many(["dev", "b"])) as events:
        await client.say("dev", "1")
        async for event in events:
            found.append(event)
            if len(found) in (1, 3):
                await site.service.site.streams.close()
            if len(found) == 6:
                break
            await client.say("b" if len(found) % 2 else "dev", "next")
    assert seen(found) == {"dev": [1, 2, 3], "b": [1, 2, 3]}


async def test_ids_and_notes_are_the_whole_position(site: RunningSite) -> None:
    client = await site.client()
    await client.create_session("b")
    await client.say("dev", "one")
    await client.say("b", "two")
    host = site.url.removeprefix("http://")
    async with connect(site.url) as wire:
        ask = request("GET", "/events?session=dev,b", host=host, token=site.secrets["viewer"])
        await wire.send(ask)
        head = await wire.until(b"\r\n\r\n")
        assert status(head) == 200
        assert b"X-Session-Epochs: dev:" in head
        reader, items = FrameReader(), []
        while not items or not isinstance(items[-1], Note):
            size = int((await wire.until(b"\r\n"))[:-2], 16)
            items += reader.feed((await wire.reader.readexactly(size + 2))[:-2])
    assert [item.id for item in items if isinstance(item, Frame)] == [b"dev:1,b:0", b"dev:1,b:1"]
    assert items[-1] == Note(kind="live", cursors={"dev": 1, "b": 1})


async def test_a_reset_names_its_session_and_the_client_starts_that_one_over(site: RunningSite) -> None:
    client = await site.client()
    await client.create_session("b")
    for number in range(5):
        await client.say("dev", str(number))
        await client.say("b", str(number))
    await client.prune("b", 4)
    events = await take(client, 5, ["dev", "b"], after={"dev": 2, "b": 1})
    assert seen(events) == {"dev": [3, 4, 5], "b": [4, 5]}


async def test_only_sessions_of_the_token_and_only_so_many(site: RunningSite) -> None:
    secret = await site.token("viewer", sessions=["dev"])
    http = await site.http(secret=secret)
    assert (await http.get("/events?session=dev,other")).status_code == 404
    for query in ("", "?session=", "?session=a,,b", "?session=" + ",".join(f"s{n}" for n in range(33))):
        assert (await http.get(f"/events{query}")).status_code == 400
    for query in ("after=dev", "after=dev:x", "after=:1", "epoch=dev"):
        assert (await http.get(f"/events?session=dev&{query}")).status_code == 400
    refused = await http.get("/events?session=dev", headers={"Last-Event-ID": "dev:-1"})
    assert refused.status_code == 400
    assert json.loads(refused.content)["code"] == "query.bad_position"


async def test_a_filter_moves_every_cursor_on(site: RunningSite) -> None:
    client = await site.client()
    await client.create_session("b")
    await client.say("dev", "one")
    await client.say("b", "two")
    buddy = await site.client("buddy")
    from pushpals.protocol.events import Log

    await buddy.post("dev", Log(level="info", message="hidden"))
    notes: list[str] = []
    found: list[Event] = []
    async with asyncio.timeout(20):
        async with aclosing(
            client.follow_many(["dev", "b"], types=["message"], on_state=notes.append)
        ) as events:
            async for event in events:
                found.append(event)
                if len(found) == 2:
                    await client.say("dev", "three")
                if len(found) == 3:
                    break
    assert seen(found) == {"dev": [1, 3], "b": [1]}
    assert all(isinstance(event.payload, Message) for event in found)
