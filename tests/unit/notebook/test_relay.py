"""HTTP through a comm: the kernel's side, over a real hub, with a page that is a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pushpals.client.discovery import Found, NothingFound
from pushpals.notebook.relay import BURST_BYTES, CHUNK, WINDOW, IoThread, Pace, Relay
from pushpals.server import start_service
from pushpals.store.memory import open_store
from pushpals.testing.site import RunningSite

PATIENCE_S = 10.0


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[RunningSite]:
    made = RunningSite(await start_service(open_store, None, data_dir=tmp_path, port=0))
    await made.make_tokens()
    await (await made.client()).create_session("dev")
    yield made
    await made.close()


class LoopOfTheTest(IoThread):
    """Everything on the loop of the test: nothing to wait for at the end."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()


class Page:
    """What a page would see, and what it would send."""

    def __init__(self, find: Callable[[], Found]) -> None:
        self.words: list[tuple[dict[str, Any], bytes]] = []
        self._came = asyncio.Event()
        self.relay = Relay(self._send, find, io=LoopOfTheTest())

    def _send(self, content: dict[str, Any], buffers: Sequence[bytes] | None = None) -> None:
        self.words.append((content, buffers[0] if buffers else b""))
        self._came.set()

    async def until(self, found: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            while not (value := found()):
                self._came.clear()
                await self._came.wait()
        return value

    def open(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        message = {"kind": "open", "id": "1", "method": method, "path": path, "headers": named}
        self.relay.take(message if body is None else {**message, "body": body})

    async def answer(self) -> tuple[int, Any]:
        await self.until(lambda: self.kinds()[-1:] in (["end"], ["failed"]))
        head = next(content for content, _ in self.words if content["kind"] == "head")
        return head["status"], json.loads(self.data())

    def kinds(self) -> list[str]:
        return [content["kind"] for content, _ in self.words]

    def data(self) -> bytes:
        return b"".join(data for content, data in self.words if content["kind"] == "chunk")


@pytest.fixture
async def page(site: RunningSite) -> AsyncIterator[Page]:
    found = Found(url=site.url, token=site.secrets["notebook"], session_id="dev", origin="test")
    made = Page(lambda: found)
    yield made
    made.relay.close()
    await asyncio.sleep(0)


async def test_an_answer_is_taken_head_chunks_end(page: Page) -> None:
    page.open("sessions/dev")
    status, body = await page.answer()
    assert (status, body["session"]["id"]) == (200, "dev")
    assert page.kinds() == ["taken", "head", "chunk", "end"]


async def test_names_of_headers_are_taken_in_any_case(page: Page, site: RunningSite) -> None:
    body = json.dumps({"text": "hello"})
    page.open(
        "sessions/dev/message", "POST", body, **{"content-type": "application/json", "idempotency-key": "k"}
    )
    assert (await page.answer())[0] == 200
    (event,) = (await (await site.client()).history("dev", types=["message"])).items
    assert json.loads(bytes(event.envelope))["from"] == "client:notebook"


async def test_a_stream_arrives_while_it_is_written_and_ends_when_it_is_cancelled(
    page: Page, site: RunningSite
) -> None:
    page.open("sessions/dev/events?after=0", Accept="text/event-stream")
    await page.until(lambda: b": live" in page.data())
    await (await site.client()).say("dev", "one")
    await page.until(lambda: b'"text":"one"' in page.data())
    page.relay.take({"kind": "cancel", "id": "1"})
    async with asyncio.timeout(PATIENCE_S):
        while len(site.service.site.streams) > 0:
            await (await site.client()).sessions()
    assert "end" not in page.kinds()


async def test_chunks_are_numbered_and_no_larger_than_promised(page: Page, site: RunningSite) -> None:
    person = await site.client()
    for _ in range(8):
        await person.say("dev", "x" * 60_000)
    page.open("sessions/dev/history?after=0&limit=100")
    await page.until(lambda: "end" in page.kinds())
    sizes = [(content["n"], len(data)) for content, data in page.words if content["kind"] == "chunk"]
    assert [n for n, _ in sizes] == list(range(1, len(sizes) + 1))
    assert max(size for _, size in sizes) <= CHUNK
    assert len(json.loads(page.data())["items"]) == 8


async def test_a_page_that_takes_nothing_is_sent_no_more_than_the_window(
    page: Page, site: RunningSite
) -> None:
    person = await site.client()
    for _ in range(60):
        await person.say("dev", "x" * 60_000)
    page.relay._pace._rates = (1e12, 1e9)
    page.open("sessions/dev/history?after=0&limit=100")
    await page.until(lambda: len(page.data()) >= WINDOW)
    for _ in range(20):
        await asyncio.sleep(0)
    assert WINDOW <= len(page.data()) < WINDOW + CHUNK
    page.relay.take({"kind": "ack", "id": "1", "n": len(page.words)})
    await page.until(lambda: "end" in page.kinds())
    assert len(json.loads(page.data())["items"]) == 60


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "approvals/x", "notebook.no_decisions"),
        ("GET", "tokens", "relay.not_allowed"),
        ("POST", "jobs/claim", "relay.not_allowed"),
        ("GET", "sessions/%2e%2e/tokens", "relay.not_allowed"),
        ("GET", "https://elsewhere.example/sessions", "relay.not_allowed"),
        ("POST", "jobs/enqueue", "right.missing"),
    ],
)
async def test_what_a_notebook_may_not_do_is_refused_as_the_hub_would(
    page: Page, method: str, path: str, code: str
) -> None:
    page.open(path, method, "{}" if method == "POST" else None, Content_Type="application/json")
    status, body = await page.answer()
    assert (status, body["code"]) == (403, code)


