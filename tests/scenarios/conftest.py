from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pushpals.testing.town import Town


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with Town.open(tmp_path) as town:
        yield town
