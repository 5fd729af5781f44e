"""Every address of the hub, in one table. The reference page and the client are tested against it."""

from __future__ import annotations

import re

import msgspec

from pushpals.server.base import Handler, Need
from pushpals.server.handlers import (
    approvals,
    artifacts,
    audit,
    jobs,
    landings,
    login,
    page,
    queries,
    repositories,
    rules,
    sessions,
    system,
    tokens,
    workers,
)
from pushpals.server.ws import Socket

TABLE: tuple[tuple[str, type[Handler]], ...] = (
    ("/", page.Page),
    ("/page/:file", page.PageFile),
    ("/healthz", system.Health),
    ("/readyz", system.Ready),
    ("/metrics", system.Metrics),
    ("/openapi.json", system.OpenApi),
    ("/events", sessions.ManyEvents),
    ("/login", login.Login),
    ("/logout", login.Logout),
    ("/sessions", sessions.SessionList),
    ("/sessions/:id", sessions.OneSession),
    ("/sessions/:id/events", sessions.SessionEvents),
    ("/sessions/:id/ws", Socket),
    ("/sessions/:id/history", sessions.SessionHistory),
    ("/sessions/:id/tickets", sessions.SessionTickets),
    ("/sessions/:id/search", sessions.SessionSearch),
    ("/sessions/:id/fork", sessions.SessionFork),
    ("/sessions/:id/prune", sessions.SessionPrune),
    ("/sessions/:id/message", sessions.SessionMessage),
    ("/sessions/:id/command", sessions.SessionCommand),
    ("/sessions/:id/marks/:reader", sessions.SessionMark),
    ("/sessions/:id/query", queries.AskSession),
    ("/query", queries.AskAll),
    ("/jobs/enqueue", jobs.JobEnqueue),
    ("/jobs/claim", jobs.JobClaim),
    ("/jobs", jobs.JobList),
    ("/jobs/:id", jobs.OneJob),
    ("/jobs/:id/attempts", jobs.JobAttempts),
    ("/jobs/:id/heartbeat", jobs.JobHeartbeat),
    ("/jobs/:id/progress", jobs.JobProgress),
    ("/jobs/:id/complete", jobs.JobComplete),
    ("/jobs/:id/fail", jobs.JobFail),
    ("/jobs/:id/cancel", jobs.JobCancel),
    ("/jobs/:id/retry", jobs.JobRetry),
    ("/workers", workers.WorkerList),
    ("/workers/:id", workers.OneWorker),
    ("/workers/:id/state", workers.WorkerStateOf),
    ("/approvals", approvals.ApprovalList),
    ("/approvals/:id", approvals.OneApproval),
    ("/approvals/:id/consume", approvals.ApprovalUse),
    ("/approvals/:id/revoke", approvals.ApprovalRevoke),
    ("/rules", rules.RuleList),
    ("/rules/test", rules.RuleTest),
    ("/rules/:id/revoke", rules.RuleRevoke),
    ("/artifacts/:sha256", artifacts.OneArtifact),
    ("/landings", landings.LandingList),
    ("/landings/:id", landings.OneLanding),
    ("/landings/:id/move", landings.LandingMove),
    ("/landings/:id/note", landings.LandingNote),
    ("/landings/:id/cancel", landings.LandingCancel),
    ("/landings/:id/retry", landings.LandingRetry),
    ("/lanes", landings.LaneList),
    ("/lanes/lease", landings.LaneLease),
    ("/lanes/moves", landings.LaneMoves),
    ("/lanes/mode", landings.LaneModeOf),
    ("/repositories", repositories.RepositoryList),
    ("/repositories/:id", repositories.OneRepository),
    ("/system/status", system.Status),
    ("/audit/head", audit.Head),
    ("/pairings", login.PairingList),
    ("/tokens", tokens.TokenList),
    ("/tokens/:id/revoke", tokens.TokenRevoke),
)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method at one address, and the rights of which it needs one."""

    method: str
    path: str
    rights: tuple[Need, ...]
    handler: type[Handler]


def pattern(path: str) -> str:
    """The regular expression of an address. A parameter may be anything but a slash: what is wrong with it
    is the handler's to say, with 400, where a narrower expression would answer 404."""
    return "".join(
        f"/{'([^/]*)' if part.startswith(':') else re.escape(part)}" for part in path.split("/")[1:]
    )


def routes() -> list[Route]:
    """The table, method by method."""
    found = []
    for path, handler in TABLE:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"):
            rights = getattr(getattr(handler, method.lower()), "rights", None)
            if rights is not None:
                found.append(Route(method=method, path=path, rights=rights, handler=handler))
    return found
