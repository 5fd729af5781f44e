"""A real hub in a process of its own, and the command line beside it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pushpals.cli.main import cli
from pushpals.cli.state import State
from pushpals.testing.repos import Repository


class Terminal:
    """A person at a terminal: a home, a repository, and the command line."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.home.mkdir(exist_ok=True)
        self.repository = Repository.create(root / "parcels", {"README.md": "# Parcels\n"}).path
        self.state = State(root / "state")
        self.env = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("PUSHPALS_", "XDG_"))
            },
            "HOME": str(self.home),
            "PUSHPALS_DATA_DIR": str(self.state.root),
        }

    def run(self, *args: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
        """One command, in this process. A defect of ours is raised, not turned into an exit code."""
        runner = CliRunner(env={**dict.fromkeys(os.environ), **self.env, **(env or {})})
        result = runner.invoke(cli, ["-C", str(self.repository), *args], input=stdin)
        if result.exception is not None and not isinstance(
            result.exception, SystemExit | click.ClickException
        ):
            raise result.exception
        return result

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """A command that goes on, in a process of its own."""
        argv = [sys.executable, "-m", "pushpals", "-C", str(self.repository), *args]
        return subprocess.Popen(
            argv,
            env=self.env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


def _wait_for(what: str, condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Until ``condition()`` is true. The bound is for a hung test; nothing is timed."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., None]:
    return _wait_for


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """The same with a hub. Tests of one module share it, and each uses a session of its own."""
    terminal = Terminal(tmp_path_factory.mktemp("running"))
    hub = terminal.start("hub", "--port", "0")
    try:
        _wait_for("the hub", lambda: terminal.state.running() or hub.poll() is not None)
        assert hub.poll() is None, hub.communicate()[0].decode()
        yield terminal
    finally:
        hub.terminate()
        out, _ = hub.communicate(timeout=60)
    assert hub.returncode == 0, out.decode()
