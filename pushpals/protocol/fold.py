"""Events in, view out: what a session is now, computed from what happened.

``apply(view, event)`` is pure and cheap: it makes a new view that shares every part the event did not
touch, and copies at most one bounded collection (output lines of running jobs live in a map of their own,
because they are most of all events). Applying an event twice, or an older one, changes nothing, so a
client may overlap a snapshot with its stream. A view never contradicts the order of events, but it may
lack what was pruned: events about an unknown job or task leave no trace.

The same fixtures (``tests/fixtures/fold``) are folded by every implementation in any language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from pushpals.protocol import events as e
from pushpals.protocol.views import (
    KEEP,
    KEEP_DIFFS,
    KEEP_EVIDENCE,
    KEEP_LINES,
    KEEP_PROBLEMS,
    AgentView,
    ApprovalView,
    ArtifactView,
    CommandView,
    DelegationView,
    DiffView,
    JobView,
    LandingView,
    LaneView,
    MessageView,
    OutputView,
    PlanView,
    Problem,
    SessionView,
    TaskView,
)

EMPTY = SessionView()


def fold(events: Iterable[e.Event], view: SessionView = EMPTY) -> SessionView:
    """The view after ``events``, in their order, starting from ``view``."""
    for event in events:
        view = apply(view, event)
    return view


def apply(view: SessionView, event: e.Event) -> SessionView:
    """The view after ``event``. Events at or before ``view.cursor`` change nothing."""
    if event.cursor <= view.cursor:
        return view
    changes = FOLDS[type(event.payload)](view, event, event.payload)
    return replace(view, session_id=event.session_id, cursor=event.cursor, ts=event.ts, **changes)


def job_of(view: SessionView, event: e.Event) -> str | None:
    """The job that an event is about.

    Named by the payload, by its agent branch or by the envelope; else the only job that the sender can
    mean: running, of the correlated task, held by the worker that speaks.
    """
    payload = event.payload
    named = getattr(payload, "job_id", None)
    if isinstance(named, str):
        return named
    if isinstance(payload, e.DiffReady | e.Committed) and payload.branch.startswith("agent/"):
        return payload.branch.rpartition("/")[2]
    for reference in (event.correlation_id, event.parent_id, event.turn_id):
        if reference in view.jobs:
            return reference
    running = [view.jobs[id] for id in view.output if id in view.jobs]
    if event.correlation_id in view.tasks:
        running = [job for job in running if job.task_id == event.correlation_id]
    if len(running) > 1 and event.from_ is not None:
        running = [job for job in running if f"worker:{job.worker_id}" == event.from_]
    return running[0].id if len(running) == 1 else None


# --- collections ------------------------------------------------------------------------------------


class _Endable(Protocol):
    @property
    def ended(self) -> bool: ...


V = TypeVar("V")
X = TypeVar("X", bound=_Endable)
Changes = dict[str, Any]


def _put(parts: dict[str, V], key: str, value: V) -> dict[str, V]:
    made = {**parts, key: value}
    if len(made) > KEEP:
        del made[next(iter(made))]
    return made


def _put_ended_last(parts: dict[str, X], key: str, value: X) -> dict[str, X]:
    made = {**parts, key: value}
    if len(made) > KEEP:
        del made[next((old for old, part in made.items() if part.ended), next(iter(made)))]
    return made


def _without(parts: dict[str, V], key: str) -> dict[str, V]:
    return {kept: value for kept, value in parts.items() if kept != key} if key in parts else parts


# --- what was said ----------------------------------------------------------------------------------


def _said(view: SessionView, event: e.Event, payload: e.Message | e.AssistantMessage) -> Changes:
    person = isinstance(payload, e.Message)
    message = MessageView(
        cursor=event.cursor,
        id=event.id,
        ts=event.ts,
        by=event.from_ or ("client" if person else "agent"),
        text=payload.text,
        person=person,
        to=event.to,
        intent=payload.intent if isinstance(payload, e.Message) else None,
        turn_id=event.turn_id,
    )
    return {"messages": (*view.messages, message)[-KEEP:]}


def _planned(view: SessionView, event: e.Event, payload: e.PlanMade) -> Changes:
    plan = PlanView(
        cursor=event.cursor,
        id=payload.plan_id,
        message_id=payload.message_id,
        understanding=payload.understanding,
        steps=tuple(payload.steps),
        planner=payload.planner,
    )
    return {"plans": _put(view.plans, payload.message_id, plan)}


def _problem(view: SessionView, event: e.Event, payload: e.Error) -> Changes:
    if payload.message.startswith("unknown event type "):
        # How the wire hands over a newer hub's events (see wire.read_event). Not knowing one is no trouble.
        return {}
    problem = Problem(cursor=event.cursor, ts=event.ts, message=payload.message, detail=payload.detail)
    return {"problems": (*view.problems, problem)[-KEEP_PROBLEMS:]}


def _suggested(view: SessionView, event: e.Event, payload: e.Suggestions) -> Changes:
    return {"suggestions": tuple(payload.items)}


def _delegated(view: SessionView, event: e.Event, payload: e.DelegateRequest) -> Changes:
    asked = DelegationView(
        cursor=event.cursor, id=payload.request_id, by=event.from_ or "client", to=payload.to_agent_id
    )
    return {"delegations": _put(view.delegations, asked.id, asked)}


def _delegate_answered(view: SessionView, event: e.Event, payload: e.DelegateResponse) -> Changes:
    asked = view.delegations.get(payload.request_id)
    if asked is None:
        return {}
    answered = replace(asked, ok=payload.ok, error=payload.error)
    return {"delegations": _put(view.delegations, asked.id, answered)}


# --- tasks ------------------------------------------------------------------------------------------


def _task_created(view: SessionView, event: e.Event, payload: e.TaskCreated) -> Changes:
    task = TaskView(
        cursor=event.cursor,
        seen=event.cursor,
        id=payload.task_id,
        title=payload.title,
        description=payload.description,
        created_by=payload.created_by,
        state="created",
        since=event.ts,
        message_id=event.turn_id,
    )
    return {"tasks": _put(view.tasks, task.id, task)}


def _task(view: SessionView, event: e.Event, task_id: str, **changes: Any) -> Changes:
    task = view.tasks.get(task_id)
    if task is None:
        return {}
    if "state" in changes:
        changes["since"] = event.ts
    return {"tasks": _put(view.tasks, task_id, replace(task, seen=event.cursor, **changes))}


def _task_started(view: SessionView, event: e.Event, payload: e.TaskStarted) -> Changes:
    return _task(view, event, payload.task_id, state="started")


def _task_progress(view: SessionView, event: e.Event, payload: e.TaskProgress) -> Changes:
    return _task(view, event, payload.task_id, progress=payload.message, percent=payload.percent)


def _task_completed(view: SessionView, event: e.Event, payload: e.TaskCompleted) -> Changes:
    return _task(
        view, event, payload.task_id, state="completed", summary=payload.summary, detail=None,
        artifacts=tuple(payload.artifacts or ()),
    )  # fmt: skip


def _task_failed(view: SessionView, event: e.Event, payload: e.TaskFailed) -> Changes:
    return _task(view, event, payload.task_id, state="failed", summary=payload.message, detail=payload.detail)


# --- jobs -------------------------------------------------------------------------------------------


def _job_enqueued(view: SessionView, event: e.Event, payload: e.JobEnqueued) -> Changes:
    if payload.job_id in view.jobs:
        return {}
    job = JobView(
        cursor=event.cursor,
        seen=event.cursor,
        id=payload.job_id,
        task_id=payload.task_id,
        kind=payload.kind,
        params=payload.params,
        state="pending",
        since=event.ts,
    )
    task = view.tasks.get(payload.task_id)
    grown = {} if task is None else _task(view, event, task.id, jobs=(*task.jobs, job.id)[-KEEP:])
    return {"jobs": _put_ended_last(view.jobs, job.id, job), **grown}


def _job(view: SessionView, event: e.Event, job_id: str | None, **changes: Any) -> Changes:
    job = None if job_id is None else view.jobs.get(job_id)
    if job is None:
        return {}
    if "state" in changes:
        changes["since"] = event.ts
    made = replace(job, seen=event.cursor, **changes)
    result: Changes = {"jobs": {**view.jobs, job.id: made}}
    if made.state != "claimed":
        result["output"] = _without(view.output, job.id)
    return result


def _job_claimed(view: SessionView, event: e.Event, payload: e.JobClaimed) -> Changes:
    """A new attempt: what the last one brought is not this one's."""
    job = view.jobs.get(payload.job_id)
    if job is None:
        return {}
    return {
        **_job(
            view, event, job.id, state="claimed", worker_id=payload.worker_id, attempt=job.attempt + 1,
            why=None, error_class=None, detail=None, retry_at=None, cancel_by=None, summary=None,
            evidence=(), artifacts=(),
        ),
        "output": {**view.output, job.id: OutputView()},
    }  # fmt: skip


