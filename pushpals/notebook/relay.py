"""HTTP through a notebook's comm: for pages that cannot reach the hub, or a Jupyter server that does.

The page sends a request as a message; the answer comes back as a head, numbered chunks and an end. A stream
of events is an answer that does not end. So the page uses its usual transport with another ``fetch``, and
what it knows about cursors, gaps and coming back after a cut holds here too.

Promises
    Nothing here waits for the kernel: a thread with a loop of its own does all of it, so events arrive while
    a cell runs. What the page sends may wait for the cell; it is told when a message was taken.

    Jupyter's limits on a kernel's output (1,000 messages and 1 MB a second, beyond which messages are
    silently dropped) are kept with room to spare, by all relays of a kernel together. A message that gets
    lost all the same is noticed by its number, and the page asks again from its cursor.

    A page that takes nothing does not pile anything up: :data:`WINDOW` bytes may be under way.

Not here
    Decisions. A kernel runs code that an agent may have written; its token decides nothing, and a page that
    asks for it is told where a person can.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import msgspec

from pushpals.client.discovery import Found, NothingFound
from pushpals.client.hub import trust
from pushpals.client.passing import ANSWERED, ASKED, BODY_BYTES, allowed, decides, query_of
from pushpals.config import ConfigError
from pushpals.protocol.errors import Problem
from pushpals.protocol.jobs import Wire

CHUNK = 256 * 1024
FLUSH_S = 0.05
WINDOW = 2 * 1024 * 1024
MOST_OPEN = 64
BYTES_PER_S = 600_000
BURST_BYTES = 1_000_000
MESSAGES_PER_S = 200
BURST_MESSAGES = 400
ABANDONED_S = 60.0
"""A page that spoke of something else for so long after it should have taken a chunk is not there."""

NO_DECISIONS = (
    "a notebook's kernel decides nothing, because an agent may have written what runs in it; "
    "decide in the panel of JupyterLab, on the hub's page (pushpals open), or with: pushpals approve"
)


class Send(Protocol):
    """Sends a message to the page; may be called from any thread."""

    def __call__(self, content: dict[str, Any], buffers: Sequence[bytes] | None = None) -> None: ...


class Open(Wire, frozen=True, kw_only=True, tag_field="kind", tag="open"):
    """A request of the page. ``path`` is relative to the hub and may have a query."""

    id: str
    method: str
    path: str
    headers: dict[str, str] = {}
    body: str | None = None


class Ack(Wire, frozen=True, kw_only=True, tag_field="kind", tag="ack"):
    """The page has taken every chunk up to number ``n``."""

    id: str
    n: int


class Cancel(Wire, frozen=True, kw_only=True, tag_field="kind", tag="cancel"):
    """The page does not want the answer any more."""

    id: str


Asked = Open | Ack | Cancel


class IoThread:
    """A daemon thread with an event loop. httpx clients belong to one loop, so they live and die here."""

    def __init__(self, name: str = "pushpals-io") -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Wait for ``work`` from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def soon(self, call: Callable[..., Any], *args: Any) -> None:
        self.loop.call_soon_threadsafe(call, *args)


_shared: list[IoThread] = []
_shared_lock = threading.Lock()


def io_thread() -> IoThread:
    """The one of this process."""
    with _shared_lock:
        if not _shared:
            _shared.append(IoThread())
        return _shared[0]


class Pace:
    """Two leaky buckets, for messages and for bytes. Belongs to one loop."""

    def __init__(
        self,
        *,
        bytes_per_s: float = BYTES_PER_S,
        messages_per_s: float = MESSAGES_PER_S,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        self._rates = (bytes_per_s, messages_per_s)
        self._room = (float(BURST_BYTES), float(BURST_MESSAGES))
        self._used = [0.0, 0.0]
        self._at = monotonic()
        self._monotonic = monotonic
        self._sleep = sleep
        self._turn = asyncio.Lock()

    async def take(self, size: int) -> None:
        """Wait until a message of ``size`` bytes may be sent. In the order of asking."""
        async with self._turn:
            while (wait := self._missing(size)) > 1e-6:
                await self._sleep(wait)
            self._used[0] += size
            self._used[1] += 1

    def _missing(self, size: int) -> float:
        now = self._monotonic()
        passed, self._at = now - self._at, now
        self._used = [
            max(0.0, used - rate * passed) for used, rate in zip(self._used, self._rates, strict=True)
        ]
        over = (self._used[0] + min(size, self._room[0]) - self._room[0], self._used[1] + 1 - self._room[1])
        return max(excess / rate for excess, rate in zip(over, self._rates, strict=True))


_paces: dict[int, Pace] = {}


def _pace_of(io: IoThread) -> Pace:
    return _paces.setdefault(id(io), Pace())


class Relay:
    """The kernel's side of one widget. ``find`` is asked for each request, so a hub may come later."""

    def __init__(
        self, send: Send, find: Callable[[], Found], *, io: IoThread | None = None, pace: Pace | None = None
    ) -> None:
        self._send = send
        self._find = find
        self._io = io or io_thread()
        self._pace = pace or _pace_of(self._io)
        self._open: dict[str, _Answer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: httpx.AsyncClient | None = None
        self._closed = False
        self.heard = 0.0

    def take(self, content: Mapping[str, Any]) -> None:
        """A message of the page. May be called from any thread, and returns at once."""
        try:
            asked = msgspec.convert(content, Asked)
        except msgspec.ValidationError:
            return
        with contextlib.suppress(RuntimeError):
            self._io.soon(self._take, asked)

    def close(self) -> None:
        """End every request. May be called twice, and from any thread."""
        with contextlib.suppress(RuntimeError):
            self._io.soon(self._close)

    def _take(self, asked: Asked) -> None:
        self.heard = time.monotonic()
        match asked:
            case Open():
                if self._closed or asked.id in self._open:
                    return
                if len(self._open) >= MOST_OPEN:
                    why = f"{MOST_OPEN} requests are under way; wait for one of them"
                    self._keep(self.send({"kind": "failed", "id": asked.id, "why": why}))
                    return
                self._open[asked.id] = answer = _Answer(self, asked)
                answer.task = self._keep(answer.run())
            case Ack():
                if (known := self._open.get(asked.id)) is not None:
                    known.acknowledged(asked.n)
            case Cancel():
                if (known := self._open.get(asked.id)) is not None:
                    known.cancel()

    def _close(self) -> None:
        self._closed = True
        for answer in list(self._open.values()):
            answer.cancel()
        if self._http is not None:
            self._keep(self._http.aclose())
            self._http = None

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- for answers ----------------------------------------------------------------------------------

    @property
    def http(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = httpx.AsyncClient(
                timeout=httpx.Timeout(75.0, connect=5.0),
                limits=httpx.Limits(max_connections=MOST_OPEN),
                follow_redirects=False,
                trust_env=False,
                verify=trust("https:"),
            )
        return self._http

    def find(self) -> Found:
        return self._find()

    async def send(self, content: dict[str, Any], data: bytes = b"") -> None:
        await self._pace.take(len(data) + 500)
        if not self._closed:
            self._send(content, [data] if data else None)

    def forget(self, answer_id: str) -> None:
        self._open.pop(answer_id, None)


class _Answer:
    """One request on its way."""

    def __init__(self, relay: Relay, asked: Open) -> None:
        self._relay = relay
        self._asked = asked
        self.task: asyncio.Task[None] | None = None
        self._sent = 0
        self._sizes: dict[int, int] = {}
        self._sent_at = 0.0
        self._moved = asyncio.Event()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def acknowledged(self, n: int) -> None:
        for number in [number for number in self._sizes if number <= n]:
            del self._sizes[number]
        self._moved.set()

    async def run(self) -> None:
        asked = self._asked
        try:
            await self._tell("taken")
            try:
                await self._answer()
            except _Refused as refused:
                await self._refuse(refused)
            await self._tell("end")
        except (asyncio.CancelledError, _Abandoned):
            pass
        except httpx.HTTPError:
            await self._tell("failed", why="the hub does not answer; if it should run here: pushpals up")
        finally:
            self._relay.forget(asked.id)

    async def _answer(self) -> None:
        asked = self._asked
        parts = urlsplit(asked.path)
        address = allowed(asked.method, parts.path)
        if address is None:
            raise _Refused(403, "relay.not_allowed", f"{asked.method} {parts.path} is not passed on")
        if decides(asked.method, address):
            raise _Refused(403, "notebook.no_decisions", NO_DECISIONS)
        body = (asked.body or "").encode()
        if len(body) > BODY_BYTES:
            raise _Refused(413, "body.too_large", f"a body may have {BODY_BYTES} bytes")
        try:
            found = await asyncio.to_thread(self._relay.find)
        except (NothingFound, ConfigError) as error:
            raise _Refused(502, "relay.no_hub", str(error)) from None
        query = query_of(parts.query)
        given = {name.lower(): value for name, value in asked.headers.items()}
        headers = {name: given[name.lower()] for name in ASKED if name.lower() in given}
        headers |= {"Accept-Encoding": "identity", "User-Agent": "pushpals-notebook"}
        if found.token:
            headers["Authorization"] = f"Bearer {found.token}"
        async with self._relay.http.stream(
            asked.method,
            f"{found.url}/{address}" + (f"?{query}" if query else ""),
            headers=headers,
            content=body if asked.method != "GET" else None,
        ) as answer:
            passed = {name: answer.headers[name] for name in ANSWERED if name in answer.headers}
            await self._tell("head", status=answer.status_code, headers=passed)
            await self._chunks(answer)

    async def _chunks(self, answer: httpx.Response) -> None:
        """What arrives within a moment travels together."""
        waiting = bytearray()
        source = aiter(answer.aiter_raw())
        following: asyncio.Task[bytes] | None = None
        deadline: float | None = None
        try:
            while True:
                if following is None:
                    following = asyncio.ensure_future(_next(source))
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                done, _ = await asyncio.wait({following}, timeout=left)
                if done:
                    piece, following = following.result(), None
                    waiting += piece
                    if not piece:
                        break
                    deadline = deadline or time.monotonic() + FLUSH_S
                if not done or len(waiting) >= CHUNK:
                    await self._flush(waiting)
                    deadline = None
            await self._flush(waiting)
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _flush(self, waiting: bytearray) -> None:
        while waiting:
            piece = bytes(waiting[:CHUNK])
            del waiting[:CHUNK]
            await self._room()
            self._sent += 1
            self._sizes[self._sent] = len(piece)
            self._sent_at = time.monotonic()
            await self._relay.send({"kind": "chunk", "id": self._asked.id, "n": self._sent}, piece)

    async def _room(self) -> None:
        while sum(self._sizes.values()) >= WINDOW:
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ABANDONED_S):
                    await self._moved.wait()
            if not self._moved.is_set() and self._relay.heard > self._sent_at + ABANDONED_S / 2:
                raise _Abandoned

    async def _refuse(self, refused: _Refused) -> None:
        """Answer as the hub would, so that every reader of its answers understands it."""
        await self._tell("head", status=refused.status, headers={"Content-Type": "application/json"})
        problem = Problem(error=refused.sentence, code=refused.code, errors=[refused.sentence])
        await self._flush(bytearray(msgspec.json.encode(problem)))

    async def _tell(self, kind: str, **more: Any) -> None:
        await self._relay.send({"kind": kind, "id": self._asked.id, **more})


class _Abandoned(Exception):
    """Nobody takes the answer."""


class _Refused(Exception):
    """The request goes nowhere."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, code, sentence


async def _next(source: Any) -> bytes:
    """The next piece; empty at the end."""
    async for piece in source:
        if piece:
            return bytes(piece)
    return b""
