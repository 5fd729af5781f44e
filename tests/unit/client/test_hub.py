"""The client against a hub that is slow, broken, gone or strange."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from pushpals.client import Backoff, HubClient
from pushpals.protocol.commands import Claim, Enqueue, LeaseLane
from pushpals.protocol.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    LeaseLost,
    NotFound,
    PushPalsError,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from pushpals.protocol.events import Error, Event, Message

Answer = Callable[[httpx.Request], httpx.Response]
POSTED = {"ok": True, "eventId": "e", "cursor": 1}


class Waits:
    """A clock for back-offs: takes no time, keeps the figures."""

    def __init__(self) -> None:
        self.s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.s.append(seconds)


def client_of(answer: Answer, waits: Waits | None = None, **options: Any) -> HubClient:
    return HubClient(
        "http://hub/under/here/",
        "secret",
        transport=httpx.MockTransport(answer),
        sleep=waits or Waits(),
        backoff=options.pop("backoff", Backoff(tries=4, first_s=1, most_s=8, jitter=lambda: 1.0)),
        **options,
    )


def script(*answers: Any) -> tuple[Answer, list[httpx.Request]]:
    """Answers in turn, and what was asked. The last one repeats."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        now = answers[min(len(asked), len(answers)) - 1]
        if isinstance(now, Exception):
            raise now
        return now if isinstance(now, httpx.Response) else now(request)

    return answer, asked


def problem(status: int, code: str = "some", headers: dict[str, str] | None = None) -> Answer:
    return lambda _: httpx.Response(
        status, json={"ok": False, "error": "why", "code": code, "errors": ["why"]}, headers=headers
    )


def fine(body: Any) -> Answer:
    return lambda _: httpx.Response(200, json=body)


async def test_a_write_is_repeated_with_its_key_until_it_is_answered() -> None:
    answer, asked = script(
        httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), problem(503), fine(POSTED)
    )
    waits = Waits()
    async with client_of(answer, waits) as hub:
        posted = await hub.say("dev", "hello")

    assert posted.cursor == 1
    assert len({request.headers["idempotency-key"] for request in asked}) == 1
    assert len({request.content for request in asked}) == 1
    assert waits.s == [1, 2, 4]
    assert asked[0].url.path == "/under/here/sessions/dev/message"
    assert asked[0].headers["authorization"] == "Bearer secret"


async def test_two_writes_have_two_keys_and_a_given_key_is_kept() -> None:
    answer, asked = script(fine(POSTED))
    async with client_of(answer) as hub:
        await hub.say("dev", "hello")
        await hub.say("dev", "hello")
        await hub.say("dev", "hello", key="mine")

    keys = [request.headers["idempotency-key"] for request in asked]
    assert keys[0] != keys[1]
    assert keys[2] == "mine"


async def test_when_the_tries_are_used_up_the_hub_is_unavailable() -> None:
    answer, asked = script(httpx.ConnectError("refused"))
    async with client_of(answer) as hub:
        with pytest.raises(Unavailable, match="no answer from http://hub/under/here") as caught:
            await hub.sessions()

    assert caught.value.code == "hub.unreachable"
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "some", BadRequest), (401, "some", Unauthenticated), (403, "some", Forbidden),
        (404, "some", NotFound), (409, "some", Conflict), (409, "lease_lost", LeaseLost),
        (500, "some", PushPalsError), (418, "some", PushPalsError),
    ],
)  # fmt: skip
async def test_an_error_is_raised_as_the_hub_raised_it_and_not_repeated(
    status: int, code: str, expected: type[PushPalsError]
) -> None:
    answer, asked = script(problem(status, code))
    async with client_of(answer) as hub:
        with pytest.raises(expected, match="why") as caught:
            await hub.enqueue(Enqueue(task_id="t", kind="check"))

    assert type(caught.value) is expected
    assert caught.value.code == code
    assert len(asked) == 1


