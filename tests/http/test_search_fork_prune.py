"""Finding what was said, beginning again elsewhere, and giving up the past."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pushpals.protocol.commands import Enqueue, EventItem, Found
from pushpals.protocol.errors import BadRequest, Conflict, Forbidden, NotFound
from pushpals.protocol.events import AssistantMessage, Event, Message
from pushpals.protocol.wire import encode, read_event
from pushpals.store.sqlite import open_store as open_sqlite
from pushpals.testing.site import RunningSite


def texts(found: Found) -> list[str]:
    events = [read_event(bytes(item.envelope), item.cursor) for item in found.items]
    return [event.payload.text for event in events if isinstance(event.payload, Message)]


@pytest.fixture(params=["memory", "sqlite"])
async def hub(request: Any, start: Any, tmp_path: Any) -> RunningSite:
    options = {"store": open_sqlite, "path": tmp_path / "hub.db"} if request.param == "sqlite" else {}
    made: RunningSite = await start(**options)
    await (await made.client()).create_session("dev")
    return made


async def test_words_are_found_page_by_page(hub: RunningSite) -> None:
    client = await hub.client()
    for number in range(5):
        await client.say("dev", f"please fix parser number {number}")
    await client.say("dev", "thank you")

    first = await client.search("dev", "PARSER fix", limit=3)
    second = await client.search("dev", "PARSER fix", limit=3, before=first.next)

    assert texts(first) == [f"please fix parser number {n}" for n in (4, 3, 2)]
    assert texts(second) == [f"please fix parser number {n}" for n in (1, 0)]
    assert second.next is None
    with pytest.raises(BadRequest):
        await client.search("dev", "")
    with pytest.raises(NotFound):
        await client.search("nowhere", "parser")


async def test_a_fork_has_the_conversation_and_nothing_that_would_happen_twice(hub: RunningSite) -> None:
    client, buddy = await hub.client(), await hub.client("buddy")
    asked = await client.say("dev", "fix it")
    await buddy.post("dev", AssistantMessage(text="I will"), turn_id=asked.event_id)
    await client.enqueue(Enqueue(task_id="t", kind="fix", session_id="dev"))
    cut = await client.say("dev", "thank you")
    await client.say("dev", "after the fork")
    await buddy.set_mark("dev", "buddy", 2)

    made = await client.fork("dev", cut.cursor, new_id="again")

    async def said(session_id: str) -> list[Event]:
        page = await client.history(session_id)
        return [read_event(bytes(item.envelope), item.cursor) for item in page.items]

    before = [e for e in await said("dev") if e.cursor <= cut.cursor and e.type != "job_enqueued"]
    after = await said("again")
    assert (made.session_id, made.cursor) == ("again", 3)
    assert [(e.id, e.ts, e.from_, e.turn_id, e.payload) for e in after] == [
        (e.id, e.ts, e.from_, e.turn_id, e.payload) for e in before
    ]
    assert {e.session_id for e in after} == {"again"}
    assert (await client.snapshot("again")).jobs == []
    mark = await buddy.mark("again", "buddy")
    assert mark is not None
    assert mark.cursor == 3, "nobody answers an old message again"
    with pytest.raises(Conflict):
        await client.fork("dev", 1, new_id="again")
    with pytest.raises(BadRequest):
        await client.fork("dev", 99)
    with pytest.raises(NotFound):
        await client.fork("nowhere", 1)


async def test_what_was_pruned_is_gone_and_the_rest_goes_on(hub: RunningSite) -> None:
    client = await hub.client()
    for number in range(1, 8):
        await client.say("dev", f"message {number}")

    done = await client.prune("dev", 5)

    assert (done.erased, done.session.first, done.session.last) == (4, 5, 7)
    assert [item.cursor for item in (await client.history("dev")).items] == [5, 6, 7]
    assert texts(await client.search("dev", "message")) == ["message 7", "message 6", "message 5"]
    assert (await client.prune("dev", 5)).erased == 0
    assert await hub.service.store.check() == []
    with pytest.raises(Forbidden):
        await client.prune("_hub", 2)
    with pytest.raises(Forbidden):
        await (await hub.client("buddy")).prune("dev", 6)


async def test_a_batch_is_all_or_nothing_and_one_answer_for_one_key(hub: RunningSite) -> None:
    client = await hub.client()
    items = [EventItem(type="message", payload=raw(f"m{n}")) for n in range(3)]
    posted = await client.post_all("dev", items, key="k")
    again = await client.post_all("dev", items, key="k")
    assert posted == again
    assert (posted.cursor, len(posted.event_ids)) == (3, 3)

    for wrong, error in (
        (EventItem(type="message", payload=msgspec.Raw(b'{"txt": 1}')), BadRequest),
        (EventItem(type="nonsense", payload=raw("x")), BadRequest),
        (EventItem(type="approved", payload=msgspec.Raw(b'{"approvalId": "a"}')), Forbidden),
    ):
        with pytest.raises(error):
            await client.post_all("dev", [*items, wrong])
    assert (await client.history("dev")).last == 3


async def test_one_token_may_not_talk_without_end(start: Any) -> None:
    site: RunningSite = await start(events_per_s=0.001, events_burst=5.0)
    client = await site.client()
    await client.create_session("dev")
    await client.post_all("dev", [EventItem(type="message", payload=raw("m"))] * 4)
    await client.say("dev", "five")
    http = await site.http()
    refused = await http.post("/sessions/dev/message", json={"text": "six"})
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 60
    assert refused.json()["code"] == "events.too_many"
    other = await site.http(secret=await site.token("operator", label="other"))
    assert (await other.post("/sessions/dev/message", json={"text": "mine"})).status_code == 200


def raw(text: str) -> Any:
    return msgspec.Raw(encode({"text": text}))
