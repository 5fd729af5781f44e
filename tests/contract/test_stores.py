"""Every store keeps the whole contract."""

from pathlib import Path

import pytest

from pushpals.store import memory, sqlite
from pushpals.store.base import OpenStore
from pushpals.testing.contracts.store import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def opens(self) -> OpenStore:
        return memory.open_store


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def opens(self) -> OpenStore:
        return sqlite.open_store

    async def test_what_was_kept_is_there_after_opening_again(self, opens: OpenStore, tmp_path: Path) -> None:
        await self.keeps_everything_over_a_restart(opens, tmp_path / "hub.db")