async def test_later_means_later_and_the_wish_for_a_pause_is_kept_within_reason() -> None:
    answer, _ = script(
        problem(429, headers={"Retry-After": "3"}),
        problem(429, headers={"Retry-After": "9000"}),
        problem(429),
    )
    waits = Waits()
    async with client_of(answer, waits) as hub:
        with pytest.raises(TooMany):
            await hub.status()

    assert waits.s == [3, 16, 4]


async def test_an_answer_that_is_not_ours_is_named_by_its_status() -> None:
    answer, _ = script(httpx.Response(502, html="<h1>proxy</h1>"))
    async with client_of(answer) as hub:
        with pytest.raises(Unavailable, match="HTTP 502"):
            await hub.lanes()


@pytest.mark.parametrize("session_id", [".", "..", "a..b", "-"])
async def test_ids_made_of_dots_arrive_as_they_are(session_id: str) -> None:
    answer, asked = script(fine(POSTED))
    async with client_of(answer) as hub:
        await hub.say(session_id, "hello")

    path = asked[0].url.raw_path.decode()
    assert path.replace("%2E", ".") == f"/under/here/sessions/{session_id}/message"


async def test_no_job_is_none_and_a_long_wait_has_a_longer_timeout() -> None:
    answer, asked = script(problem(404, "job.none"))
    async with client_of(answer) as hub:
        assert await hub.claim(Claim(worker_id="w", wait_s=50)) is None
        assert asked[0].extensions["timeout"]["read"] > 50
        with pytest.raises(NotFound):
            await hub.lease_lane(LeaseLane(lane="r:m", holder="p", repository="r", branch="m", wait_s=50))
        assert asked[1].extensions["timeout"]["read"] > 50


async def test_an_artifact_that_arrives_damaged_is_not_handed_on() -> None:
    answer, _ = script(httpx.Response(200, content=b"other bytes"))
    async with client_of(answer) as hub:
        with pytest.raises(Unavailable, match="damaged"):
            await hub.get_artifact("0" * 64)


async def test_an_upload_is_repeated_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"x" * 600_000)
    stored = {"sha256": "s", "size": 1, "kind": "k", "mediaType": "m", "createdAt": "c"}
    bodies: list[bytes] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(await request.aread())
        return httpx.Response(503) if len(bodies) == 1 else httpx.Response(201, json=stored)

    hub = HubClient("http://hub", "s", transport=httpx.MockTransport(answer), sleep=Waits())
    await hub.put_artifact(path, kind="k")
    await hub.close()

    assert [len(body) for body in bodies] == [600_000, 600_000]


# --- following --------------------------------------------------------------------------------------


def frame(cursor: int, text: str = "hello", kind: str = "message") -> bytes:
    envelope = {
        "protocolVersion": "0.1.0", "id": f"e{cursor}", "ts": "2026-01-31T12:00:00.000Z", "sessionId": "dev",
        "type": kind, "payload": {"text": text},
    }  # fmt: skip
    return b"id: %d\ndata: %b\n\n" % (cursor, json.dumps(envelope).encode())