def _job_based(view: SessionView, event: e.Event, payload: e.JobBased) -> Changes:
    return _job(
        view, event, payload.job_id, base=payload.base, attempt=payload.attempt, sandbox=payload.sandbox
    )


def _job_deferred(view: SessionView, event: e.Event, payload: e.JobDeferred) -> Changes:
    state = "blocked" if payload.depends_on else "scheduled"
    return _job(view, event, payload.job_id, state=state, retry_at=payload.run_at)


def _job_requeued(view: SessionView, event: e.Event, payload: e.JobRequeued) -> Changes:
    return _job(
        view, event, payload.job_id, state="scheduled" if payload.retry_at else "pending", worker_id=None,
        attempt=payload.attempt, why=payload.reason, error_class=payload.error_class,
        retry_at=payload.retry_at, cancel_by=None,
    )  # fmt: skip


def _job_lease_lost(view: SessionView, event: e.Event, payload: e.JobLeaseLost) -> Changes:
    return _job(
        view, event, payload.job_id, state="pending", worker_id=None, attempt=payload.attempt,
        why=f"{payload.worker_id} went silent", error_class="lost",
    )  # fmt: skip


def _job_completed(view: SessionView, event: e.Event, payload: e.JobCompleted) -> Changes:
    return _job(
        view, event, payload.job_id, state="completed", summary=payload.summary, why=None,
        artifacts=tuple(payload.artifacts or ()),
    )  # fmt: skip


