"""What each event means to the Remote Buddy: from a view and a few reads to a list of writes.

Nothing is written here. A reaction depends on the view at its event and on facts that do not change any
more (the result of a completed job, the end of a landing), so a replay decides the same again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from pushpals.client import HubClient
from pushpals.protocol import events as e
from pushpals.protocol.commands import Enqueue, Snapshot, SubmitLanding
from pushpals.protocol.errors import NotFound
from pushpals.protocol.ids import is_commit
from pushpals.protocol.jobs import Job, JobResult
from pushpals.protocol.records import Repository
from pushpals.protocol.views import JobView, LandingView, SessionView
from pushpals.roles import words
from pushpals.roles.intents import Land, Retry, Status, Stop
from pushpals.roles.planner import Context, Plan, plan
from pushpals.roles.verdicts import Assessment, assess
from pushpals.roles.writes import (
    MAX_SAID,
    AnyWrite,
    CancelJob,
    CancelLanding,
    EnqueueJob,
    Post,
    RetryJob,
    Submit,
    derived_id,
)

NAME = "agent:remote"
OTHERS = frozenset({"local", "agent:local"})
OURS = frozenset({"remote", NAME, "buddy", "team"})
MAX_STOPPED = 100
MAX_LOOKED_AT = 50
"""Jobs that "land it" and "retry" look back at."""


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What a reaction works with."""

    hub: HubClient
    session_id: str
    repository: str | None = None

    def turn_of(self, event: e.Event) -> str | None:
        """The message that an event goes back to."""
        if isinstance(event.payload, e.Message | e.DelegateRequest):
            return event.id
        return event.turn_id or event.trace_id

    async def job(self, job_id: str) -> Job | None:
        try:
            return (await self.hub.job(job_id)).job
        except NotFound:
            return None

    def repository_of(self, snapshot: Snapshot) -> Repository | None:
        """The configured repository, or the only one that the hub knows."""
        known = {repository.id: repository for repository in snapshot.repositories}
        if self.repository is not None:
            return known.get(self.repository)
        return next(iter(known.values())) if len(known) == 1 else None


async def react(desk: Desk, view: SessionView, event: e.Event) -> list[AnyWrite]:
    """The writes that ``event`` calls for; most call for none. ``view`` includes the event."""
    reaction = _REACTIONS.get(type(event.payload))
    return [] if reaction is None else await reaction(desk, view, event, event.payload)


# --- messages ---------------------------------------------------------------------------------------


async def _message(desk: Desk, view: SessionView, event: e.Event, payload: e.Message) -> list[AnyWrite]:
    if event.to is not None and event.to not in OURS:
        return []
    return (await _request(desk, view, event, payload.text))[1]


async def _delegated(
    desk: Desk, view: SessionView, event: e.Event, payload: e.DelegateRequest
) -> list[AnyWrite]:
    if payload.to_agent_id not in OURS:
        return []
    text = payload.input.get("text") if isinstance(payload.input, dict) else payload.input
    if not isinstance(text, str) or not text.strip():
        answer = e.DelegateResponse(
            request_id=payload.request_id, ok=False, error='The input is {"text": "<request>"}.'
        )
        return [Post(slot="answer", payload=answer, to=event.from_)]
    said, writes = await _request(desk, view, event, text)
    output: dict[str, Any] = {"text": said}
    task = next((write.task_id for write in writes if write.task_id), None)
    if task:
        output["taskId"] = task
    answer = e.DelegateResponse(request_id=payload.request_id, ok=True, output=output)
    return [*writes, Post(slot="answer", payload=answer, to=event.from_)]


async def _request(desk: Desk, view: SessionView, event: e.Event, text: str) -> tuple[str, list[AnyWrite]]:
    """What is said to a request, and all writes that belong to it."""
    snapshot = await desk.hub.snapshot(desk.session_id)
    made = plan(text, _context(desk, view, snapshot))
    if made.action is None:
        return made.say, _planned(desk, event, made, snapshot)
    match made.action:
        case Land(job_id=job_id):
            writes = await _land(desk, view, event, job_id)
        case Stop(job_id=job_id):
            writes = await _stop(desk, view, job_id)
        case Retry(job_id=job_id):
            writes = await _retry(desk, view, event, job_id, snapshot)
        case Status(job_id=job_id):
            writes = [_say(_status(view, snapshot, job_id))]
    said = next((w.payload.text for w in writes if isinstance(w, Post) and _is_said(w)), "")
    return said, writes


def _is_said(write: Post) -> bool:
    return isinstance(write.payload, e.AssistantMessage)


