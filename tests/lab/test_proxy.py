"""The Jupyter server's proxy: who may use it, what it passes on, what it keeps."""

from __future__ import annotations

import asyncio
import os
import re

import httpx
import pytest

from pushpals.cli.state import Running, State
from pushpals.client.passing import ALLOWED, allowed
from pushpals.server.routes import routes
from pushpals.testing.jupyter import Jupyter
from pushpals.testing.site import RunningSite

API = "/pushpals/api"


async def test_it_shows_the_hub_that_runs_and_who_the_person_is_there(
    jupyter: Jupyter, site: RunningSite
) -> None:
    async with jupyter.client() as http:
        seen = (await http.get("/pushpals/hub")).json()

    assert seen | {"fingerprint": "…"} == {
        "ok": True, "session": "dev", "decisions": True, "origin": "pushpals up for /repo", "url": site.url,
        "fingerprint": "…", "role": "operator", "label": "operator", "why": None,
    }  # fmt: skip


async def test_requests_arrive_with_the_persons_token_and_answers_come_back_whole(
    jupyter: Jupyter, site: RunningSite
) -> None:
    async with jupyter.client() as http:
        posted = await http.post(
            f"{API}/sessions/dev/message", json={"text": "hello"}, headers={"Idempotency-Key": "k"}
        )
        again = await http.post(
            f"{API}/sessions/dev/message", json={"text": "hello"}, headers={"Idempotency-Key": "k"}
        )
        history = (await http.get(f"{API}/sessions/dev/history?after=0&limit=10")).json()
        missing = await http.get(f"{API}/jobs/none")

    assert posted.json() == again.json()
    said = [item["envelope"] for item in history["items"] if item["envelope"]["type"] == "message"]
    assert [(event["payload"]["text"], event["from"]) for event in said] == [("hello", "client:operator")]
    assert (missing.status_code, missing.json()["code"]) == (404, "job.unknown")


async def test_a_stream_comes_through_as_it_is_written(jupyter: Jupyter, site: RunningSite) -> None:
    person = await site.client()
    headers = {"Accept": "text/event-stream"}
    async with (
        jupyter.client() as http,
        http.stream("GET", f"{API}/sessions/dev/events", headers=headers) as answer,
    ):
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["x-session-epoch"]
        pieces = answer.aiter_text()
        seen = ""
        async with asyncio.timeout(10):
            while ": live" not in seen:
                seen += await anext(pieces)
            for word in ("one", "two"):
                await person.say("dev", word)
                while f'"text":"{word}"' not in seen:
                    seen += await anext(pieces)


async def test_a_reader_that_leaves_leaves_the_hub_too(jupyter: Jupyter, site: RunningSite) -> None:
    async with jupyter.client() as http, http.stream("GET", f"{API}/sessions/dev/events") as answer:
        await anext(answer.aiter_raw())
        assert len(site.service.site.streams) == 1
    async with asyncio.timeout(10):
        while len(site.service.site.streams) > 0:
            await (await site.client()).sessions()


async def test_without_a_login_to_jupyter_nothing_is_passed_on(jupyter: Jupyter, site: RunningSite) -> None:
    async with httpx.AsyncClient(base_url=jupyter.url, trust_env=False) as nobody:
        codes = [
            (await nobody.get("/pushpals/hub")).status_code,
            (await nobody.get(f"{API}/sessions")).status_code,
            (await nobody.post(f"{API}/sessions/dev/message", json={"text": "hello"})).status_code,
        ]
    assert codes == [403, 403, 403]


async def test_a_write_by_cookie_needs_jupyters_xsrf_token(jupyter: Jupyter, site: RunningSite) -> None:
    async with httpx.AsyncClient(base_url=jupyter.url, trust_env=False, follow_redirects=True) as browser:
        await browser.get("/lab", params={"token": jupyter.token})
        without = await browser.post(f"{API}/sessions/dev/message", json={"text": "no"})
        header = {"X-XSRFToken": browser.cookies["_xsrf"]}
        foreign = await browser.post(
            f"{API}/sessions/dev/message",
            json={"text": "no"},
            headers={**header, "Origin": "https://elsewhere.example"},
        )
        ours = await browser.post(f"{API}/sessions/dev/message", json={"text": "yes"}, headers=header)
    assert (without.status_code, foreign.status_code, ours.status_code) == (403, 404, 200)


