"""The hub as a service of a real JupyterHub, in a real browser and from real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        yield made
        made.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    yield made
    made.close()


def log_in(context: BrowserContext, jupyterhub: Any, name: str) -> Page:
    """Open the console as somebody who is not logged in anywhere, and log in to JupyterHub."""
    page = context.new_page()
    page.goto(f"{jupyterhub.url}/services/pushpals/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("sesame")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/services/pushpals/**")
    return page


def call(page: Page, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """A request as the console makes it: by cookie, relative to the page, with the XSRF header."""
    return page.evaluate(  # type: ignore[no-any-return]
        """async ([method, path, body]) => {
            const me = await (await fetch("/services/pushpals/login")).json();
            const headers = {"Content-Type": "application/json", "X-XSRF-Token": me.xsrf || ""};
            const answer = await fetch("/services/pushpals" + path,
                {method, headers: method === "GET" ? {} : headers, body: body && JSON.stringify(body)});
            return {status: answer.status, body: await answer.json()};
        }""",
        [method, path, body],
    )


def status(jupyterhub: Any, secret: str, method: str, path: str, body: Any = None) -> int:
    """What a request with a bearer token is answered."""
    url = f"{jupyterhub.url}/services/pushpals{path}"
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.request(method, url, headers=headers, json=body, trust_env=False).status_code


def ask_a_question(page: Page, call_id: str) -> dict[str, Any]:
    call(page, "POST", "/sessions", {"sessionId": "dev"})
    tool = {"toolCallId": call_id, "tool": "shell", "args": {"argv": ["make"]}, "requiresApproval": True}
    call(page, "POST", "/sessions/dev/command", {"type": "tool_call", "payload": tool})
    return call(page, "GET", f"/approvals/{call_id}")["body"]


@pytest.mark.timeout(200)
def test_a_maintainer_logs_in_with_jupyterhub_decides_and_stands_in_the_record(
    jupyterhub: Any, context: BrowserContext
) -> None:
    jupyterhub.join("ada", "maintainers")
    page = log_in(context, jupyterhub, "ada")
    me = call(page, "GET", "/login")["body"]
    assert (me["role"], me["label"]) == ("operator", "ada")

    asked = ask_a_question(page, "first")
    body = {"decision": "approve", "actionHash": asked["actionHash"]}
    assert call(page, "POST", "/approvals/first", body)["status"] == 200
    rows = call(
        page, "POST", "/query", {"sql": "SELECT state, decided_by FROM v_approvals WHERE id = 'first'"}
    )
    assert rows["body"]["rows"] == [["approved", "client:ada"]]

    streamed = page.evaluate(
        """async () => {
            const answer = await fetch("/services/pushpals/sessions/dev/events?after=0",
                {headers: {Accept: "text/event-stream"}});
            const reader = answer.body.getReader();
            const part = await reader.read();
            await reader.cancel();
            return new TextDecoder().decode(part.value);
        }"""
    )
    assert "data: {" in streamed or "retry:" in streamed
    cookies = {cookie["name"]: cookie["path"] for cookie in context.cookies()}
    assert cookies["pushpals"] == "/services/pushpals/"


@pytest.mark.timeout(200)
def test_a_kernel_talks_and_asks_with_jupyterhubs_token_and_never_decides(
    jupyterhub: Any, context: BrowserContext
) -> None:
    jupyterhub.join("grace", "maintainers")
    page = log_in(context, jupyterhub, "grace")
    ask_a_question(page, "call")
    told = jupyterhub.from_kernel("grace")
    assert told["asked"] >= 1
    assert "no jobs" in told["jobs"]
    assert told["error"].startswith("Forbidden")
    assert "decided" not in told
    said = call(
        page, "POST", "/query", {"sql": "SELECT sender FROM v_messages WHERE text LIKE 'hello from%'"}
    )
    assert ["client:grace"] in said["body"]["rows"]
    assert call(page, "GET", "/approvals/call")["body"]["state"] == "open"


@pytest.mark.timeout(200)
def test_what_somebody_may_follows_their_groups_and_ends_with_them(
    jupyterhub: Any, context: BrowserContext
) -> None:
    jupyterhub.join("joan", "readers")
    page = log_in(context, jupyterhub, "joan")
    assert call(page, "GET", "/login")["body"]["role"] == "viewer"
    assert call(page, "POST", "/sessions/dev/message", {"text": "hi"})["status"] == 403

    scope = "access:services!service=pushpals"
    secret = jupyterhub.token("joan", scope)
    assert status(jupyterhub, secret, "GET", "/sessions") == 200
    assert status(jupyterhub, secret, "POST", "/sessions/dev/message", {"text": "hi"}) == 403
    jupyterhub.leave("joan", "readers")
    assert status(jupyterhub, secret, "GET", "/sessions") == 401


@pytest.mark.timeout(200)
def test_without_a_group_or_without_the_scope_nobody_comes_in(
    jupyterhub: Any, context: BrowserContext
) -> None:
    page = log_in(context, jupyterhub, "eve")
    assert "None of your groups" in page.content()
    assert [cookie for cookie in context.cookies() if cookie["name"] == "pushpals"] == []

    jupyterhub.join("mary", "maintainers")
    for secret in (jupyterhub.token("mary", "read:users!user=mary"), "0" * 64, "pp_operator_x_y"):
        assert status(jupyterhub, secret, "GET", "/sessions") == 401
    assert httpx.get(f"{jupyterhub.url}/services/pushpals/sessions", trust_env=False).status_code == 401


@pytest.mark.timeout(200)
def test_our_cookie_does_not_reach_the_server_of_somebody_else(
    jupyterhub: Any, context: BrowserContext
) -> None:
    jupyterhub.join("ada", "maintainers")
    page = log_in(context, jupyterhub, "ada")
    jupyterhub.admin.post("/users/ada/server")
    seen = page.evaluate(
        "async () => { for (let n = 0; n < 100; n++) { const a = await fetch('/user/ada/'); const t = await a.text();"
        " if (t.startsWith('hello')) return t; await new Promise(r => setTimeout(r, 200)); } return ''; }"
    )
    assert seen.startswith("hello; cookies:")
    assert "pushpals" not in seen
