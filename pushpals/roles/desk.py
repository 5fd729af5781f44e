"""What the Remote Buddy decides with: the hub, the view, and when a task has ended."""

from __future__ import annotations

import msgspec

from pushpals.client import HubClient
from pushpals.protocol import events as e
from pushpals.protocol.commands import Snapshot
from pushpals.protocol.errors import NotFound
from pushpals.protocol.jobs import Job
from pushpals.protocol.records import Repository
from pushpals.protocol.views import JobView, LandingView, SessionView
from pushpals.roles.verdicts import Assessment, assess
from pushpals.roles.writes import (
    MAX_SAID,
    AnyWrite,
    Post,
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


# --- when a task ends -------------------------------------------------------------------------------


async def settled(desk: Desk, view: SessionView, event: e.Event, task_id: str, said: str) -> list[AnyWrite]:
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
    """``open``, ``done`` or ``failed``. A job whose end the view has not seen is open, whatever it is now."""
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


def say(text: str, *, task_id: str | None = None) -> Post:
    shown = text if len(text) <= MAX_SAID else text[: MAX_SAID - 1] + "…"
    return Post(slot="say", task_id=task_id, payload=e.AssistantMessage(text=shown))


def mine(view: SessionView, job: JobView) -> bool:
    task = view.tasks.get(job.task_id)
    return task is not None and task.created_by == NAME


def newest(view: SessionView) -> list[JobView]:
    return sorted(view.jobs.values(), key=lambda job: -job.cursor)[:MAX_LOOKED_AT]


def touched(view: SessionView, job: JobView) -> int:
    """When a job, or the landing of its change, last moved."""
    landing = landing_of(view, job.id)
    return max(job.seen, landing.seen if landing else 0)


def title_of(view: SessionView, job: JobView) -> str:
    task = view.tasks.get(job.task_id)
    return task.title if task and len(task.jobs) == 1 else job.kind


def landing_title(view: SessionView, landing: LandingView) -> str:
    job = view.jobs.get(landing.job_id or "")
    return title_of(view, job) if job else landing.id
