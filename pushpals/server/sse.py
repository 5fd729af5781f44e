"""Server-sent events, of one session or of several in one connection.

A frame is ``id: <cursor>``, ``data: <envelope>`` and no ``event:`` line. Ours are only ``event: reset`` and
the comments ``: live N`` and ``: at N``, which every reader that does not know them skips. With several
sessions every id is the whole position, ``a:120,b:7``, because a browser sends back only the last one.

A batch of one session is encoded once, with its chunked framing, and the same bytes are given to the socket
of every reader (see :mod:`pushpals.server.crowd` and :mod:`pushpals.server.pipe`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

from tornado.iostream import IOStream

from pushpals.hub.feed import Batch
from pushpals.protocol import wire
from pushpals.protocol.records import Session
from pushpals.server.live import MOST_PAGE, Ending, Reset, Stream
from pushpals.server.pipe import Pipe
from pushpals.server.site import Site
from pushpals.store.base import StoredEvent

MAX_SESSIONS = 32
"""Sessions in one connection."""


def encode(events: Sequence[StoredEvent]) -> bytes:
    """The frames of some events."""
    return b"".join([b"id: %d\ndata: %b\n\n" % (event.cursor, event.data) for event in events])


class EventStream(Stream):
    """One SSE reader of one session."""

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
        self._pipe = Pipe(site, self.end, self._enter_crowd, http_1_1=http_1_1)
        self._epoch = session.epoch
        self._crowd = site.streams.crowd(session.id, self._pipe.wrap, encode)
        self._in_crowd = False

    def attach(self, stream: IOStream, headers: Sequence[tuple[str, str]]) -> None:
        """Take the connection over and greet."""
        self._pipe.attach(stream, headers, [("X-Session-Epoch", self._epoch)])

    def join(self) -> bool:
        joined = super().join()
        if joined:
            self._enter_crowd()
        return joined

    def fell_behind(self, cursor: int, chunk: bytes, sent: int) -> None:
        """Out of the crowd with a debt: follow alone until it is paid."""
        self._in_crowd = False
        self.seen = cursor
        if sent < 0:
            self.end("left")
        elif self.site.feed.join(self.session_id, self, self.seen):
            self._pipe.keep(chunk, sent)
        else:
            self.end("failed")

    def _enter_crowd(self) -> None:
        send = self._pipe.ready
        if send is None or self.types is not None or not self.live or self._in_crowd:
            return
        if self._crowd.enter(self, send, self.seen):
            self._in_crowd = True
            self.site.feed.leave(self.session_id, self)

    def beat(self) -> None:
        if self._in_crowd:
            self.seen = self._crowd.at
        else:
            self._enter_crowd()
        super().beat()

    def end(self, why: Ending) -> None:
        self._leave_crowd()
        super().end(why)

    def _leave_crowd(self) -> None:
        if self._in_crowd:
            self._in_crowd = False
            self.seen = self._crowd.at
            self._crowd.leave(self)

    async def send_page(self, events: Sequence[StoredEvent]) -> None:
        await self._pipe.page(encode(events))

    def send_batch(self, batch: Batch) -> None:
        wrap, types = self._pipe.wrap, self.types
        if types is None:
            self._pipe.push(batch.once(wrap, lambda events: wrap(encode(events))))
        elif any(event.type in types for event in batch.events):
            self._pipe.push(batch.once((wrap, types), lambda events: wrap(encode(self.wanted(events)))))

    def send_events(self, events: Sequence[StoredEvent]) -> None:
        wanted = self.wanted(events)
        if wanted:
            self._send(encode(wanted))

    def send_note(self, kind: Literal["live", "at"], cursor: int) -> None:
        self._send(b": %b %d\n\n" % (kind.encode(), cursor))

    def send_reset(self, reset: Reset) -> None:
        frame = b"event: reset\nid: %d\ndata: %b\n\n" % (reset.cursor, wire.encode(reset))
        self._pipe.push(self._pipe.wrap(frame))

    def _send(self, data: bytes) -> None:
        """To this reader only: what does not go out at once takes it out of the crowd."""
        self._pipe.push(self._pipe.wrap(data))
        if self._pipe.ready is None and self._in_crowd:
            self._leave_crowd()
            if self.ended is None and not self.site.feed.join(self.session_id, self, self.seen):
                self.end("failed")

    def hang_up(self, why: Ending) -> None:
        # In the middle of a page the terminating chunk would be read as part of a frame.
        self._pipe.close(clean=why in ("stop", "token") and self.live)

    def stalled(self, now: float) -> bool:
        return self._pipe.stalled(now)


class ManyStream:
    """One SSE reader of several sessions: each catches up and joins by itself, all share the pipe."""

    PROTOCOL = "sse"

    def __init__(
        self,
        site: Site,
        sessions: Sequence[Session],
        token_id: str,
        types: tuple[str, ...] | None,
        *,
        http_1_1: bool = True,
    ) -> None:
        self.site = site
        self.token_id = token_id
        self.ended: Ending | None = None
        self.pipe = Pipe(site, self.end, lambda: None, http_1_1=http_1_1)
        self.at: dict[str, int] = {}
        self.done = asyncio.Event()
        self._sessions = sessions
        self._members = [Member(self, session, types) for session in sessions]

    @property
    def live(self) -> bool:
        return all(member.live for member in self._members)

    def attach(self, stream: IOStream, headers: Sequence[tuple[str, str]]) -> None:
        epochs = ",".join(f"{session.id}:{session.epoch}" for session in self._sessions)
        self.pipe.attach(stream, headers, [("X-Session-Epochs", epochs)])

    async def run(self, after: Mapping[str, int], epochs: Mapping[str, str]) -> None:
        """Catch up with all, join all in one turn of the loop, and wait for the end.

        Nobody is live before all are: a page takes several writes, and nothing may come between them.
        """
        self.at = {session.id: after.get(session.id, 0) for session in self._sessions}
        try:
            for member, session in zip(self._members, self._sessions, strict=True):
                member.begin(session, self.at[session.id], epochs.get(session.id))
                self.at[session.id] = member.seen
            while self.ended is None:
                moved = [await member.read_on() for member in self._members if self.ended is None]
                if not any(moved) and self.ended is None and self._join():
                    self.note("live")
                    break
            if self.ended is None:
                await self.done.wait()
        finally:
            self.end("failed")

    def _join(self) -> bool:
        for member in self._members:
            # Busy sessions went on while the others were read: what is in memory is sent at once.
            outstanding = self.site.feed.recent(member.session_id, member.seen, MOST_PAGE)
            if outstanding:
                member.send_events(outstanding)
                member.seen = outstanding[-1].cursor
                self.at[member.session_id] = member.seen
            if self.ended is not None or not member.join():
                for other in self._members:
                    other.live = False
                    self.site.feed.leave(other.session_id, other)
                return False
        return True

    def end(self, why: Ending) -> None:
        """Stop. The first reason counts."""
        if self.ended is None:
            clean = why in ("stop", "token") and self.live
            self.ended = why
            self.site.streams.remove(self)
            for member in self._members:
                member.leave(why)
            self.pipe.close(clean=clean)
            self.done.set()

    def stalled(self, now: float) -> bool:
        return self.pipe.stalled(now)

    def beat(self) -> None:
        if self.live:
            self.note("at")

    def note(self, kind: Literal["live", "at"]) -> None:
        self.pipe.push(self.pipe.wrap(b": %b %b\n\n" % (kind.encode(), self.position())))

    def position(self) -> bytes:
        return ",".join(f"{name}:{cursor}" for name, cursor in self.at.items()).encode()

    def frames(self, session_id: str, events: Sequence[StoredEvent]) -> bytes:
        made = []
        for event in events:
            self.at[session_id] = event.cursor
            made.append(b"id: %b\ndata: %b\n\n" % (self.position(), event.data))
        return b"".join(made)


class Member(Stream):
    """One session of a :class:`ManyStream`."""

    PROTOCOL = "sse"

    def __init__(self, parent: ManyStream, session: Session, types: tuple[str, ...] | None) -> None:
        super().__init__(parent.site, session, parent.token_id, types)
        self._parent = parent

    async def send_page(self, events: Sequence[StoredEvent]) -> None:
        await self._parent.pipe.page(self._parent.frames(self.session_id, events))

    def deliver(self, batch: Batch) -> None:
        super().deliver(batch)
        # What the filter left out was seen, too; the next frame or heartbeat says so.
        self._parent.at[self.session_id] = max(self.seen, self._parent.at[self.session_id])

    def send_batch(self, batch: Batch) -> None:
        self.send_events(batch.events)

    def send_events(self, events: Sequence[StoredEvent]) -> None:
        wanted = self.wanted(events)
        if wanted:
            self._parent.pipe.push(self._parent.pipe.wrap(self._parent.frames(self.session_id, wanted)))

    def send_note(self, kind: Literal["live", "at"], cursor: int) -> None:
        """The parent's, for all."""

    def send_reset(self, reset: Reset) -> None:
        self._parent.at[self.session_id] = reset.cursor
        named = wire.encode({"sessionId": self.session_id, **wire.decode(wire.encode(reset), dict)})
        frame = b"event: reset\nid: %b\ndata: %b\n\n" % (self._parent.position(), named)
        self._parent.pipe.push(self._parent.pipe.wrap(frame))

    def end(self, why: Ending) -> None:
        self._parent.end(why)

    def leave(self, why: Ending) -> None:
        self.ended = self.ended or why
        self.site.feed.leave(self.session_id, self)
        self.done.set()

    def hang_up(self, why: Ending) -> None:
        """The pipe is the parent's."""

    def stalled(self, now: float) -> bool:
        return False
