"""What each event means to the Remote Buddy: from a view and a few reads to a list of writes.

Nothing is written here. A reaction depends on the view at its event and on facts that do not change any
more (the result of a completed job, the end of a landing), so a replay decides the same again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from pushpals.protocol import events as e
from pushpals.protocol.commands import Enqueue, Snapshot
from pushpals.protocol.ids import is_commit
from pushpals.protocol.views import SessionView
from pushpals.roles import words
from pushpals.roles.actions import land, landing_ask, retry, status, stop
from pushpals.roles.desk import (
    NAME,
    OURS,
    Desk,
    mine,
    say,
    settled,
)
from pushpals.roles.intents import Land, Retry, Status, Stop
from pushpals.roles.planner import Context, Plan, plan
from pushpals.roles.undoing import undo, undo_asked
from pushpals.roles.verdicts import assess
from pushpals.roles.writes import (
    AnyWrite,
    EnqueueJob,
    Post,
    Submit,
    derived_id,
)


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
    if (landing_id := undo_asked(text)) is not None:
        undone = await undo(desk, view, event, landing_id, snapshot)
        words_said = (write.payload for write in undone if isinstance(write, Post))
        return next((p.text for p in words_said if isinstance(p, e.AssistantMessage)), ""), undone
    made = plan(text, _context(desk, view, snapshot))
    if made.action is None:
        return made.say, _planned(desk, event, made, snapshot)
    match made.action:
        case Land(job_id=job_id):
            writes = await land(desk, view, event, job_id)
        case Stop(job_id=job_id):
            writes = await stop(desk, view, job_id)
        case Retry(job_id=job_id):
            writes = await retry(desk, view, event, job_id, snapshot)
        case Status(job_id=job_id):
            writes = [say(status(view, snapshot, job_id))]
    posted = (write.payload for write in writes if isinstance(write, Post))
    said = next((payload.text for payload in posted if isinstance(payload, e.AssistantMessage)), "")
    return said, writes


def _context(desk: Desk, view: SessionView, snapshot: Snapshot) -> Context:
    repository = desk.repository_of(snapshot)
    alive = [worker for worker in snapshot.workers if worker.state in ("idle", "busy")]
    agents = {
        capability.removeprefix("agent:")
        for worker in alive
        for capability in worker.capabilities
        if capability.startswith("agent:")
    }
    answered = next((m.turn_id for m in reversed(view.messages) if m.by == NAME and not m.person), None)
    request = next((m.text for m in reversed(view.messages) if m.person and m.id == answered), "")
    return Context(
        base=repository.head if repository and is_commit(repository.head) else None,
        checks=tuple(repository.checks) if repository else None,
        agents=tuple(sorted(agents)),
        workers=bool(alive),
        last_request=request,
        open_approvals=tuple(asked.summary for asked in view.approvals.values() if not asked.ended),
    )


def _planned(desk: Desk, event: e.Event, made: Plan, snapshot: Snapshot) -> list[AnyWrite]:
    if not made.steps:
        return [say(made.say)]
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
                needs=list(step.needs),
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
        say(made.say, task_id=task_id),
        Post(slot="plan", task_id=task_id, payload=planned),
        Post(slot="task", task_id=task_id, payload=created),
        *jobs,
        Post(slot="started", task_id=task_id, payload=e.TaskStarted(task_id=task_id)),
    ]


# --- jobs -------------------------------------------------------------------------------------------


async def _job_completed(
    desk: Desk, view: SessionView, event: e.Event, payload: e.JobCompleted
) -> list[AnyWrite]:
    seen = view.jobs.get(payload.job_id)
    job = await desk.job(payload.job_id)
    if seen is None or not mine(view, seen) or job is None:
        return []
    if job.state != "completed" or job.result is None:
        return []
    task_id, result = seen.task_id, job.result
    verdict = assess(result)
    if not verdict.changed:
        said = words.reported(job, result, verdict)
        return [say(said, task_id=task_id), *await settled(desk, view, event, task_id, said)]
    if not verdict.lands:
        said = words.breaks(result, verdict)
        return [say(said, task_id=task_id), *await settled(desk, view, event, task_id, said)]
    ask = await landing_ask(desk, job, result)
    if isinstance(ask, str):
        failed = e.TaskFailed(task_id=task_id, message=ask)
        return [say(ask, task_id=task_id), Post(slot="end", task_id=task_id, payload=failed)]
    ask = replace(ask, asked_by=next((m.by for m in view.messages if m.id == job.message_id), ""))
    return [
        Submit(slot="landing", task_id=task_id, ask=ask),
        say(words.will_land(result, verdict, ask.target), task_id=task_id),
    ]


async def _job_failed(desk: Desk, view: SessionView, event: e.Event, payload: e.JobFailed) -> list[AnyWrite]:
    seen = view.jobs.get(payload.job_id)
    if seen is None or not mine(view, seen):
        return []
    job = await desk.job(payload.job_id)
    title = job.title if job else seen.kind
    known = job.error.error_class if job and job.error and job.error.message == payload.message else None
    said = words.job_failed(title, payload.message, known)
    return [say(said, task_id=seen.task_id), *await settled(desk, view, event, seen.task_id, said)]


async def _job_cancelled(
    desk: Desk, view: SessionView, event: e.Event, payload: e.JobCancelled
) -> list[AnyWrite]:
    seen = view.jobs.get(payload.job_id)
    if seen is None or not mine(view, seen):
        return []
    job = await desk.job(payload.job_id)
    title = job.title if job else seen.kind
    said = words.job_cancelled(title, payload.by, payload.reason, payload.stopped or [])
    return [say(said, task_id=seen.task_id), *await settled(desk, view, event, seen.task_id, said)]


async def _job_requeued(
    desk: Desk, view: SessionView, event: e.Event, payload: e.JobRequeued
) -> list[AnyWrite]:
    """Only what went wrong is worth a line; releases and due times are not."""
    seen = view.jobs.get(payload.job_id)
    if seen is None or payload.error_class is None or not mine(view, seen):
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
            return [say(words.held(landing), task_id=landing.task_id)]
        case _:
            said = words.not_landed(landing)
    writes: list[AnyWrite] = [say(said, task_id=landing.task_id)]
    if payload.state == "conflict" and landing.job_id:
        repair = e.Suggestion(
            id=f"retry-{landing.job_id}",
            title="Make the change again on the present main",
            detail=f"retry {landing.job_id}",
            effort="S",
        )
        writes.append(Post(slot="repair", task_id=landing.task_id, payload=e.Suggestions(items=[repair])))
    if landing.task_id:
        writes += await settled(desk, view, event, landing.task_id, said)
    return writes


async def _decided(
    desk: Desk, view: SessionView, event: e.Event, payload: e.ApprovalDecided
) -> list[AnyWrite]:
    """A landing's answer moves the landing, which has its own sentence."""
    asked = view.approvals.get(payload.approval_id)
    if asked is None or payload.decision == "approve" or asked.details.get("landingId"):
        return []
    return [say(words.denied(asked.summary, payload.by, payload.reason))]


async def _expired(
    desk: Desk, view: SessionView, event: e.Event, payload: e.ApprovalExpired
) -> list[AnyWrite]:
    asked = view.approvals.get(payload.approval_id)
    if asked is None or asked.details.get("landingId"):
        return []
    return [say(words.expired(asked.summary))]


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
