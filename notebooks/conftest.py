"""Runbooks are executed by nbval against a desk of their own each: ``make runbooks-test``.

nbval's items take no fixtures, so the desk is started by a hook, before the kernel of a notebook is, and
replaced when the next notebook begins.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from pushpals.testing.desk import desk

_open = contextlib.ExitStack()
_for: list[Path] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.path.suffix != ".ipynb" or _for == [item.path]:
        return
    _open.close()
    _for[:] = [item.path]
    folder = _open.enter_context(tempfile.TemporaryDirectory(prefix="pushpals-desk-"))
    os.environ.update(_open.enter_context(desk(Path(folder) / "desk")))


def pytest_sessionfinish(session: pytest.Session) -> None:
    _open.close()
