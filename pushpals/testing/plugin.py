"""Fixtures for plug-in authors: ``pytest_plugins = ["pushpals.testing.plugin"]`` in a conftest.

There is no ``pytest11`` entry point on purpose: it would load this package into the test runs of every
repository whose checks fall back to the environment that Push Pals is installed in.
"""

from __future__ import annotations

import pytest

from pushpals.testing.clock import CountedIds, ManualClock


@pytest.fixture
def manual_clock() -> ManualClock:
    """A clock that moves only when told."""
    return ManualClock()


@pytest.fixture
def counted_ids() -> CountedIds:
    """``job-1``, ``job-2`` …"""
    return CountedIds()
