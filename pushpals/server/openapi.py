"""The OpenAPI 3.1 document of the hub, made from the table of routes and the types on the wire.

Requests and answers are the structs that the handlers decode and encode, so their schemas cannot differ from
what is checked. A test holds this table to the routes, and the file in ``docs/reference`` to this module.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from pushpals.protocol import commands as c
from pushpals.protocol.approvals import Approval, RememberedRule
from pushpals.protocol.errors import Problem
from pushpals.protocol.landings import Landing, Lane
from pushpals.protocol.records import Mark, Repository, StoredArtifact, Token
from pushpals.server.handlers.login import LoggedIn, LogIn
from pushpals.server.routes import Route, routes


class Entry(NamedTuple):
    """``body`` and ``answer`` are types, or a media type where it is no JSON."""

    about: str
    body: Any = None
    answer: Any = None
    status: int = 200
    query: tuple[str, ...] = ()


PAGE = ("limit", "after")
STREAM = "text/event-stream"
BYTES = "application/octet-stream"

OPERATIONS: dict[str, Entry] = {
    "GET /": Entry("The status page", answer="text/html"),
    "GET /page/:file": Entry("A file of the status page", answer=BYTES),
    "GET /healthz": Entry("Whether it lives", answer=dict),
    "GET /readyz": Entry("Whether requests are of use now", answer=dict),
    "GET /metrics": Entry("Figures for Prometheus", answer="text/plain"),
    "GET /openapi.json": Entry("This document", answer=dict),
    "GET /login": Entry("Who is logged in", answer=LoggedIn),
    "POST /login": Entry("Exchange a token or a code for a cookie", LogIn, LoggedIn),
    "POST /logout": Entry("End the login", answer=c.Ok),
    "GET /events": Entry(
        "Stream several sessions", answer=STREAM, query=("session", "after", "types", "epoch")
    ),
    "GET /sessions": Entry("List sessions", answer=c.Sessions, query=(*PAGE, "counts")),
    "POST /sessions": Entry("Create or join a session", c.CreateSession, c.SessionCreated, 201),
    "GET /sessions/:id": Entry("A session's state and its cursor", answer=c.Snapshot),
    "GET /sessions/:id/events": Entry(
        "Stream a session", answer=STREAM, query=("after", "types", "epoch", "ticket")
    ),
    "POST /sessions/:id/events": Entry("Post many events in one commit", c.PostEvents, c.EventsPosted),
    "GET /sessions/:id/ws": Entry(
        "Stream a session over a WebSocket", status=101, query=("after", "types", "epoch", "ticket")
    ),
    "GET /sessions/:id/history": Entry("A page of the past", answer=c.History, query=(*PAGE, "types")),
    "GET /sessions/:id/search": Entry(
        "Find events by their words", answer=c.Found, query=("q", "before", "limit", "types")
    ),
    "POST /sessions/:id/tickets": Entry("A ticket for one stream", answer=c.TicketMade, status=201),
    "POST /sessions/:id/fork": Entry(
        "Begin a session where another one stood", c.ForkSession, c.SessionCreated, 201
    ),
    "POST /sessions/:id/prune": Entry("Erase the bodies of old events", c.PruneSession, c.Pruned),
    "POST /sessions/:id/message": Entry("Post a person's message", c.PostMessage, c.Posted),
    "POST /sessions/:id/command": Entry("Post an event", c.PostEvent, c.Posted),
    "POST /sessions/:id/query": Entry("Ask one session's history in SQL", c.Query, c.Rows),
    "POST /query": Entry("Ask the history in SQL", c.Query, c.Rows),
    "GET /sessions/:id/marks/:reader": Entry("How far a reader got", answer=Mark),
    "PUT /sessions/:id/marks/:reader": Entry("Remember how far a reader got", c.SetMark, Mark),
    "POST /jobs/enqueue": Entry("Ask for a job", c.Enqueue, c.Enqueued, 201),
    "POST /jobs/claim": Entry("Take the next job", c.Claim, c.Claimed),
    "GET /jobs": Entry(
        "List jobs", answer=c.Jobs,
        query=(*PAGE, "counts", "positions", "sessionId", "state", "kind", "taskId", "workerId"),
    ),
    "GET /jobs/:id": Entry("A job, its place and when it may start", answer=c.JobReply),
    "GET /jobs/:id/attempts": Entry("Who tried a job", answer=c.Attempts),
    "POST /jobs/:id/heartbeat": Entry("Keep a lease and hear of a cancel", c.Heartbeat, c.ProgressReply),
    "POST /jobs/:id/progress": Entry("Events, output and heartbeat", c.Progress, c.ProgressReply),
    "POST /jobs/:id/complete": Entry("End a job with its result", c.Complete, c.Ok),
    "POST /jobs/:id/fail": Entry("End an attempt without a result", c.Fail, c.Ok),
    "POST /jobs/:id/cancel": Entry("Stop a job", c.CancelJob, c.JobReply),
    "POST /jobs/:id/retry": Entry("Run an ended job again", c.RetryJob, c.JobReply),
    "GET /workers": Entry("List workers", answer=c.Workers, query=(*PAGE, "counts", "state")),
    "PUT /workers/:id": Entry("Register a worker", c.RegisterWorker, c.WorkerReply),
    "POST /workers/:id/state": Entry("Drain, pause or resume a worker", c.SetWorkerState, c.WorkerReply),
    "GET /approvals": Entry(
        "List questions to a person", answer=c.Approvals,
        query=(*PAGE, "counts", "sessionId", "state", "jobId", "landingId"),
    ),
    "GET /approvals/:id": Entry("One question", answer=Approval),
    "POST /approvals/:id": Entry("Say yes or no", c.Decide, c.Decided),
    "GET /artifacts/:sha256": Entry("The bytes of an artifact", answer=BYTES),
    "HEAD /artifacts/:sha256": Entry("Whether an artifact is there"),
    "PUT /artifacts/:sha256": Entry(
        "Store an artifact", BYTES, StoredArtifact, query=("kind", "mediaType", "sessionId", "jobId")
    ),
    "GET /landings": Entry(
        "List landings", answer=c.Landings,
        query=(*PAGE, "counts", "sessionId", "state", "lane", "jobId", "branch", "head"),
    ),
    "POST /landings": Entry("Ask for a head to be landed", c.SubmitLanding, c.LandingReply, 201),
    "GET /landings/:id": Entry("A landing and its approval", answer=c.LandingReply),
    "POST /landings/:id/move": Entry("A landing's next step", c.MoveLanding, Landing),
    "POST /landings/:id/note": Entry("Facts about a landing", c.NoteLanding, Landing),
    "POST /landings/:id/cancel": Entry("Take a landing out of the queue", c.CancelJob, Landing),
    "POST /landings/:id/retry": Entry("Submit an ended landing's head again", c.Ok, c.LandingReply, 201),
    "GET /lanes": Entry("List lanes", answer=c.Lanes),
    "POST /lanes/lease": Entry("Take or keep a lane", c.LeaseLane, c.LaneWork),
    "POST /lanes/mode": Entry("Pause, freeze, drain or open a lane", c.SetLaneMode, Lane),
    "GET /repositories": Entry("List repositories", answer=c.Repositories),
    "GET /repositories/:id": Entry("A repository as last reported", answer=Repository),
    "PUT /repositories/:id": Entry("Report a repository", Repository, Repository),
    "GET /system/status": Entry("The hub's own state, in figures", answer=c.SystemStatus),
    "GET /tokens": Entry("List tokens", answer=c.Tokens, query=(*PAGE, "counts", "role")),
    "POST /tokens": Entry("Make a token", c.NewToken, c.TokenMade, 201),
    "POST /tokens/:id/revoke": Entry("Revoke a token", c.Ok, Token),
    "POST /approvals": Entry("Ask a person about a command", c.AskApproval, c.Decided, 201),
    "POST /approvals/:id/consume": Entry("Use a yes, once", c.UseApproval, c.Decided),
    "POST /approvals/:id/revoke": Entry("Take a yes back", c.RevokeApproval, c.Decided),
    "GET /rules": Entry("List remembered answers", answer=c.Rules),
    "POST /rules": Entry("Remember an answer", c.MakeRule, c.RuleMade, 201),
    "POST /rules/test": Entry("What a rule would have answered", c.MakeRule, c.BackTest),
    "POST /rules/:id/revoke": Entry("Forget an answer", c.Ok, RememberedRule),
    "POST /lanes/moves": Entry("Several steps of landings in one commit", c.MoveLandings, c.Moved),
    "GET /audit/head": Entry("Where the audit trail stands", answer=c.AuditHead),
    "POST /pairings": Entry("A code for another device", c.PairDevice, c.Pairing, 201),
}  # fmt: skip
"""Every method at every address."""


def document(version: str) -> dict[str, Any]:
    """The whole document, as data."""
    types: list[Any] = [Problem]
    for entry in OPERATIONS.values():
        types += [kind for kind in (entry.body, entry.answer) if isinstance(kind, type) and kind is not dict]
    unique = list(dict.fromkeys(types))
    _, components = msgspec.json.schema_components(unique, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for route in routes():
        path = re.sub(r":(\w+)", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Push Pals hub",
            "version": version,
            "description": "See docs/reference/http.md for what each of these means.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    entry = OPERATIONS[f"{route.method} {route.path}"]
    named = re.findall(r":(\w+)", route.path)
    words = re.findall(r"\w+", route.path)
    operation: dict[str, Any] = {
        "operationId": "_".join([route.method.lower(), *words]),
        "summary": entry.about,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in named),
            *({"name": name, "in": "query", "schema": {"type": "string"}} for name in entry.query),
        ],
        "responses": {
            str(entry.status): {"description": "It worked.", **_content(entry.answer)},
            "default": {
                "description": "It did not; see `code`.",
                **_content(Problem, "application/problem+json"),
            },
        },
        "x-rights": list(route.rights),
    }
    if route.method not in ("GET", "HEAD"):
        key = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 200}}
        operation["parameters"].append(key)
    if entry.body is not None:
        operation["requestBody"] = {"required": True, **_content(entry.body)}
    if "open" not in route.rights:
        operation["security"] = [{"token": []}]
    return operation


def _content(kind: Any, media: str = "application/json") -> dict[str, Any]:
    if kind is None:
        return {}
    if isinstance(kind, str):
        return {"content": {kind: {}}}
    if kind is dict:
        return {"content": {media: {"schema": {"type": "object"}}}}
    return {"content": {media: {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}}
