"""What each role may do. The role comes from the token; there is no other way to a right.

No process role can decide an approval, make a token or read another session than its work needs. A
notebook's kernel runs code that agents may have written: it talks for its person, and decides nothing.
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
    "status.read", "token.manage", "audit.read", "data.query",
]  # fmt: skip

_READ: frozenset[Right] = frozenset(
    {"session.read", "job.read", "worker.read", "approval.read", "artifact.read", "landing.read",
     "repository.read", "status.read"}
)  # fmt: skip

RIGHTS: dict[Role, frozenset[Right]] = {
    "operator": _READ
    | {"session.create", "message.post", "event.post", "mark.set", "job.enqueue", "job.cancel", "job.retry",
       "worker.manage", "approval.decide", "rule.manage", "artifact.write", "landing.submit", "landing.manage",
       "lane.manage", "token.manage", "audit.read", "data.query"},
    "viewer": _READ | {"mark.set", "data.query"},
    "notebook": _READ
    | {"session.create", "message.post", "mark.set", "job.cancel", "job.retry", "data.query"},
    "buddy": _READ
    | {"session.create", "event.post", "mark.set", "job.enqueue", "job.cancel", "job.retry",
       "landing.submit", "landing.manage", "artifact.write"},
    "worker": frozenset(
        {"session.read", "job.read", "job.work", "worker.register", "approval.ask", "artifact.read",
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


def may_emit(role: Role, event_type: str) -> bool:
    """Whether the role may post an event of this type. Nobody may post what only a decision can mean."""
    return event_type in EMITS[role]
