"""Server-sent events on a detached socket.

The response head is written by hand and the connection is taken from Tornado, because a request handler
costs more per delivery than everything else here together. A batch is encoded once, with its chunked
framing, and the same bytes are given to ``socket.send`` for every reader; only what the kernel did not
take goes through the IOStream. Chunked framing is kept so that a reader can tell a clean end from a cut.

A frame is ``id: <cursor>``, ``data: <envelope>`` and no ``event:`` line. Ours are only ``event: reset`` and
the comments ``: live N`` and ``: at N``, which every reader that does not know them skips.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from tornado.iostream import IOStream, SSLIOStream, StreamBufferFullError, StreamClosedError

from pushpals.hub.feed import Batch
from pushpals.protocol import wire
from pushpals.protocol.records import Session
from pushpals.server.live import Ending, Reset, Stream, retry_ms
from pushpals.server.site import Site
from pushpals.store.base import StoredEvent

PIECE = 64 * 1024
"""What did not fit is written in pieces, so that progress of a slow reader can be seen."""


def encode(events: Sequence[StoredEvent]) -> bytes:
    """The frames of some events."""
    return b"".join([b"id: %d\ndata: %b\n\n" % (event.cursor, event.data) for event in events])


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain(data: bytes) -> bytes:
    return data


class EventStream(Stream):
    """One SSE reader."""

    PROTOCOL = "sse"

    def __init__(
        self,
        site: Site,
        session: Session,
        token_id: str,
        types: tuple[str, ...] | None,
        *,
        http_1_1: bool = True,
    ) -> None:
        super().__init__(site, session, token_id, types)
        self._wrap: Callable[[bytes], bytes] = chunked if http_1_1 else plain
        self._stream: IOStream | None = None
        self._owed = 0
        self._moved = site.monotonic()
        self._epoch = session.epoch

    def attach(self, stream: IOStream, headers: Sequence[tuple[str, str]]) -> None:
        """Take the connection over and greet."""
        self._stream = stream
        stream.max_write_buffer_size = self.site.options.backlog_bytes
        # Nothing more is expected from the reader: what it still sends may not pile up.
        stream.max_buffer_size = PIECE
        stream.set_close_callback(lambda: self.end("left"))
        if stream.closed():
            return
        stream.set_nodelay(True)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers)]
        if self._wrap is chunked:
            lines.append("Transfer-Encoding: chunked")
        lines += [
            "Content-Type: text/event-stream",
            "X-Accel-Buffering: no",
            f"X-Session-Epoch: {self._epoch}",
            "Connection: close",
        ]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        self._push(head + self._wrap(b": connected\nretry: %d\n\n" % retry_ms()))

    async def send_page(self, events: Sequence[StoredEvent]) -> None:
        stream = self._stream
        if stream is None or stream.closed():
            return
        data = memoryview(self._wrap(encode(events)))
        for start in range(0, len(data), PIECE):
            if self.ended is not None:
                return
            try:
                written = stream.write(data[start : start + PIECE])
            except (StreamClosedError, StreamBufferFullError):
                self.end("left")
                return
            done, _ = await asyncio.wait({written}, timeout=self.site.options.stall_s)
            if not done:
                self.end("stalled")
                return
            if written.exception() is not None:
                self.end("left")
                return

    def send_batch(self, batch: Batch) -> None:
        wrap, types = self._wrap, self.types
        if types is None:
            self._push(batch.once(wrap, lambda events: wrap(encode(events))))
        elif any(event.type in types for event in batch.events):
            chunk = batch.once((wrap, types), lambda events: wrap(encode(self.wanted(events))))
            self._push(chunk)

    def send_events(self, events: Sequence[StoredEvent]) -> None:
        wanted = self.wanted(events)
        if wanted:
            self._push(self._wrap(encode(wanted)))

    def send_note(self, kind: Literal["live", "at"], cursor: int) -> None:
        self._push(self._wrap(b": %b %d\n\n" % (kind.encode(), cursor)))

    def send_reset(self, reset: Reset) -> None:
        frame = b"event: reset\nid: %d\ndata: %b\n\n" % (reset.cursor, wire.encode(reset))
        self._push(self._wrap(frame))

    def hang_up(self, why: Ending) -> None:
        stream = self._stream
        if stream is None or stream.closed():
            return
        stream.set_close_callback(None)
        # In the middle of a page the terminating chunk would be read as part of a frame.
        if why not in ("stop", "token") or not self.live or self._wrap is not chunked:
            stream.close()
            return
        try:
            last = stream.write(b"0\r\n\r\n")
        except (StreamClosedError, StreamBufferFullError):
            stream.close()
            return
        loop = asyncio.get_running_loop()
        # A reader that does not take the end either is cut.
        cut = loop.call_later(self.site.options.drain_s, stream.close)

        def close(_: asyncio.Future[None]) -> None:
            cut.cancel()
            stream.close()

        last.add_done_callback(close)

    def stalled(self, now: float) -> bool:
        return self._owed > 0 and now - self._moved > self.site.options.stall_s

    def _push(self, chunk: bytes) -> None:
        """Send now what the kernel takes; keep the rest within the bound."""
        stream = self._stream
        if stream is None or stream.closed():
            return
        rest: bytes | memoryview = chunk
        if not stream.writing() and not isinstance(stream, SSLIOStream):
            try:
                sent = stream.socket.send(chunk)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self.end("left")
                return
            if sent == len(chunk):
                return
            rest = memoryview(chunk)[sent:]
        if self._owed == 0:
            self._moved = self.site.monotonic()
        try:
            for start in range(0, len(rest), PIECE):
                piece = rest[start : start + PIECE]
                self._owed += len(piece)
                stream.write(piece).add_done_callback(partial(self._taken, len(piece)))
        except StreamBufferFullError:
            self.end("slow")
        except StreamClosedError:
            self.end("left")

    def _taken(self, size: int, written: asyncio.Future[None]) -> None:
        self._owed -= size
        self._moved = self.site.monotonic()