def _job_failed(view: SessionView, event: e.Event, payload: e.JobFailed) -> Changes:
    return _job(view, event, payload.job_id, state="failed", why=payload.message, detail=payload.detail)


def _job_cancel_requested(view: SessionView, event: e.Event, payload: e.JobCancelRequested) -> Changes:
    return _job(view, event, payload.job_id, cancel_by=payload.by, why=payload.reason)


def _job_cancelled(view: SessionView, event: e.Event, payload: e.JobCancelled) -> Changes:
    return _job(view, event, payload.job_id, state="cancelled", cancel_by=payload.by, why=payload.reason)


def _job_log(view: SessionView, event: e.Event, payload: e.JobLog) -> Changes:
    output = view.output.get(payload.job_id)
    if output is None:
        return {}
    grown = replace(output, lines=(*output.lines, payload.line)[-KEEP_LINES:], count=output.count + 1)
    return {"output": {**view.output, payload.job_id: grown}}


def _tool_call(view: SessionView, event: e.Event, payload: e.ToolCall) -> Changes:
    job_id = job_of(view, event)
    output = view.output.get(job_id or "")
    if job_id is None or output is None:
        return {}
    command = CommandView(
        tool_call_id=payload.tool_call_id, tool=payload.tool, args=payload.args, since=event.ts
    )
    grown = replace(output, commands=(*output.commands, command)[-KEEP_LINES:])
    return {"output": {**view.output, job_id: grown}}


def _tool_result(view: SessionView, event: e.Event, payload: e.ToolResult) -> Changes:
    for job_id, output in view.output.items():
        left = tuple(c for c in output.commands if c.tool_call_id != payload.tool_call_id)
        if len(left) != len(output.commands):
            return {"output": {**view.output, job_id: replace(output, commands=left)}}
    return {}


