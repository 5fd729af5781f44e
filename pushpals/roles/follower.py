"""Reading one session from a durable mark: each event once, in order, dealt with before the mark moves.

Promised to whoever subclasses it: after a start, a crash or a restart, ``answer`` is called for every
event behind the mark, in order, and again for the one that was being answered; ``recall`` is called for
those before it. An answer must therefore be repeatable, which idempotency keys make it (``writes.key_of``).
The mark moves past an event only when ``answer`` has returned.

A hub that is away makes ``step`` raise a retryable error; called again, it takes the same event up.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence

from pushpals.client import HubClient, Reset
from pushpals.protocol import wire
from pushpals.protocol.events import Event
from pushpals.roles.base import Role

MARK_EVERY = 100
"""Events without an answer after which the mark moves all the same."""
PAGE = 500


class Follower(ABC):
    """One reader of one session. Everything but ``answer`` and ``recall`` is done here."""

    def __init__(self, hub: HubClient, session_id: str, *, reader: str, types: Sequence[str]) -> None:
        self.session_id = session_id
        self.cursor = 0
        """The last event that was dealt with."""
        self._hub = hub
        self._reader = reader
        self._types = list(types)
        self._events: AsyncGenerator[Event, None] | None = None
        self._pending: Event | None = None
        self._started = False
        self._unmarked = 0
        self._epoch = ""

    @abstractmethod
    async def answer(self, event: Event) -> bool:
        """Deal with an event. True if something was written for it."""

    def recall(self, event: Event) -> None:  # noqa: B027 - a reader without memory is an answer
        """An event that was dealt with before this start."""

    def forget(self) -> None:  # noqa: B027
        """Drop all that was recalled: it is told again."""

    async def start(self) -> None:
        """Join the session and recall what was dealt with before."""
        await self.close()
        await self._hub.create_session(self.session_id)
        snapshot = await self._hub.snapshot(self.session_id)
        mark = await self._hub.mark(self.session_id, self._reader)
        self._epoch = snapshot.session.epoch
        dealt_with = mark.cursor if mark else 0
        if mark is not None and mark.data.get("epoch", self._epoch) != self._epoch:
            # The history was replaced: what the mark meant is gone, and old messages are not new ones.
            dealt_with = snapshot.cursor
        self.forget()
        self._pending = None
        await self._recall(snapshot.session.first - 1, min(dealt_with, snapshot.cursor))
        self._started = True

    async def step(self) -> Event:
        """Deal with the next event; waits until there is one."""
        await self.upcoming()
        return await self.deal()

    async def upcoming(self) -> Event:
        """The next event to deal with; waits until there is one. Asking again gives the same."""
        while self._pending is None:
            if not self._started:
                await self.start()
            if self._events is None:
                self._events = self._hub.follow(
                    self.session_id, after=self.cursor, types=self._types, on_reset=self._reset
                )
            try:
                self._pending = await anext(self._events)
            except _HistoryReplaced:
                self._started = False
        return self._pending

    async def deal(self) -> Event:
        """Deal with what :meth:`upcoming` gave."""
        event = self._pending
        assert event is not None
        await self.handle(event)
        self._pending = None
        return event

    async def catch_up(self) -> int:
        """Deal with all that has happened, and return how many events that were; waits for nothing."""
        if not self._started:
            await self.start()
        dealt_with = 0
        while True:
            page = await self._hub.history(self.session_id, after=self.cursor, limit=PAGE, types=self._types)
            for entry in page.items:
                await self.handle(wire.read_event(bytes(entry.envelope), entry.cursor))
            dealt_with += len(page.items)
            if not page.items:
                return dealt_with

    async def handle(self, event: Event) -> None:
        """One event: answer it, then mark it. What was dealt with already is passed over."""
        if event.cursor <= self.cursor:
            return
        wrote = await self.answer(event)
        self.cursor = event.cursor
        self._unmarked += 1
        if wrote or self._unmarked >= MARK_EVERY:
            await self._mark()

    async def close(self) -> None:
        """Stop following. May be called twice."""
        events, self._events = self._events, None
        self._started = False
        if events is not None:
            await events.aclose()

    async def _mark(self) -> None:
        await self._hub.set_mark(self.session_id, self._reader, self.cursor, {"epoch": self._epoch})
        self._unmarked = 0

    async def _recall(self, after: int, until: int) -> None:
        """Recall what is left of the history (its start may have been pruned) up to ``until``."""
        while after < until:
            page = await self._hub.history(self.session_id, after=after, limit=PAGE, types=self._types)
            for entry in page.items:
                if entry.cursor <= until:
                    self.recall(wire.read_event(bytes(entry.envelope), entry.cursor))
            if page.next is None or page.next >= until:
                break
            after = page.next
        self.cursor = until

    def _reset(self, reset: Reset) -> int:
        if reset.reason == "pruned":
            return reset.first - 1
        raise _HistoryReplaced


class FollowerRole(Role):
    """A follower as a member of the team: waits out an absent hub, and ends between two events."""

    def __init__(self, name: str, follower: Follower) -> None:
        self.name = name
        self.follower = follower
        super().__init__()

    async def start(self) -> None:
        await self.follower.start()

    async def step(self) -> None:
        coming = asyncio.create_task(self.follower.upcoming(), name=f"{self.name}-next")
        stopping = asyncio.create_task(self.stopping.wait(), name=f"{self.name}-stop")
        try:
            await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                coming.result()
                await self.follower.deal()
        finally:
            for task in (coming, stopping):
                task.cancel()
            await asyncio.gather(coming, stopping, return_exceptions=True)

    async def close(self) -> None:
        await self.follower.close()


async def run_roles(roles: Sequence[Role], stop: asyncio.Event) -> None:
    """Run them side by side until ``stop`` is set or one ends, which ends all and raises its reason."""
    ending = asyncio.create_task(stop.wait(), name="stop")
    loops = [asyncio.create_task(role.run(), name=role.name) for role in roles]
    try:
        await asyncio.wait([ending, *loops], return_when=asyncio.FIRST_COMPLETED)
        for role in roles:
            role.stop()
        await asyncio.gather(*loops)
    finally:
        for task in (ending, *loops):
            task.cancel()
        await asyncio.gather(ending, *loops, return_exceptions=True)


class _HistoryReplaced(Exception):
    pass
