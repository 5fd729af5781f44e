"""What was committed, to whoever follows it: the only way news travels inside the hub.

The store calls :meth:`Feed.publish` on the event loop after each commit. The feed

- groups the commit's events by session into one :class:`Batch` and hands that same object to every
  follower of the session, so that an encoding is made once and shared (``Batch.once``);
- keeps the last frames of busy sessions, so that a crowd that reconnects reads no disk;
- wakes those who wait for a topic (:class:`Topics`), so that nobody polls.

Joining without loss or doubling
    :meth:`Feed.join` adds a follower only if nothing was published after the cursor that it has read up
    to, and both happen in one turn of the loop. If it answers ``False``, read on and ask again. A reader
    may be ahead of the loop (it saw a commit whose publication is still queued); the follower drops what
    it has by cursor.

A follower must not block and must not raise: a slow one is its transport's business to drop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby
from typing import Protocol

from pushpals.store.base import StoredEvent

KEPT_EVENTS = 1_000
KEPT_BYTES = 4 * 1024 * 1024
KEPT_SESSIONS = 256
"""Bounds of the memory of recent events: per session, per session in bytes, and of sessions."""

TOPICS: dict[str, tuple[str, ...]] = {
    "job_enqueued": ("jobs",),
    "job_requeued": ("jobs",),
    "job_completed": ("jobs",),
    "job_failed": ("jobs",),
    "job_cancelled": ("jobs",),
    "job_cancel_requested": ("cancels",),
    "worker_changed": ("jobs",),
    "approval_required": ("approvals",),
    "approval_decided": ("approvals", "jobs", "lanes"),
    "approval_expired": ("approvals",),
    "approval_void": ("approvals",),
    "landing_moved": ("lanes",),
    "lane_changed": ("lanes",),
    "token_changed": ("tokens",),
}
"""Which waiters an event type wakes. ``jobs``: something may be claimable. ``lanes``: a queue changed."""

_log = logging.getLogger(__name__)


class Batch:
    """The events that one commit added to one session, oldest first."""

    __slots__ = ("events", "first", "last", "made", "session_id")

    def __init__(self, session_id: str, events: Sequence[StoredEvent]) -> None:
        self.session_id = session_id
        self.events = events
        self.first = events[0].cursor
        self.last = events[-1].cursor
        self.made: dict[Hashable, bytes] = {}

    def once(self, name: Hashable, make: Callable[[Sequence[StoredEvent]], bytes]) -> bytes:
        """An encoding of the batch, made by the first follower that needs it."""
        made = self.made.get(name)
        if made is None:
            made = self.made[name] = make(self.events)
        return made


class Follower(Protocol):
    """Who follows a session. Called on the event loop, in order, once for each batch."""

    def deliver(self, batch: Batch) -> None: ...


class Feed:
    """One per hub; give :meth:`publish` to the store as its ``on_commit``."""

    def __init__(self) -> None:
        self.topics = Topics()
        self.published = 0
        """Events since the start."""
        self._followers: dict[str, dict[Follower, None]] = {}
        self._recent: OrderedDict[str, _Recent] = OrderedDict()
        self._last: dict[str, int] = {}

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Hand over what a commit added. Called by the store, on the loop, in commit order."""
        topics: set[str] = set()
        # One commit may interleave sessions; within each the order of cursors is kept by the stable sort.
        if len(events) > 1:
            events = sorted(events, key=_session)
        for session_id, group in groupby(events, key=_session):
            batch = Batch(session_id, list(group))
            self._last[session_id] = batch.last
            self._remember(batch)
            for follower in list(self._followers.get(session_id, ())):
                try:
                    follower.deliver(batch)
                except Exception:
                    _log.exception("a follower of %s failed and is dropped", session_id)
                    self.leave(session_id, follower)
            for event in batch.events:
                topics.update(TOPICS.get(event.type, ()))
        self.published += len(events)
        for topic in topics:
            self.topics.notify(topic)

    def last(self, session_id: str) -> int:
        """The newest cursor published since the start; 0 when there was none."""
        return self._last.get(session_id, 0)

    def positions(self) -> dict[str, int]:
        """The newest cursor of every session that had news since the start."""
        return dict(self._last)

    def join(self, session_id: str, follower: Follower, after: int) -> bool:
        """Follow from ``after`` on, unless more than that was published already."""
        if self.last(session_id) > after:
            return False
        self._followers.setdefault(session_id, {})[follower] = None
        return True

    def leave(self, session_id: str, follower: Follower) -> None:
        """Stop following. May be called twice."""
        followers = self._followers.get(session_id)
        if followers is not None:
            followers.pop(follower, None)
            if not followers:
                del self._followers[session_id]

    def recent(self, session_id: str, after: int, limit: int = 500) -> list[StoredEvent] | None:
        """The events after a cursor from memory, or ``None`` when memory does not reach back so far."""
        recent = self._recent.get(session_id)
        return None if recent is None else recent.after(after, limit)

    def _remember(self, batch: Batch) -> None:
        recent = self._recent.get(batch.session_id)
        if recent is None:
            recent = self._recent[batch.session_id] = _Recent()
            if len(self._recent) > KEPT_SESSIONS:
                self._recent.popitem(last=False)
        self._recent.move_to_end(batch.session_id)
        recent.add(batch.events)


class Topics:
    """Waiting for news without polling and without a lost wake-up.

    Take a :meth:`ticket` first, then look, then wait with the ticket: a change between the look and the
    wait ends the wait at once.
    """

    def __init__(self) -> None:
        self._changes: dict[str, int] = {}
        self._all = 0
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def ticket(self, topic: str) -> int:
        return self._changes.get(topic, 0) + self._all

    def notify(self, topic: str) -> None:
        """Something about ``topic`` changed. Upkeep calls this for changes that have no event."""
        self._changes[topic] = self._changes.get(topic, 0) + 1
        self._wake(topic)

    def notify_all(self) -> None:
        """Wake everybody, e.g. because the hub stops."""
        # Counted for topics that nobody named yet, too: a wait about to begin must end as well.
        self._all += 1
        for topic in list(self._waiting):
            self._wake(topic)

    async def changed(self, topic: str, ticket: int, timeout_s: float) -> bool:
        """Wait until the topic changed after the ticket was taken; ``False`` after ``timeout_s``."""
        if self.ticket(topic) != ticket:
            return True
        if timeout_s <= 0:
            return False
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(topic, set())
        waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            waiters.discard(waiter)
        return True

    def _wake(self, topic: str) -> None:
        for waiter in self._waiting.pop(topic, ()):
            if not waiter.done():
                waiter.set_result(None)


class _Recent:
    """The newest events of one session, bounded in number and bytes."""

    def __init__(self) -> None:
        self._events: deque[StoredEvent] = deque()
        self._bytes = 0

    def add(self, events: Iterable[StoredEvent]) -> None:
        for event in events:
            self._events.append(event)
            self._bytes += len(event.data)
        while len(self._events) > KEPT_EVENTS or (self._bytes > KEPT_BYTES and len(self._events) > 1):
            self._bytes -= len(self._events.popleft().data)

    def after(self, cursor: int, limit: int) -> list[StoredEvent] | None:
        first = self._events[0].cursor
        if cursor + 1 < first:
            return None
        start = cursor + 1 - first
        return [self._events[at] for at in range(start, min(start + limit, len(self._events)))]


def _session(event: StoredEvent) -> str:
    return event.session_id
