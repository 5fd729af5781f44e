"""Pull requests on a scripted host: opened once, found again, and trouble that names no token."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from pushpals.work.hosts import HostTrouble, Proposal, Shown
from pushpals.work.hosts.pulls import PullRequests

TOKEN = "secret-token-of-the-host"
PROPOSAL = Proposal(branch="agent/w1/job-1", target="main", title="Fix the lint", body="Because.")


class Script:
    """What the host has, what it was asked, and what goes wrong."""

    def __init__(self) -> None:
        self.pulls: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []
        self.fail: dict[str, int] = {}
        self.raced = False
        self.says: bytes | None = None


class Pulls(RequestHandler):
    def initialize(self, script: Script) -> None:
        self.script = script

    def prepare(self) -> None:
        assert self.request.headers["Authorization"] == f"Bearer {TOKEN}"
        method = self.request.method or ""
        self.script.asked.append((method, self.request.path))
        if method in self.script.fail:
            self.set_status(self.script.fail[method])
            self.finish(json.dumps({"message": f"no, {TOKEN}"}))
        elif self.script.says is not None:
            self.finish(self.script.says)

    def get(self, *_: str) -> None:
        self.finish(json.dumps([one for one in self.script.pulls if one["state"] == "open"]))

    def post(self, *_: str) -> None:
        body = json.loads(self.request.body)
        number = len(self.script.pulls) + 1
        made = {
            "number": number, "html_url": f"https://host.example/pulls/{number}", "state": "open",
            "title": body["title"], "body": body["body"], "head": {"ref": body["head"]},
        }  # fmt: skip
        self.script.pulls.append(made)
        if self.script.raced:
            self.set_status(422)
            self.finish(json.dumps({"message": "exists"}))
            return
        self.set_status(201)
        self.finish(json.dumps(made))

    def patch(self, number: str) -> None:
        self.script.pulls[int(number) - 1].update(json.loads(self.request.body))
        self.finish(json.dumps(self.script.pulls[int(number) - 1]))


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def host(script: Script) -> AsyncIterator[PullRequests]:
    app = Application(
        [(r"/api/repos/ada/demo/pulls(?:/(\d+))?", Pulls, {"script": script})], log_function=lambda _: None
    )
    socket, port = bind_unused_port()
    server = HTTPServer(app)
    server.add_socket(socket)
    made = PullRequests(f"http://127.0.0.1:{port}/api", "ada/demo", TOKEN)
    yield made
    await made.close()
    server.stop()
    await server.close_all_connections()


async def test_a_pull_request_is_opened_once_and_found_again(host: PullRequests, script: Script) -> None:
    first = await host.propose(PROPOSAL)
    again = await host.propose(PROPOSAL)
    assert first == Shown(number=1, url="https://host.example/pulls/1", reused=False)
    assert again == Shown(number=1, url="https://host.example/pulls/1", reused=True)
    assert [method for method, _ in script.asked] == ["GET", "POST", "GET"]


async def test_new_words_change_the_open_one(host: PullRequests, script: Script) -> None:
    await host.propose(PROPOSAL)
    better = Proposal(branch=PROPOSAL.branch, target="main", title="Fix all the lint")
    assert (await host.propose(better)).reused
    assert (script.pulls[0]["title"], script.pulls[0]["body"]) == ("Fix all the lint", "")


async def test_a_closed_one_or_another_branch_s_is_not_reused(host: PullRequests, script: Script) -> None:
    await host.propose(PROPOSAL)
    script.pulls[0]["state"] = "closed"
    other = Proposal(branch="agent/w1/job-2", target="main", title="Other")
    assert (await host.propose(other)).number == 2
    assert (await host.propose(PROPOSAL)).number == 3


async def test_one_that_somebody_opened_meanwhile_is_found(host: PullRequests, script: Script) -> None:
    script.raced = True
    assert await host.propose(PROPOSAL) == Shown(number=1, url="https://host.example/pulls/1", reused=True)


@pytest.mark.parametrize("status", [401, 403, 404, 422, 500, 302])
async def test_trouble_is_said_without_the_token(host: PullRequests, script: Script, status: int) -> None:
    script.fail = {"GET": status}
    with pytest.raises(HostTrouble, match=str(status)) as caught:
        await host.propose(PROPOSAL)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("says", [b"<html>", b"{}", b'[{"head": {"ref": "agent/w1/job-1"}}]'])
async def test_an_answer_that_makes_no_sense_is_trouble(
    host: PullRequests, script: Script, says: bytes
) -> None:
    script.says = says
    with pytest.raises(HostTrouble):
        await host.propose(PROPOSAL)


async def test_a_host_that_is_away_is_trouble() -> None:
    socket, port = bind_unused_port()
    socket.close()
    host = PullRequests(f"http://127.0.0.1:{port}", "ada/demo", TOKEN)
    with pytest.raises(HostTrouble, match="away"):
        await host.propose(PROPOSAL)
    await host.close()


@pytest.mark.parametrize("name", ["demo", "a/b/c", "../x", "a/b?x", ""])
def test_a_repository_s_name_is_checked(name: str) -> None:
    with pytest.raises(ValueError, match="owner/name"):
        PullRequests("https://host.example", name, TOKEN)
