"""A serial-pusher on real git, over the real hub functions, with checks that tests decide."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pushpals.testing.bench import open_bench
from pushpals.testing.yard import PusherYard


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[PusherYard]:
    async with open_bench() as bench, PusherYard.open(bench, tmp_path) as made:
        yield made