def _diff_ready(view: SessionView, event: e.Event, payload: e.DiffReady) -> Changes:
    job_id = job_of(view, event)
    diff = DiffView(
        cursor=event.cursor,
        job_id=job_id,
        unified_diff=payload.unified_diff,
        diff_stat=payload.diff_stat,
        branch=payload.branch,
    )
    kept = tuple(old for old in view.diffs if job_id is None or old.job_id != job_id)
    return {"diffs": (*kept, diff)[-KEEP_DIFFS:], **_job(view, event, job_id, branch=payload.branch)}


def _committed(view: SessionView, event: e.Event, payload: e.Committed) -> Changes:
    job_id = job_of(view, event)
    if not payload.branch.startswith("agent/"):
        return {}
    return _job(view, event, job_id, branch=payload.branch, commit=payload.commit_hash)


def _check_finished(view: SessionView, event: e.Event, payload: e.CheckFinished) -> Changes:
    landing = view.landings.get(payload.landing_id or "")
    if landing is not None:
        seen = (*landing.evidence, payload.evidence)[-KEEP_EVIDENCE:]
        made = replace(landing, seen=event.cursor, evidence=seen)
        return {"landings": {**view.landings, landing.id: made}}
    job = view.jobs.get(job_of(view, event) or "")
    if job is None:
        return {}
    return _job(view, event, job.id, evidence=(*job.evidence, payload.evidence)[-KEEP_EVIDENCE:])


def _artifact_stored(view: SessionView, event: e.Event, payload: e.ArtifactStored) -> Changes:
    artifact = ArtifactView(
        cursor=event.cursor,
        sha256=payload.sha256,
        size=payload.size,
        kind=payload.kind,
        job_id=payload.job_id,
    )
    return {"artifacts": _put(view.artifacts, artifact.sha256, artifact)}


# --- approvals and landings -------------------------------------------------------------------------


def _approval_required(view: SessionView, event: e.Event, payload: e.ApprovalRequired) -> Changes:
    asked = ApprovalView(
        cursor=event.cursor,
        seen=event.cursor,
        id=payload.approval_id,
        action=payload.action,
        summary=payload.summary,
        details=payload.details,
        state="open",
        since=event.ts,
    )
    return {"approvals": _put_ended_last(view.approvals, asked.id, asked)}


def _approval(view: SessionView, event: e.Event, approval_id: str, **changes: Any) -> Changes:
    asked = view.approvals.get(approval_id)
    if asked is None:
        return {}
    if changes.get("state", asked.state) != asked.state:
        changes["since"] = event.ts
    made = replace(asked, seen=event.cursor, **changes)
    return {"approvals": {**view.approvals, approval_id: made}}


def _approved(view: SessionView, event: e.Event, payload: e.Approved) -> Changes:
    return _approval(view, event, payload.approval_id, state="approved")


def _denied(view: SessionView, event: e.Event, payload: e.Denied) -> Changes:
    return _approval(view, event, payload.approval_id, state="denied")


def _approval_decided(view: SessionView, event: e.Event, payload: e.ApprovalDecided) -> Changes:
    return _approval(
        view, event, payload.approval_id, by=payload.by, token_id=payload.token_id, device=payload.device,
        reason=payload.reason,
    )  # fmt: skip


def _approval_expired(view: SessionView, event: e.Event, payload: e.ApprovalExpired) -> Changes:
    return _approval(view, event, payload.approval_id, state="expired")


def _approval_void(view: SessionView, event: e.Event, payload: e.ApprovalVoid) -> Changes:
    return _approval(view, event, payload.approval_id, state="void", reason=payload.reason)


def _landing_moved(view: SessionView, event: e.Event, payload: e.LandingMoved) -> Changes:
    old = view.landings.get(payload.landing_id)
    landing = LandingView(
        cursor=event.cursor if old is None else old.cursor,
        seen=event.cursor,
        id=payload.landing_id,
        state=payload.state,
        previous=payload.previous,
        since=event.ts,
        job_id=payload.job_id or (old.job_id if old else None),
        head=payload.head or (old.head if old else None),
        cause=payload.cause,
        facts={**(old.facts if old else {}), **(payload.facts or {})},
        evidence=old.evidence if old else (),
    )
    return {"landings": _put_ended_last(view.landings, landing.id, landing)}


