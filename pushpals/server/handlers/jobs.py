"""The job queue."""

from __future__ import annotations

from typing import Any

from pushpals.hub import jobs, leasing
from pushpals.hub.of import Of
from pushpals.protocol.commands import (
    CancelJob,
    Claim,
    Claimed,
    Complete,
    Enqueue,
    Enqueued,
    Fail,
    JobReply,
    Jobs,
    Progress,
    RetryJob,
)
from pushpals.protocol.errors import NotFound
from pushpals.protocol.jobs import RANK, Job
from pushpals.server.base import Handler, needs


class JobEnqueue(Handler):
    """``/jobs/enqueue``"""

    @needs("job.enqueue")
    async def post(self) -> None:
        body = self.body(Enqueue)
        self.session(body.session_id)
        done = await self.hub.run(jobs.enqueue, body, actor=self.actor, key=self.key, reply=Enqueued)
        self.reply(done, 201)


class JobClaim(Handler):
    """``/jobs/claim``: 404 when there is nothing to do, at once or after ``waitS``."""

    @needs("job.work")
    async def post(self) -> None:
        ask = self.body(Claim)
        until = self.site.monotonic() + min(ask.wait_s, self.site.options.wait_s)
        while True:
            ticket = self.site.feed.topics.ticket("jobs")
            if self.gone.is_set():
                return None
            job = await leasing.claim(self.hub, ask, actor=self.actor, key=self.key)
            if job is not None:
                return self.reply(Claimed(job=job))
            if not await self.news("jobs", ticket, until - self.site.monotonic()):
                raise NotFound("there is no job for this worker now", code="job.none")


class JobList(Handler):
    """``/jobs``"""

    @needs("job.read")
    async def get(self) -> None:
        where: dict[str, Any] = {}
        for name, column in (("state", "state"), ("kind", "kind"), ("taskId", "task_id")):
            if (value := self.text(name)) is not None:
                where[column] = tuple(value.split(",")) if name == "state" else value
        session_id = self.text("sessionId")
        if session_id is not None:
            where["session_id"] = self.session(session_id)
        elif self.actor.sessions is not None:
            where["session_id"] = tuple(self.actor.sessions)
        limit, skip = self.number("limit", 100, least=1, most=1_000), self.number("after", 0)
        found = await self.hub.store.reader.find(Job, order=("-n",), limit=limit, skip=skip, **where)
        self.reply(Jobs(items=found, next=str(skip + limit) if len(found) == limit else None))


class OneJob(Handler):
    """``/jobs/:id``"""

    @needs("job.read")
    async def get(self, job_id: str) -> None:
        reader = self.hub.store.reader
        job = await reader.get(Job, job_id)
        if job is None or not self.sees(job.session_id):
            raise NotFound(f"there is no job {job_id!r}", code="job.unknown")
        position = None
        if job.state == "pending":
            queue = await reader.find(Job, state="pending", order=("-rank", "n"))
            ahead = [other.id for other in queue if RANK[other.priority] >= RANK[job.priority]]
            position = ahead.index(job.id) if job.id in ahead else None
        self.reply(JobReply(job=job, position=position))


class JobProgress(Handler):
    """``/jobs/:id/progress``"""

    @needs("job.work")
    async def post(self, job_id: str) -> None:
        ask = Of(id=job_id, body=self.body(Progress))
        self.reply(await leasing.progress(self.hub, ask, actor=self.actor, key=self.key))


class JobComplete(Handler):
    """``/jobs/:id/complete``"""

    @needs("job.work")
    async def post(self, job_id: str) -> None:
        ask = Of(id=job_id, body=self.body(Complete))
        self.reply(await leasing.complete(self.hub, ask, actor=self.actor, key=self.key))


class JobFail(Handler):
    """``/jobs/:id/fail``"""

    @needs("job.work")
    async def post(self, job_id: str) -> None:
        ask = Of(id=job_id, body=self.body(Fail))
        self.reply(await leasing.fail(self.hub, ask, actor=self.actor, key=self.key))


class JobCancel(Handler):
    """``/jobs/:id/cancel``"""

    @needs("job.cancel")
    async def post(self, job_id: str) -> None:
        ask = Of(id=job_id, body=self.body(CancelJob))
        self.reply(await self.hub.run(jobs.cancel, ask, actor=self.actor, key=self.key, reply=JobReply))


class JobRetry(Handler):
    """``/jobs/:id/retry``"""

    @needs("job.retry")
    async def post(self, job_id: str) -> None:
        ask = Of(id=job_id, body=self.body(RetryJob))
        self.reply(await self.hub.run(jobs.retry, ask, actor=self.actor, key=self.key, reply=JobReply))
