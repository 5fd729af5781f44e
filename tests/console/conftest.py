"""The console must be built (``make ui``): these tests are about what a person sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pushpals.server.handlers.page import built
from pushpals.testing.browser import Guest, open_browser
from pushpals.testing.town import Town


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    assert built(), "the console is not built: run `make ui`"
    async with Town.open(tmp_path) as town:
        yield town


@pytest.fixture
async def guest(town: Town) -> AsyncIterator[Guest]:
    """Whatever a test does, its pages talk to the hub only and have no errors."""
    async with open_browser() as browser:
        guest = Guest(town, browser)
        yield guest
        assert guest.visits.errors == []
        assert guest.visits.hosts <= {f"127.0.0.1:{town.service.port}"}
