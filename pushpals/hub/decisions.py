"""Answers to questions: a person's yes or no, or the silence that means no."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from pushpals.hub import approvals, grants, landings
from pushpals.hub.of import Of, sees
from pushpals.protocol.approvals import Approval, advance
from pushpals.protocol.commands import Decide
from pushpals.protocol.errors import BadRequest, Conflict, Forbidden, NotFound, UnknownApproval
from pushpals.protocol.events import ApprovalDecided, Approved, Denied
from pushpals.protocol.jobs import Wire
from pushpals.protocol.times import parse_stamp, stamp
from pushpals.store.base import Before, Tx


def decide(tx: Tx, ask: Of[Decide], now: datetime) -> Approval:
    """The first decision wins. A yes must name the hash of what was shown."""
    body = ask.body
    if tx.actor.role != "operator":
        raise Forbidden(f"a {tx.actor.role} can never decide an approval", code="approval.role")
    approval = tx.get(Approval, ask.id)
    if approval is None:
        raise UnknownApproval(f"there is no approval {ask.id!r}; `pushpals approvals` lists the open ones")
    if not sees(tx.actor, approval.session_id):
        raise NotFound(f"there is no approval {ask.id!r}", code="approval.unknown")
    if approval.state != "open":
        who = f" by {approval.decided_by}" if approval.decided_by else ""
        raise Conflict(
            f"this approval is {approval.state} already{who}", code="approval.decided", state=approval.state
        )
    if parse_stamp(approval.expires_at) <= now:
        raise Conflict("this approval expired unanswered, which means no", code="approval.expired")
    if body.action_hash is None and body.decision == "approve":
        raise Conflict(
            "say what you approve: look at the action and send its `actionHash`",
            code="approval.hash_required",
            actionHash=approval.action_hash,
            look=f"/approvals/{approval.id}",
        )
    if body.action_hash is not None and body.action_hash != approval.action_hash:
        raise Conflict("this is not the action you looked at; look again", code="approval.hash_differs")
    _check_scope(approval, body)
    wide = body.decision == "approve" and body.scope != "once"
    lasts = min(grants.SESSION_MOST, timedelta(seconds=body.ttl_s or grants.SESSION_MOST.total_seconds()))
    decided = replace(
        approval,
        state=advance(approval.state, body.decision),
        scope=body.scope if wide else "once",
        expires_at=stamp(now + lasts) if wide else approval.expires_at,
        method=tx.actor.method,
        decided_by=tx.actor.name,
        decided_at=stamp(now),
        token_id=tx.actor.token_id,
        device=body.device or tx.actor.device,
        address=tx.actor.address,
        reason=body.reason,
    )
    tx.put(decided)
    outcome = Approved if body.decision == "approve" else Denied
    tx.append(approval.session_id, outcome(approval_id=approval.id), parent_id=approval.landing_id)
    tx.append(
        approval.session_id,
        ApprovalDecided(
            approval_id=approval.id,
            decision=body.decision,
            by=tx.actor.name,
            token_id=tx.actor.token_id,
            action_hash=approval.action_hash,
            device=decided.device,
            reason=body.reason,
            scope=decided.scope if wide else None,
            address=tx.actor.address,
            method=tx.actor.method,
        ),
    )
    if approval.landing_id:
        landings.on_decision(tx, approval.landing_id, decided, now)
    return decided


def _check_scope(approval: Approval, body: Decide) -> None:
    """A yes for longer than once is for commands, and beyond one job for network hosts only."""
    if body.decision != "approve" or body.scope == "once":
        return
    if approval.kind == "land" or approval.job_id is None:
        raise BadRequest("a landing is approved once, each time", code="approval.scope")
    if body.scope == "session" and (
        approval.kind != "net"
        or any(code != "net" and not code.startswith("exec.") for code in approval.reasons)
    ):
        raise BadRequest(
            "only a network host can be granted for a session; to have this command answered always, "
            "remember it: `pushpals rules add`",
            code="approval.scope",
        )


class ApprovalTick(Wire, frozen=True, kw_only=True):
    limit: int = 200


def expire_unanswered(tx: Tx, ask: ApprovalTick, now: datetime) -> int:
    """Nobody answered: a visible event, and it means no."""
    due = tx.find(
        Approval,
        state=("open", "approved"),
        expires_at=Before(stamp(now)),
        limit=ask.limit,
        order=("expires_at",),
    )
    for approval in due:
        expired = replace(approval, state=advance(approval.state, "expire"))
        approvals.tell_expired(tx, expired)
        if approval.landing_id:
            landings.on_decision(tx, approval.landing_id, expired, now)
    return len(due)
