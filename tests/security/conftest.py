"""A hub on a free port for tests over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from pushpals.server import start_service
from pushpals.store.sqlite import open_store
from pushpals.testing.site import RunningSite


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[RunningSite]:
    """A hub over SQLite with the session ``dev``."""
    async with AsyncExitStack() as stack:
        service = await start_service(open_store, tmp_path / "hub.db", data_dir=tmp_path / "data", port=0)
        made = RunningSite(service)
        stack.push_async_callback(made.close)
        await made.make_tokens()
        await (await made.client()).create_session("dev")
        yield made
