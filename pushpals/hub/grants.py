"""Commands that need a person: asked by the executor's side, answered, and used once.

::

    ask ──▶ a remembered rule says no ──▶ denied
        ├─▶ a rule, or a wider yes, says yes ──▶ approved (``basis`` names it)
        └─▶ nothing does ──▶ open ──▶ a person decides, or nobody does
    use ──▶ consumed, if it is the very same action, in time, by the holder of the job's lease

The comparison, the step to ``consumed`` and the event are one transaction, so of any number of callers one is
let through. What was not asked for in exactly this form is ``approval.stale``: the yes is void, and the
command has to be asked about again.

A yes for the ``session`` answers for network hosts only, and never for a job that has read text from outside:
such a job holds private code, untrusted words and a way out, and two of these three are enough.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from pushpals.hub import approvals
from pushpals.hub.of import Of, sees
from pushpals.policy.actions import ExecAction, as_dict
from pushpals.policy.rendering import render
from pushpals.protocol.approvals import (
    Approval,
    RememberedRule,
    advance,
    shape_hash,
    shape_of,
)
from pushpals.protocol.commands import AskApproval, RevokeApproval, UseApproval
from pushpals.protocol.errors import BadRequest, Conflict, Forbidden, LeaseLost, NotFound, TooMany
from pushpals.protocol.events import ApprovalConsumed, ApprovalDecided, Approved, Denied
from pushpals.protocol.jobs import Job, Wire
from pushpals.protocol.times import parse_stamp, stamp
from pushpals.store.base import Tx

ASKABLE = frozenset({"exec", "net", "limits", "unsandboxed"})
SESSION_MOST = timedelta(hours=8)
"""The longest that a yes for more than one command lasts."""


class Used(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """What came of :func:`use`. Not ``ok``: nothing may run; ``code`` says why."""

    approval: Approval
    ok: bool
    code: str = ""
    why: str = ""


def ask(tx: Tx, ask: AskApproval, now: datetime) -> Approval:
    """Ask about one exact command of a job that the caller holds."""
    if ask.kind not in ASKABLE:
        raise BadRequest(f"a {ask.kind} is not asked for this way", code="approval.kind")
    action = _exec_action(ask.action)
    job = _own_job(tx, action.job, ask.attempt)
    if (action.session, action.attempt, action.worker) != (job.session_id, job.attempt, job.worker_id):
        raise BadRequest(
            "the action names another job, attempt or worker than the lease", code="approval.foreign"
        )
    pending = tx.find(Approval, job_id=job.id, state="open")
    if len(pending) >= ask.max_pending:
        raise TooMany(
            f"this job has {len(pending)} open questions already; wait for an answer",
            code="approval.too_many_pending",
            retry_after=10.0,
        )
    rendering = render(action)
    common: dict[str, Any] = {
        "ttl": timedelta(seconds=ask.ttl_s) if ask.ttl_s else approvals.EXEC_TTL,
        "says": ask.says,
        "job_id": job.id,
        "task_id": job.task_id,
        "shown": {
            "words": list(rendering.words),
            "enables": list(rendering.enables),
            "suspicious": list(rendering.suspicious),
            "reasons": ask.reasons,
        },
    }
    opened = approvals.open_approval(
        tx, job.session_id, ask.kind, ask.action, rendering.summary, now,
        attempt=job.attempt, capabilities=list(action.capabilities), reasons=ask.reasons, **common,
    )  # fmt: skip
    return _answered(tx, opened, job, now)


def use(tx: Tx, ask: Of[UseApproval], now: datetime) -> Used:
    """The executor is about to run it. Returns, rather than raises, a refusal that changes the record."""
    approval = tx.get(Approval, ask.id)
    if approval is None or approval.job_id is None or not sees(tx.actor, approval.session_id):
        raise NotFound(f"there is no approval {ask.id!r}", code="approval.unknown")
    job = _own_job(tx, approval.job_id, ask.body.attempt)
    if approval.used_at is not None:
        raise Conflict("this approval was used already", code="approval.used")
    if approval.state != "approved":
        raise Conflict(
            f"this approval is {approval.state}", code=f"approval.{approval.state}", state=approval.state
        )
    if parse_stamp(approval.expires_at) <= now:
        expired = replace(approval, state=advance(approval.state, "expire"))
        approvals.tell_expired(tx, expired)
        return Used(approval=expired, ok=False, code="approval.expired", why="the yes came too late")
    basis = _basis(tx, approval)
    if basis == "gone":
        return _void(tx, approval, "what answered it was taken back")
    if approval.attempt != job.attempt or ask.body.action_hash != approval.action_hash:
        return _void(tx, approval, "what would run is not what was approved")
    once = approval.scope == "once"
    used = replace(
        approval,
        state=advance(approval.state, "consume") if once else approval.state,
        used_at=stamp(now),
    )
    tx.put(used)
    if isinstance(basis, Approval):
        tx.put(replace(basis, used=basis.used + 1))
    elif isinstance(basis, RememberedRule):
        tx.put(replace(basis, used=basis.used + 1, used_at=stamp(now)))
    tx.append(
        approval.session_id,
        ApprovalConsumed(
            approval_id=approval.id,
            action_hash=approval.action_hash,
            job_id=job.id,
            basis=approval.basis,
        ),
        correlation_id=job.task_id,
    )
    return Used(approval=used, ok=True)


def revoke(tx: Tx, ask: Of[RevokeApproval], now: datetime) -> Approval:
    """Take a yes back, and every yes that rests on it. A connection that it opened ends within seconds."""
    if tx.actor.role != "operator":
        raise Forbidden(f"a {tx.actor.role} can never revoke an approval", code="approval.role")
    approval = tx.get(Approval, ask.id)
    if approval is None or not sees(tx.actor, approval.session_id):
        raise NotFound(f"there is no approval {ask.id!r}", code="approval.unknown")
    if approval.landing_id is not None:
        raise Conflict("cancel the landing instead: `pushpals landing cancel`", code="approval.landing")
    if approval.state == "void":
        return approval
    advance(approval.state, "void")
    reason = ask.body.reason or f"taken back by {tx.actor.name}"
    for other in tx.find(Approval, session_id=approval.session_id, state=("approved", "consumed")):
        if other.basis == approval.id:
            approvals.void(tx, other.id, reason, used=True)
    approvals.void(tx, approval.id, reason, used=True)
    gone = tx.get(Approval, ask.id)
    assert gone is not None
    return gone


def _exec_action(raw: dict[str, Any]) -> ExecAction:
    try:
        action = msgspec.convert(raw, ExecAction)
    except msgspec.ValidationError as error:
        raise BadRequest(f"the action is not one: {error}", code="approval.bad_action") from None
    # What is stored, hashed and shown must be all of it: a field that we do not know could mean anything.
    if msgspec.json.decode(msgspec.json.encode(as_dict(action))) != raw:
        raise BadRequest("the action has fields that are not an action's", code="approval.bad_action")
    return action


def _own_job(tx: Tx, job_id: str, attempt: int) -> Job:
    job = tx.get(Job, job_id)
    foreign = job is not None and job.token_id is not None and job.token_id != tx.actor.token_id
    if job is None or foreign or not sees(tx.actor, job.session_id):
        raise NotFound(f"there is no job {job_id!r} of yours", code="job.unknown")
    if job.state != "claimed" or job.attempt != attempt:
        raise LeaseLost(f"attempt {attempt} of {job.id} has no lease any more", state=job.state)
    return job


def _answered(tx: Tx, approval: Approval, job: Job, now: datetime) -> Approval:
    """The question with the answer that a rule or a wider yes has for it, if one does."""
    shape = shape_hash(shape_of(approval.action))
    rules = [
        rule
        for rule in tx.find(RememberedRule, shape_hash=shape)
        if rule.revoked_at is None and rule.session_id in (None, approval.session_id)
    ]
    for rule in sorted(rules, key=lambda rule: rule.verdict != "deny"):
        return _answer(tx, approval, rule.verdict == "allow", rule.id, rule.created_by, now)
    for wide in tx.find(Approval, session_id=approval.session_id, state="approved"):
        if wide.id != approval.id and _covers(wide, approval, job, now):
            return _answer(tx, approval, True, wide.id, wide.decided_by or "", now)
    return approval


def _covers(wide: Approval, asked: Approval, job: Job, now: datetime) -> bool:
    if wide.scope == "once" or parse_stamp(wide.expires_at) <= now:
        return False
    if wide.scope == "job" and wide.job_id != job.id:
        return False
    if wide.scope == "job" and wide.action_hash == asked.action_hash:
        return True
    if wide.kind != "net" or asked.kind != "net" or (wide.scope == "session" and job.tainted):
        return False
    # A yes to a host says nothing about another question that the command raises.
    others = [code for code in asked.reasons if code != "net" and not code.startswith("exec.")]
    hosts = {capability for capability in asked.capabilities if capability.startswith("net:")}
    return not others and hosts <= set(wide.capabilities)


def _answer(tx: Tx, approval: Approval, yes: bool, basis: str, by: str, now: datetime) -> Approval:
    decided = replace(
        approval,
        state=advance(approval.state, "approve" if yes else "deny"),
        decided_by=by,
        decided_at=stamp(now),
        basis=basis,
    )
    tx.put(decided)
    tx.append(approval.session_id, (Approved if yes else Denied)(approval_id=approval.id), from_="hub")
    tx.append(
        approval.session_id,
        ApprovalDecided(
            approval_id=approval.id,
            decision="approve" if yes else "deny",
            by=by,
            token_id="",
            action_hash=approval.action_hash,
            basis=basis,
        ),
        from_="hub",
    )
    return decided


def _basis(tx: Tx, approval: Approval) -> Approval | RememberedRule | str | None:
    """What answered in a person's place, ``gone`` if that does not hold any more."""
    if approval.basis is None:
        return None
    rule = tx.get(RememberedRule, approval.basis)
    if rule is not None:
        return "gone" if rule.revoked_at is not None else rule
    wide = tx.get(Approval, approval.basis)
    return wide if wide is not None and wide.state == "approved" else "gone"


def _void(tx: Tx, approval: Approval, why: str) -> Used:
    approvals.void(tx, approval.id, why)
    voided = tx.get(Approval, approval.id)
    assert voided is not None
    return Used(approval=voided, ok=False, code="approval.stale", why=why)
