"""Approvals: a person's yes to one exact action, once.

::

    open ──approve──▶ approved ──consume──▶ consumed ──void──▶ void   (taken back while it runs)
      ├────deny────▶ denied      └─expire, void─▶ expired, void
      ├────expire──▶ expired
      └────void────▶ void          (what would happen is no longer what was asked)

A yes is for ``once``, or for as long as its ``job`` runs, or (network hosts only, at most eight hours) for
the
``session``. One for longer than once stays ``approved`` and answers later questions that it covers; each of
those is an approval of its own, ``basis`` says what answered it, and each is used once.

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
    ("consumed", "void"): "void",
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
    attempt: int = 0
    """Of the job that asked: another attempt has to ask again."""
    capabilities: list[str] = []
    """What a yes gives, as the policy names it."""
    reasons: list[str] = []
    """Why the policy asks, in its codes."""
    basis: str | None = None
    """The approval or remembered rule that answered in a person's place."""
    used: int = 0
    """How many later questions it has answered; for a scope wider than ``once``."""
    used_at: str | None = None
    """When its own action ran. It cannot be used for that again, whatever its scope."""
    method: str | None = None
    """How the person was known: ``bearer`` or ``cookie``."""


RuleVerdict = Literal["allow", "deny"]


class RememberedRule(Wire, frozen=True, kw_only=True):
    """A person's standing answer to one exact shape of command.

    The shape is everything of an action that is the same each time it is asked: argument list or script,
    directory, variables, input, the programs with their digests, capabilities and the sandbox's level.
    """

    id: str
    verdict: RuleVerdict
    shape: dict[str, Any]
    shape_hash: str
    label: str
    created_at: str
    created_by: str
    session_id: str | None = None
    """Where it holds; everywhere without it."""
    approval_id: str | None = None
    """The question that it was made from."""
    used: int = 0
    used_at: str | None = None
    revoked_at: str | None = None
    revoked_by: str | None = None


SHAPE = ("argv", "script", "cwd", "env", "stdin_sha256", "executables", "capabilities", "sandbox")
"""The fields of an exec action that make its shape."""


def shape_of(action: dict[str, Any]) -> dict[str, Any]:
    """What a remembered rule is about."""
    return {name: action[name] for name in SHAPE if action.get(name) not in (None, "", [], ())}


def shape_hash(shape: dict[str, Any]) -> str:
    """Hex SHA-256 of a shape, in a domain of its own."""
    return hashlib.sha256(b"pushpals.shape.v1\0" + canonical(shape)).hexdigest()
