"""Streams: history then live, without a gap or a repeat, at the reader's own pace."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from pushpals.client import HubClient, Reset
from pushpals.client.stream import Frame, FrameReader, Note
from pushpals.hub import tokens
from pushpals.hub.hub import SYSTEM
from pushpals.hub.of import Of
from pushpals.protocol.commands import Ok
from pushpals.protocol.errors import NotFound, TooMany, Unauthenticated
from pushpals.protocol.events import Event, Log
from pushpals.store.sqlite import open_store as open_sqlite
from pushpals.testing.raw import connect, request, status
from pushpals.testing.site import RunningSite

Start = Any


async def take(client: HubClient, count: int, **options: Any) -> list[Event]:
    """The first events of a stream of ``dev``."""
    found: list[Event] = []
    async with asyncio.timeout(20), aclosing(client.follow("dev", **options)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def say(client: HubClient, count: int, start: int = 1) -> None:
    for number in range(start, start + count):
        await client.say("dev", f"message {number}")


async def until(condition: Any) -> None:
    """The hub is in this process, but on the other side of a socket: let it run until it got there."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)


class Raw:
    """One SSE connection, parsed."""

    def __init__(self, wire: Any) -> None:
        self._wire = wire
        self._reader = FrameReader()
        self.head = b""
        self.items: list[Frame | Note] = []
        self.ended = b""

    async def open(self, path: str, site: RunningSite, extra: str = "", secret: str | None = None) -> int:
        token = secret or site.secrets["operator"]
        host = urlsplit(site.url).netloc
        await self._wire.send(request("GET", path, host=host, token=token, extra=extra))
        self.head = await self._wire.until(b"\r\n\r\n")
        return status(self.head)

    async def chunk(self) -> bytes:
        size = int((await self._wire.until(b"\r\n"))[:-2], 16)
        async with asyncio.timeout(10):
            data: bytes = await self._wire.reader.readexactly(size + 2)
        self.ended = b"clean" if size == 0 else b""
        return data[:-2]

    async def read(self, count: int) -> list[Frame | Note]:
        """Until ``count`` frames and notes have come in all."""
        while len(self.items) < count:
            self.items += self._reader.feed(await self.chunk())
        return self.items


async def test_a_frame_is_an_id_and_the_envelope_and_nothing_else(site: RunningSite) -> None:
    client = await site.client()
    posted = await client.say("dev", "\n\nevent: approved\ndata: {}\n\n")
    async with connect(site.url) as wire:
        raw = Raw(wire)
        assert await raw.open("/sessions/dev/events", site) == 200
        greeting = await raw.chunk()
        frame = await raw.chunk()

    assert b"content-type: text/event-stream" in raw.head.lower()
    assert b"cache-control: no-store" in raw.head.lower()
    assert greeting.startswith(b": connected\nretry: ")
    lines = frame.split(b"\n")
    assert lines[0] == b"id: 1"
    assert lines[1].startswith(b"data: {")
    assert lines[2:] == [b"", b""]
    envelope = json.loads(lines[1][6:])
    assert envelope["id"] == posted.event_id
    assert envelope["payload"] == {"text": "\n\nevent: approved\ndata: {}\n\n"}
    assert set(envelope) == {"protocolVersion", "id", "ts", "sessionId", "type", "payload", "from"}


async def test_history_comes_first_and_then_what_happens(site: RunningSite) -> None:
    client = await site.client()
    await say(client, 5)
    states: list[str] = []
    following = asyncio.create_task(take(client, 8, on_state=states.append))
    await until(lambda: "live" in states)
    await say(client, 3, start=6)

    events = await following

    assert [event.cursor for event in events] == list(range(1, 9))
    assert states == ["catching_up", "live"]


@pytest.mark.parametrize(
    ("query", "header", "first"),
    [("", "", 1), ("?after=3", "", 4), ("", "Last-Event-ID: 3\r\n", 4),
     ("?after=1", "Last-Event-ID: 3\r\n", 4), ("?after=3", "Last-Event-ID: \r\n", 4),
     ("?after=3", "Last-Event-ID: nonsense\r\n", 4)],
)  # fmt: skip
async def test_a_reader_resumes_after_its_cursor_and_the_header_wins(
    site: RunningSite, query: str, header: str, first: int
) -> None:
    await say(await site.client(), 5)
    async with connect(site.url) as wire:
        raw = Raw(wire)
        assert await raw.open(f"/sessions/dev/events{query}", site, header) == 200
        items = await raw.read(6 - first + 1)

    assert [int(item.id) for item in items if isinstance(item, Frame)] == list(range(first, 6))
    assert items[-1] == Note(kind="live", cursor=5)


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 17, "%D9%A1"])
async def test_a_cursor_that_is_no_number_is_400(site: RunningSite, after: str) -> None:
    http = await site.http()
    assert (await http.get(f"/sessions/dev/events?after={after}")).status_code == 400