async def test_a_person_decides_through_it_and_a_notebooks_token_cannot(
    jupyter: Jupyter, site: RunningSite
) -> None:
    operator = await site.http()
    call = {"toolCallId": "call", "tool": "shell", "args": {}, "requiresApproval": True}
    await operator.post("/sessions/dev/command", json={"type": "tool_call", "payload": call})
    kernel = await site.http("notebook")
    body = {"decision": "deny", "actionHash": (await operator.get("/approvals/call")).json()["actionHash"]}
    assert (await kernel.post("/approvals/call", json=body)).status_code == 403

    async with jupyter.client() as http:
        decided = await http.post(f"{API}/approvals/call", json=body)

    assert (decided.status_code, decided.json()["approval"]["state"]) == (200, "denied")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "tokens"), ("POST", "tokens"), ("POST", "tokens/x/revoke"), ("POST", "jobs/claim"),
        ("POST", "jobs/x/complete"), ("POST", "lanes/lease"), ("POST", "landings/x/move"),
        ("PUT", "workers/x"),        ("GET", ""), ("POST", "login"), ("POST", "logout"), ("GET", "sessions/../tokens"),
        ("GET", "sessions/%2e%2e/tokens"), ("GET", "/tokens"), ("GET", "sessions//events"),
        ("GET", "http://elsewhere.example/"), ("GET", "@elsewhere.example/sessions"), ("PUT", "artifacts/x"),
    ],
)  # fmt: skip
async def test_what_the_console_does_not_need_is_not_passed_on(
    jupyter: Jupyter, site: RunningSite, method: str, path: str
) -> None:
    async with jupyter.client() as http:
        answer = await http.send(
            httpx.Request(
                method,
                f"{jupyter.url}{API}/{path}",
                headers=dict(http.headers),
                content=b"" if method != "GET" else None,
            )
        )
    assert answer.status_code in (403, 404)  # 404: Jupyter has already taken the dots out
    assert site.url not in answer.text


def test_every_address_that_is_passed_on_is_one_of_the_hubs() -> None:
    ours = {(route.method, re.sub(r":\w+", "x", route.path).lstrip("/")) for route in routes()}
    taken = {(method, path) for method, path in ours if allowed(method, path) is not None}
    assert {(method, pattern.pattern) for method, pattern in ALLOWED} == {
        (method, pattern.pattern)
        for method, pattern in ALLOWED
        if any(method == verb and pattern.fullmatch(path) for verb, path in taken)
    }


async def test_no_header_of_the_page_reaches_the_hub_that_is_not_on_the_list(
    jupyter: Jupyter, site: RunningSite
) -> None:
    # A page's Origin and cookies are Jupyter's; the hub would refuse the one and must not see the other.
    async with jupyter.client(
        Origin=jupyter.url, Cookie="pushpals=stolen", **{"X-Forwarded-For": "10.0.0.1"}
    ) as http:
        answer = await http.get(f"{API}/sessions?token={jupyter.token}")
    assert answer.status_code == 200
    assert "set-cookie" not in {name for name in answer.headers if "pushpals" in answer.headers[name]}


async def test_a_hub_that_is_away_is_a_sentence(jupyter: Jupyter, state: State) -> None:
    state.keep_token("operator", "pp_operator_x_y")
    state.keep_running(
        Running(
            url="http://127.0.0.1:9",
            started="",
            repository="/repo",
            session_id="dev",
            pids={"up": os.getpid()},
        )
    )
    async with jupyter.client() as http:
        answer, seen = await http.get(f"{API}/sessions"), (await http.get("/pushpals/hub")).json()
    state.forget_running()
    says = "the hub at http://127.0.0.1:9 does not answer; if it should run here, start it with: pushpals up"
    assert (answer.status_code, answer.json()["error"]) == (502, says)
    assert (seen["ok"], seen["why"]) == (False, says)


async def test_no_hub_at_all_is_a_sentence(jupyter: Jupyter, state: State) -> None:
    state.forget_running()
    async with jupyter.client() as http:
        answer, seen = await http.get(f"{API}/sessions"), (await http.get("/pushpals/hub")).json()
    assert (answer.status_code, answer.json()["code"]) == (502, "proxy.no_hub")
    assert seen["why"] == answer.json()["error"]
    assert seen["why"].startswith("no hub runs here; start one with: pushpals up")


async def test_a_token_that_the_hub_refuses_does_not_look_like_a_lost_login(
    jupyter: Jupyter, site: RunningSite, state: State
) -> None:
    state.keep_token("operator", "pp_operator_x_" + 43 * "y")
    async with jupyter.client() as http:
        answer, seen = await http.get(f"{API}/sessions"), (await http.get("/pushpals/hub")).json()
    assert (answer.status_code, answer.json()["code"]) == (502, "proxy.token")
    assert seen["why"].startswith("the hub refuses this server's token: ")


async def test_no_secret_of_the_hub_is_in_an_answer_or_in_jupyters_log(
    jupyter: Jupyter, site: RunningSite
) -> None:
    async with jupyter.client() as http:
        answers = [await http.get(path) for path in ("/pushpals/hub", f"{API}/login", f"{API}/system/status")]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    everything = jupyter.log.read_text() + "".join(f"{answer.headers} {answer.text}" for answer in answers)
    assert [role for role, secret in site.secrets.items() if secret in everything] == []
