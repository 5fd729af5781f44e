"""Fixtures for tests of plug-ins: ``pytest_plugins = ["pushpals.testing.plugin"]`` in a ``conftest.py``.

It is not a ``pytest11`` entry point on purpose: that would load it into every pytest run of an environment
that has Push Pals installed, the checks of other repositories included.
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
