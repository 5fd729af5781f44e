"""A hub without HTTP, on a clock that tests move, with what it published at hand."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from pushpals.hub import leasing, sessions
from pushpals.hub.hub import Hub
from pushpals.hub.upkeep import Upkeep
from pushpals.protocol.commands import Claim, CreateSession
from pushpals.protocol.events import Event
from pushpals.protocol.ids import Ids
from pushpals.protocol.jobs import Job
from pushpals.protocol.records import Actor
from pushpals.protocol.wire import read_event
from pushpals.store.base import Store, StoredEvent
from pushpals.store.memory import open_store
from pushpals.testing.clock import CountedIds, ManualClock

OPERATOR = Actor(role="operator", token_id="op", label="ada", device="laptop")
BUDDY = Actor(role="buddy", token_id="bu", label="remote")
WORKER = Actor(role="worker", token_id="wo", label="w1")
PUSHER = Actor(role="pusher", token_id="pu", label="serial-pusher")
SHA = "a" * 40


class Bench:
    """A hub, its clock, and what it published."""

    def __init__(self, store: Store, clock: ManualClock, published: list[StoredEvent]):
        self.store = store
        self.clock = clock
        self.published = published
        self.hub = Hub(store, clock=clock, monotonic=clock.monotonic)
        self.upkeep = Upkeep(self.hub)

    async def run(self, command: Any, body: Any, actor: Actor = OPERATOR, **options: Any) -> Any:
        return await self.hub.run(command, body, actor=actor, **options)

    async def claim(self, worker: str = "w1", **options: Any) -> Job | None:
        return await leasing.claim(self.hub, Claim(worker_id=worker, lease_s=30.0, **options), actor=WORKER)

    async def get(self, kind: Any, key: str) -> Any:
        return await self.store.reader.get(kind, key)

    def events(self, session_id: str = "dev") -> list[Event]:
        return [read_event(e.data, e.cursor) for e in self.published if e.session_id == session_id]

    def types(self, session_id: str = "dev") -> list[str]:
        return [event.type for event in self.events(session_id)]


@contextlib.asynccontextmanager
async def open_bench(ids: Ids | None = None) -> AsyncIterator[Bench]:
    """A bench over the store in memory, with the session ``dev``."""
    published: list[StoredEvent] = []
    store = await open_store(None, on_commit=published.extend, new_id=ids or CountedIds())
    bench = Bench(store, ManualClock(), published)
    await bench.hub.start()
    await bench.run(sessions.create, CreateSession(session_id="dev"))
    yield bench
    await store.close()
