"""What each role may do. The role comes from the token; there is no other way to a right.

No process role can decide an approval, make a token or read another session than its work needs. Neither
can a ``notebook``: a person sits before it, but whatever runs in its cells holds its token, and a cell may
have been written by the very agent whose change waits for a yes.
"""

from __future__ import annotations

from typing import Literal

from pushpals.protocol.records import Role

Right = Literal[
    "session.read", "session.create", "message.post", "event.post", "mark.set",
    "job.read", "job.enqueue", "job.work", "job.cancel", "job.retry",
    "worker.register", "worker.manage", "worker.read",
    "approval.read", "approval.ask", "approval.decide", "rule.manage",
    "artifact.read", "artifact.write",
    "landing.read", "landing.submit", "landing.work", "landing.manage",
    "lane.lease", "lane.manage", "repository.read", "repository.report",
    "session.prune", "status.read", "token.manage", "audit.read", "data.query",
]  # fmt: skip

_READ: frozenset[Right] = frozenset(
    {"session.read", "job.read", "worker.read", "approval.read", "artifact.read", "landing.read",
     "repository.read", "status.read"}
)  # fmt: skip

RIGHTS: dict[Role, frozenset[Right]] = {
    "operator": _READ
    | {"session.create", "session.prune", "message.post", "event.post", "mark.set", "job.enqueue",
       "job.cancel", "job.retry", "worker.manage", "approval.decide", "rule.manage", "artifact.write",
       "landing.submit", "landing.manage",
       "lane.manage", "token.manage", "audit.read", "data.query"},
    "viewer": _READ | {"mark.set", "data.query"},
    "notebook": _READ
    | {"session.create", "message.post", "mark.set", "job.cancel", "job.retry", "data.query"},
    "buddy": _READ
    | {"session.create", "event.post", "mark.set", "job.enqueue", "job.cancel", "job.retry",
       "landing.submit", "landing.manage", "artifact.write"},
    "worker": frozenset(
        {"session.read", "event.post", "job.read", "job.work", "worker.register", "approval.ask",
         "artifact.read",
         "artifact.write", "repository.read", "repository.report"}
    ),
    "pusher": frozenset(
        {"session.read", "landing.read", "landing.work", "lane.lease", "artifact.read", "artifact.write",
         "repository.read", "repository.report", "worker.register", "status.read"}
    ),
}  # fmt: skip


def may(role: Role, right: Right) -> bool:
    return right in RIGHTS[role]


PERSON_EVENTS: frozenset[str] = frozenset({"message", "delegate_request", "log", "done"})
AGENT_EVENTS: frozenset[str] = frozenset(
    {"assistant_message", "log", "error", "done", "task_created", "task_started", "task_progress",
     "task_completed", "task_failed", "tool_call", "tool_result", "agent_status", "status", "scan_result",
     "suggestions", "diff_ready", "delegate_request", "delegate_response", "plan_made"}
)  # fmt: skip
WORK_EVENTS: frozenset[str] = frozenset(
    {"log", "error", "tool_call", "tool_result", "task_progress", "agent_status", "status", "scan_result",
     "suggestions", "diff_ready", "committed", "check_finished", "network_used"}
)  # fmt: skip
"""What a worker may report about its own job. States of jobs, approvals and landings are the hub's alone."""

EMITS: dict[Role, frozenset[str]] = {
    "operator": PERSON_EVENTS | AGENT_EVENTS,
    "viewer": frozenset(),
    "notebook": frozenset(),
    "buddy": AGENT_EVENTS,
    "worker": WORK_EVENTS,
    "pusher": WORK_EVENTS,
}

POSTS: dict[Role, frozenset[str]] = {**EMITS, "worker": frozenset({"job_log"}), "pusher": frozenset()}
"""What ``POST /sessions/:id/command`` takes. A worker reports with its lease, which binds what it says to one
job; the lines of a job that it holds it may also post one by one, as workers of the original do."""


def may_post(role: Role, event_type: str) -> bool:
    """Whether the role may post an event of this type outside of a lease."""
    return event_type in POSTS[role]


def may_emit(role: Role, event_type: str) -> bool:
    """Whether the role may have an event of this type told. Nobody may tell what only a decision can mean."""
    return event_type in EMITS[role]
