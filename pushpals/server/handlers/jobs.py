"""The job queue."""

from __future__ import annotations

from pushpals.hub import jobs, leasing
from pushpals.hub.of import Of
from pushpals.protocol.commands import (
    Attempts,
    CancelJob,
    Claim,
    Claimed,
    Complete,
    Enqueue,
    Enqueued,
    Fail,
    Heartbeat,
    JobReply,
    Jobs,
    Progress,
    ProgressReply,
    RetryJob,
)
from pushpals.protocol.errors import LeaseLost, NotFound
from pushpals.protocol.jobs import Attempt, Job
from pushpals.server.base import Handler, needs
from pushpals.server.handlers.lists import counts, filters, following, page


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
        where = filters(self, {"kind": "kind", "taskId": "task_id", "workerId": "worker_id"})
        found = await page(self, Job, where)
        positions = None
        if self.text("positions") == "true":
            queue = await self.hub.store.reader.find(Job, state="pending", order=("due", "n"))
            shown = {job.id for job in found.items}
            positions = {job.id: place for place, job in enumerate(queue) if job.id in shown}
        self.reply(
            Jobs(
                items=found.items,
                next=following(found),
                counts=await counts(self, Job, where, "state"),
                positions=positions,
            )
        )


class OneJob(Handler):
    """``/jobs/:id``"""

    @needs("job.read")
    async def get(self, job_id: str) -> None:
        reader = self.hub.store.reader
        job = await reader.get(Job, job_id)
        if job is None or not self.sees(job.session_id):
            raise NotFound(f"there is no job {job_id!r}", code="job.unknown")
        position = eta_s = None
        if job.state == "pending":
            position = await self.hub.figures.position(job)
            eta_s = await self.hub.figures.eta_s(job, position, self.hub.clock())
        self.reply(JobReply(job=job, position=position, eta_s=eta_s))


class JobAttempts(Handler):
    """``/jobs/:id/attempts``"""

    @needs("job.read")
    async def get(self, job_id: str) -> None:
        reader = self.hub.store.reader
        job = await reader.get(Job, job_id)
        if job is None or not self.sees(job.session_id):
            raise NotFound(f"there is no job {job_id!r}", code="job.unknown")
        self.reply(Attempts(items=await reader.find(Attempt, job_id=job_id)))


class JobHeartbeat(Handler):
    """``/jobs/:id/heartbeat``: holds the request until the job is to be cancelled, or the wait is over."""

    @needs("job.work")
    async def post(self, job_id: str) -> None:
        ask = Of(id=job_id, body=self.body(Heartbeat))
        monotonic, topics = self.site.monotonic, self.site.feed.topics
        ticket = topics.ticket("cancels")
        reply = await leasing.heartbeat(self.hub, ask, actor=self.actor)
        # A wait may not outlive the lease that it keeps.
        until = monotonic() + min(ask.body.wait_s, self.site.options.wait_s, reply.lease_s / 2)
        while not reply.cancel and await self.news("cancels", ticket, until - monotonic()):
            ticket = topics.ticket("cancels")
            job = await self.hub.store.reader.get(Job, job_id)
            if job is None or job.state != "claimed" or job.attempt != ask.body.attempt:
                raise LeaseLost(f"attempt {ask.body.attempt} of {job_id} has no lease any more; stop")
            reply = ProgressReply(cancel=job.cancel_requested, lease_s=reply.lease_s)
        self.reply(reply)


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