async def test_a_refused_decision_says_where_a_person_can_decide(page: Page) -> None:
    page.open("approvals/x", "POST", "{}")
    _, body = await page.answer()
    assert "pushpals approve" in body["error"]
    assert "JupyterLab" in body["error"]


async def test_no_hub_is_an_answer_with_the_sentence() -> None:
    def find() -> Found:
        raise NothingFound("no hub runs here; start one with: pushpals up")

    page = Page(find)
    page.open("sessions")
    status, body = await page.answer()
    assert (status, body["error"]) == (502, "no hub runs here; start one with: pushpals up")


async def test_a_hub_that_is_away_fails_the_request_with_a_sentence() -> None:
    page = Page(lambda: Found(url="http://127.0.0.1:9", token=None, session_id="dev", origin="test"))
    page.open("sessions")
    await page.until(lambda: "failed" in page.kinds())
    assert page.words[-1][0]["why"].startswith("the hub does not answer")


@pytest.mark.parametrize(
    "message", [{}, {"kind": "open"}, {"kind": "other", "id": "1"}, {"kind": "ack", "id": 1, "n": "x"}]
)
async def test_a_message_that_means_nothing_is_passed_over(page: Page, message: dict[str, Any]) -> None:
    page.relay.take(message)
    page.open("sessions")
    assert (await page.answer())[0] == 200


async def test_the_pace_stays_below_jupyters_limits_however_much_is_asked() -> None:
    now = 0.0
    sent: list[tuple[float, int]] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = Pace(monotonic=lambda: now, sleep=sleep)
    for _ in range(400):
        await pace.take(CHUNK)
        sent.append((now, CHUNK))
    for _ in range(4_000):
        await pace.take(10)
        sent.append((now, 10))
    # Jupyter drops what exceeds 1 MB and 1,000 messages a second, measured over three seconds.
    for start, _ in sent:
        within = [size for at, size in sent if start <= at < start + 3.0]
        assert sum(within) <= 3_000_000
        assert len(within) <= 3_000
    assert sum(size for _, size in sent) / now > 0.5 * 600_000 or now == 0
    assert BURST_BYTES < 3_000_000