def _context(desk: Desk, view: SessionView, snapshot: Snapshot) -> Context:
    repository = desk.repository_of(snapshot)
    alive = [worker for worker in snapshot.workers if worker.state in ("idle", "busy")]
    agents = {
        capability.removeprefix("agent:")
        for worker in alive
        for capability in worker.capabilities
        if capability.startswith("agent:")
    }
    said = next((m.text for m in reversed(view.messages) if m.by == NAME and not m.person), "")
    return Context(
        base=repository.head if repository and is_commit(repository.head) else None,
        checks=tuple(repository.checks) if repository else None,
        agents=tuple(sorted(agents)),
        workers=bool(alive),
        last_said=said,
        open_approvals=tuple(asked.summary for asked in view.approvals.values() if not asked.ended),
    )


def _planned(desk: Desk, event: e.Event, made: Plan, snapshot: Snapshot) -> list[AnyWrite]:
    if not made.steps:
        return [_say(made.say)]
    repository = desk.repository_of(snapshot)
    base = repository.head if repository and is_commit(repository.head) else None
    task_id = derived_id("task", event.id)
    jobs: list[AnyWrite] = [
        EnqueueJob(
            slot=f"job-{number}",
            task_id=task_id,
            ask=Enqueue(
                task_id=task_id,
                kind=step.kind,
                session_id=desk.session_id,
                params=step.params,
                title=step.title,
                priority="interactive",
                base=base,
                target=repository.branch if repository else "",
                paths=list(step.paths),
                checks=None if step.checks is None else list(step.checks),
                budget=step.budget,
                message_id=event.id,
            ),
        )
        for number, step in enumerate(made.steps)
    ]
    steps = [e.PlanStep(kind=step.kind, title=step.title, params=step.params) for step in made.steps]
    planned = e.PlanMade(
        plan_id=derived_id("plan", event.id),
        message_id=event.id,
        understanding=made.understanding,
        steps=steps,
        planner=made.planner,
    )
    created = e.TaskCreated(
        task_id=task_id, title=made.title, description=made.understanding, created_by=NAME
    )
    return [
        _say(made.say, task_id=task_id),
        Post(slot="plan", task_id=task_id, payload=planned),
        Post(slot="task", task_id=task_id, payload=created),
        *jobs,
        Post(slot="started", task_id=task_id, payload=e.TaskStarted(task_id=task_id)),
    ]


# --- actions ----------------------------------------------------------------------------------------


async def _land(desk: Desk, view: SessionView, event: e.Event, job_id: str | None) -> list[AnyWrite]:
    """Ask for the newest change that can land, also one whose checks are red: the push's checks decide."""
    if job_id is not None and job_id not in view.jobs:
        return [_say(words.no_such_job(job_id))]
    changes = [view.jobs[job_id]] if job_id else [job for job in _newest(view) if job.branch is not None]
    for seen in changes:
        landing = landing_of(view, seen.id)
        if landing is not None and landing.state in ("landed", "noop"):
            if job_id is None:
                continue
            return [_say(words.cannot_land(seen.id, "it has landed already"))]
        if landing is not None and (not landing.ended or landing.state == "conflict"):
            record = (await desk.hub.landing(landing.id)).landing
            said = words.conflict(record) if record.state == "conflict" else words.on_its_way(record)
            return [_say(said, task_id=record.task_id)]
        job = await desk.job(seen.id)
        if job is None or job.state != "completed" or job.result is None or job.result.head is None:
            if job_id is None:
                continue
            return [_say(words.cannot_land(seen.id, "it has no change to land"))]
        verdict = assess(job.result)
        ask = await _landing_ask(desk, job, job.result)
        if isinstance(ask, str):
            return [_say(ask, task_id=job.task_id)]
        said = (
            words.will_land(job.result, verdict, ask.target)
            if verdict.lands
            else words.asked_anyway(job.result, ask.target)
        )
        return [
            Submit(slot="landing", task_id=job.task_id, ask=ask),
            _say(said, task_id=job.task_id),
            Post(slot="started", task_id=job.task_id, payload=e.TaskStarted(task_id=job.task_id)),
        ]
    return [_say(words.nothing_to_land())]