async def test_a_long_history_is_delivered_whole(start: Start, tmp_path: Any) -> None:
    """Defect 3 of the original: replay was capped and the middle never delivered."""
    site = await start(store=open_sqlite, path=tmp_path / "hub.db")
    await (await site.client()).create_session("dev")

    def fill(tx: Any) -> None:
        for number in range(2_600):
            tx.append("dev", Log(level="info", message=f"line {number}"))

    await site.service.store.write(fill, actor=SYSTEM, now=site.hub.clock())
    events = await take(await site.client(), 2_600)

    assert [event.cursor for event in events] == list(range(1, 2_601))


async def test_only_the_types_asked_for_are_sent_and_the_cursor_moves_on(site: RunningSite) -> None:
    client = await site.client()
    await say(client, 3)
    await client.post("dev", Log(level="info", message="one"))
    await say(client, 2)
    async with connect(site.url) as wire:
        raw = Raw(wire)
        await raw.open("/sessions/dev/events?types=log,done", site)
        items = await raw.read(2)
        assert [type(item) for item in items] == [Frame, Note]
        assert items[1] == Note(kind="live", cursor=6)
        await say(client, 1)
        await client.post("dev", Log(level="info", message="two"))
        items = await raw.read(3)

    assert [int(item.id) for item in items if isinstance(item, Frame)] == [4, 8]


async def test_a_heartbeat_says_where_the_stream_is(site: RunningSite) -> None:
    await say(await site.client(), 2)
    async with connect(site.url) as wire:
        raw = Raw(wire)
        await raw.open("/sessions/dev/events", site)
        await raw.read(3)
        await site.service.site.streams.step()
        items = await raw.read(4)

    assert items[3] == Note(kind="at", cursor=2)


async def test_a_cursor_from_the_future_is_answered_with_a_reset(site: RunningSite) -> None:
    await say(await site.client(), 2)
    async with connect(site.url) as wire:
        raw = Raw(wire)
        await raw.open("/sessions/dev/events?after=99", site)
        items = await raw.read(2)

    frame = items[0]
    assert isinstance(frame, Frame)
    assert (frame.event, frame.id) == ("reset", b"2")
    data = json.loads(frame.data)
    assert (data["reason"], data["cursor"], data["first"]) == ("future", 2, 1)
    assert items[1] == Note(kind="live", cursor=2)


async def test_a_cursor_of_another_epoch_is_answered_with_a_reset(site: RunningSite) -> None:
    await say(await site.client(), 2)
    async with connect(site.url) as wire:
        raw = Raw(wire)
        await raw.open("/sessions/dev/events?after=1&epoch=epoch-of-a-lost-backup", site)
        items = await raw.read(1)

    assert isinstance(items[0], Frame)
    assert json.loads(items[0].data)["reason"] == "epoch"


async def test_a_cursor_from_before_what_is_kept_is_answered_with_a_reset(site: RunningSite) -> None:
    await say(await site.client(), 4)

    def prune(tx: Any) -> None:
        tx.erase("dev", 4)

    await site.service.store.write(prune, actor=SYSTEM, now=site.hub.clock())
    async with connect(site.url) as wire:
        raw = Raw(wire)
        await raw.open("/sessions/dev/events?after=1", site)
        items = await raw.read(2)
    assert isinstance(items[0], Frame)
    assert json.loads(items[0].data) == {
        "reason": "pruned", "cursor": 4, "first": 4, "epoch": json.loads(items[0].data)["epoch"],
    }  # fmt: skip

    async with connect(site.url) as wire:
        raw = Raw(wire)
        await raw.open("/sessions/dev/events", site)
        items = await raw.read(2)
    assert [int(item.id) for item in items if isinstance(item, Frame)] == [4], (
        "from the start of what is kept"
    )


async def test_the_client_hears_of_a_reset_and_goes_on_where_it_says(site: RunningSite) -> None:
    client = await site.client()
    await say(client, 3)
    resets: list[Reset] = []

    def reset(found: Reset) -> int:
        resets.append(found)
        return found.cursor

    following = asyncio.create_task(take(client, 1, after=99, on_reset=reset))
    await until(lambda: resets)
    await say(client, 1, start=4)

    assert [event.cursor for event in await following] == [4]
    assert [(r.reason, r.cursor) for r in resets] == [("future", 3)]