def _overlap_found(view: SessionView, event: e.Event, payload: e.OverlapFound) -> Changes:
    landing = view.landings.get(payload.landing_id)
    if landing is None:
        return {}
    overlaps = {**landing.facts.get("overlaps", {}), payload.other_id: payload.conflict}
    made = replace(landing, seen=event.cursor, facts={**landing.facts, "overlaps": overlaps})
    return {"landings": {**view.landings, landing.id: made}}


# --- who is there -----------------------------------------------------------------------------------


def _agent_status(view: SessionView, event: e.Event, payload: e.AgentStatus) -> Changes:
    agent = AgentView(
        seen=event.cursor, id=payload.agent_id, state=payload.status, since=event.ts, detail=payload.message
    )
    return {"agents": _put(view.agents, agent.id, agent)}


def _status(view: SessionView, event: e.Event, payload: e.Status) -> Changes:
    agent = AgentView(
        seen=event.cursor, id=payload.agent_id, state=payload.state, since=event.ts, detail=payload.detail
    )
    return {"agents": _put(view.agents, agent.id, agent)}


def _worker_changed(view: SessionView, event: e.Event, payload: e.WorkerChanged) -> Changes:
    worker = AgentView(
        seen=event.cursor, id=payload.worker_id, state=payload.state, since=event.ts, detail=payload.detail
    )
    return {"workers": _put(view.workers, worker.id, worker)}


def _lane_changed(view: SessionView, event: e.Event, payload: e.LaneChanged) -> Changes:
    old = view.lanes.get(payload.lane)
    lane = LaneView(
        seen=event.cursor,
        id=payload.lane,
        mode=payload.mode,
        since=old.since if old and old.mode == payload.mode else event.ts,
        head=payload.head or (old.head if old else None),
        cause=payload.cause,
    )
    return {"lanes": _put(view.lanes, lane.id, lane)}


def _nothing(view: SessionView, event: e.Event, payload: e.Payload) -> Changes:
    return {}


FOLDS: dict[type[e.Payload], Callable[[SessionView, e.Event, Any], Changes]] = {
    e.Message: _said,
    e.AssistantMessage: _said,
    e.Log: _nothing,
    e.Error: _problem,
    e.Done: _nothing,
    e.TaskCreated: _task_created,
    e.TaskStarted: _task_started,
    e.TaskProgress: _task_progress,
    e.TaskCompleted: _task_completed,
    e.TaskFailed: _task_failed,
    e.ToolCall: _tool_call,
    e.ToolResult: _tool_result,
    e.JobEnqueued: _job_enqueued,
    e.JobClaimed: _job_claimed,
    e.JobCompleted: _job_completed,
    e.JobFailed: _job_failed,
    e.JobLog: _job_log,
    e.ApprovalRequired: _approval_required,
    e.Approved: _approved,
    e.Denied: _denied,
    e.AgentStatus: _agent_status,
    e.Status: _status,
    e.ScanResult: _nothing,
    e.Suggestions: _suggested,
    e.DiffReady: _diff_ready,
    e.Committed: _committed,
    e.DelegateRequest: _delegated,
    e.DelegateResponse: _delegate_answered,
    e.PlanMade: _planned,
    e.JobDeferred: _job_deferred,
    e.JobRequeued: _job_requeued,
    e.JobLeaseLost: _job_lease_lost,
    e.JobCancelRequested: _job_cancel_requested,
    e.JobCancelled: _job_cancelled,
    e.JobBased: _job_based,
    e.CheckFinished: _check_finished,
    e.ArtifactStored: _artifact_stored,
    e.ApprovalDecided: _approval_decided,
    e.ApprovalExpired: _approval_expired,
    e.ApprovalVoid: _approval_void,
    e.LandingMoved: _landing_moved,
    e.OverlapFound: _overlap_found,
    e.LaneChanged: _lane_changed,
    e.WorkerChanged: _worker_changed,
    e.TokenChanged: _nothing,
    e.ApprovalConsumed: _nothing,
    e.RuleChanged: _nothing,
    e.SandboxProbed: _nothing,
    e.NetworkUsed: _nothing,
    e.DataQueried: _nothing,
}
"""One step per event type; a test sees to it that none is missing."""
