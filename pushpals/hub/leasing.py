"""The commands that take, keep or end a lease: each runs its command and moves the deadline with it."""

from __future__ import annotations

from pushpals.hub import jobs, lanes
from pushpals.hub.hub import Hub, run_limit_s
from pushpals.hub.of import Of
from pushpals.protocol.commands import (
    Claim,
    Complete,
    Fail,
    Heartbeat,
    LaneWork,
    LeaseLane,
    Ok,
    Progress,
    ProgressReply,
)
from pushpals.protocol.jobs import Job
from pushpals.protocol.records import Actor


async def claim(hub: Hub, ask: Claim, *, actor: Actor, key: str | None = None) -> Job | None:
    job = await hub.run(jobs.claim, ask, actor=actor, key=key, reply=Job)
    if job is not None:
        hub.job_leases.renew(job.id, job.attempt, job.lease_s)
        hub.run_limits.renew(job.id, job.attempt, run_limit_s(job))
    return job


async def heartbeat(hub: Hub, ask: Of[Heartbeat], *, actor: Actor) -> ProgressReply:
    reply = await hub.run(jobs.heartbeat, ask, actor=actor)
    hub.job_leases.renew(ask.id, ask.body.attempt, reply.lease_s)
    return reply


async def progress(hub: Hub, ask: Of[Progress], *, actor: Actor, key: str | None = None) -> ProgressReply:
    reply = await hub.run(jobs.progress, ask, actor=actor, key=key, reply=ProgressReply)
    hub.job_leases.renew(ask.id, ask.body.attempt, reply.lease_s)
    return reply


async def complete(hub: Hub, ask: Of[Complete], *, actor: Actor, key: str | None = None) -> Ok:
    done = await hub.run(jobs.complete, ask, actor=actor, key=key, reply=Ok)
    hub.job_leases.release(ask.id, ask.body.attempt)
    hub.run_limits.release(ask.id, ask.body.attempt)
    return done


async def fail(hub: Hub, ask: Of[Fail], *, actor: Actor, key: str | None = None) -> Ok:
    done = await hub.run(jobs.fail, ask, actor=actor, key=key, reply=Ok)
    hub.job_leases.release(ask.id, ask.body.attempt)
    hub.run_limits.release(ask.id, ask.body.attempt)
    return done


async def lease_lane(hub: Hub, ask: LeaseLane, *, actor: Actor) -> LaneWork:
    asked = lanes.LeaseAsk(body=ask, held=hub.lane_leases.live(ask.lane))
    work = await hub.run(lanes.lease, asked, actor=actor)
    hub.lane_leases.renew(work.lane.id, work.lane.fence, ask.lease_s)
    return work
