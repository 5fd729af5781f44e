"""A hub on a free port for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pushpals.server import Options, start_service
from pushpals.store.memory import open_store
from pushpals.testing.site import RunningSite

Start = Callable[..., Awaitable[RunningSite]]
OPTIONS = frozenset(Options.__struct_fields__) - {"origins"}


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a hub; takes what ``start_service`` takes, and the fields of ``Options``."""
    async with AsyncExitStack() as stack:

        async def begin(*, store: Any = open_store, path: Path | None = None, **given: Any) -> RunningSite:
            changes = {name: given.pop(name) for name in list(given) if name in OPTIONS}
            service = await start_service(
                store,
                path,
                data_dir=tmp_path / "data",
                port=0,
                configure=lambda options: replace(options, **changes),
                **given,
            )
            made = RunningSite(service)
            stack.push_async_callback(made.close)
            await made.make_tokens()
            return made

        yield begin


@pytest.fixture
async def site(start: Start) -> RunningSite:
    """A hub with the defaults, and the session ``dev``."""
    made = await start()
    await (await made.client()).create_session("dev")
    return made
