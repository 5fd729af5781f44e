"""Every executor keeps every promise of the port."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pushpals.testing.contracts.executor import ExecutorContract
from pushpals.work.executors.base import Executor
from pushpals.work.executors.bubblewrap import BubblewrapExecutor
from pushpals.work.executors.local import LocalExecutor


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    async def executor(self, tmp_path: Path) -> AsyncIterator[Executor]:
        made = LocalExecutor(record_dir=tmp_path / "records")
        yield made
        await made.close()
        assert list((tmp_path / "records").iterdir()) == []


class TestBubblewrapExecutor(ExecutorContract):
    @pytest.fixture
    async def executor(self) -> AsyncIterator[Executor]:
        if os.environ.get("SANDBOX") == "none":
            pytest.skip("this machine is declared to have no sandbox (SANDBOX=none)")
        assert shutil.which("bwrap"), (
            "bubblewrap is missing: apt-get install bubblewrap, or declare SANDBOX=none"
        )
        made = BubblewrapExecutor()
        yield made
        await made.close()
