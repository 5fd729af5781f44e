"""After a push: what it came to, written down. Read back from the remote, never judged by an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec

from pushpals.protocol.landings import Landing
from pushpals.roles.pusher.lane import HeldLane, Step
from pushpals.work.git.names import as_sha
from pushpals.work.landing import push

LOCKED_S = 5.0
"""How long what may pass by itself is left alone: a lock on the remote, a remote that is away."""


class Report(msgspec.Struct, kw_only=True):
    """What a round did. ``again_in`` says when something held may be tried again, in seconds from now."""

    landed: int = 0
    rejected: int = 0
    runs: int = 0
    main_red: bool = False
    again_in: float | None = None
    did: bool = False
    """Anything moved at all."""


def record_name(landing: Landing) -> str:
    """What a landing's record is called: once for each job, whoever submits it."""
    return landing.job_id or landing.id


def intent_of(landings: Sequence[Landing]) -> push.Intent:
    """The one push that these landings stored their parts of."""
    parts = [(landing, landing.intent) for landing in landings if landing.intent is not None]
    first = parts[0][1]
    jobs = tuple(
        push.LandingJob(
            job=record_name(landing),
            head=as_sha(part.head),
            commit=as_sha(part.commit),
            branch=part.agent_ref,
            record_old=None if part.record_old is None else as_sha(part.record_old),
        )
        for landing, part in parts
    )
    return push.Intent(target=first.target_ref, old=as_sha(first.old), new=as_sha(first.new), jobs=jobs)


async def settle(
    lane: HeldLane, landings: Sequence[Landing], outcome: push.Outcome, report: Report
) -> list[Landing]:
    """Write down what a push came to, for all its landings at once."""
    report.did = True
    steps = [_step(lane, landing, outcome, report) for landing in landings]
    done = await lane.steps(steps)
    if isinstance(outcome, push.Landed):
        assert landings[0].intent is not None
        lane.head = outcome.at
    return [done.landings.get(landing.id, landing) for landing in landings]


def _step(lane: HeldLane, landing: Landing, outcome: push.Outcome, report: Report) -> Step:
    name = record_name(landing)
    assert landing.intent is not None
    match outcome:
        case push.Landed(checked_by=checked_by, recorded=recorded):
            report.landed += 1
            facts = {"commit": landing.intent.commit, "headCheckedBy": checked_by, "recorded": recorded}
            return Step(
                landing=landing,
                to="landed",
                landed_commit=landing.intent.new,
                facts=facts,
                cause="read back",
            )
        case push.MainMoved(at=at):
            where = f" to {at[:12]}" if at else ""
            return Step(
                landing=landing, to="queued", cause=f"{lane.branch} moved{where}", main_moved=True, clear=True
            )
        case push.HeadMoved(job=job, at=at):
            if job == name:
                where = f"moved to {at[:12]}" if at else "was deleted"
                return Step(
                    landing=landing,
                    to="stale",
                    cause=f"{landing.branch} {where}; the approval is void",
                    facts={"newHead": at},
                )
            return Step(landing=landing, to="queued", cause="another branch of the batch moved", clear=True)
        case push.RecordExists(job=job, at=at):
            if job == name:
                return Step(landing=landing, to="failed", cause=f"this job landed before, as {at[:12]}")
            return Step(landing=landing, to="queued", cause="another job had landed before", clear=True)
        case push.Rewound(at=at):
            where = f"at {at[:12]}" if at else "gone"
            cause = f"it landed, and {lane.branch} is {where} without it: an operator must look"
            return Step(landing=landing, to="failed", cause=cause)
        case push.RemoteRefused(kind=kind, text=text):
            if kind == "locked":
                report.again_in = LOCKED_S
            return Step(
                landing=landing,
                to="held",
                cause=f"the remote refused ({kind}): {text}",
                facts={"hold": kind},
                clear=True,
            )
        case push.Unreachable(text=text):
            # Whether the push arrived is not known: the landing stays as it is until the remote answers.
            report.again_in = LOCKED_S
            return Step(landing=landing, to=landing.state, facts={"unreachable": text[:500]})
        case never:
            assert_never(never)
