"""One SSE connection's bytes: a detached socket that takes what it can at once and owes the rest, bounded.

The response head is written by hand and the connection is taken from Tornado, because a request handler
costs more per delivery than everything else here together. What the kernel takes at once goes by
``socket.send``; only the rest goes through the IOStream. Chunked framing is kept so that a reader can tell
a clean end from a cut.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from tornado.iostream import IOStream, SSLIOStream, StreamBufferFullError, StreamClosedError

from pushpals.server.live import retry_ms
from pushpals.server.site import Site

PIECE = 64 * 1024
"""What did not fit is written in pieces, so that progress of a slow reader can be seen."""

Broken = Literal["left", "slow", "stalled"]


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain(data: bytes) -> bytes:
    return data


class Pipe:
    """``broken`` is told when nothing more can be sent, ``free`` when what was owed has gone out."""

    def __init__(
        self,
        site: Site,
        broken: Callable[[Broken], None],
        free: Callable[[], None],
        *,
        http_1_1: bool = True,
    ) -> None:
        self.wrap: Callable[[bytes], bytes] = chunked if http_1_1 else plain
        self._site = site
        self._broken = broken
        self._free = free
        self._stream: IOStream | None = None
        self.ready: Callable[[bytes], int] | None = None
        """The socket's ``send``, while it may be used: nothing waits, it is open, and it is no TLS."""
        self._send: Callable[[bytes], int] | None = None
        self._owed = 0
        self._moved = site.monotonic()

    def attach(
        self, stream: IOStream, headers: Sequence[tuple[str, str]], own: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Take the connection over and greet."""
        self._stream = stream
        stream.max_write_buffer_size = self._site.options.backlog_bytes
        # Nothing more is expected from the reader: what it still sends may not pile up.
        stream.max_buffer_size = PIECE
        stream.set_close_callback(lambda: self._broken("left"))
        if stream.closed():
            return
        stream.set_nodelay(True)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if not isinstance(stream, SSLIOStream):
            self.ready = self._send = stream.socket.send
        lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in (*headers, *own))]
        if self.wrap is chunked:
            lines.append("Transfer-Encoding: chunked")
        lines += ["Content-Type: text/event-stream", "X-Accel-Buffering: no", "Connection: close"]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        self.push(head + self.wrap(b": connected\nretry: %d\n\n" % retry_ms()))

    def push(self, chunk: bytes) -> None:
        """Send now what the kernel takes; keep the rest within the bound."""
        sent = 0
        if self.ready is not None:
            try:
                sent = self.ready(chunk)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._broken("left")
                return
            if sent == len(chunk):
                return
        self.keep(chunk, sent)

    async def page(self, data: bytes) -> None:
        """Send history; returns when it was taken, or the pipe broke."""
        stream = self._stream
        if stream is None or stream.closed():
            return
        view = memoryview(self.wrap(data))
        for start in range(0, len(view), PIECE):
            if stream.closed():
                return
            try:
                written = stream.write(view[start : start + PIECE])
            except (StreamClosedError, StreamBufferFullError):
                self._broken("left")
                return
            done, _ = await asyncio.wait({written}, timeout=self._site.options.stall_s)
            if not done:
                self._broken("stalled")
                return
            if written.exception() is not None:
                self._broken("left")
                return

    def stalled(self, now: float) -> bool:
        """Whether nothing was taken for too long although something waits."""
        return self._owed > 0 and now - self._moved > self._site.options.stall_s

    def close(self, *, clean: bool) -> None:
        """End it; a clean end says so to the reader."""
        stream = self._stream
        self.ready = self._send = None
        if stream is None or stream.closed():
            return
        stream.set_close_callback(None)
        if not clean or self.wrap is not chunked:
            stream.close()
            return
        try:
            last = stream.write(b"0\r\n\r\n")
        except (StreamClosedError, StreamBufferFullError):
            stream.close()
            return
        # A reader that does not take the end either is cut.
        cut = asyncio.get_running_loop().call_later(self._site.options.drain_s, stream.close)

        def closing(_: asyncio.Future[None]) -> None:
            cut.cancel()
            stream.close()

        last.add_done_callback(closing)

    def keep(self, chunk: bytes, sent: int) -> None:
        """Owe what of ``chunk`` was not sent."""
        stream, rest = self._stream, memoryview(chunk)[sent:]
        if stream is None or stream.closed():
            return
        self.ready = None
        if self._owed == 0:
            self._moved = self._site.monotonic()
        try:
            for start in range(0, len(rest), PIECE):
                piece = rest[start : start + PIECE]
                self._owed += len(piece)
                stream.write(piece).add_done_callback(partial(self._taken, len(piece)))
        except StreamBufferFullError:
            self._broken("slow")
        except StreamClosedError:
            self._broken("left")

    def _taken(self, size: int, written: asyncio.Future[None]) -> None:
        self._owed -= size
        self._moved = self._site.monotonic()
        if self._owed == 0 and self._send is not None:
            self.ready = self._send
            self._free()
        if not written.cancelled():
            written.exception()  # a cut is told by the close callback
