"""Landings: submit, move, decide, cancel. The pusher proposes steps; the hub's machine accepts them.

The hub never looks into a repository. It guards what only it can know: that the head was approved by a
person, that the lane is held by who asks, that the queue is open, and that every step exists.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from pushpals.hub import approvals
from pushpals.hub.of import Of, sees, session_of
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import (
    CancelJob,
    LandingReply,
    LandingStep,
    Moved,
    MoveLanding,
    MoveLandings,
    NoteLanding,
    Ok,
    StepRefused,
    SubmitLanding,
)
from pushpals.protocol.errors import BadRequest, Conflict, LeaseLost, NotFound, PushPalsError
from pushpals.protocol.events import CheckFinished, Committed, LandingMoved, OverlapFound
from pushpals.protocol.ids import is_commit
from pushpals.protocol.jobs import FileChange, Job
from pushpals.protocol.landings import (
    ENDS,
    UNFINISHED,
    Landing,
    LandingState,
    Lane,
    advance,
    lane_id,
)
from pushpals.protocol.records import Repository
from pushpals.protocol.times import parse_stamp, stamp
from pushpals.store.base import Tx

_AGENT_BRANCH = re.compile(r"agent/[a-z0-9][a-z0-9._-]{0,47}/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


def submit(tx: Tx, ask: SubmitLanding, now: datetime) -> LandingReply:
    """Ask for a head to be landed. Always opens an approval: nothing lands unapproved.

    A new head of the same branch supersedes the old landing, which ends ``stale``. Asking again for the
    same head while it is under way answers with what is under way.
    """
    session_of(tx, ask.session_id)
    _check(tx, ask)
    lane = lane_id(ask.repository, ask.target)
    queue = tx.get(Lane, lane) or Lane(
        id=lane, repository=ask.repository, branch=ask.target, since=stamp(now)
    )
    before = tx.find(Landing, lane=lane, branch=ask.branch, order=("-n",), limit=1)
    for other in tx.find(Landing, lane=lane, branch=ask.branch, state=UNFINISHED):
        if other.head == ask.head:
            return LandingReply(landing=other, approval=_approval(tx, other))
        if other.state == "pushing":
            raise Conflict(f"{other.id} is being pushed for this branch; wait for it", code="landing.pushing")
        _step(tx, other, "stale", now, cause="a newer head of the branch was submitted")
    for wanted in ask.after:
        visible(tx, wanted)
    queue = replace(queue, submitted=queue.submitted + 1)
    tx.put(queue)
    landing = Landing(
        id=tx.new_id("landing"),
        lane=lane,
        session_id=ask.session_id,
        state="submitted",
        head=ask.head,
        base=ask.base,
        branch=ask.branch,
        target=ask.target,
        title=ask.title,
        tree=ask.tree,
        body=ask.body,
        job_id=ask.job_id,
        task_id=ask.task_id,
        bundle=ask.bundle,
        patch=ask.patch,
        agent=ask.agent,
        requested_by=tx.actor.name,
        asked_by=ask.asked_by,
        priority=ask.priority,
        fix=ask.fix,
        reverts=ask.reverts,
        after=ask.after,
        supersedes=before[0].id if before else None,
        number=queue.submitted,
        files=ask.files,
        worker_evidence=ask.evidence,
        since=stamp(now),
        created_at=stamp(now),
        updated_at=stamp(now),
    )
    _tell(tx, landing, "new", None, {"branch": landing.branch, "target": landing.target})
    return _ask_for_approval(tx, landing, ask.repository, now)


def on_decision(tx: Tx, landing_id: str, approval: Approval, now: datetime) -> None:
    """A person answered, or nobody did."""
    landing = tx.get(Landing, landing_id)
    if landing is None or landing.state in ENDS or landing.approval_id != approval.id:
        return
    if approval.state == "approved":
        head = tx.head(landing.session_id)
        named = replace(
            landing,
            approved_by=approval.decided_by,
            audit_head=f"{head.cursor}:{head.digest}" if head is not None else None,
        )
        _step(tx, named, "queued", now, cause=f"approved by {approval.decided_by}")
    elif approval.state == "denied":
        words = f": {approval.reason}" if approval.reason else ""
        _step(tx, landing, "rejected", now, cause=f"denied by {approval.decided_by}{words}")
    elif approval.state == "expired" and landing.state != "pushing":
        cause = "nobody answered in time" if approval.decided_by is None else "the approval expired"
        _step(tx, landing, "stale", now, cause=cause)


def move(tx: Tx, ask: Of[MoveLanding], now: datetime) -> Landing:
    """One step of the machine, by the holder of the lane. A repeated step is answered as the first time."""
    landing = visible(tx, ask.id)
    lane = held_lane(tx, landing.lane, ask.body.fence)
    return _move(tx, landing, lane, ask.body, now)


def move_all(tx: Tx, ask: MoveLandings, now: datetime) -> Moved:
    """Several steps in order, in one transaction. What is refused leaves no trace and is named."""
    lane = held_lane(tx, ask.lane, ask.fence)
    now_at: dict[str, Landing] = {}
    refused: list[StepRefused] = []
    for step in ask.steps:
        try:
            landing = visible(tx, step.id)
            if landing.lane != lane.id:
                raise Conflict(f"{landing.id} is not in {lane.id}", code="landing.lane")
            now_at[landing.id] = landing
            now_at[landing.id] = _move(tx, landing, tx.get(Lane, lane.id) or lane, step, now)
        except PushPalsError as error:
            if ask.all_or_none:
                raise
            refused.append(StepRefused(id=step.id, code=error.code, message=error.message))
    return Moved(items=list(now_at.values()), refused=refused)


def _move(tx: Tx, landing: Landing, lane: Lane, body: MoveLanding, now: datetime) -> Landing:
    """Everything that can refuse stands before the first write."""
    if landing.state == body.to and landing.state != body.expected:
        return landing
    if landing.state != body.expected:
        raise Conflict(
            f"this landing is {landing.state}, not {body.expected}", code="landing.state", state=landing.state
        )
    if body.to != landing.state:
        advance(landing.state, body.to)
    changed = replace(
        landing,
        candidate=None if body.clear_candidate else body.candidate or landing.candidate,
        intent=None if body.clear_intent else body.intent or landing.intent,
        evidence=[*landing.evidence, *body.evidence][-200:],
        landed_commit=body.landed_commit or landing.landed_commit,
        conflict_paths=landing.conflict_paths if body.conflict_paths is None else body.conflict_paths,
        main_moved=landing.main_moved + body.main_moved,
        facts={**landing.facts, **body.facts},
    )
    if isinstance(body, LandingStep):
        changed = replace(changed, published=landing.published or body.published)
    match body.to:
        case "queued" if landing.state in ("submitted", "needs_approval"):
            changed = _carried(tx, changed, lane, now)
        case "pushing":
            _may_push(tx, changed, lane)
        case "landed":
            _has_landed(tx, changed)
    for evidence in body.evidence:
        tx.append(
            landing.session_id, CheckFinished(evidence=evidence, landing_id=landing.id, job_id=landing.job_id)
        )
    if isinstance(body, LandingStep):
        changed = _overlapping(tx, changed, body)
    if body.to == landing.state:
        noted = replace(changed, updated_at=stamp(now))
        tx.put(noted)
        return noted
    done = _step(tx, changed, body.to, now, cause=body.cause, facts=body.facts)
    if done.state == "landed" and done.landed_commit:
        tx.put(replace(lane, head=done.landed_commit))
        tx.append(
            done.session_id,
            Committed(branch=done.target, commit_hash=done.landed_commit, message=done.title),
            correlation_id=done.task_id,
        )
    return done


def _overlapping(tx: Tx, landing: Landing, step: LandingStep) -> Landing:
    """Tell of each overlap once, and again when it becomes a conflict."""
    known: dict[str, bool] = dict(landing.facts.get("overlaps", {}))
    for overlap in step.overlaps:
        if known.get(overlap.other) != overlap.conflict:
            known[overlap.other] = overlap.conflict
            tx.append(
                landing.session_id,
                OverlapFound(
                    landing_id=landing.id,
                    other_id=overlap.other,
                    paths=overlap.paths,
                    conflict=overlap.conflict,
                ),
                correlation_id=landing.task_id,
            )
    return replace(landing, facts={**landing.facts, "overlaps": known}) if step.overlaps else landing


def note(tx: Tx, ask: Of[NoteLanding], now: datetime) -> Landing:
    """Facts without a step: the branch was published, a check of it finished."""
    landing = visible(tx, ask.id)
    held_lane(tx, landing.lane, ask.body.fence)
    for evidence in ask.body.evidence:
        tx.append(
            landing.session_id, CheckFinished(evidence=evidence, landing_id=landing.id, job_id=landing.job_id)
        )
    noted = replace(
        landing,
        published=landing.published or ask.body.published,
        evidence=[*landing.evidence, *ask.body.evidence][-200:],
        facts={**landing.facts, **ask.body.facts},
        updated_at=stamp(now),
    )
    tx.put(noted)
    return noted


def cancel(tx: Tx, ask: Of[CancelJob], now: datetime) -> Landing:
    """Take a landing out of the queue. Once it is being pushed, only the remote decides."""
    landing = visible(tx, ask.id)
    if landing.state == "cancelled":
        return landing
    if landing.state == "pushing":
        raise Conflict(
            "it is being pushed; cancel comes too late, revert it if it landed", code="landing.pushing"
        )
    words = f": {ask.body.reason}" if ask.body.reason else ""
    return _step(tx, landing, "cancelled", now, cause=f"cancelled by {tx.actor.name}{words}")


def retry(tx: Tx, ask: Of[Ok], now: datetime) -> LandingReply:
    """Submit an ended landing again, as a new one with a new approval."""
    old = visible(tx, ask.id)
    if old.state not in ("conflict", "rejected", "stale", "cancelled", "failed"):
        raise Conflict(
            f"a landing that is {old.state} needs no second try", code="landing.state", state=old.state
        )
    for other in tx.find(Landing, lane=old.lane, branch=old.branch, state=UNFINISHED):
        if other.head == old.head:
            return LandingReply(landing=other, approval=_approval(tx, other))
    again = replace(
        old,
        id=tx.new_id("landing"),
        state="submitted",
        approval_id=None,
        approved_by=None,
        supersedes=None,
        number=_next_number(tx, old.lane),
        main_moved=0,
        landed_commit=None,
        candidate=None,
        intent=None,
        evidence=[],
        conflict_paths=[],
        facts={"retries": old.id},
        cause=None,
        attempts=old.attempts + 1,
        requested_by=tx.actor.name,
        since=stamp(now),
        created_at=stamp(now),
        updated_at=stamp(now),
    )
    _tell(tx, again, "new", f"tried again after {old.state}", {"retries": old.id})
    return _ask_for_approval(tx, again, old.lane.rpartition(":")[0], now)


def _next_number(tx: Tx, name: str) -> int:
    lane = tx.get(Lane, name)
    assert lane is not None
    lane = replace(lane, submitted=lane.submitted + 1)
    tx.put(lane)
    return lane.submitted


def visible(tx: Tx, landing_id: str) -> Landing:
    """The landing, if it exists and the actor may see its session."""
    landing = tx.get(Landing, landing_id)
    if landing is None or not sees(tx.actor, landing.session_id):
        raise NotFound(
            f"there is no landing {landing_id!r}; `pushpals landing list` shows them", code="landing.unknown"
        )
    return landing


def held_lane(tx: Tx, name: str, fence: int) -> Lane:
    """The lane, if ``fence`` is its current one."""
    lane = tx.get(Lane, name)
    if lane is None or lane.fence != fence or lane.holder is None:
        raise LeaseLost(f"fence {fence} does not hold {name} any more; stop", fence=lane.fence if lane else 0)
    return lane


def _check(tx: Tx, ask: SubmitLanding) -> None:
    for name, value in (("head", ask.head), ("base", ask.base)):
        if not is_commit(value):
            raise BadRequest(f"`{name}` must be a full commit id", code="landing.bad_commit")
    if _AGENT_BRANCH.fullmatch(ask.branch) is None or ".." in ask.branch or ask.branch.endswith(".lock"):
        raise BadRequest("an agent branch is agent/<worker>/<job>", code="ref.invalid")
    if _TARGET.fullmatch(ask.target) is None or ".." in ask.target or ask.target.endswith((".lock", "/")):
        raise BadRequest(f"{ask.target!r} is no branch to land on", code="ref.invalid")
    if ask.job_id is not None:
        job = tx.get(Job, ask.job_id)
        if job is None or job.session_id != ask.session_id:
            raise NotFound(f"there is no job {ask.job_id!r} in this session", code="job.unknown")
        if job.result is None or job.result.head != ask.head:
            raise Conflict("that job did not produce this head", code="landing.foreign_head")


def _ask_for_approval(tx: Tx, landing: Landing, repository: str, now: datetime) -> LandingReply:
    files = landing.files
    action: dict[str, Any] = {
        "kind": "land",
        "repository": repository,
        "target": f"refs/heads/{landing.target}",
        "head": landing.head,
        "base": landing.base,
        "tree": landing.tree,
        "landing": landing.id,
    }
    if landing.reverts:
        action["reverts"] = landing.reverts
    approval = approvals.open_approval(
        tx,
        landing.session_id,
        "land",
        action,
        f"Land {landing.head[:12]} on {landing.target}: {_size(files)}",
        now,
        ttl=approvals.LAND_TTL,
        says=landing.title,
        job_id=landing.job_id,
        landing_id=landing.id,
        task_id=landing.task_id,
        shown={
            "title": landing.title,
            "branch": landing.branch,
            "patch": landing.patch,
            "files": [
                {
                    "path": f.path,
                    "status": f.status,
                    "added": f.added,
                    "deleted": f.deleted,
                    "protected": f.protected,
                }
                for f in sorted(files, key=lambda f: (not f.protected, f.path))[:200]
            ],
            "evidence": [
                {"check": e.check, "verdict": e.verdict, "exitCode": e.exit_code, "commit": e.commit}
                for e in landing.worker_evidence[:50]
            ],
        },
    )
    waiting = _step(
        tx, replace(landing, approval_id=approval.id), "needs_approval", now, cause="waits for a person's yes"
    )
    return LandingReply(landing=waiting, approval=approval)


def _size(files: list[FileChange]) -> str:
    added, deleted = sum(f.added for f in files), sum(f.deleted for f in files)
    return f"{len(files)} file{'' if len(files) == 1 else 's'}, +{added} −{deleted}"


def _may_push(tx: Tx, landing: Landing, lane: Lane) -> None:
    if landing.candidate is None or landing.intent is None:
        raise Conflict("a push needs a tested candidate and a stored intent", code="landing.no_intent")
    if landing.intent.head != landing.head or landing.intent.new != landing.candidate.commit:
        raise Conflict("the intent is for another commit", code="landing.intent_differs")
    if landing.intent.old != landing.candidate.base:
        raise Conflict("the intent starts from another base than was tested", code="landing.intent_differs")
    if lane.mode == "frozen" or (lane.mode == "red" and not landing.fix):
        raise Conflict(f"the queue is {lane.mode}: {lane.cause or 'no reason given'}", code="lane.closed")
    repository = tx.get(Repository, lane.repository)
    required = {check.name for check in (repository.checks if repository else []) if check.required}
    latest = {
        e.check: e.verdict
        for e in landing.evidence
        if e.tree == landing.candidate.tree and e.check in required
    }
    if bad := sorted(name for name, verdict in latest.items() if verdict != "passed"):
        raise Conflict(f"{', '.join(bad)} did not pass on this tree", code="landing.not_green")
    approvals.consume(tx, landing.approval_id, landing.id)


def _has_landed(tx: Tx, landing: Landing) -> None:
    """By its own intent; or by one that was given up, whose record the pusher found on the remote."""
    if landing.state == "prepared":
        approval = _approval(tx, landing)
        if approval is None or approval.state != "consumed" or not landing.landed_commit:
            raise Conflict("nothing of this landing was ever pushed", code="landing.no_intent")
        return
    if landing.intent is None or landing.landed_commit != landing.intent.new:
        raise Conflict("what landed must be what was intended", code="landing.intent_differs")


def _carried(tx: Tx, landing: Landing, lane: Lane, now: datetime) -> Landing:
    """A yes to an earlier head counts for this one, where a person has allowed it and the patch is the same.

    The hub believes the holder of the lane that the patches are identical, as it believes it about checks.
    """
    old = tx.get(Landing, landing.supersedes) if landing.supersedes else None
    was = _approval(tx, old) if old is not None else None
    approval = _approval(tx, landing)
    if (
        not lane.carry_approval
        or old is None
        or old.approved_by is None
        or was is None
        or parse_stamp(was.expires_at) <= now
        or approval is None
        or approval.state != "open"
        or not landing.facts.get("patchId")
    ):
        raise Conflict("only an approval queues a landing", code="landing.unapproved")
    approvals.carry(tx, approval, was, f"carried over from {old.id}: the patch is identical", now)
    return replace(landing, approved_by=old.approved_by)


def _step(
    tx: Tx,
    landing: Landing,
    to: LandingState,
    now: datetime,
    *,
    cause: str | None = None,
    facts: dict[str, Any] | None = None,
) -> Landing:
    before = landing.state
    moved = replace(landing, state=advance(before, to), cause=cause, since=stamp(now), updated_at=stamp(now))
    tx.put(moved)
    _tell(tx, moved, before, cause, facts)
    if to in ENDS and to not in ("landed", "noop"):
        approvals.void(tx, moved.approval_id, f"the landing is {to}")
    return moved


def _tell(tx: Tx, landing: Landing, before: str, cause: str | None, facts: dict[str, Any] | None) -> None:
    tx.append(
        landing.session_id,
        LandingMoved(
            landing_id=landing.id,
            state=landing.state,
            previous=before,
            job_id=landing.job_id,
            head=landing.head,
            cause=cause,
            facts=facts or None,
        ),
        correlation_id=landing.task_id,
    )


def _approval(tx: Tx, landing: Landing) -> Approval | None:
    return tx.get(Approval, landing.approval_id) if landing.approval_id else None
