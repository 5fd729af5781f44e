"""A serial-pusher on real git, over the real hub functions, with checks that tests decide."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pushpals.hub import sessions
from pushpals.protocol.commands import CreateSession
from pushpals.store.base import StoredEvent
from pushpals.store.memory import open_store
from pushpals.testing.bench import Bench
from pushpals.testing.clock import CountedIds, ManualClock
from pushpals.testing.yard import PusherYard


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[PusherYard]:
    published: list[StoredEvent] = []
    store = await open_store(None, on_commit=published.extend, new_id=CountedIds())
    bench = Bench(store, ManualClock(), published)
    await bench.hub.start()
    await bench.run(sessions.create, CreateSession(session_id="dev"))
    async with PusherYard.open(bench, tmp_path) as made:
        yield made
    await store.close()
