"""Events as lines for a cell, and where a turn ends. The terminal has its own words (``cli/render.py``)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Literal

from pushpals.client import HubClient
from pushpals.protocol import events as ev
from pushpals.protocol.commands import Posted
from pushpals.protocol.story import check_line

Ended = Literal["done", "failed", "approval"]


def line(event: ev.Event) -> str | None:
    """One line about an event, or None where it says nothing that a person needs in a cell."""
    said = _say(event)
    if said is None:
        return None
    who, what = said
    first, *rest = what.strip().split("\n")
    return "\n".join([f"{who:<9} {first}", *(f"{'':<9} {more}" for more in rest[:20])])


def _say(event: ev.Event) -> tuple[str, str] | None:
    match event.payload:
        case ev.Message(text=text):
            return _who(event.from_, "you"), text
        case ev.AssistantMessage(text=text):
            return _who(event.from_, "buddy"), text
        case ev.PlanMade(understanding=understanding, steps=steps):
            return (
                "plan",
                f"{understanding}: {', then '.join(step.title for step in steps) or 'nothing to run'}",
            )
        case ev.TaskCreated(title=title):
            return "task", title
        case ev.TaskCompleted(summary=summary):
            return "done", summary
        case ev.TaskFailed(message=message):
            return "failed", message
        case ev.TaskProgress(message=message):
            return "task", message
        case ev.JobEnqueued(job_id=job_id, kind=kind):
            return "job", f"{job_id} ({kind}) waits for a worker"
        case ev.JobClaimed(job_id=job_id, worker_id=worker):
            return "job", f"{job_id} on {worker}"
        case ev.JobCompleted(job_id=job_id, summary=summary):
            return "job", f"{job_id} done: {summary or ''}".rstrip(": ")
        case ev.JobFailed(job_id=job_id, message=message):
            return "job", f"{job_id} failed: {message}"
        case ev.JobRequeued(job_id=job_id, reason=reason):
            return "job", f"{job_id} goes back to the queue: {reason}"
        case ev.JobLeaseLost(job_id=job_id, worker_id=worker):
            return "job", f"{job_id} lost: {worker} went silent"
        case ev.JobCancelled(job_id=job_id, by=by):
            return "job", f"{job_id} cancelled by {by}"
        case ev.DiffReady(diff_stat=stat, branch=branch):
            return "diff", f"{stat.strip()} on {branch}"
        case ev.CheckFinished(evidence=evidence):
            return "check", check_line(evidence)
        case ev.ApprovalRequired(summary=summary, approval_id=approval_id):
            return "approval", f"{summary}\npushpals approve {approval_id}"
        case ev.ApprovalDecided(approval_id=approval_id, decision=decision, by=by, reason=reason):
            return "approval", f"{approval_id} {decision} by {by}" + (f": {reason}" if reason else "")
        case ev.ApprovalExpired(approval_id=approval_id):
            return "approval", f"{approval_id} expired: no answer means no"
        case ev.ApprovalVoid(approval_id=approval_id, reason=reason):
            return "approval", f"{approval_id} void: {reason}"
        case ev.LandingMoved(landing_id=landing_id, state=state, cause=cause):
            return "landing", f"{landing_id} {state}" + (f": {cause}" if cause else "")
        case ev.Committed(branch=branch, commit_hash=commit, message=message):
            return "commit", f"{commit[:10]} on {branch}  {message.split(chr(10), 1)[0]}"
        case ev.LaneChanged(lane=lane, mode=mode, cause=cause):
            return "queue", f"{lane} {mode}" + (f": {cause}" if cause else "")
        case ev.Error(message=message):
            return "error", message
        case _:
            return None


def _who(sender: str | None, otherwise: str) -> str:
    return (sender or "").partition(":")[2] or otherwise


async def turn(hub: HubClient, session_id: str, posted: Posted) -> AsyncGenerator[ev.Event | Ended, None]:
    """The events of a message's turn, and at the end how it ended.

    The buddy's first answer names a task if there will be one; without a task the answer is the end. It
    ends as well where the team waits for a person's word.
    """
    task: str | None = None
    jobs: set[str] = set()
    async with aclosing(hub.follow(session_id, after=posted.cursor - 1)) as events:
        async for event in events:
            yield event
            match event.payload:
                case ev.AssistantMessage() if task is None and event.turn_id == posted.event_id:
                    task = event.correlation_id
                    if task is None:
                        yield "done"
                        return
                case ev.JobEnqueued(job_id=job_id, task_id=task_id) if task_id == task:
                    jobs.add(job_id)
                case ev.TaskCompleted(task_id=task_id) if task_id == task:
                    yield "done"
                    return
                case ev.TaskFailed(task_id=task_id) if task_id == task:
                    yield "failed"
                    return
                case ev.ApprovalRequired(details=details) if details.get("jobId") in jobs:
                    yield "approval"
                    return
                case _:
                    pass


async def history(hub: HubClient, session_id: str, *, after: int = 0) -> AsyncIterator[ev.Event]:
    """All events after a cursor that exist now."""
    from pushpals.protocol.wire import read_event

    cursor: int | None = after
    while cursor is not None:
        page = await hub.history(session_id, after=cursor)
        for entry in page.items:
            yield read_event(bytes(entry.envelope), entry.cursor)
        cursor = page.next
