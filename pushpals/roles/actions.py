"""What a person tells the Remote Buddy to do with work that exists: land, stop, retry, status."""

from __future__ import annotations

from pushpals.protocol import events as e
from pushpals.protocol.commands import Enqueue, Snapshot, SubmitLanding
from pushpals.protocol.ids import is_commit
from pushpals.protocol.jobs import Job, JobResult
from pushpals.protocol.views import JobView, SessionView
from pushpals.roles import words
from pushpals.roles.desk import (
    MAX_STOPPED,
    NAME,
    Desk,
    landing_of,
    landing_title,
    newest,
    say,
    title_of,
    touched,
)
from pushpals.roles.verdicts import assess
from pushpals.roles.writes import (
    AnyWrite,
    CancelJob,
    CancelLanding,
    EnqueueJob,
    Post,
    RetryJob,
    Submit,
    derived_id,
)

# --- actions ----------------------------------------------------------------------------------------


async def land(desk: Desk, view: SessionView, event: e.Event, job_id: str | None) -> list[AnyWrite]:
    """Ask for the newest change that can land, also one whose checks are red: the push's checks decide."""
    if job_id is not None and job_id not in view.jobs:
        return [say(words.no_such_job(job_id))]
    changes = [view.jobs[job_id]] if job_id else [job for job in newest(view) if _may_hold_change(job)]
    for seen in changes:
        landing = landing_of(view, seen.id)
        if landing is not None and landing.state in ("landed", "noop"):
            if job_id is None:
                continue
            return [say(words.cannot_land(seen.id, "it has landed already"))]
        if landing is not None and (not landing.ended or landing.state == "conflict"):
            record = (await desk.hub.landing(landing.id)).landing
            said = words.conflict(record) if record.state == "conflict" else words.on_its_way(record)
            return [say(said, task_id=record.task_id)]
        job = await desk.job(seen.id)
        if job is None or job.state != "completed" or job.result is None or job.result.head is None:
            if job_id is None:
                continue
            return [say(words.cannot_land(seen.id, "it has no change to land"))]
        verdict = assess(job.result)
        ask = await landing_ask(desk, job, job.result)
        if isinstance(ask, str):
            return [say(ask, task_id=job.task_id)]
        said = (
            words.will_land(job.result, verdict, ask.target)
            if verdict.lands
            else words.asked_anyway(job.result, ask.target)
        )
        return [
            Submit(slot="landing", task_id=job.task_id, ask=ask),
            say(said, task_id=job.task_id),
            Post(slot="started", task_id=job.task_id, payload=e.TaskStarted(task_id=job.task_id)),
        ]
    return [say(words.nothing_to_land())]


def _may_hold_change(job: JobView) -> bool:
    return job.state == "completed" and job.kind not in ("check", "look")


async def landing_ask(desk: Desk, job: Job, result: JobResult) -> SubmitLanding | str:
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
        # What takes back the change that made main red may land while it is.
        reverts=job.params.get("landing") if job.kind == "revert" else None,
        fix=job.kind == "revert",
    )


async def stop(desk: Desk, view: SessionView, job_id: str | None) -> list[AnyWrite]:
    if job_id is not None and job_id not in view.jobs:
        return [say(words.no_such_job(job_id))]
    jobs = [job for job in newest(view) if not job.ended and job_id in (None, job.id)][:MAX_STOPPED]
    landings = [
        landing
        for landing in view.landings.values()
        if not landing.ended and landing.state != "pushing" and job_id in (None, landing.job_id)
    ][:MAX_STOPPED]
    if not jobs and not landings:
        return [say(words.nothing_to_stop())]
    names = [title_of(view, job) for job in jobs]
    lands = [landing_title(view, landing) for landing in landings]
    return [
        *(CancelJob(slot=f"cancel-{job.id}", job_id=job.id, reason="asked to stop") for job in jobs),
        *(
            CancelLanding(slot=f"cancel-{one.id}", landing_id=one.id, reason="asked to stop")
            for one in landings
        ),
        say(words.stopping(names, lands)),
    ]


async def retry(
    desk: Desk, view: SessionView, event: e.Event, job_id: str | None, snapshot: Snapshot
) -> list[AnyWrite]:
    """A failed job again; a change that did not land, or a finished job, afresh on the present main."""
    if job_id is not None and job_id not in view.jobs:
        return [say(words.no_such_job(job_id))]
    ended = [job for job in newest(view) if job.ended]
    chosen = view.jobs[job_id] if job_id else max(ended, key=lambda job: touched(view, job), default=None)
    if chosen is None or not chosen.ended:
        return [say(words.nothing_to_retry())]
    title = title_of(view, chosen)
    if chosen.state in ("failed", "cancelled"):
        return [
            RetryJob(slot="retry", job_id=chosen.id, attempt=chosen.attempt),
            say(words.retrying(title), task_id=chosen.task_id),
            Post(slot="started", task_id=chosen.task_id, payload=e.TaskStarted(task_id=chosen.task_id)),
        ]
    job = await desk.job(chosen.id)
    if job is None:
        return [say(words.nothing_to_retry())]
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
        say(words.retry_fresh(title, base), task_id=task_id),
        Post(slot="task", task_id=task_id, payload=created),
        EnqueueJob(slot="job-0", task_id=task_id, ask=again),
        Post(slot="started", task_id=task_id, payload=e.TaskStarted(task_id=task_id)),
    ]


def status(view: SessionView, snapshot: Snapshot, job_id: str | None) -> str:
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
