"""The sandbox for real. Where it cannot be made, these tests fail, unless the machine is declared without."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pushpals.work.executors.base import Place
from pushpals.work.executors.bubblewrap import BubblewrapExecutor


@pytest.fixture
def sandboxed_machine() -> None:
    if os.environ.get("SANDBOX") == "none":
        pytest.skip("this machine is declared to have no sandbox (SANDBOX=none)")


@pytest.fixture
async def sandbox(sandboxed_machine: None) -> AsyncIterator[BubblewrapExecutor]:
    made = BubblewrapExecutor()
    report = await made.probe()
    assert report.level == "full", f"{report.reason}; {report.remedy}; or declare SANDBOX=none"
    yield made
    await made.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    tree = tmp_path / "tree"
    tree.mkdir()
    return Place(tree=tree)
