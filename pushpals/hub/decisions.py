"""Answers to questions: a person's yes or no, or the silence that means no."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from pushpals.hub import landings
from pushpals.hub.of import Of, sees
from pushpals.protocol.approvals import Approval, advance
from pushpals.protocol.commands import Decide
from pushpals.protocol.errors import Conflict, Forbidden, NotFound, UnknownApproval
from pushpals.protocol.events import ApprovalDecided, ApprovalExpired, Approved, Denied
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
    decided = replace(
        approval,
        state=advance(approval.state, body.decision),
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
        ),
    )
    if approval.landing_id:
        landings.on_decision(tx, approval.landing_id, decided, now)
    return decided


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
        tx.put(expired)
        tx.append(approval.session_id, ApprovalExpired(approval_id=approval.id), from_="hub")
        if approval.landing_id:
            landings.on_decision(tx, approval.landing_id, expired, now)
    return len(due)