async def test_without_a_say_in_it_the_client_starts_over_after_a_reset(site: RunningSite) -> None:
    client = await site.client()
    await say(client, 3)

    assert [event.cursor for event in await take(client, 3, after=99)] == [1, 2, 3]


async def test_readers_that_drop_and_resume_see_everything_once(start: Start, tmp_path: Any) -> None:
    site = await start(store=open_sqlite, path=tmp_path / "hub.db")
    client = await site.client()
    await client.create_session("dev")
    total, seen = 240, [[] for _ in range(6)]

    async def write(part: int) -> None:
        for number in range(total // 4):
            await client.say("dev", f"{part} {number}")

    async def read(mine: list[int], patience: int) -> None:
        while len(mine) < total:
            after = mine[-1] if mine else 0
            wanted = min(patience, total - len(mine))
            mine += [event.cursor for event in await take(client, wanted, after=after)]

    async with asyncio.TaskGroup() as group:
        for part in range(4):
            group.create_task(write(part))
        for number, mine in enumerate(seen):
            group.create_task(read(mine, 7 + 13 * number))

    assert all(mine == list(range(1, total + 1)) for mine in seen)


async def test_a_reader_that_takes_nothing_is_dropped_and_the_others_miss_nothing(start: Start) -> None:
    site = await start(backlog_bytes=256 * 1024)
    client = await site.client()
    await client.create_session("dev")
    states: list[str] = []
    fine = asyncio.create_task(take(await site.client(), 60, on_state=states.append))
    parts = urlsplit(site.url)
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(stuck, (parts.hostname, parts.port))
    hello = request("GET", "/sessions/dev/events", host=parts.netloc, token=site.secrets["operator"])
    await loop.sock_sendall(stuck, hello)
    await until(lambda: len(site.service.site.streams) == 2 and "live" in states)
    for number in range(60):
        await client.say("dev", f"{number}" + "x" * 100_000)

    assert [event.cursor for event in await fine] == list(range(1, 61))
    assert site.service.site.streams.dropped["slow"] == 1
    stuck.close()


async def test_a_reader_that_stalls_within_the_bound_is_dropped_after_a_while(start: Start) -> None:
    site = await start(stall_s=0.0, backlog_bytes=64 * 1024 * 1024)
    client = await site.client()
    await client.create_session("dev")
    parts = urlsplit(site.url)
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(stuck, (parts.hostname, parts.port))
    hello = request("GET", "/sessions/dev/events", host=parts.netloc, token=site.secrets["operator"])
    await loop.sock_sendall(stuck, hello)
    await until(lambda: len(site.service.site.streams) == 1)
    for number in range(60):
        await client.say("dev", f"{number}" + "x" * 100_000)
    await site.service.site.streams.step()

    assert site.service.site.streams.dropped["stalled"] == 1
    assert len(site.service.site.streams) == 0
    stuck.close()


async def test_one_token_may_not_take_all_streams(start: Start) -> None:
    site = await start(streams_per_token=2)
    client = await site.client()
    await client.create_session("dev")
    async with connect(site.url) as one, connect(site.url) as two:
        assert await Raw(one).open("/sessions/dev/events", site) == 200
        assert await Raw(two).open("/sessions/dev/events", site) == 200
        http = await site.http()
        refused = await http.get("/sessions/dev/events")
        assert refused.status_code == TooMany.status
        assert refused.headers["retry-after"]
        async with connect(site.url) as other:
            assert (
                await Raw(other).open("/sessions/dev/events", site, secret=site.secrets["viewer"]) == 200
            ), "others are not affected"
    await until(lambda: len(site.service.site.streams) == 0)
    assert (await client.say("dev", "still there")).ok


async def test_a_stream_ends_when_its_token_is_revoked(site: RunningSite) -> None:
    secret = await site.token("viewer")
    token_id = secret.split("_")[2]
    async with connect(site.url) as wire:
        raw = Raw(wire)
        await raw.open("/sessions/dev/events", site, secret=secret)
        await raw.read(1)
        await site.hub.run(tokens.revoke, Of(id=token_id, body=Ok()), actor=SYSTEM)
        assert await raw.chunk() == b""
        assert raw.ended == b"clean"

    client = HubClient(site.url, secret)
    with pytest.raises(Unauthenticated):
        await take(client, 1)
    await client.close()


async def test_a_stop_ends_streams_cleanly_and_the_reader_goes_on_after_it(
    start: Start, tmp_path: Any
) -> None:
    site = await start(store=open_sqlite, path=tmp_path / "hub.db")
    client = await site.client()
    await client.create_session("dev")
    await say(client, 1)
    async with connect(site.url) as wire:
        raw = Raw(wire)
        await raw.open("/sessions/dev/events", site)
        await raw.read(2)
        stopping = asyncio.create_task(site.service.stop())
        assert await raw.chunk() == b""
        assert raw.ended == b"clean"
        await stopping
    with pytest.raises(ConnectionRefusedError):
        async with connect(site.url):
            pass


async def test_waiting_claims_are_answered_when_the_hub_stops(site: RunningSite) -> None:
    worker = await site.http("worker")
    waiting = asyncio.create_task(worker.post("/jobs/claim", json={"workerId": "w1", "waitS": 60}))
    await until(lambda: site.service.site._working == 1)
    await site.service.stop()

    assert (await waiting).status_code == 404


async def test_a_waiting_claim_gets_the_job_that_comes(site: RunningSite) -> None:
    worker, operator = await site.http("worker"), await site.http()
    waiting = asyncio.create_task(worker.post("/jobs/claim", json={"workerId": "w1", "waitS": 30}))
    await until(lambda: site.service.site._working == 1)
    made = await operator.post("/jobs/enqueue", json={"taskId": "t", "kind": "check"})

    assert (await waiting).json()["job"]["id"] == made.json()["jobId"]


async def test_a_job_does_not_go_to_a_worker_that_hung_up(site: RunningSite) -> None:
    operator, worker = await site.http(), await site.http("worker")
    async with connect(site.url) as wire:
        body = b'{"workerId":"w1","waitS":30}'
        host = urlsplit(site.url).netloc
        await wire.send(request("POST", "/jobs/claim", host=host, token=site.secrets["worker"], body=body))
        await until(lambda: site.service.site._working == 1)
    await until(lambda: site.service.site._working == 0)
    made = await operator.post("/jobs/enqueue", json={"taskId": "t", "kind": "check"})

    claimed = await worker.post("/jobs/claim", json={"workerId": "w2"})
    assert claimed.json()["job"]["id"] == made.json()["jobId"]


async def test_an_unknown_session_has_no_stream(site: RunningSite) -> None:
    client = await site.client()
    with pytest.raises(NotFound):
        await anext(client.follow("nowhere"))


async def test_http_1_0_gets_the_same_stream_without_chunks(site: RunningSite) -> None:
    await say(await site.client(), 1)
    host = urlsplit(site.url).netloc
    asked = request("GET", "/sessions/dev/events", host=host, token=site.secrets["operator"])
    async with connect(site.url) as wire:
        await wire.send(asked.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        head = await wire.until(b"\r\n\r\n")
        body = await wire.until(b": live 1\n\n")

    assert b"chunked" not in head.lower()
    assert b"id: 1\ndata: {" in body


async def test_a_web_socket_carries_the_same_events_in_wrappers(site: RunningSite) -> None:
    client = await site.client()
    await say(client, 2)
    url = site.url.replace("http", "ws", 1) + "/sessions/dev/ws?after=1"
    asked = HTTPRequest(url, headers={"Authorization": f"Bearer {site.secrets['viewer']}"})
    ws = await websocket_connect(asked)
    first = json.loads(await ws.read_message() or "")
    await say(client, 1, start=3)
    second = json.loads(await ws.read_message() or "")
    history = await client.history("dev", after=1)
    ws.close()

    assert (first["cursor"], second["cursor"]) == (2, 3)
    assert set(first) == {"cursor", "envelope"}
    assert [first["envelope"], second["envelope"]] == [json.loads(bytes(e.envelope)) for e in history.items]
    await until(lambda: len(site.service.site.streams) == 0)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, 401), ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403)],
)
async def test_a_web_socket_of_a_stranger_is_refused(
    site: RunningSite, headers: dict[str, str], expected: int
) -> None:
    http = await site.http("operator" if headers else None)
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    answer = await http.get("/sessions/dev/ws", headers={**upgrade, **headers})
    assert answer.status_code == expected


async def test_history_pages_lead_from_one_to_the_next(site: RunningSite) -> None:
    client = await site.client()
    await say(client, 5)
    first = await client.history("dev", limit=3)
    second = await client.history("dev", after=first.next or 0, limit=3)

    assert [item.cursor for item in first.items] == [1, 2, 3]
    assert (first.next, first.last) == (3, 5)
    assert [item.cursor for item in second.items] == [4, 5]
    assert second.next is None
    only = await client.history("dev", types=["log"])
    assert (only.items, only.next) == ([], None)