class Cut(httpx.AsyncByteStream):
    """A stream that gives its parts and then ends, breaks or falls silent."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            yield part


def stream(*parts: bytes | Exception, epoch: str = "") -> Answer:
    return lambda _: httpx.Response(200, stream=Cut(*parts), headers={"X-Session-Epoch": epoch})


async def take(hub: HubClient, count: int, **options: Any) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(10), aclosing(hub.follow("dev", **options)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_a_cut_stream_is_resumed_after_the_last_event() -> None:
    answer, asked = script(
        stream(b": connected\n\n", frame(1), frame(2)[:20]),
        httpx.ConnectError("refused"),
        stream(frame(2), b": live 2\n\n", httpx.ReadTimeout("silent for 45 s")),
        problem(503),
        stream(frame(3), b": live 3\n\n", frame(4)),
    )
    states: list[str] = []
    async with client_of(answer) as hub:
        events = await take(hub, 4, on_state=states.append)

    assert [event.cursor for event in events] == [1, 2, 3, 4]
    assert [request.headers["last-event-id"] for request in asked] == ["0", "1", "1", "2", "2"]
    assert all(request.headers["accept"] == "text/event-stream" for request in asked)
    assert asked[0].extensions["timeout"]["read"] == 45.0
    assert states == [
        "catching_up", "offline", "catching_up", "live", "offline", "catching_up", "live",
    ]  # fmt: skip


async def test_what_is_sent_twice_is_handed_on_once() -> None:
    answer, _ = script(stream(frame(1), frame(1), frame(2)), stream(frame(1), frame(2), frame(3)))
    async with client_of(answer) as hub:
        assert [event.cursor for event in await take(hub, 3)] == [1, 2, 3]


async def test_a_hole_is_a_cut_and_nothing_behind_it_is_handed_on() -> None:
    answer, asked = script(stream(frame(1), frame(3)), stream(frame(2), frame(3)))
    async with client_of(answer) as hub:
        assert [event.cursor for event in await take(hub, 3)] == [1, 2, 3]
    assert asked[1].headers["last-event-id"] == "1"


async def test_with_types_holes_are_expected_and_notes_move_the_cursor() -> None:
    answer, asked = script(stream(frame(3), b": live 7\n\n", frame(9), b": at 12\n\n"), stream(frame(20)))
    async with client_of(answer) as hub:
        events = await take(hub, 3, types=["message"])
    assert [event.cursor for event in events] == [3, 9, 20]
    assert asked[0].url.params["types"] == "message"
    assert asked[1].headers["last-event-id"] == "12"


async def test_waits_grow_while_nothing_works_and_start_over_once_it_does() -> None:
    waits = Waits()
    answer, _ = script(*[httpx.ConnectError("refused")] * 5, stream(frame(1)), stream(frame(2)))
    async with client_of(answer, waits) as hub:
        await take(hub, 2)
    assert waits.s == [1, 2, 4, 8, 8, 1]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_no_waiting_cures_is_raised(status: int) -> None:
    answer, _ = script(problem(status))
    async with client_of(answer) as hub:
        with pytest.raises(PushPalsError) as caught:
            await take(hub, 1)
    assert caught.value.status == status


async def test_an_event_of_a_newer_hub_is_handed_on_as_one_it_cannot_read() -> None:
    known_type_with_new_field = frame(2).replace(b'"text"', b'"mood": 1, "text"')
    answer, _ = script(stream(frame(1, kind="brand_new"), known_type_with_new_field, frame(3)))
    async with client_of(answer) as hub:
        events = await take(hub, 3)
    assert isinstance(events[0].payload, Error)
    assert events[0].payload.message == "unknown event type brand_new"
    assert isinstance(events[1].payload, Error)
    assert events[2].payload == Message(text="hello")


async def test_the_epoch_is_sent_back_so_that_a_replaced_history_is_noticed() -> None:
    reset = b'event: reset\nid: 2\ndata: {"reason":"epoch","cursor":2,"first":1,"epoch":"new"}\n\n'
    answer, asked = script(
        stream(frame(1), epoch="old"), stream(reset, epoch="new"), stream(frame(1), frame(2), epoch="new")
    )
    async with client_of(answer) as hub:
        events = await take(hub, 3)
    assert [event.cursor for event in events] == [1, 1, 2]
    assert [request.url.params.get("epoch") for request in asked] == [None, "old", "new"]


async def test_something_that_is_no_stream_of_ours_is_tried_again_with_patience() -> None:
    waits = Waits()
    answer, _ = script(stream(b"data: no cursor\n\n"), stream(b"x" * 20_000_000), stream(frame(1)))
    async with client_of(answer, waits) as hub:
        assert [event.cursor for event in await take(hub, 1)] == [1]
    assert waits.s == [1, 2]
