"""The job queue: enqueue, claim, report, end, cancel, retry.

Every report names the attempt it belongs to; one that is no longer current has lost its lease (409) and
changes nothing. Repeating the report that ended a job is answered as the first time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from pushpals.hub import approvals, turns
from pushpals.hub.capabilities import given
from pushpals.hub.of import Of, sees, session_of
from pushpals.policy.roles import may_emit
from pushpals.protocol.commands import (
    CancelJob,
    Claim,
    Complete,
    Enqueue,
    Enqueued,
    Fail,
    Heartbeat,
    JobReply,
    Ok,
    Progress,
    ProgressReply,
    RetryJob,
)
from pushpals.protocol.errors import BadRequest, Conflict, Forbidden, LeaseLost, NotFound, TooMany
from pushpals.protocol.events import (
    Artifact,
    CheckFinished,
    JobBased,
    JobCancelled,
    JobCancelRequested,
    JobClaimed,
    JobCompleted,
    JobDeferred,
    JobEnqueued,
    JobFailed,
    JobLeaseLost,
    JobLog,
    JobRequeued,
    Payload,
)
from pushpals.protocol.ids import is_commit, is_worker_id
from pushpals.protocol.jobs import TERMINAL, Attempt, Job, JobError, JobResult, Wire, advance
from pushpals.protocol.records import Worker
from pushpals.protocol.times import parse_stamp, stamp
from pushpals.protocol.wire import payload_from
from pushpals.store.base import Appended, Before, Tx

MAX_OPEN_JOBS = 1_000
"""Unfinished jobs per session."""
MAX_LOG_LINES = 200_000
"""Lines of output kept for one attempt; the artifact holds the whole."""
MAX_CLAIMS = 50
"""Claims of one job, released leases included: what no worker can hold must not go round for ever."""
RETRIED = frozenset({"environment", "quota", "lost"})
"""Errors that another try can mend. The code, a policy and a conflict stay what they are."""
MAX_BACKOFF_S = 300.0


def enqueue(tx: Tx, ask: Enqueue, now: datetime) -> Enqueued:
    """A job exists and waits: for a worker, for other jobs (``depends_on``) or for its time (``run_at``)."""
    session = session_of(tx, ask.session_id)
    if ask.base is not None and not is_commit(ask.base):
        raise BadRequest("`base` must be a full commit id", code="job.bad_base")
    if sum(tx.count(Job, "state", session_id=ask.session_id, state=_OPEN).values()) >= MAX_OPEN_JOBS:
        raise TooMany(
            f"this session has {MAX_OPEN_JOBS} unfinished jobs; let some end first",
            code="job.too_many",
            retry_after=30.0,
        )
    waits_for = []
    for other in ask.depends_on:
        job = tx.get(Job, other)
        if job is None or job.session_id != ask.session_id:
            raise BadRequest(f"`depends_on` names {other}, which is no job here", code="job.bad_dependency")
        if job.state in ("failed", "cancelled"):
            raise Conflict(f"{other} is {job.state}; nothing can depend on it", code="job.dead_dependency")
        if job.state != "completed":
            waits_for.append(other)
    job = Job(
        id=tx.new_id("job"),
        session_id=ask.session_id,
        task_id=ask.task_id,
        kind=ask.kind,
        params=ask.params,
        state=_first_state(ask.run_at, waits_for, now),
        priority=ask.priority,
        title=ask.title or ask.kind,
        base=ask.base,
        target=ask.target,
        paths=ask.paths,
        checks=ask.checks,
        budget=ask.budget,
        needs=ask.needs,
        capabilities=given(tx, session, ask.capabilities),
        tainted=ask.tainted,
        depends_on=ask.depends_on,
        max_attempts=ask.max_attempts,
        run_at=ask.run_at,
        requested_by=tx.actor.name,
        message_id=ask.message_id,
        trace_id=ask.message_id,
        note=ask.note,
        queued_at=stamp(now),
        repository=ask.repository,
        for_worker=ask.for_worker,
        created_at=stamp(now),
        updated_at=stamp(now),
    )
    if job.state == "pending":
        job = replace(job, due=turns.turn(tx, job.session_id, job.priority, now))
    tx.put(job)
    _tell(tx, job, JobEnqueued(job_id=job.id, task_id=job.task_id, kind=job.kind, params=job.params))
    if job.state != "pending":
        _tell(tx, job, JobDeferred(job_id=job.id, run_at=job.run_at, depends_on=waits_for or None))
    return Enqueued(job_id=job.id)


def claim(tx: Tx, ask: Claim, now: datetime) -> Job | None:
    """The next job this worker may do, under a lease; ``None`` when there is none."""
    if not is_worker_id(ask.worker_id):
        raise BadRequest(
            "a worker id is 1 to 48 characters out of a-z, 0-9, '.', '_' and '-'", code="worker.bad_id"
        )
    worker = tx.get(Worker, ask.worker_id)
    if worker is not None and worker.state in ("draining", "paused"):
        return None
    job = _next(tx, ask)
    if job is None:
        return None
    claimed = replace(
        job,
        state=advance(job.state, "claim"),
        attempt=job.attempt + 1,
        worker_id=ask.worker_id,
        token_id=tx.actor.token_id,
        lease_s=ask.lease_s,
        lease_until=stamp(now + timedelta(seconds=ask.lease_s)),
        started_at=stamp(now),
        updated_at=stamp(now),
        log_lines=0,
        error=None,
    )
    tx.put(claimed)
    tx.put(
        Attempt(
            id=f"{job.id}/{claimed.attempt}",
            job_id=job.id,
            attempt=claimed.attempt,
            worker_id=ask.worker_id,
            started_at=stamp(now),
        )
    )
    if worker is not None:
        tx.put(replace(worker, state="busy", jobs=[*worker.jobs, job.id], seen_at=stamp(now)))
    _tell(tx, claimed, JobClaimed(job_id=job.id, worker_id=ask.worker_id))
    return claimed


def progress(tx: Tx, ask: Of[Progress], now: datetime) -> ProgressReply:
    """Events, log lines and the heartbeat of one attempt, in one transaction."""
    body = ask.body
    job = _held(tx, ask.id, body.attempt)
    if body.base is not None and not is_commit(body.base):
        raise BadRequest("`base` must be a full commit id", code="job.bad_base")
    if (body.base and body.base != job.base) or (body.sandbox and body.sandbox != job.sandbox):
        if body.base and job.base and body.base != job.base:
            raise Conflict(f"this job works on {job.base[:12]}", code="job.base_fixed")
        job = replace(job, base=body.base or job.base, sandbox=body.sandbox or job.sandbox)
        if job.base:
            _tell(tx, job, JobBased(job_id=job.id, base=job.base, attempt=job.attempt, sandbox=job.sandbox))
    for event in body.events:
        _tell(tx, job, _reported(tx, job, event.type, event.payload))
    kept = max(0, min(len(body.log), MAX_LOG_LINES - job.log_lines))
    for offset, line in enumerate(body.log[:kept], start=job.log_lines + 1):
        _tell(tx, job, JobLog(job_id=job.id, stream=line.stream, seq=offset, line=line.line))
    tx.put(
        replace(
            job,
            log_lines=job.log_lines + kept,
            lease_until=stamp(now + timedelta(seconds=job.lease_s)),
            updated_at=stamp(now),
        )
    )
    return ProgressReply(cancel=job.cancel_requested, lease_s=job.lease_s)


def add_line(tx: Tx, session_id: str, line: JobLog) -> Appended:
    """One line of output in an event of its own, as workers of the original wire send it. The hub counts."""
    job = tx.get(Job, line.job_id)
    if job is None or job.session_id != session_id:
        raise NotFound(f"there is no job {line.job_id!r} here", code="job.unknown")
    job = _held(tx, job.id, job.attempt)
    if job.log_lines >= MAX_LOG_LINES:
        raise TooMany(f"{job.id} has told {MAX_LOG_LINES} lines", code="job.too_many_lines")
    tx.put(replace(job, log_lines=job.log_lines + 1))
    return _tell(tx, job, replace(line, seq=job.log_lines + 1))


def complete(tx: Tx, ask: Of[Complete], now: datetime) -> Ok:
    """The attempt reached its end."""
    body = ask.body
    result = body.result or JobResult(summary=body.summary or "", artifacts=body.artifacts)
    known = tx.get(Job, ask.id)
    if known is not None and known.state == "completed" and known.attempt == body.attempt:
        if known.result == result:
            return Ok()
        raise Conflict("this job was completed with another result", code="job.completed")
    job = _held(tx, ask.id, body.attempt)
    _check_result(job, result)
    done = replace(
        job,
        state=advance(job.state, "complete"),
        result=result,
        base=job.base or result.base or None,
        lease_until=None,
        finished_at=stamp(now),
        updated_at=stamp(now),
    )
    tx.put(done)
    _end_attempt(tx, done, now, "completed", None)
    _tell(
        tx,
        done,
        JobCompleted(
            job_id=job.id,
            summary=result.summary or None,
            artifacts=[
                Artifact(kind=a.get("kind", "file"), uri=a.get("uri"), text=a.get("text"))
                for a in result.artifacts
            ]
            or None,
        ),
    )
    _release_dependents(tx, done, now)
    return Ok()


def fail(tx: Tx, ask: Of[Fail], now: datetime) -> Ok:
    """The attempt ended without success: again later, never again, or stopped as asked."""
    body = ask.body
    error = JobError(message=body.message, error_class=body.error_class, detail=body.detail)
    known = tx.get(Job, ask.id)
    if (
        known is not None
        and known.attempt == body.attempt
        and known.state != "claimed"
        and known.error == error
    ):
        return Ok()
    job = replace(_held(tx, ask.id, body.attempt), error=error, result=body.result)
    if job.cancel_requested and body.error_class in ("cancelled", "lost"):
        _cancelled(tx, job, now, stopped=body.stopped)
        return Ok()
    released = body.error_class == "lost"
    _end_badly(
        tx,
        job,
        error,
        now,
        counts=not released,
        retry_after=0.0 if released else body.retry_after_s,
        no_retry=body.no_retry,
    )
    return Ok()


def cancel(tx: Tx, ask: Of[CancelJob], now: datetime) -> JobReply:
    """Stop a job. One that runs is asked to stop; its worker hears of it with its next heartbeat."""
    job = visible(tx, ask.id)
    if job.state == "cancelled" or job.cancel_requested:
        return JobReply(job=job)
    if job.state in TERMINAL:
        raise Conflict(f"this job is {job.state} already", code="job.ended", state=job.state)
    asked = replace(
        job,
        cancel_by=tx.actor.name,
        cancel_reason=ask.body.reason,
        updated_at=stamp(now),
        cancel_requested=True,
    )
    if job.state != "claimed":
        return JobReply(job=_cancelled(tx, asked, now))
    tx.put(asked)
    _tell(tx, asked, JobCancelRequested(job_id=job.id, by=tx.actor.name, reason=ask.body.reason))
    return JobReply(job=asked)


def retry(tx: Tx, ask: Of[RetryJob], now: datetime) -> JobReply:
    """Put an ended job back in the queue, with a note for whoever does it."""
    job = visible(tx, ask.id)
    again = replace(
        job,
        state=advance(job.state, "retry"),
        spent=0,
        note=ask.body.note or job.note,
        cancel_requested=False,
        cancel_by=None,
        cancel_reason=None,
        worker_id=None,
        error=None,
        result=None,
        run_at=None,
        queued_at=stamp(now),
        due=turns.turn(tx, job.session_id, job.priority, now),
        finished_at=None,
        updated_at=stamp(now),
    )
    tx.put(again)
    note = f": {ask.body.note}" if ask.body.note else ""
    _tell(
        tx, again, JobRequeued(job_id=job.id, attempt=job.attempt, reason=f"retried by {tx.actor.name}{note}")
    )
    return JobReply(job=again)


class LeaseRef(Wire, frozen=True, kw_only=True):
    id: str
    attempt: int


def expire_lease(tx: Tx, ask: LeaseRef, now: datetime) -> bool:
    """A worker went silent past its lease: the job goes to another, or to the dead letters."""
    job = tx.get(Job, ask.id)
    if job is None or job.state != "claimed" or job.attempt != ask.attempt:
        return False
    _tell(tx, job, JobLeaseLost(job_id=job.id, worker_id=job.worker_id or "", attempt=job.attempt))
    if job.cancel_requested:
        _cancelled(tx, job, now)
        return True
    error = JobError(message=f"worker {job.worker_id} went silent", error_class="lost")
    _end_badly(tx, replace(job, error=error), error, now, retry_after=0.0)
    return True


def overrun(tx: Tx, ask: LeaseRef, now: datetime) -> bool:
    """The attempt ran longer than its budget, whatever its worker says: it ends here, and is not repeated.

    A worker keeps the budget itself and says what it stopped. This is for one that does not.
    """
    job = tx.get(Job, ask.id)
    if job is None or job.state != "claimed" or job.attempt != ask.attempt:
        return False
    if job.cancel_requested:
        _cancelled(tx, job, now)
        return True
    budget = f"{job.budget.run_s:.0f} s to run and {job.budget.final_s:.0f} s to finish"
    error = JobError(message=f"it ran longer than its budget of {budget}")
    _end_badly(tx, replace(job, error=error), error, now, no_retry=True)
    return True


def heartbeat(tx: Tx, ask: Of[Heartbeat], now: datetime) -> ProgressReply:
    """Keep the lease."""
    job = _held(tx, ask.id, ask.body.attempt)
    tx.put(replace(job, lease_until=stamp(now + timedelta(seconds=job.lease_s)), updated_at=stamp(now)))
    return ProgressReply(cancel=job.cancel_requested, lease_s=job.lease_s)


class Tick(Wire, frozen=True, kw_only=True):
    limit: int = 500


def release_due(tx: Tx, ask: Tick, now: datetime) -> int:
    """Scheduled jobs whose time has come."""
    due = tx.find(
        Job, state="scheduled", run_at=Before(stamp(now + timedelta(milliseconds=1))), limit=ask.limit
    )
    for job in due:
        tx.put(
            replace(
                job,
                state=advance(job.state, "due"),
                run_at=None,
                # A retry keeps its place; a job that was made for later has only now begun to wait.
                queued_at=job.queued_at if job.attempt else stamp(now),
                due=turns.again(job) if job.attempt else turns.turn(tx, job.session_id, job.priority, now),
                updated_at=stamp(now),
            )
        )
        _tell(tx, job, JobRequeued(job_id=job.id, attempt=job.attempt, reason="its time has come"))
    return len(due)


def expire_waits(tx: Tx, ask: Tick, now: datetime) -> int:
    """Jobs that waited longer than their budget allows."""
    ended = 0
    for job in tx.find(Job, state="pending", order=("created_at",), limit=ask.limit):
        waited = (now - parse_stamp(job.queued_at or job.updated_at)).total_seconds()
        if waited > job.budget.queue_s:
            error = JobError(
                message=f"no worker took it within {job.budget.queue_s:.0f} s", error_class="quota"
            )
            _tell_failed(tx, replace(job, error=error), error, now)
            ended += 1
    return ended


def visible(tx: Tx, job_id: str) -> Job:
    """The job, if it exists and the actor may see its session."""
    job = tx.get(Job, job_id)
    if job is None or not sees(tx.actor, job.session_id):
        raise NotFound(f"there is no job {job_id!r}; `pushpals jobs` lists them", code="job.unknown")
    return job


_OPEN = ("blocked", "scheduled", "pending", "claimed")


def _first_state(run_at: str | None, waits_for: Sequence[str], now: datetime) -> Any:
    if waits_for:
        return "blocked"
    if run_at is None:
        return "pending"
    try:
        moment = parse_stamp(run_at)
    except ValueError:
        raise BadRequest("`runAt` must be an RFC 3339 instant with an offset", code="job.bad_time") from None
    return "scheduled" if moment > now else "pending"


def _next(tx: Tx, ask: Claim) -> Job | None:
    where: dict[str, Any] = {"state": "pending"}
    if ask.kinds is not None:
        where["kind"] = tuple(ask.kinds)
    have = set(ask.capabilities)
    eligible = (
        job
        for job in tx.scan(Job, order=("due", "n"), **where)
        if have.issuperset(job.needs)
        and sees(tx.actor, job.session_id)
        and job.for_worker in (None, ask.worker_id)
    )
    return turns.choose(tx, eligible)


def _held(tx: Tx, job_id: str, attempt: int) -> Job:
    job = tx.get(Job, job_id)
    foreign = job is not None and job.token_id is not None and job.token_id != tx.actor.token_id
    if job is None or foreign or not sees(tx.actor, job.session_id):
        raise NotFound(f"there is no job {job_id!r}", code="job.unknown")
    if job.state != "claimed" or job.attempt != attempt:
        raise LeaseLost(
            f"attempt {attempt} of {job.id} has no lease any more; stop, and discard its work",
            state=job.state,
            attempt=job.attempt,
        )
    return job


def _reported(tx: Tx, job: Job, kind: str, raw: dict[str, Any]) -> Payload:
    payload = payload_from(kind, raw)
    if not may_emit(tx.actor.role, kind):
        raise Forbidden(f"a {tx.actor.role} may not report {kind} events", code="event.forbidden", type=kind)
    about = getattr(payload, "job_id", None)
    if about is not None and about != job.id:
        raise Forbidden(f"this lease is for {job.id}, not {about}", code="job.foreign")
    if isinstance(payload, CheckFinished) and payload.job_id is None:
        payload = replace(payload, job_id=job.id)
    return payload


def _check_result(job: Job, result: JobResult) -> None:
    for name, value in (("head", result.head), ("tree", result.tree)):
        if value is not None and not is_commit(value):
            raise BadRequest(f"`result.{name}` must be a full object id", code="job.bad_result")
    if job.base and result.base and result.base != job.base:
        raise Conflict("the result is for another base commit", code="job.base_fixed")


def _end_badly(
    tx: Tx,
    job: Job,
    error: JobError,
    now: datetime,
    *,
    counts: bool = True,
    retry_after: float | None = None,
    no_retry: bool = False,
) -> None:
    spent = job.spent + counts
    again_helps = error.error_class in RETRIED and not no_retry
    retried = again_helps and spent < job.max_attempts and job.attempt < MAX_CLAIMS
    if not retried:
        _tell_failed(tx, replace(job, spent=spent), error, now)
        return
    wait = _backoff(job, spent) if retry_after is None else retry_after
    retry_at = stamp(now + timedelta(seconds=wait)) if wait > 0 else None
    again = replace(
        job,
        state=advance(job.state, "delay" if retry_at else "requeue"),
        spent=spent,
        worker_id=None,
        lease_until=None,
        run_at=retry_at,
        due=turns.again(job),
        updated_at=stamp(now),
    )
    tx.put(again)
    _end_attempt(tx, job, now, "requeued", error)
    _tell(
        tx,
        again,
        JobRequeued(
            job_id=job.id,
            attempt=job.attempt,
            reason=error.message,
            error_class=error.error_class,
            retry_at=retry_at,
        ),
    )


def _tell_failed(tx: Tx, job: Job, error: JobError, now: datetime) -> None:
    failed = replace(
        job,
        state="failed",
        error=error,
        lease_until=None,
        finished_at=stamp(now),
        updated_at=stamp(now),
    )
    tx.put(failed)
    _end_attempt(tx, job, now, "failed", error)
    _tell(tx, failed, JobFailed(job_id=job.id, message=error.message, detail=error.detail))
    _cancel_dependents(tx, failed, now)


def _cancelled(tx: Tx, job: Job, now: datetime, stopped: list[str] | None = None) -> Job:
    gone = replace(
        job,
        state=advance(job.state, "cancel"),
        lease_until=None,
        finished_at=stamp(now),
        updated_at=stamp(now),
    )
    tx.put(gone)
    _end_attempt(tx, job, now, "cancelled", None)
    _tell(
        tx,
        gone,
        JobCancelled(
            job_id=job.id,
            by=job.cancel_by or tx.actor.name,
            reason=job.cancel_reason,
            stopped=stopped or None,
        ),
    )
    _cancel_dependents(tx, gone, now)
    return gone


def _end_attempt(tx: Tx, job: Job, now: datetime, outcome: str, error: JobError | None) -> None:
    attempt = tx.get(Attempt, f"{job.id}/{job.attempt}")
    if attempt is not None and attempt.ended_at is None:
        tx.put(replace(attempt, ended_at=stamp(now), outcome=outcome, error=error))
    over = f"attempt {job.attempt} of the job is over: {outcome}"
    approvals.void_for_job(tx, job.id, over, ended=outcome != "requeued")
    worker = tx.get(Worker, job.worker_id) if job.worker_id else None
    if worker is not None and job.id in worker.jobs:
        left = [other for other in worker.jobs if other != job.id]
        state = "idle" if worker.state == "busy" and not left else worker.state
        tx.put(replace(worker, jobs=left, state=state, seen_at=stamp(now)))


def _release_dependents(tx: Tx, done: Job, now: datetime) -> None:
    for job in tx.find(Job, session_id=done.session_id, state="blocked"):
        if done.id not in job.depends_on:
            continue
        others = (tx.get(Job, name) for name in job.depends_on if name != done.id)
        if all(other is not None and other.state == "completed" for other in others):
            # From the job that it waited for it has the claim to be next in its session, too.
            due = turns.turn(tx, job.session_id, job.priority, parse_stamp(job.queued_at or job.created_at))
            tx.put(
                replace(
                    job,
                    state=advance(job.state, "release"),
                    due=due,
                    queued_at=stamp(now),
                    updated_at=stamp(now),
                )
            )
            _tell(
                tx, job, JobRequeued(job_id=job.id, attempt=job.attempt, reason="what it waited for is done")
            )


def _cancel_dependents(tx: Tx, ended: Job, now: datetime) -> None:
    for job in tx.find(Job, session_id=ended.session_id, state="blocked"):
        if ended.id in job.depends_on:
            reason = f"{ended.id}, which it depends on, is {ended.state}"
            _cancelled(tx, replace(job, cancel_by="hub", cancel_reason=reason), now)


def _backoff(job: Job, spent: int) -> float:
    """``min(300, 2^spent)`` seconds with full jitter, taken from the job's id so that replays agree."""
    seed = hashlib.sha256(f"{job.id}/{spent}".encode()).digest()
    return min(MAX_BACKOFF_S, 2.0**spent) * (int.from_bytes(seed[:4], "big") / 2**32)


def _tell(tx: Tx, job: Job, payload: Payload) -> Appended:
    return tx.append(
        job.session_id,
        payload,
        correlation_id=job.task_id,
        parent_id=job.message_id,
        trace_id=job.trace_id,
    )