async def _landing_ask(desk: Desk, job: Job, result: JobResult) -> SubmitLanding | str:
    """The request to land a result, or why there can be none."""
    repository = desk.repository_of(await desk.hub.snapshot(desk.session_id))
    if repository is None or not result.branch or result.head is None:
        return words.cannot_land(job.id, "the hub does not know which repository it belongs to")
    return SubmitLanding(
        session_id=desk.session_id,
        repository=repository.id,
        target=job.target or repository.branch,
        head=result.head,
        base=result.base,
        branch=result.branch,
        title=job.title,
        tree=result.tree or "",
        body=result.summary[:16_000],
        job_id=job.id,
        task_id=job.task_id,
        bundle=result.bundle,
        patch=result.patch,
        agent=job.worker_id or "",
        priority=job.priority,
        files=result.files[:5_000],
        evidence=result.evidence,
    )


async def _stop(desk: Desk, view: SessionView, job_id: str | None) -> list[AnyWrite]:
    if job_id is not None and job_id not in view.jobs:
        return [_say(words.no_such_job(job_id))]
    jobs = [job for job in _newest(view) if not job.ended and job_id in (None, job.id)][:MAX_STOPPED]
    landings = [
        landing
        for landing in view.landings.values()
        if job_id is None and landing.state in ("queued", "prepared", "composed", "checking", "green", "held")
    ][:MAX_STOPPED]
    if not jobs and not landings:
        return [_say(words.nothing_to_stop())]
    names = [_title(view, job) for job in jobs]
    lands = [_landing_title(view, landing) for landing in landings]
    return [
        *(CancelJob(slot=f"cancel-{job.id}", job_id=job.id, reason="asked to stop") for job in jobs),
        *(
            CancelLanding(slot=f"cancel-{one.id}", landing_id=one.id, reason="asked to stop")
            for one in landings
        ),
        _say(words.stopping(names, lands)),
    ]


async def _retry(
    desk: Desk, view: SessionView, event: e.Event, job_id: str | None, snapshot: Snapshot
) -> list[AnyWrite]:
    """A failed job again; a change that did not land, or a finished job, afresh on the present main."""
    if job_id is not None and job_id not in view.jobs:
        return [_say(words.no_such_job(job_id))]
    ended = [job for job in _newest(view) if job.ended]
    chosen = view.jobs[job_id] if job_id else max(ended, key=lambda job: _touched(view, job), default=None)
    if chosen is None or not chosen.ended:
        return [_say(words.nothing_to_retry())]
    title = _title(view, chosen)
    if chosen.state in ("failed", "cancelled"):
        return [
            RetryJob(slot="retry", job_id=chosen.id, attempt=chosen.attempt),
            _say(words.retrying(title), task_id=chosen.task_id),
            Post(slot="started", task_id=chosen.task_id, payload=e.TaskStarted(task_id=chosen.task_id)),
        ]
    job = await desk.job(chosen.id)
    if job is None:
        return [_say(words.nothing_to_retry())]
    repository = desk.repository_of(snapshot)
    base = repository.head if repository and is_commit(repository.head) else None
    task_id = derived_id("task", event.id)
    again = Enqueue(
        task_id=task_id,
        kind=job.kind,
        session_id=desk.session_id,
        params=job.params,
        title=job.title,
        priority="interactive",
        base=base,
        target=job.target,
        paths=job.paths,
        checks=job.checks,
        budget=job.budget,
        needs=job.needs,
        message_id=event.id,
    )
    created = e.TaskCreated(
        task_id=task_id, title=title, description=f"{title}, again after {chosen.id}", created_by=NAME
    )
    return [
        _say(words.retry_fresh(title, base), task_id=task_id),
        Post(slot="task", task_id=task_id, payload=created),
        EnqueueJob(slot="job-0", task_id=task_id, ask=again),
        Post(slot="started", task_id=task_id, payload=e.TaskStarted(task_id=task_id)),
    ]


def _status(view: SessionView, snapshot: Snapshot, job_id: str | None) -> str:
    if job_id is not None:
        found = next((job for job in snapshot.jobs if job.id == job_id), None)
        if found is None:
            return words.no_such_job(job_id)
        why = found.error.message if found.error else (found.result.summary if found.result else None)
        return words.job_line(found.title, found.state, found.id, why)
    running = [job for job in snapshot.jobs if job.state == "claimed"]
    waiting = [job for job in snapshot.jobs if job.state in ("pending", "scheduled", "blocked")]
    states = [worker.state for worker in snapshot.workers]
    closed = [
        words.lane_closed(lane.branch, lane.mode, lane.cause)
        for lane in snapshot.lanes
        if lane.mode != "open"
    ]
    return words.status(
        [f"{job.title} ({job.id}, {job.worker_id})" for job in running],
        [f"{job.title} ({job.id})" for job in waiting],
        [asked.summary for asked in snapshot.approvals],
        [
            f"{landing.title} ({landing.state})"
            for landing in snapshot.landings
            if not landing.ended and landing.state != "needs_approval"
        ],
        words.status_of_hub(states.count("idle"), states.count("busy"), states.count("gone"), closed),
    )


