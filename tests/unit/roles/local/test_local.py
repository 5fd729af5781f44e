"""The Local Buddy against real checkouts: it sees what there is, and leaves every byte as it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from pushpals.client import HubClient
from pushpals.protocol import events as e
from pushpals.protocol.records import Actor
from pushpals.roles.buddy import SessionBuddy
from pushpals.roles.local import LocalBuddy
from pushpals.roles.looking import CannotLook, Checkout
from pushpals.store.base import StoredEvent
from pushpals.store.memory import open_store
from pushpals.testing.bench import OPERATOR, Bench
from pushpals.testing.clock import CountedIds, ManualClock
from pushpals.testing.direct import DirectHub
from pushpals.testing.repos import Repository
from pushpals.work.git.runner import Git

LOCAL = Actor(role="buddy", token_id="lo", label="local")
REMOTE = Actor(role="buddy", token_id="bu", label="remote")


def prints(root: Path) -> dict[str, tuple[str, int, int]]:
    """Every file of a checkout, also of ``.git``: its hash, its times and its mode."""
    found = {}
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(folder, name)
            stat = path.lstat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path.relative_to(root))] = (digest, stat.st_mtime_ns, stat.st_mode)
    return found


class Place:
    """A person's checkout, a hub, and a Local Buddy on both."""

    def __init__(self, repo: Repository, bench: Bench, local: LocalBuddy):
        self.repo = repo
        self.bench = bench
        self.local = local
        self.person = DirectHub(bench.hub, OPERATOR)

    async def ask(self, text: str, to: str | None = "local") -> str:
        await self.person.say("dev", text, to=to)
        await self.local.catch_up()
        return self.said()[-1] if self.said() else ""

    def said(self) -> list[str]:
        return [one.text for one in self.payloads(e.AssistantMessage)]

    def payloads(self, kind: type[Any]) -> list[Any]:
        return [event.payload for event in self.bench.events() if isinstance(event.payload, kind)]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    repo = Repository.create(
        tmp_path / "checkout",
        {
            "README.md": "hello\n",
            "src/a.py": "x = 1\n",
            "src/b.py": "needle = 'Here'\n",
            ".gitignore": "*.log\n",
        },
    )
    (repo.path / "src/a.py").write_text("x = 2\ny = 3\n")
    (repo.path / "new.txt").write_text("new\n")
    (repo.path / "noise.log").write_text("ignored\n")
    (repo.path / "src/b.py").write_text("needle = 'Here'\n")
    os.utime(repo.path / "src/b.py", (1, 1))  # the index no longer knows it: a refresh would rewrite it
    published: list[StoredEvent] = []
    store = await open_store(None, on_commit=published.extend, new_id=CountedIds())
    bench = Bench(store, ManualClock(), published)
    await bench.hub.start()
    checkout = await Checkout.at(await Git.find(), repo.path)
    hub = cast(HubClient, DirectHub(bench.hub, LOCAL))
    local = LocalBuddy(hub, "dev", checkout)
    await local.start()
    yield Place(repo, bench, local)
    await store.close()


QUESTIONS = {
    "status": "On main. 1 changed, 1 untracked.\n M src/a.py\n?? new.txt",
    "What did I change?": "On main. 1 changed, 1 untracked.\n M src/a.py\n?? new.txt",
    "git status": "On main. 1 changed, 1 untracked.\n M src/a.py\n?? new.txt",
    "diff": "1 file changed against the last commit: +2 −1.",
    "show me the diff of README.md": "I could not",
    "diff README.md": "Nothing is changed in README.md against the last commit.",
    "files": "4 tracked files:\n.gitignore\nREADME.md\nsrc/a.py\nsrc/b.py",
    "files in src": "2 tracked files in src:\nsrc/a.py\nsrc/b.py",
    "search needle": "`needle` is in 1 line:\nsrc/b.py:1:needle = 'Here'",
    "search for here": "`here` is in 1 line:\nsrc/b.py:1:needle = 'Here'",
    "search HERE": "`HERE` is nowhere in the tracked files.",
    "search $(touch pwned)": "`$(touch pwned)` is nowhere in the tracked files.",
    "search --help": "`--help` is nowhere in the tracked files.",
}


@pytest.mark.parametrize("question", sorted(set(QUESTIONS) - {"show me the diff of README.md"}))
async def test_a_question_is_answered(place: Place, question: str) -> None:
    assert await place.ask(question) == QUESTIONS[question]


async def test_log_and_branches_are_told(place: Place) -> None:
    place.repo.git("branch", "topic")
    log = await place.ask("log")
    assert log.startswith("1 newest commits:\n")
    branches = await place.ask("branches")
    assert branches.startswith("2 branches:\n")
    assert "* main" in branches
    assert "  topic" in branches


async def test_a_scan_result_carries_the_facts(place: Place) -> None:
    await place.ask("diff")
    (scan,) = place.payloads(e.ScanResult)
    assert scan.files_read == ["src/a.py"]
    assert "+y = 3" in scan.git_diff
    await place.ask("status")
    assert place.payloads(e.ScanResult)[1].git_status_porcelain == " M src/a.py\n?? new.txt"


