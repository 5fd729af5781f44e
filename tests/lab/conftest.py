"""One Jupyter server for all tests here, and a hub for each, which the server finds by its ``run.json``."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pushpals.cli.state import Running, State
from pushpals.server import start_service
from pushpals.store.memory import open_store
from pushpals.testing.jupyter import Jupyter
from pushpals.testing.site import RunningSite


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> State:
    """The data directory in which Jupyter looks for a hub."""
    made = State(tmp_path_factory.mktemp("state"))
    made.make()
    return made


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory, state: State) -> Iterator[Jupyter]:
    python, app = (
        os.environ.get("PUSHPALS_LAB_PYTHON", sys.executable),
        os.environ.get("PUSHPALS_LAB_APP", "lab"),
    )
    root = tmp_path_factory.mktemp("jupyter")
    with Jupyter.running(root, data_dir=state.root, python=python, app=app) as running:
        yield running


def announce(state: State, site: RunningSite) -> None:
    """What `pushpals up` leaves in its data directory."""
    for role, secret in site.secrets.items():
        state.keep_token(role, secret)
    state.keep_running(
        Running(url=site.url, started="", repository="/repo", session_id="dev", pids={"up": os.getpid()})
    )


@pytest.fixture
async def site(tmp_path: Path, state: State) -> AsyncIterator[RunningSite]:
    """A hub with the session ``dev``."""
    made = RunningSite(await start_service(open_store, None, data_dir=tmp_path / "hub", port=0))
    await made.make_tokens()
    await (await made.client()).create_session("dev")
    announce(state, made)
    yield made
    state.forget_running()
    await made.close()
