"""Before a landing is composed: are its objects here, does its branch stand, may it pass?

All landings of a train are asked together: one look at the remote, one walk, a few diffs. What is decided
here is final for this head and costs no check run.
"""

from __future__ import annotations

from collections.abc import Sequence

from pushpals.protocol.landings import Landing
from pushpals.roles.pusher.lane import Step, Stepped, through
from pushpals.roles.pusher.settle import Report, record_name
from pushpals.roles.pusher.yard import Member, Yard
from pushpals.work.git import many
from pushpals.work.git.names import Sha, as_sha, landed_ref
from pushpals.work.landing.gates import Judgement, judge_branches


async def prepare(
    yard: Yard, landings: Sequence[Landing], base: Sha, checks: str, report: Report
) -> list[Member]:
    """Those that go on, in order, ``prepared``. All others have left the queue with a reason."""
    hopeless = await yard.fetch(landings)
    steps = [Step(landing=x, to="rejected", cause=hopeless[x.id]) for x in landings if x.id in hopeless]
    landings = [x for x in landings if x.id not in hopeless]
    records = {x.id: landed_ref(record_name(x)) for x in landings}
    refs = await yard.repo.ls_remote(
        yard.remote, [ref for x in landings for ref in (f"refs/heads/{x.branch}", records[x.id])]
    )
    found, staying = [], []
    for landing in landings:
        if (record := refs.get(records[landing.id])) is not None:
            found.append((landing, record))
            continue
        at = refs.get(f"refs/heads/{landing.branch}")
        if at != landing.head:
            where = f"is at {at[:12]}" if at else "is gone"
            cause = f"{landing.branch} {where} on the remote; the approval is void"
            steps.append(Step(landing=landing, to="stale", cause=cause, facts={"newHead": at}))
            continue
        staying.append(landing)
    again, more = await _landed_before(yard, found, refs, base)
    steps += more
    staying = [x for x in landings if x in staying or x.id in again]
    judged = await judge_branches(
        yard.repo,
        target=base,
        heads=[landing.head for landing in staying],
        scan=yard.scan,
        policy=yard.policy,
        protected=yard.protected,
    )
    members: list[Member] = []
    for landing in staying:
        verdict = judged[as_sha(landing.head)]
        step = await _verdict(yard, landing, verdict, base)
        if step is not None:
            report.rejected += step[-1].to == "rejected"
            steps += step
            continue
        steps.append(Step(landing=landing, to="prepared"))
        members.append(await _member(yard, landing, verdict, checks, again.get(landing.id)))
    report.did = report.did or bool(steps)
    done = await yard.lane.steps(steps)
    return _going_on(members, done)


def _going_on(members: Sequence[Member], done: Stepped) -> list[Member]:
    for member in members:
        member.landing = done.landings.get(member.landing.id, member.landing)
    return [member for member in members if member.landing.id not in done.refused]


async def _member(
    yard: Yard, landing: Landing, verdict: Judgement, checks: str, record_old: Sha | None
) -> Member:
    reverted = await yard.find(landing.reverts) if landing.reverts else None
    return Member(
        landing=landing,
        base=verdict.base,
        paths=frozenset(path for file in verdict.files for path in file.paths),
        renames=any(file.status in ("renamed", "copied") for file in verdict.files),
        flags=tuple(f"{flag.code} {flag.path}" for flag in verdict.flags[:50]),
        message=yard.message(landing, checks, record_name(reverted) if reverted else ""),
        record_old=record_old,
    )


async def _verdict(yard: Yard, landing: Landing, verdict: Judgement, base: Sha) -> list[Step] | None:
    """The steps of a landing that does not go on, None if it does."""
    if verdict.passed and not verdict.commits:
        return through(landing, "prepared", "noop", cause="the target contains it already")
    related = not any(refusal.code == "branch.unrelated" for refusal in verdict.refusals)
    if related and verdict.base != landing.base and not await _holds(yard, landing.base, base):
        # Main was rewound, or never held what the change was made on: with the branch, commits would land
        # that nobody saw when the change was approved.
        cause = (
            f"{yard.lane.branch} does not hold {landing.base[:12]}, on which the change was made and approved"
        )
        return [Step(landing=landing, to="stale", cause=cause)]
    if not verdict.passed:
        return through(
            landing,
            "prepared",
            "rejected",
            cause="; ".join(f"{r.code} {r.path} {r.detail}".strip() for r in verdict.refusals[:10]),
            facts={"code": verdict.refusals[0].code, "refusals": len(verdict.refusals)},
        )
    return None


async def _holds(yard: Yard, commit: str, base: Sha) -> bool:
    if await many.missing(yard.repo, [commit]):
        return False
    return await yard.repo.is_ancestor(commit, base)


async def _landed_before(
    yard: Yard, found: Sequence[tuple[Landing, Sha]], refs: dict[str, Sha], base: Sha
) -> tuple[dict[str, Sha], list[Step]]:
    """Landings whose job has a record: what that means for each. Returns those that may go on all the same.

    A push may have arrived after its intent was given up; then this landing landed. Or the job landed by
    another landing. Or somebody took it out of main by hand: then it lands again only if a person asks.
    """
    again: dict[str, Sha] = {}
    steps: list[Step] = []
    for landing, record in found:
        if await many.missing(yard.repo, [record]):
            await yard.repo.fetch(yard.remote, [record])
        if await yard.repo.is_ancestor(record, base):
            landed = through(
                landing,
                "prepared",
                "landed",
                landed_commit=record,
                cause="its record was found on the remote",
            )
            done = await yard.lane.steps(landed)
            if landing.id in done.refused:
                at = done.landings[landing.id]
                steps.append(Step(landing=at, to="noop", cause=f"this job landed before, as {record[:12]}"))
        elif landing.attempts > 0 and refs.get(f"refs/heads/{landing.branch}") == landing.head:
            again[landing.id] = record
        else:
            cause = f"it landed as {record[:12]} and was taken out of {yard.lane.branch} by hand"
            steps.append(Step(landing=landing, to="failed", cause=cause))
    return again, steps
