"""A hub over every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pushpals.hub import sessions
from pushpals.protocol.commands import CreateSession
from pushpals.store.base import StoredEvent
from pushpals.store.memory import open_store as open_memory
from pushpals.store.sqlite import open_store as open_sqlite
from pushpals.testing.bench import Bench
from pushpals.testing.clock import CountedIds, ManualClock


@pytest.fixture(params=["memory", "sqlite"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    published: list[StoredEvent] = []

    def keep(events: Sequence[StoredEvent]) -> None:
        published.extend(events)

    ids = CountedIds()
    if request.param == "memory":
        store: Any = await open_memory(None, on_commit=keep, new_id=ids)
    else:
        store = await open_sqlite(tmp_path / "hub.db", on_commit=keep, new_id=ids)
    made = Bench(store, ManualClock(), published)
    await made.hub.start()
    await made.run(sessions.create, CreateSession(session_id="dev"))
    yield made
    await store.close()
