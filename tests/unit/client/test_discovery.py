"""Which hub is found, by whom, and with which token."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pushpals import config
from pushpals.cli.state import Running, State
from pushpals.client.discovery import Found, NothingFound, find

DEAD = 2**22 + 1
"""No process has this id: it is above the kernel's highest."""


class Machine:
    """A person's home with some repositories, each with its `pushpals up`."""

    def __init__(self, root: Path):
        self.root = root
        self.env = {"HOME": str(root), "XDG_STATE_HOME": str(root / "state")}

    def repository(self, name: str) -> Path:
        folder = self.root / name
        (folder / ".git").mkdir(parents=True)
        return folder

    def up(self, repository: Path, url: str, *, pid: int | None = None, session: str = "dev") -> State:
        state = State(config.data_dir(config.Settings(), repository, self.env))
        state.make()
        for role in ("operator", "notebook"):
            state.keep_token(role, f"{role} of {repository.name}")
        pids = {"up": os.getpid() if pid is None else pid}
        state.keep_running(
            Running(url=url, started="", repository=str(repository), session_id=session, pids=pids)
        )
        return state


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_hub_of_the_repository_that_one_stands_in_with_the_token_of_the_role(machine: Machine) -> None:
    mine, other = machine.repository("mine"), machine.repository("other")
    machine.up(mine, "http://127.0.0.1:3001")
    machine.up(other, "http://127.0.0.1:3002")
    (mine / "deep" / "down").mkdir(parents=True)

    found = find("notebook", env=machine.env, start=mine / "deep" / "down")

    assert found == Found(
        url="http://127.0.0.1:3001",
        token="notebook of mine",
        session_id="dev",
        origin=f"pushpals up for {mine}",
    )


def test_the_only_one_that_runs_is_found_from_anywhere(machine: Machine) -> None:
    machine.up(machine.repository("mine"), "http://127.0.0.1:3001", session="review")
    machine.up(machine.repository("ended"), "http://127.0.0.1:3002", pid=DEAD)
    found = find("operator", env=machine.env, start=machine.root)
    assert (found.url, found.token, found.session_id) == (
        "http://127.0.0.1:3001",
        "operator of mine",
        "review",
    )


def test_of_several_none_is_guessed(machine: Machine) -> None:
    for number, name in enumerate(("one", "two")):
        machine.up(machine.repository(name), f"http://127.0.0.1:300{number}")
    with pytest.raises(NothingFound, match=r"several teams run here \(.*one, .*two\)"):
        find("notebook", env=machine.env, start=machine.root)


def test_nothing_says_what_to_do(machine: Machine) -> None:
    with pytest.raises(NothingFound, match="start one with: pushpals up"):
        find("notebook", env=machine.env, start=machine.root)


def test_the_environment_wins_and_its_token_goes_with_it(machine: Machine) -> None:
    machine.up(machine.repository("mine"), "http://127.0.0.1:3001")
    env = {
        **machine.env,
        "PUSHPALS_URL": "https://hub.example/",
        "PUSHPALS_TOKEN": "theirs",
        "PUSHPALS_SESSION_ID": "s",
    }
    assert find("notebook", env=env, start=machine.root) == Found(
        url="https://hub.example", token="theirs", session_id="s", origin="PUSHPALS_URL"
    )


def test_a_token_of_this_machine_is_never_sent_to_another_address(machine: Machine) -> None:
    mine = machine.repository("mine")
    machine.up(mine, "http://127.0.0.1:3001")
    env = {**machine.env, "PUSHPALS_URL": "https://elsewhere.example"}
    assert find("operator", env=env, start=mine).token is None
    ours = {**machine.env, "PUSHPALS_URL": "http://127.0.0.1:3001"}
    assert find("operator", env=ours, start=mine).token == "operator of mine"


def test_the_token_is_not_in_what_is_printed(machine: Machine) -> None:
    mine = machine.repository("mine")
    machine.up(mine, "http://127.0.0.1:3001")
    assert "of mine" not in repr(find("operator", env=machine.env, start=mine)).replace(str(mine), "")