# --- jobs -------------------------------------------------------------------------------------------


async def _job_completed(
    desk: Desk, view: SessionView, event: e.Event, payload: e.JobCompleted
) -> list[AnyWrite]:
    seen = view.jobs.get(payload.job_id)
    job = await desk.job(payload.job_id)
    if seen is None or not _mine(view, seen) or job is None:
        return []
    if job.state != "completed" or job.result is None:
        return []
    task_id, result = seen.task_id, job.result
    verdict = assess(result)
    if not verdict.changed:
        said = (
            words.nothing_changed(job, result) if _means_change(job) else words.reported(job, result, verdict)
        )
        return [_say(said, task_id=task_id), *await _settled(desk, view, event, task_id, said)]
    if not verdict.lands:
        said = words.breaks(result, verdict)
        return [_say(said, task_id=task_id), *await _settled(desk, view, event, task_id, said)]
    ask = await _landing_ask(desk, job, result)
    if isinstance(ask, str):
        failed = e.TaskFailed(task_id=task_id, message=ask)
        return [_say(ask, task_id=task_id), Post(slot="end", task_id=task_id, payload=failed)]
    return [
        Submit(slot="landing", task_id=task_id, ask=ask),
        _say(words.will_land(result, verdict, ask.target), task_id=task_id),
    ]


async def _job_failed(desk: Desk, view: SessionView, event: e.Event, payload: e.JobFailed) -> list[AnyWrite]:
    seen = view.jobs.get(payload.job_id)
    if seen is None or not _mine(view, seen):
        return []
    job = await desk.job(payload.job_id)
    title = job.title if job else seen.kind
    known = job.error.error_class if job and job.error and job.error.message == payload.message else None
    said = words.job_failed(title, payload.message, known)
    return [_say(said, task_id=seen.task_id), *await _settled(desk, view, event, seen.task_id, said)]


async def _job_cancelled(
    desk: Desk, view: SessionView, event: e.Event, payload: e.JobCancelled
) -> list[AnyWrite]:
    seen = view.jobs.get(payload.job_id)
    if seen is None or not _mine(view, seen):
        return []
    job = await desk.job(payload.job_id)
    title = job.title if job else seen.kind
    said = words.job_cancelled(title, payload.by, payload.reason, payload.stopped or [])
    return [_say(said, task_id=seen.task_id), *await _settled(desk, view, event, seen.task_id, said)]


async def _job_requeued(
    desk: Desk, view: SessionView, event: e.Event, payload: e.JobRequeued
) -> list[AnyWrite]:
    """Only what went wrong is worth a line; releases and due times are not."""
    seen = view.jobs.get(payload.job_id)
    if seen is None or payload.error_class is None or not _mine(view, seen):
        return []
    told = e.TaskProgress(task_id=seen.task_id, message=words.again_later(payload.attempt, payload.reason))
    return [Post(slot="progress", task_id=seen.task_id, payload=told)]


# --- landings and approvals -------------------------------------------------------------------------


async def _landing_moved(
    desk: Desk, view: SessionView, event: e.Event, payload: e.LandingMoved
) -> list[AnyWrite]:
    seen = view.landings[payload.landing_id]
    if not seen.ended and payload.state != "held":
        return []
    landing = (await desk.hub.landing(payload.landing_id)).landing
    if landing.state != payload.state:
        return []
    match payload.state:
        case "landed":
            said = words.landed(landing)
        case "noop":
            said = words.noop(landing)
        case "conflict":
            said = words.conflict(landing)
        case "rejected":
            said = words.rejected(landing)
        case "held":
            return [_say(words.held(landing), task_id=landing.task_id)]
        case _:
            said = words.not_landed(landing)
    writes: list[AnyWrite] = [_say(said, task_id=landing.task_id)]
    if payload.state == "conflict" and landing.job_id:
        repair = e.Suggestion(
            id=f"retry-{landing.job_id}",
            title="Make the change again on the present main",
            detail=f"retry {landing.job_id}",
            effort="S",
        )
        writes.append(Post(slot="repair", task_id=landing.task_id, payload=e.Suggestions(items=[repair])))
    if landing.task_id:
        writes += await _settled(desk, view, event, landing.task_id, said)
    return writes


