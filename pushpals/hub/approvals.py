"""Questions to a person.

An approval is opened in the transaction that needs it, names one exact action by hash, and is decided
once. The hub renders what is shown from the action itself; an agent's words stay apart (``says``).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from pushpals.protocol.approvals import Approval, ApprovalKind, action_hash, advance, canonical
from pushpals.protocol.errors import Conflict, TooLarge, TooMany
from pushpals.protocol.events import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalRequired,
    ApprovalVoid,
    Approved,
    ToolCall,
)
from pushpals.protocol.times import stamp
from pushpals.store.base import Tx

EXEC_TTL = timedelta(minutes=30)
LAND_TTL = timedelta(hours=24)
MAX_ACTION_BYTES = 64 * 1024
MAX_OPEN = 500
"""Open approvals per session."""


def open_approval(
    tx: Tx,
    session_id: str,
    kind: ApprovalKind,
    action: dict[str, Any],
    summary: str,
    now: datetime,
    *,
    approval_id: str | None = None,
    ttl: timedelta = EXEC_TTL,
    says: str | None = None,
    job_id: str | None = None,
    landing_id: str | None = None,
    shown: dict[str, Any] | None = None,
    task_id: str | None = None,
    attempt: int = 0,
    capabilities: list[str] | None = None,
    reasons: list[str] | None = None,
) -> Approval:
    """Ask. ``shown`` adds to the event's details what helps to decide but is not part of the action."""
    if len(canonical(action)) > MAX_ACTION_BYTES:
        raise TooLarge("an action over 64 KiB cannot be shown whole, so it cannot be approved")
    if tx.count(Approval, "state", session_id=session_id, state="open").get("open", 0) >= MAX_OPEN:
        raise TooMany(
            f"this session has {MAX_OPEN} open approvals", code="approval.too_many", retry_after=60.0
        )
    approval = Approval(
        id=approval_id or tx.new_id("approval"),
        session_id=session_id,
        kind=kind,
        action=action,
        action_hash=action_hash(action),
        summary=summary,
        state="open",
        requested_by=tx.actor.name,
        created_at=stamp(now),
        expires_at=stamp(now + ttl),
        says=says[:500] if says else None,
        job_id=job_id,
        landing_id=landing_id,
        attempt=attempt,
        capabilities=capabilities or [],
        reasons=reasons or [],
    )
    tx.put(approval)
    details: dict[str, Any] = {
        "kind": kind,
        "action": action,
        "actionHash": approval.action_hash,
        "expiresAt": approval.expires_at,
        **(shown or {}),
    }
    if job_id:
        details["jobId"] = job_id
    if landing_id:
        details["landingId"] = landing_id
    tx.append(
        session_id,
        ApprovalRequired(
            approval_id=approval.id,
            action="git.push" if kind == "land" else "other",
            summary=summary,
            details=details,
        ),
        from_="hub",
        correlation_id=task_id,
    )
    return approval


def open_for_tool_call(tx: Tx, session_id: str, call: ToolCall, now: datetime) -> None:
    """The original wire: a tool call that asks opens an approval with its own id, before the event."""
    if tx.get(Approval, call.tool_call_id) is not None:
        raise Conflict("this tool call asked already", code="approval.exists")
    open_approval(
        tx,
        session_id,
        "exec",
        {"kind": "exec", "tool": call.tool, "args": call.args, "toolCallId": call.tool_call_id},
        f"Run {call.tool}",
        now,
        approval_id=call.tool_call_id,
        task_id=call.task_id,
    )


def void(tx: Tx, approval_id: str | None, reason: str, *, used: bool = False) -> None:
    """What was asked is no longer what would happen. Ended approvals stay as they are; with ``used``, one
    that
    was used ends too, and with it whatever it keeps open."""
    approval = tx.get(Approval, approval_id) if approval_id else None
    if approval is None or approval.state not in ("open", "approved", *(("consumed",) if used else ())):
        return
    tx.put(replace(approval, state=advance(approval.state, "void"), reason=reason))
    tx.append(approval.session_id, ApprovalVoid(approval_id=approval.id, reason=reason), from_="hub")


def carry(tx: Tx, approval: Approval, earlier: Approval, reason: str, now: datetime) -> Approval:
    """Give the yes that ``earlier`` was given, in the name of who gave it."""
    decided = replace(
        approval,
        state=advance(approval.state, "approve"),
        decided_by=earlier.decided_by,
        decided_at=stamp(now),
        token_id=earlier.token_id,
        device=earlier.device,
        address=earlier.address,
        reason=reason,
        expires_at=earlier.expires_at,
    )
    tx.put(decided)
    tx.append(approval.session_id, Approved(approval_id=approval.id), from_="hub")
    tx.append(
        approval.session_id,
        ApprovalDecided(
            approval_id=approval.id,
            decision="approve",
            by=earlier.decided_by or "",
            token_id=earlier.token_id or "",
            action_hash=approval.action_hash,
            device=earlier.device,
            reason=reason,
        ),
        from_="hub",
    )
    return decided


def consume(tx: Tx, approval_id: str | None, landing_id: str) -> Approval:
    """Use the yes, once, for the landing it was given for. A second push of the same landing may reuse it."""
    approval = tx.get(Approval, approval_id) if approval_id else None
    if approval is None or approval.landing_id != landing_id:
        raise Conflict("this landing has no approval", code="approval.missing")
    if approval.state == "consumed":
        return approval
    if approval.state != "approved":
        raise Conflict(f"the approval is {approval.state}", code="approval.stale", state=approval.state)
    used = replace(approval, state=advance(approval.state, "consume"))
    tx.put(used)
    return used


def void_for_job(tx: Tx, job_id: str, reason: str, *, ended: bool) -> None:
    """An attempt is over: its questions are moot. A yes for the whole job outlives it unless the job
    ended."""
    for approval in tx.find(Approval, job_id=job_id, state=("approved", "open")):
        if approval.scope == "session" or (approval.scope == "job" and not ended):
            continue
        if approval.landing_id is None:
            void(tx, approval.id, reason)


def tell_expired(tx: Tx, expired: Approval) -> None:
    """Keep an approval that has expired, and say so."""
    tx.put(expired)
    tx.append(expired.session_id, ApprovalExpired(approval_id=expired.id), from_="hub")
