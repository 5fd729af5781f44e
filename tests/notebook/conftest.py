"""A seeded hub for sessions and magics, and a shell to type into."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from pushpals.server import start_service
from pushpals.store.sqlite import open_store
from pushpals.testing import seed
from pushpals.testing.site import RunningSite


@pytest.fixture(scope="session")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of the seeded day; to be read only."""
    path = tmp_path_factory.mktemp("day") / "hub.db"
    asyncio.run(seed.write(path))
    return path


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[RunningSite]:
    clock = await seed.write(tmp_path / "hub.db")
    service = await start_service(
        open_store, tmp_path / "hub.db", data_dir=tmp_path, port=0, clock=clock, upkeep=False
    )
    made = RunningSite(service)
    await made.make_tokens()
    yield made
    await made.close()


class Typed:
    """What a cell gave: its value, its message, and whether it failed."""

    def __init__(self, outcome: Any, err: str):
        self.value = outcome.result
        self.failed = not outcome.success
        self.err = err


class Shell:
    """An IPython with ``%load_ext pushpals``."""

    def __init__(self, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]):
        self.shell = shell
        self.names: dict[str, Any] = shell.user_ns
        self._capsys = capsys

    def type(self, cell: str) -> Typed:
        outcome = self.shell.run_cell(cell)
        captured = self._capsys.readouterr()
        return Typed(outcome, captured.err + captured.out)


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    """Its home is empty: nothing of the machine is found, and nothing is left there."""
    for name, value in {"HOME": tmp_path, "IPYTHONDIR": tmp_path / "ipython"}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("PUSHPALS_URL", "PUSHPALS_TOKEN", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    made.history_manager.enabled = False
    made.run_line_magic("load_ext", "pushpals")
    capsys.readouterr()
    yield Shell(made, capsys)
    made.run_line_magic("unload_ext", "pushpals")
    made.history_manager.end_session()
    InteractiveShell.clear_instance()
