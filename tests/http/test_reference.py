"""The table of routes, the client and the reference page say the same."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pushpals.client import Backoff, HubClient
from pushpals.protocol import wire
from pushpals.protocol.commands import (
    AskApproval,
    Claim,
    Complete,
    Decide,
    Enqueue,
    Fail,
    Heartbeat,
    LeaseLane,
    MakeRule,
    MoveLanding,
    MoveLandings,
    NewToken,
    NoteLanding,
    PairDevice,
    Progress,
    RegisterWorker,
    SetLaneMode,
    SetWorkerState,
    SubmitLanding,
    UseApproval,
)
from pushpals.protocol.errors import PushPalsError
from pushpals.protocol.events import Done
from pushpals.protocol.records import Repository
from pushpals.server.openapi import OPERATIONS, document
from pushpals.server.routes import Route, pattern, routes

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"

NOT_FOR_THE_CLIENT = {
    ("GET", "/"), ("GET", "/page/:file"), ("GET", "/login"), ("POST", "/login"), ("POST", "/logout"),
    ("GET", "/healthz"), ("GET", "/sessions/:id/ws"), ("HEAD", "/artifacts/:sha256"),
}  # fmt: skip
"""What browsers, probes and readers of the original wire use."""

LANDING = SubmitLanding(
    session_id="s", repository="r", target="main", head="h", base="b", branch="x", title="t"
)
LEASE = LeaseLane(lane="r:main", holder="p", repository="r", branch="main")
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "create_session": (), "sessions": (), "snapshot": ("s",), "history": ("s",), "follow": ("s",),
    "say": ("s", "text"), "post": ("s", Done(ok=True)), "mark": ("s", "me"), "set_mark": ("s", "me", 1),
    "enqueue": (Enqueue(task_id="t", kind="check"),), "claim": (Claim(worker_id="w"),),
    "progress": ("j", Progress(attempt=1)), "complete": ("j", Complete()), "fail": ("j", Fail(message="m")),
    "cancel_job": ("j",), "retry_job": ("j",), "job": ("j",), "jobs": (),
    "register_worker": ("w", RegisterWorker()), "set_worker_state": ("w", SetWorkerState(state="paused")),
    "workers": (), "approvals": (), "approval": ("a",), "decide": ("a", Decide(decision="deny")),
    "ask_approval": (AskApproval(kind="exec", action={}, attempt=1),), "wait_approval": ("a", "open", 0.0),
    "use_approval": ("a", UseApproval(action_hash="0", attempt=1)), "revoke_approval": ("a",),
    "audit_head": (), "pair": (PairDevice(),), "rules": (), "make_rule": (MakeRule(approval_id="a"),), "test_rule": (MakeRule(approval_id="a"),),
    "revoke_rule": ("r",),
    "get_artifact": ("0" * 64,), "submit_landing": (LANDING,), "landings": (), "landing": ("l",),
    "move_landing": ("l", MoveLanding(fence=1, expected="queued", to="prepared")),
    "move_landings": (MoveLandings(lane="r:main", fence=1, steps=[]),),
    "note_landing": ("l", NoteLanding(fence=1)), "cancel_landing": ("l",), "retry_landing": ("l",),
    "lease_lane": (LEASE,), "set_lane_mode": (SetLaneMode(lane="r:main", mode="paused"),), "lanes": (),
    "put_repository": (Repository(id="r", name="r", upstream="u", branch="main"),), "repository": ("r",),
    "repositories": (), "status": (), "tokens": (), "new_token": (NewToken(role="viewer"),),
    "query": ("SELECT 1",), "query_session": ("s", "SELECT 1"), "revoke_token": ("t",), "put_artifact": (b"data",),
    "post_all": ("s", []), "follow_many": (["s"],), "search": ("s", "words"), "fork": ("s", 1),
    "prune": ("s", 2), "ticket": ("s",), "heartbeat": ("j", Heartbeat(attempt=1)), "attempts": ("j",),
    "ready": (), "metrics": (), "openapi": (),
}  # fmt: skip


def public_methods() -> Iterator[str]:
    for name, _ in inspect.getmembers(HubClient, inspect.isfunction):
        if not name.startswith("_") and name != "close":
            yield name


def route_of(request: httpx.Request) -> Route:
    found = [
        route
        for route in routes()
        if route.method == request.method
        and re.fullmatch(pattern(route.path), request.url.raw_path.decode().split("?")[0])
    ]
    # Fixed addresses stand before those with parameters in the table, and the first match is served.
    assert found, f"no route for {request.method} {request.url.path}"
    return found[0]


def test_every_client_method_is_called_here() -> None:
    assert set(public_methods()) == set(ARGUMENTS)


async def test_every_route_has_a_client_method_and_every_method_a_route() -> None:
    seen: set[tuple[str, str]] = set()

    def record(request: httpx.Request) -> httpx.Response:
        route = route_of(request)
        seen.add((route.method, route.path))
        return httpx.Response(404, json={"error": "no", "code": "no"})

    client = HubClient("http://hub", "token", transport=httpx.MockTransport(record), backoff=Backoff(tries=1))
    for name, arguments in ARGUMENTS.items():
        options = {"kind": "file"} if name == "put_artifact" else {}
        try:
            called = getattr(client, name)(*arguments, **options)
            await (anext(called) if name in ("follow", "follow_many") else called)
        except PushPalsError:
            pass
    await client.close()

    assert seen == {(route.method, route.path) for route in routes()} - NOT_FOR_THE_CLIENT


def test_every_route_has_a_section_in_the_reference_and_every_section_a_route() -> None:
    headings = re.findall(r"^### `(\w+) (\S+)`$", REFERENCE.read_text(), re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert set(headings) == {(route.method, route.path) for route in routes()}


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{route.method} {route.path}")
def test_the_reference_names_the_right_that_a_route_needs(route: Route) -> None:
    section = REFERENCE.read_text().split(f"### `{route.method} {route.path}`\n", 1)[1].split("\n### ", 1)[0]
    match = re.search(r"^Right: (.+)$", section, re.MULTILINE)
    assert match is not None
    assert match.group(1) == " or ".join(f"`{right}`" for right in route.rights)


def test_the_openapi_document_in_the_docs_is_the_one_that_is_served() -> None:
    kept = json.loads((REFERENCE.parent / "openapi.json").read_text())
    assert kept == json.loads(wire.encode(document(""))), "run `make docs`"


def test_every_route_is_an_operation() -> None:
    assert set(OPERATIONS) == {f"{route.method} {route.path}" for route in routes()}


def test_every_schema_that_is_named_is_there() -> None:
    found = document("")
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(found)))
    assert named <= set(found["components"]["schemas"])
    ids = [op["operationId"] for path in found["paths"].values() for op in path.values()]
    assert len(ids) == len(set(ids))
