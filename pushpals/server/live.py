"""A stream of one session, whatever its transport: history first, then live, nothing lost or doubled.

Catching up
    Pages are read (from memory where it reaches, else from the store) and sent, each only when the one
    before was taken, until nothing published is outstanding; then the stream joins the feed in the same
    turn of the loop (see :mod:`pushpals.hub.feed`). ``seen`` is the newest cursor sent; a batch that
    arrives is cut to what is newer.

Cursors that cannot be resumed from
    One from the future, from before what is kept, or of another epoch gets one ``reset`` with the reason,
    the oldest kept cursor and the newest one, and the stream goes on after the newest: never silence.
    Cursor 0 means "from the beginning of what there is".

Ends
    The reader left, was too slow, its token ended, or the hub stops.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from pushpals.hub.feed import Batch
from pushpals.protocol.errors import NotFound, TooMany, Unavailable
from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Session
from pushpals.server.crowd import Crowd
from pushpals.store.base import StoredEvent

if TYPE_CHECKING:
    from pushpals.server.site import Site

FIRST_PAGE = 50
MOST_PAGE = 500
MOST_CROWDS = 4_096

Ending = Literal["left", "slow", "stalled", "token", "stop", "failed"]


class Reset(Wire, frozen=True, kw_only=True, omit_defaults=False):
    reason: Literal["pruned", "future", "epoch"]
    cursor: int
    first: int
    epoch: str


class Stream(ABC):
    """One reader of one session. Transports say how a page, a batch and a note are sent."""

    PROTOCOL: ClassVar[str]

    def __init__(self, site: Site, session: Session, token_id: str, types: tuple[str, ...] | None) -> None:
        self.site = site
        self.session_id = session.id
        self.token_id = token_id
        self.types = types
        self.seen = 0
        self.live = False
        self.ended: Ending | None = None
        self.done = asyncio.Event()
        self._horizon = 0
        self._limit = FIRST_PAGE

    @abstractmethod
    async def send_page(self, events: Sequence[StoredEvent]) -> None:
        """Send history; returns when it was taken."""

    @abstractmethod
    def send_batch(self, batch: Batch) -> None:
        """Send a whole batch, at once."""

    @abstractmethod
    def send_events(self, events: Sequence[StoredEvent]) -> None:
        """Send part of a batch, at once."""

    @abstractmethod
    def send_note(self, kind: Literal["live", "at"], cursor: int) -> None:
        """Say how far the stream is."""

    @abstractmethod
    def send_reset(self, reset: Reset) -> None: ...

    @abstractmethod
    def hang_up(self, why: Ending) -> None:
        """End the transport; cleanly if the reader may come back at once."""

    @abstractmethod
    def stalled(self, now: float) -> bool:
        """Whether nothing was taken for too long although something waits."""

    async def run(self, session: Session, after: int, epoch: str | None) -> None:
        """Catch up, join, and wait for the end."""
        try:
            self.begin(session, after, epoch)
            await self._catch_up()
            if self.ended is None:
                await self.done.wait()
        finally:
            self.end("failed")

    def end(self, why: Ending) -> None:
        """Stop. The first reason counts."""
        if self.ended is None:
            self.ended = why
            self.site.feed.leave(self.session_id, self)
            self.site.streams.remove(self)
            self.hang_up(why)
            self.done.set()

    def deliver(self, batch: Batch) -> None:
        """From the feed."""
        if batch.last <= self.seen or self.ended is not None:
            return
        if batch.first > self.seen:
            self.send_batch(batch)
        else:
            self.send_events([event for event in batch.events if event.cursor > self.seen])
        self.seen = batch.last

    def beat(self) -> None:
        """The heartbeat, once the stream is live."""
        if self.live:
            self.send_note("at", self.seen)

    def wanted(self, events: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
        types = self.types
        return events if types is None else [event for event in events if event.type in types]

    def begin(self, session: Session, after: int, epoch: str | None) -> None:
        """Find the place to start from; says so where that is not the one asked for."""
        self._horizon = session.last
        self._limit = FIRST_PAGE
        self.seen = self._start(session, after, epoch)

    def _start(self, session: Session, after: int, epoch: str | None) -> int:
        reason: Literal["pruned", "future", "epoch"] | None = None
        if epoch and session.epoch and epoch != session.epoch:
            reason = "epoch"
        elif after > session.last:
            reason = "future"
        elif 0 < after < session.first - 1:
            reason = "pruned"
        if reason is None:
            return max(after, session.first - 1)
        self.send_reset(Reset(reason=reason, cursor=session.last, first=session.first, epoch=session.epoch))
        return session.last

    async def _catch_up(self) -> None:
        while self.ended is None:
            if not await self.read_on() and self.ended is None and self.join():
                self.send_note("live", self.seen)
                return

    def join(self) -> bool:
        """Be live from here on, if nothing is outstanding."""
        self.live = self.site.feed.join(self.session_id, self, self.seen)
        return self.live

    async def read_on(self) -> bool:
        """Read and send one page of history; ``False`` when there was none."""
        limit, feed = self._limit, self.site.feed
        self._horizon = max(self._horizon, feed.last(self.session_id))
        if self.seen >= self._horizon:
            # All that was committed is sent, or will be published: a crowd of up-to-date readers reads no disk.
            return False
        events = feed.recent(self.session_id, self.seen, limit)
        if events is not None:
            reached = events[-1].cursor if events else self.seen
            page = self.wanted(events)
        else:
            async with self.site.streams.replays:
                page = await self.site.hub.store.reader.events(
                    self.session_id, after=self.seen, limit=limit, types=self.types
                )
            reached = page[-1].cursor if page else self.seen
            if len(page) < limit:
                # Everything up to the horizon was committed before the page was read; what the filter left
                # out is seen, too.
                reached = max(reached, self._horizon)
        if page:
            await self.send_page(page)
            self._limit = _next_limit(limit, page, self.site.options.page_bytes)
        moved = reached > self.seen
        if self.ended is None:
            self.seen = max(self.seen, reached)
        return moved


class Open(Protocol):
    """A connection that is open: a stream, or several in one."""

    ended: Ending | None

    @property
    def token_id(self) -> str: ...

    def stalled(self, now: float) -> bool: ...

    def beat(self) -> None: ...

    def end(self, why: Ending) -> None: ...


class Streams:
    """All open streams: their number, their heartbeats, their end."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._open: dict[Open, None] = {}
        self._by_token: Counter[str] = Counter()
        self._checked = site.monotonic()
        self._crowds: dict[tuple[str, Callable[[bytes], bytes]], Crowd] = {}
        self.replays = asyncio.Semaphore(site.options.replays)
        self.dropped: Counter[str] = Counter()
        """Streams ended by the hub, by reason."""

    def __len__(self) -> int:
        return len(self._open)

    def crowd(
        self,
        session_id: str,
        wrap: Callable[[bytes], bytes],
        encode: Callable[[Sequence[StoredEvent]], bytes],
    ) -> Crowd:
        """The crowd of a session's readers. Empty ones are forgotten when there are many."""
        crowd = self._crowds.get((session_id, wrap))
        if crowd is None:
            if len(self._crowds) >= MOST_CROWDS:
                self._crowds = {key: some for key, some in self._crowds.items() if len(some)}
            crowd = Crowd(self._site.feed, session_id, wrap, encode)
            self._crowds[session_id, wrap] = crowd
        return crowd

    def add(self, stream: Open) -> None:
        """Count a stream in, or refuse it."""
        options = self._site.options
        if self._site.stopping:
            raise Unavailable("the hub is stopping; come back in a moment", retry_after=2.0)
        if self._by_token[stream.token_id] >= options.streams_per_token:
            raise TooMany(
                f"this token has {options.streams_per_token} open streams; close some",
                code="stream.too_many",
                retry_after=5.0,
            )
        if len(self._open) >= options.streams:
            raise TooMany("the hub has no room for another stream", code="stream.too_many", retry_after=5.0)
        self._open[stream] = None
        self._by_token[stream.token_id] += 1

    def remove(self, stream: Open) -> None:
        if stream in self._open:
            del self._open[stream]
            self._by_token[stream.token_id] -= 1
            if self._by_token[stream.token_id] <= 0:
                del self._by_token[stream.token_id]
            if stream.ended not in (None, "left", "stop"):
                self.dropped[str(stream.ended)] += 1

    async def step(self) -> None:
        """Heartbeats, readers that take nothing, and tokens that ended. Call it every ``beat_s``."""
        now = self._site.monotonic()
        for stream in list(self._open):
            if stream.stalled(now):
                stream.end("stalled")
            else:
                stream.beat()
        if now - self._checked >= self._site.options.recheck_s - self._site.options.beat_s / 2:
            self._checked = now
            await self.recheck()

    async def recheck(self) -> None:
        """End the streams whose token does not work any more."""
        for token_id in list(self._by_token):
            if await self._site.auth.by_id(token_id) is None:
                for stream in [s for s in self._open if s.token_id == token_id]:
                    stream.end("token")

    async def run(self, stopping: asyncio.Event) -> None:
        """``step()`` until ``stopping``; a token that changes is looked at without delay."""
        topics, beat_s, monotonic = self._site.feed.topics, self._site.options.beat_s, self._site.monotonic
        next_beat = monotonic() + beat_s
        while not stopping.is_set():
            ticket = topics.ticket("tokens")
            if await topics.changed("tokens", ticket, next_beat - monotonic()):
                await self.recheck()
            if monotonic() >= next_beat:
                next_beat = monotonic() + beat_s
                await self.step()

    async def close(self) -> None:
        """End all streams; readers come back with their cursors."""
        for stream in list(self._open):
            stream.end("stop")


async def find_session(site: Site, session_id: str) -> Session:
    session = await site.hub.store.reader.get(Session, session_id)
    if session is None:
        raise NotFound(
            f"there is no session {session_id!r}; create it with POST /sessions", code="session.unknown"
        )
    return session


def retry_ms(jitter: Callable[[], float] = random.random) -> int:
    """When a browser should come back after a cut: spread, or a crowd comes back as one."""
    return 1_000 + int(2_000 * jitter())


def _next_limit(limit: int, page: Sequence[StoredEvent], page_bytes: int) -> int:
    size = sum(len(event.data) for event in page)
    fits = max(1, len(page) * page_bytes // max(size, 1))
    return max(1, min(MOST_PAGE, limit * 2, fits))
