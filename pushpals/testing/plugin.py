"""Fixtures for tests of plug-ins, found by pytest through the entry point ``pytest11``.

It is loaded into every pytest run of an environment that has Push Pals installed, so it imports nothing
until a fixture is asked for, and its names begin with ``pushpals_``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pushpals.testing.clock import ManualClock
    from pushpals.testing.repos import Cloned


@pytest.fixture
def pushpals_clock() -> ManualClock:
    """A clock that stands still until a test moves it."""
    from pushpals.testing.clock import ManualClock

    return ManualClock()


@pytest.fixture
def pushpals_repository(tmp_path: Path) -> Cloned:
    """A small real repository: a checkout and the bare upstream that it was pushed to."""
    from pushpals.testing.repos import make_cloned

    return make_cloned(tmp_path / "repository")