async def _decided(
    desk: Desk, view: SessionView, event: e.Event, payload: e.ApprovalDecided
) -> list[AnyWrite]:
    """A landing's answer moves the landing, which has its own sentence."""
    asked = view.approvals.get(payload.approval_id)
    if asked is None or payload.decision == "approve" or asked.details.get("landingId"):
        return []
    return [_say(words.denied(asked.summary, payload.by, payload.reason))]


async def _expired(
    desk: Desk, view: SessionView, event: e.Event, payload: e.ApprovalExpired
) -> list[AnyWrite]:
    asked = view.approvals.get(payload.approval_id)
    if asked is None or asked.details.get("landingId"):
        return []
    return [_say(words.expired(asked.summary))]


# --- when a task ends -------------------------------------------------------------------------------


async def _settled(desk: Desk, view: SessionView, event: e.Event, task_id: str, said: str) -> list[AnyWrite]:
    """The end of a task, when this event was the last that it waited for."""
    task = view.tasks.get(task_id)
    if task is None or task.created_by != NAME:
        return []
    jobs = (await desk.hub.jobs(session_id=desk.session_id, task_id=task_id)).items
    outcomes = [_outcome(view, job) for job in jobs]
    if not outcomes or "open" in outcomes:
        return []
    summary = said.partition("\n")[0]
    artifacts = [
        e.Artifact(kind=one.get("kind", "file"), uri=one.get("uri"), text=one.get("text"))
        for job in jobs
        if job.result
        for one in job.result.artifacts
    ]
    end: e.Payload
    if "failed" in outcomes:
        end = e.TaskFailed(task_id=task_id, message=summary, detail=said if said != summary else None)
    else:
        end = e.TaskCompleted(task_id=task_id, summary=summary, artifacts=artifacts or None)
    return [Post(slot="end", task_id=task_id, payload=end)]


def _outcome(view: SessionView, job: Job) -> str:
    """``open``, ``done`` or ``failed``. A job whose end this view has not seen is open, whatever it is now."""
    seen = view.jobs.get(job.id)
    if seen is None or not seen.ended:
        return "open"
    if seen.state != "completed":
        return "failed"
    verdict = assess(job.result) if job.result else Assessment(changed=False)
    if not verdict.changed:
        return "done"
    landing = landing_of(view, job.id)
    if landing is None:
        return "open" if verdict.lands else "failed"
    if not landing.ended:
        return "open"
    return "done" if landing.state in ("landed", "noop") else "failed"


def landing_of(view: SessionView, job_id: str) -> LandingView | None:
    """The newest landing of a job's change."""
    found = [landing for landing in view.landings.values() if landing.job_id == job_id]
    return max(found, key=lambda landing: landing.cursor, default=None)


# --- pieces -----------------------------------------------------------------------------------------


def _say(text: str, *, task_id: str | None = None) -> Post:
    shown = text if len(text) <= MAX_SAID else text[: MAX_SAID - 1] + "…"
    return Post(slot="say", task_id=task_id, payload=e.AssistantMessage(text=shown))


def _mine(view: SessionView, job: JobView) -> bool:
    task = view.tasks.get(job.task_id)
    return task is not None and task.created_by == NAME


def _means_change(job: Job) -> bool:
    return job.kind in ("fix", "patch", "agent")


def _newest(view: SessionView) -> list[JobView]:
    return sorted(view.jobs.values(), key=lambda job: -job.cursor)[:MAX_LOOKED_AT]


def _touched(view: SessionView, job: JobView) -> int:
    """When a job, or the landing of its change, last moved."""
    landing = landing_of(view, job.id)
    return max(job.seen, landing.seen if landing else 0)


def _title(view: SessionView, job: JobView) -> str:
    task = view.tasks.get(job.task_id)
    return task.title if task and len(task.jobs) == 1 else job.kind


def _landing_title(view: SessionView, landing: LandingView) -> str:
    job = view.jobs.get(landing.job_id or "")
    return _title(view, job) if job else landing.id


_Reaction = Callable[[Desk, SessionView, e.Event, Any], Awaitable[list[AnyWrite]]]
_REACTIONS: dict[type[e.Payload], _Reaction] = {
    e.Message: _message,
    e.DelegateRequest: _delegated,
    e.JobCompleted: _job_completed,
    e.JobFailed: _job_failed,
    e.JobCancelled: _job_cancelled,
    e.JobRequeued: _job_requeued,
    e.LandingMoved: _landing_moved,
    e.ApprovalDecided: _decided,
    e.ApprovalExpired: _expired,
}
