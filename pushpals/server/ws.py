"""The same stream over a WebSocket: one text message ``{"envelope": …, "cursor": N}`` for each event.

A reset is the message ``{"reset": {…}}``. Nothing is read from the reader but pings and its goodbye.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from pushpals.hub.feed import Batch
from pushpals.protocol import wire
from pushpals.protocol.records import Session
from pushpals.server.base import Handler, needs
from pushpals.server.live import Ending, Reset, Stream, find_session
from pushpals.server.site import Site
from pushpals.store.base import StoredEvent


class SocketStream(Stream):
    """One WebSocket reader."""

    PROTOCOL = "ws"

    def __init__(
        self, site: Site, session: Session, token_id: str, types: tuple[str, ...] | None, socket: Socket
    ) -> None:
        super().__init__(site, session, token_id, types)
        self._socket = socket
        self._owed = 0
        self._moved = site.monotonic()

    async def send_page(self, events: Sequence[StoredEvent]) -> None:
        for event in events:
            if self.ended is not None:
                return
            written = self._write(_frame(event))
            if written is None:
                return
            if self._owed > self.site.options.page_bytes:
                done, _ = await asyncio.wait({written}, timeout=self.site.options.stall_s)
                if not done:
                    self.end("stalled")
                    return

    def send_batch(self, batch: Batch) -> None:
        self.send_events(batch.events)

    def send_events(self, events: Sequence[StoredEvent]) -> None:
        for event in self.wanted(events):
            if self.ended is None:
                self._write(_frame(event))

    def send_note(self, kind: Literal["live", "at"], cursor: int) -> None:
        """A WebSocket has pings for this; the original's readers know no notes."""

    def send_reset(self, reset: Reset) -> None:
        self._write(wire.encode({"reset": reset}))

    def hang_up(self, why: Ending) -> None:
        self._socket.close(1001 if why == "stop" else 1008 if why == "token" else 1011, why)

    def stalled(self, now: float) -> bool:
        return self._owed > 0 and now - self._moved > self.site.options.stall_s

    def _write(self, data: bytes) -> asyncio.Future[None] | None:
        if self._owed + len(data) > self.site.options.backlog_bytes and self._owed > 0:
            self.end("slow")
            return None
        if self._owed == 0:
            self._moved = self.site.monotonic()
        try:
            written = asyncio.ensure_future(self._socket.write_message(data.decode()))
        except (WebSocketClosedError, StreamClosedError):
            self.end("left")
            return None
        self._owed += len(data)
        written.add_done_callback(lambda done: self._taken(done, len(data)))
        return written

    def _taken(self, written: asyncio.Future[None], size: int) -> None:
        self._owed -= size
        self._moved = self.site.monotonic()
        if not written.cancelled() and written.exception() is not None:
            self.end("left")


class Socket(Handler, WebSocketHandler):
    """``GET /sessions/:id/ws``"""

    TICKETS = True
    _stream: SocketStream | None = None
    _task: asyncio.Task[None] | None = None

    @needs("session.read")
    async def get(self, session_id: str) -> None:  # type: ignore[override]
        session = await find_session(self.site, self.readable(session_id))
        self._session = session
        self._after = self.number("after", 0)
        self._stream = SocketStream(self.site, session, self.actor.token_id, self.types(), self)
        self.site.streams.add(self._stream)
        try:
            await WebSocketHandler.get(self)
        finally:
            if self._task is None:
                self.site.streams.remove(self._stream)

    def open(self, *args: str, **kwargs: str) -> None:
        assert self._stream is not None
        run = self._stream.run(self._session, self._after, self.text("epoch"))
        self._task = asyncio.create_task(run, name=f"ws {self._session.id}")
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    def on_message(self, message: str | bytes) -> None:
        """Readers have nothing to say here; writes go to the other endpoints, with their own checks."""

    def on_close(self) -> None:
        if self._stream is not None:
            self._stream.end("left")

    def on_connection_close(self) -> None:
        WebSocketHandler.on_connection_close(self)
        self.gone.set()

    def check_origin(self, origin: str) -> bool:
        return self._refusal is None  # the door looked at it already

    @property
    def ping_interval(self) -> float:
        return self.site.options.beat_s

    @property
    def max_message_size(self) -> int:
        return 4 * 1024


def _frame(event: StoredEvent) -> bytes:
    return b'{"envelope":%b,"cursor":%d}' % (event.data, event.cursor)
