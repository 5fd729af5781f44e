"""``pushpals up`` as a person uses it: real processes, a real repository, a real landing."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from pushpals.cli import checkout
from pushpals.cli.state import State
from pushpals.config import Settings
from pushpals.testing.repos import Repository, make_demo_repository


def everything_in(path: Path) -> dict[str, tuple[int, bytes]]:
    """Each file below a checkout, ``.git`` included, with its time and bytes."""
    files = [file for file in path.rglob("*") if file.is_file()]
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


class Town:
    """A terminal's repository with an ``up``."""

    def __init__(self, terminal, wait_for) -> None:  # type: ignore[no-untyped-def]
        self.terminal, self.wait_for = terminal, wait_for
        self.state: State = terminal.state
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: list[psutil.Process] = []

    def up(self, *args: str) -> None:
        self.process = process = self.terminal.start("up", "--port", "0", *args)
        self.wait_for("up", lambda: self.ready or process.poll() is not None)
        assert process.poll() is None, process.communicate()[0].decode()
        self.seen += psutil.Process(process.pid).children(recursive=True)

    @property
    def ready(self) -> bool:
        running = self.state.running()
        return running is not None and running.ready

    def was_replaced(self, name: str, old: int) -> bool:
        running = self.state.running()
        return running is not None and running.pids.get(name, old) != old

    def end(self, signum: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        assert self.process is not None
        self.process.send_signal(signum)
        out, _ = self.process.communicate(timeout=100)
        return self.process.returncode, out.decode()

    def left_over(self) -> list[psutil.Process]:
        _, alive = psutil.wait_procs(self.seen, timeout=30)
        return alive


@pytest.fixture
def town(terminal, wait_for) -> Iterator[Town]:  # type: ignore[no-untyped-def]
    town = Town(terminal, wait_for)
    yield town
    if town.process is not None and town.process.poll() is None:
        town.process.terminate()
        town.process.communicate(timeout=100)
    assert town.left_over() == []


def test_a_change_is_asked_for_shown_approved_and_landed_and_the_checkout_is_not_touched(
    town: Town, tmp_path: Path
) -> None:
    path, upstream = make_demo_repository(tmp_path / "demo")
    town.terminal.repository = path
    before = everything_in(path)
    town.up("--workers", "1")

    asked = town.terminal.run("say", "fix the lint", "--wait")
    assert asked.exit_code == 0, asked.output
    said = town.terminal.run("approve", "--yes")
    assert said.exit_code == 0, said.output
    assert "landed" in said.output

    second = town.terminal.run("up")
    assert second.exit_code == 1
    assert town.state.running().url in second.output  # type: ignore[union-attr]

    (job,) = json.loads(town.terminal.run("jobs", "--json").output)["items"]
    story = town.terminal.run("log", "--job", job["id"]).output
    told = ["fix the lint", "$ ruff check", "passed", "Land ", "approved", "queued", "landed", "on main"]
    assert [part for part in told if part not in story] == []

    code, out = town.end()
    assert code == 0, out
    assert everything_in(path) == before
    main = Repository(upstream, bare=True)
    assert "import os" not in main.files("main")["parcels/labels.py"]
    assert f"Job-Id: {job['id']}" in main.git("log", "-1", "--format=%B", "main")
    assert not list((town.state.root / "workers").glob("trees/*/repo"))
    assert town.state.running() is None

    town.up("--workers", "1")
    assert json.loads(town.terminal.run("jobs", "--json").output)["items"][0]["id"] == job["id"]
    assert town.terminal.run("down").exit_code == 0
    assert town.process.wait(timeout=60) == 0  # type: ignore[union-attr]
    town.process.communicate()  # type: ignore[union-attr]


def test_a_port_that_is_taken_is_said_at_once(terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        shown = terminal.run("up", "--port", str(taken.getsockname()[1]))
    assert (shown.exit_code, "is taken; name another" in shown.output) == (2, True)


def test_without_a_remote_main_lives_in_the_data_directory(town: Town) -> None:
    town.up("--workers", "0")
    (repository,) = json.loads(town.terminal.run("status", "--json").output)["repositories"]
    head = Repository(town.terminal.repository).sha("main")
    assert (repository["upstream"], repository["head"]) == (str(town.state.upstream), head)
    assert town.end()[0] == 0


def test_a_part_that_is_killed_comes_back(town: Town) -> None:
    town.up("--workers", "0")
    running = town.state.running()
    assert running is not None
    for name in ("hub", "buddy"):
        old = running.pids[name]
        os.kill(old, signal.SIGKILL)
        town.wait_for(f"a new {name}", partial(town.was_replaced, name, old))
    answer = town.terminal.run("say", "help", "--wait")
    assert answer.exit_code == 0, answer.output
    town.seen += psutil.Process(town.process.pid).children(recursive=True)  # type: ignore[union-attr]
    code, out = town.end(signal.SIGTERM)
    assert code == 0
    assert "crashed (SIGKILL)" in out


def test_when_up_itself_is_killed_nothing_of_it_stays_and_it_can_be_started_again(town: Town) -> None:
    town.up("--workers", "1")
    town.end(signal.SIGKILL)
    assert town.left_over() == []
    town.up("--workers", "1")
    assert town.end()[0] == 0


def test_up_in_the_background_returns_when_everything_is_there(town: Town) -> None:
    started = town.terminal.start("up", "--port", "0", "--workers", "0", "--detach")
    out, _ = started.communicate(timeout=100)
    assert started.returncode == 0, out.decode()
    running = town.state.running()
    assert running is not None
    town.seen = [psutil.Process(pid) for pid in running.pids.values()]
    assert out.decode().startswith(running.url)
    assert town.terminal.run("status").exit_code == 0
    assert town.terminal.run("down").exit_code == 0


@pytest.fixture
def person(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "person", {"a": "1\n"})


def test_an_own_upstream_follows_the_person_and_never_goes_back(person: Repository, tmp_path: Path) -> None:
    own = tmp_path / "state" / "upstream.git"
    assert checkout.prepare(person.path, own, Settings()).state == "seeded"
    assert checkout.prepare(person.path, own, Settings()).state == "equal"
    person.commit("Two", {"a": "2\n"})
    assert checkout.prepare(person.path, own, Settings()).state == "forwarded"
    assert Repository(own, bare=True).sha("main") == person.sha("main")

    landed = Repository.create(tmp_path / "other")
    landed.git("pull", "--quiet", str(own), "main")
    landed.commit("Landed", {"b": "1\n"})
    landed.git("push", "--quiet", str(own), "main")
    ahead = checkout.prepare(person.path, own, Settings())
    assert ahead.state == "ahead"
    assert checkout.advice(ahead) == f"Landed work that your checkout does not have yet: git pull {own} main"
    person.commit("Mine", {"c": "1\n"})
    parted = checkout.prepare(person.path, own, Settings())
    assert parted.state == "parted"
    assert Repository(own, bare=True).sha("main") == landed.sha("main")


REMOTES = [
    ({}, "main", {}, ("(own)", "main")),
    ({"origin": "o.git"}, "main", {}, ("origin", "main")),
    ({"company": "c.git"}, "main", {}, ("company", "main")),
    ({"origin": "o.git", "fork": "f.git"}, "main", {}, ("origin", "main")),
    ({"origin": "o.git", "fork": "f.git"}, "main", {"remote": "fork"}, ("fork", "main")),
    ({"origin": "o.git"}, "topic", {"branch": "trunk"}, ("origin", "trunk")),
]


@pytest.mark.parametrize(("remotes", "branch", "settings", "expected"), REMOTES)
def test_main_is_found_where_it_lives(
    person: Repository,
    tmp_path: Path,
    remotes: dict[str, str],
    branch: str,
    settings: dict[str, str],
    expected: tuple[str, str],
) -> None:
    for name, folder in remotes.items():
        Repository.create(tmp_path / folder, bare=True)
        person.git("remote", "add", name, str(tmp_path / folder))
        person.git("push", "--quiet", name, "main")
    person.git("checkout", "--quiet", "-B", branch)
    found = checkout.resolve(person.path, tmp_path / "own.git", Settings(**settings))
    assert (found.name, found.branch) == expected


def test_the_remotes_own_head_names_main_also_from_a_topic_branch(person: Repository, tmp_path: Path) -> None:
    remote = Repository.create(tmp_path / "o.git", bare=True)
    person.git("remote", "add", "origin", str(remote.path))
    person.git("push", "--quiet", "origin", "main")
    person.git("checkout", "--quiet", "-b", "topic")
    assert checkout.resolve(person.path, tmp_path / "own.git", Settings()).branch == "main"


def test_an_address_is_shown_without_its_password() -> None:
    upstream = checkout.Upstream(
        url="https://ada:secret@example.org/x.git", branch="main", name="origin", own=False
    )
    assert upstream.shown == "https://example.org/x.git"


UNUSABLE = [
    (Settings(remote="nowhere"), "landing.remote says 'nowhere'"),
    (Settings(branch="missing"), "the branch missing has no commit yet"),
]


@pytest.mark.parametrize(("settings", "says"), UNUSABLE)
def test_what_cannot_be_used_is_said_with_what_to_do(
    person: Repository, tmp_path: Path, settings: Settings, says: str
) -> None:
    with pytest.raises(checkout.CheckoutError, match=says):
        checkout.prepare(person.path, tmp_path / "own.git", settings)
