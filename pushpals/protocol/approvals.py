"""Approvals: a person's yes to one exact action, once.

::

    open ──approve──▶ approved ──consume──▶ consumed
      ├────deny────▶ denied      └─expire, revoke─▶ expired, void
      ├────expire──▶ expired
      └────void────▶ void          (what would happen is no longer what was asked)

The action is canonical JSON; its domain-separated SHA-256 is the ``action_hash`` that an approver sends
back. The first decision wins. No answer in time means no.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from pushpals.protocol.errors import Conflict
from pushpals.protocol.jobs import Wire

ApprovalState = Literal["open", "approved", "denied", "expired", "void", "consumed"]
ApprovalMove = Literal["approve", "deny", "expire", "void", "consume"]
ApprovalKind = Literal["land", "exec", "net", "limits", "unsandboxed", "other"]
Scope = Literal["once", "job", "session"]

TRANSITIONS: dict[tuple[ApprovalState, ApprovalMove], ApprovalState] = {
    ("open", "approve"): "approved",
    ("open", "deny"): "denied",
    ("open", "expire"): "expired",
    ("open", "void"): "void",
    ("approved", "consume"): "consumed",
    ("approved", "expire"): "expired",
    ("approved", "void"): "void",
}


def advance(state: ApprovalState, move: ApprovalMove) -> ApprovalState:
    """The state after ``move``; raises :class:`Conflict` where there is no such step."""
    try:
        return TRANSITIONS[state, move]
    except KeyError:
        raise Conflict(
            f"this approval is {state}; it cannot be {_PAST[move]} any more",
            code="approval.state",
            state=state,
        ) from None


_PAST: dict[ApprovalMove, str] = {
    "approve": "approved", "deny": "denied", "expire": "expired", "void": "voided", "consume": "used",
}  # fmt: skip


def canonical(action: dict[str, Any]) -> bytes:
    """The one JSON text of an action: sorted keys, UTF-8, no NaN, no insignificant space."""
    return msgspec.json.encode(action, order="deterministic")


def action_hash(action: dict[str, Any]) -> str:
    """Hex SHA-256 of the canonical action, separated by domain from every other hash here."""
    return hashlib.sha256(b"pushpals.action.v1\0" + canonical(action)).hexdigest()


class Approval(Wire, frozen=True, kw_only=True):
    """The record of one question to a person. Times are RFC 3339 stamps."""

    id: str
    session_id: str
    kind: ApprovalKind
    action: dict[str, Any]
    """Exactly what would happen. For ``land``: repository, target, base, head, tree, jobId."""
    action_hash: str
    summary: str
    """One line, rendered by the hub from the action."""
    state: ApprovalState
    requested_by: str
    created_at: str
    expires_at: str
    says: str | None = None
    """The agent's own words, at most 500 characters; never mixed with the action."""
    job_id: str | None = None
    landing_id: str | None = None
    scope: Scope = "once"
    decided_by: str | None = None
    decided_at: str | None = None
    token_id: str | None = None
    device: str | None = None
    address: str | None = None
    reason: str | None = None
