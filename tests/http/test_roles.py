"""Every route, every role: the answer follows from the table of rights and from nothing else."""

from __future__ import annotations

import pytest

from pushpals.policy.roles import may
from pushpals.protocol.records import ROLES, Role
from pushpals.server.handlers.page import Page, PageFile
from pushpals.server.routes import TABLE, Route, routes
from pushpals.testing.site import RunningSite

OPEN = {
    ("GET", "/"), ("GET", "/page/:file"), ("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/login"),
}  # fmt: skip
IDS = {":id": "none", ":reader": "me", ":sha256": "0" * 64, ":file": "none"}


def address(path: str) -> str:
    return "/".join(IDS.get(part, part) for part in path.split("/"))


def test_only_the_page_health_and_login_are_open() -> None:
    assert {(r.method, r.path) for r in routes() if "open" in r.rights} == OPEN


def test_every_address_has_a_method_and_every_method_a_right() -> None:
    assert {path for path, _ in TABLE} == {route.path for route in routes()}
    assert all(route.rights for route in routes())


@pytest.mark.parametrize("role", [*ROLES, None])
async def test_each_route_answers_each_role_as_the_table_of_rights_says(
    site: RunningSite, role: Role | None
) -> None:
    http = await site.http(role)
    for route in routes():
        if route.path.startswith("/log") or issubclass(route.handler, Page | PageFile):
            continue
        body = "application/octet-stream" if route.method == "PUT" and "artifact" in route.path else None
        answer = await http.request(
            route.method,
            address(route.path) + ("?kind=file" if body else ""),
            content=b"{}" if route.method in ("POST", "PUT") else None,
            headers={"Content-Type": body or "application/json"} if route.method in ("POST", "PUT") else {},
        )
        what = f"{role} {route.method} {route.path}: {answer.status_code} {answer.text[:200]}"
        if "open" in route.rights:
            assert answer.status_code < 300, what
        elif role is None:
            assert answer.status_code == 401, what
        elif not _may(role, route):
            assert answer.status_code == 403, what
            assert route.method == "HEAD" or answer.json()["code"] == "right.missing", what
        else:
            assert answer.status_code not in (401, 405, 500, 501), what
            if answer.status_code == 403:
                assert answer.json()["code"] != "right.missing", what


@pytest.mark.parametrize("role", ["viewer", "notebook", "buddy", "worker", "pusher"])
async def test_only_an_operator_decides(site: RunningSite, role: Role) -> None:
    operator = await site.http()
    call = {"toolCallId": "call", "tool": "shell", "args": {}, "requiresApproval": True}
    await operator.post("/sessions/dev/command", json={"type": "tool_call", "payload": call})
    shown = (await operator.get("/approvals/call")).json()
    http = await site.http(role)
    body = {"decision": "approve", "actionHash": shown["actionHash"]}

    assert (await http.post("/approvals/call", json=body)).status_code == 403
    assert (await operator.get("/approvals/call")).json()["state"] == "open"


def _may(role: Role, route: Route) -> bool:
    return any(right == "any" or may(role, right) for right in route.rights)  # type: ignore[arg-type]