async def test_looking_leaves_every_byte_and_time_as_it_was(place: Place) -> None:
    (place.repo.path / ".git/info").mkdir(exist_ok=True)
    (place.repo.path / ".git/info/attributes").write_text("* filter=evil diff=evil\n")
    place.repo.git("config", "filter.evil.clean", "touch pwned; cat")
    place.repo.git("config", "filter.evil.required", "true")
    place.repo.git("config", "diff.evil.textconv", "touch pwned; cat")
    place.repo.git("config", "diff.evil.command", "touch pwned; true")
    place.repo.git("config", "core.fsmonitor", "touch pwned")
    place.repo.git("config", "core.untrackedCache", "true")
    before = prints(place.repo.path)
    for question in (*QUESTIONS, "log", "branches", "fix the lint", "run: touch pwned", "delete everything"):
        await place.ask(question)
    assert prints(place.repo.path) == before


async def test_a_path_outside_is_not_looked_at(place: Place) -> None:
    assert await place.ask("diff ../../etc") == "I could not look: ../../etc leaves the checkout."
    assert await place.ask("files /etc") == "I could not look: /etc leaves the checkout."


async def test_a_secret_in_a_diff_stays_on_the_machine(place: Place) -> None:
    secret = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    (place.repo.path / "src/a.py").write_text(f"token = '{secret}'\n")
    await place.ask("diff")
    assert secret not in repr(place.bench.events())
    assert "[REDACTED" in place.payloads(e.ScanResult)[0].git_diff


async def test_messages_to_others_are_left_alone(place: Place) -> None:
    assert await place.ask("status", to=None) == ""
    assert await place.ask("status", to="remote") == ""
    assert place.said() == []


async def test_what_is_no_question_is_refused_honestly(place: Place) -> None:
    said = await place.ask("delete everything")
    assert said.startswith("That is nothing I can see in a checkout, and I never change one.")
    assert place.payloads(e.DelegateRequest) == []
    assert (await place.ask("help")).startswith("I look at your own checkout and change nothing in it")


async def test_work_goes_to_the_remote_buddy_in_the_wires_own_fields(place: Place) -> None:
    assert await place.ask("run the tests") == ("That is work for the team; I passed it on: run the tests")
    (request,) = place.payloads(e.DelegateRequest)
    assert (request.to_agent_id, request.input) == ("remote", {"text": "run the tests"})
    remote = SessionBuddy(cast(HubClient, DirectHub(place.bench.hub, REMOTE)), "dev")
    await remote.catch_up()
    (response,) = place.payloads(e.DelegateResponse)
    assert (response.request_id, response.ok) == (request.request_id, True)
    (job,) = place.payloads(e.JobEnqueued)
    assert job.kind == "check"
    emitted = {event.from_ for event in place.bench.events() if event.type == "job_enqueued"}
    assert emitted == {"agent:remote"}, "the Local Buddy never makes a job itself"


async def test_a_request_can_be_passed_on_in_so_many_words(place: Place) -> None:
    await place.ask("ask the team: agent: write a poem")
    (request,) = place.payloads(e.DelegateRequest)
    assert request.input == {"text": "agent: write a poem"}


async def test_another_agent_may_ask_about_the_checkout(place: Place) -> None:
    remote = DirectHub(place.bench.hub, REMOTE)
    await remote.post(
        "dev", e.DelegateRequest(request_id="r1", to_agent_id="local", input={"text": "status"})
    )
    await remote.post(
        "dev", e.DelegateRequest(request_id="r2", to_agent_id="local", input={"text": "rm -rf"})
    )
    await place.local.catch_up()
    first, second = place.payloads(e.DelegateResponse)
    assert (first.request_id, first.ok, first.output["text"][:8]) == ("r1", True, "On main.")
    assert (second.request_id, second.ok) == ("r2", False)


async def test_a_restart_answers_nothing_twice(place: Place) -> None:
    await place.ask("status")
    before = len(place.bench.events())
    hub = cast(HubClient, DirectHub(place.bench.hub, LOCAL))
    again = LocalBuddy(hub, "dev", await Checkout.at(await Git.find(), place.repo.path))
    await again.catch_up()
    assert len(place.bench.events()) == before


async def test_an_answer_that_was_given_is_kept_when_the_checkout_has_changed_since(place: Place) -> None:
    """The first buddy died after its answer and before its mark."""
    await place.person.say("dev", "status", to="local")
    hub = DirectHub(place.bench.hub, LOCAL)

    class Unmarked:
        def __getattr__(self, name: str) -> Any:
            if name == "set_mark":
                raise KeyboardInterrupt
            return getattr(hub, name)

    checkout = await Checkout.at(await Git.find(), place.repo.path)
    with pytest.raises(KeyboardInterrupt):
        await LocalBuddy(cast(HubClient, Unmarked()), "dev", checkout).catch_up()
    (place.repo.path / "later.txt").write_text("later\n")
    await place.local.catch_up()
    assert place.said() == ["On main. 1 changed, 1 untracked.\n M src/a.py\n?? new.txt"]


async def test_a_folder_outside_any_checkout_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(CannotLook, match="is no git checkout"):
        await Checkout.at(await Git.find(), tmp_path)


async def test_a_checkout_without_a_commit_can_be_looked_at(tmp_path: Path) -> None:
    repo = Repository.create(tmp_path / "fresh")
    (repo.path / "a.txt").write_text("a\n")
    checkout = await Checkout.at(await Git.find(), repo.path)
    assert (await checkout.status()).text == "On main. 1 untracked.\n?? a.txt"
    assert (await checkout.diff()).text == "Nothing is changed against the last commit."
    assert (await checkout.log()).text == "No commits."
