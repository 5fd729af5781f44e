"""One train: landings in order, composed into a chain, tested by prefixes, pushed as far as green.

The commit that is pushed is the commit that was tested. A red prefix is confirmed once before anybody is
blamed, and main itself is looked at before the first of a train is: what is red without the branch is not
the branch's fault.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import assert_never

import msgspec

from pushpals.protocol.commands import LaneWork
from pushpals.protocol.jobs import CheckSpec, Evidence
from pushpals.protocol.landings import Candidate, Landing
from pushpals.protocol.landings import Intent as StoredIntent
from pushpals.protocol.times import parse_stamp
from pushpals.roles.pusher.lane import Dropped, HeldLane, LandingsChanged
from pushpals.roles.pusher.memo import Memo
from pushpals.roles.pusher.verifier import Verifier, checks_digest, passes
from pushpals.work.git.names import as_sha, landed_ref
from pushpals.work.git.remotes import Remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity
from pushpals.work.landing import push
from pushpals.work.landing.compose import (
    Composed,
    Conflict,
    Noop,
    Unrelated,
    compose,
    stray_paths,
)
from pushpals.work.landing.gates import GatePolicy, Protected, Scan, judge_branch
from pushpals.work.landing.message import Receipt, landing_message
from pushpals.work.landing.search import Search

Fetch = Callable[[Landing], Awaitable[str | None]]
"""Bring a landing's objects here. Returns why that is impossible for ever, or ``None``."""


class Yard(msgspec.Struct, frozen=True, kw_only=True):
    """What a train runs on."""

    lane: HeldLane
    repo: BareRepo
    remote: Remote
    verifier: Verifier
    memo: Memo
    scan: Scan
    fetch: Fetch
    committer_name: str
    committer_email: str
    protected: Protected | None = None
    policy: GatePolicy = GatePolicy()

    @property
    def target(self) -> str:
        return f"refs/heads/{self.lane.branch}"


class Member(msgspec.Struct, kw_only=True):
    """A landing in a train. ``landing`` is replaced with each step."""

    landing: Landing
    commit: str
    tree: str
    merge_base: str


class Report(msgspec.Struct, kw_only=True):
    """What a train did. ``again_at`` says when something held may be tried again, in seconds from now."""

    landed: int = 0
    rejected: int = 0
    runs: int = 0
    main_red: bool = False
    again_in: float | None = None


class Train:
    """Runs once, from ``base``."""

    def __init__(self, yard: Yard, base: str, p_bad: float):
        self._yard = yard
        self._lane = yard.lane
        self._base = base
        self._p_bad = p_bad
        self._members: list[Member] = []
        self._checks: tuple[CheckSpec, ...] = ()
        self.report = Report()

    async def run(self, landings: Sequence[Landing]) -> Report:
        """Take each landing as far as it goes. Whatever is left over is queued again, in front."""
        try:
            self._checks = await self._yard.verifier.checks_at(self._base)
        except ValueError as error:
            for landing in landings:
                await self._lane.move(
                    landing, "held", cause=f"the checks of the target are unusable: {error}"
                )
            return self.report
        tip = self._base
        for landing in landings:
            member = await self._prepare(landing, tip)
            if member is not None:
                self._members.append(member)
                tip = member.commit
        try:
            if self._members:
                await self._search()
        except (LandingsChanged, Dropped) as change:
            await self._back_to_queue(self._members, f"composed anew: {change or 'the queue changed'}")
        return self.report

    async def is_green(self) -> bool:
        """Whether the base itself passes its own checks."""
        self._checks = await self._yard.verifier.checks_at(self._base)
        return not await self._base_is_red()

    # -- prepare and compose -----------------------------------------------------------------------------

    async def _prepare(self, landing: Landing, tip: str) -> Member | None:
        try:
            return await self._prepared(landing, tip)
        except Dropped:
            return None

    async def _prepared(self, landing: Landing, tip: str) -> Member | None:
        yard, lane = self._yard, self._lane
        problem = await yard.fetch(landing)
        if problem is not None:
            await lane.move(landing, "rejected", cause=problem)
            return None
        agent_ref = f"refs/heads/{landing.branch}"
        at = (await yard.repo.ls_remote(yard.remote, [agent_ref])).get(agent_ref)
        if at != landing.head:
            where = f"is at {at[:12]}" if at else "is gone"
            await lane.move(
                landing, "stale", cause=f"{landing.branch} {where} on the remote; the approval is void"
            )
            return None
        landing = await lane.move(landing, "prepared")
        judged = await judge_branch(
            yard.repo,
            target=self._base,
            head=landing.head,
            scan=yard.scan,
            policy=yard.policy,
            protected=yard.protected,
        )
        if not judged.passed:
            first = judged.refusals[0]
            self.report.rejected += 1
            await lane.move(
                landing,
                "rejected",
                cause="; ".join(f"{r.code} {r.path} {r.detail}".strip() for r in judged.refusals[:10]),
                facts={"code": first.code, "refusals": len(judged.refusals)},
            )
            return None
        made = await self._compose(landing, tip)
        match made:
            case Composed():
                stray = await stray_paths(
                    yard.repo, old=tip, new=made.commit, branches=[(made.base, landing.head)]
                )
                if stray:
                    await lane.move(
                        landing, "failed", cause=f"the merge changes foreign paths: {', '.join(stray[:5])}"
                    )
                    return None
                landing = await lane.move(
                    landing,
                    "composed",
                    facts={"commit": made.commit, "flags": [f"{f.code} {f.path}" for f in judged.flags[:50]]},
                )
                return Member(landing=landing, commit=made.commit, tree=made.tree, merge_base=made.base)
            case Noop(reason=reason, by=by):
                words = {
                    "contained": "the target contains it already",
                    "same_tree": "merging it changes nothing",
                    "landed_before": f"the same change landed as {(by or '')[:12]}",
                }[reason]
                await lane.move(landing, "noop", cause=words)
            case Conflict(with_target=True):
                await lane.move(
                    landing,
                    "conflict",
                    cause="; ".join(m.text for m in made.messages[:10]) or "the two sides conflict",
                    conflict_paths=made.paths,
                    facts={
                        "theirs": list(made.their_commits[:5]),
                        "ours": list(made.our_commits[:5]),
                        "onto": made.onto,
                    },
                )
            case Conflict():
                await lane.move(
                    landing, "queued", cause="conflicts with a landing ahead of it; waits for that one"
                )
            case Unrelated():
                await lane.move(landing, "rejected", cause="the branch shares no history with the target")
            case never:
                assert_never(never)
        return None

    async def _compose(self, landing: Landing, tip: str) -> Composed | Noop | Conflict | Unrelated:
        receipt = Receipt(
            job_id=landing.job_id or landing.id,
            session_id=landing.session_id,
            agent=landing.agent,
            approved_by=landing.approved_by or "",
            approved_head=landing.head,
            checks=checks_digest(self._checks),
        )
        return await compose(
            self._yard.repo,
            target=self._base,
            head=landing.head,
            onto=tip,
            message=landing_message(landing.title, landing.body, receipt),
            committer=Identity(
                name=self._yard.committer_name, email=self._yard.committer_email, when=_when(landing)
            ),
        )

    # -- test ---------------------------------------------------------------------------------------------

    async def _search(self) -> None:
        search = Search(total=len(self._members))
        done = 0
        evidence: dict[int, list[Evidence]] = {}
        while (size := search.next_size(self._p_bad)) is not None:
            evidence[size], green = await self._test(size)
            search = search.saw(size, green=green)
            if green:
                if not await self._push(self._members[done:size], evidence[size]):
                    await self._back_to_queue(self._members[size:], "waits behind what was not pushed")
                    return
                done = size
                self._base = self._members[size - 1].commit
        culprit = search.culprit
        if culprit is None:
            return
        rest = self._members[culprit + 1 :]
        if culprit == done and await self._base_is_red():
            self.report.main_red = True
            await self._back_to_queue(self._members[culprit:], f"{self._lane.branch} itself is red")
            return
        await self._reject(self._members[culprit], evidence[culprit + 1])
        await self._back_to_queue(rest, "tested again without the one that failed")

    async def _test(self, size: int) -> tuple[list[Evidence], bool]:
        """Run the checks on the prefix of ``size``; a red result is confirmed by a second run."""
        tip = self._members[size - 1]
        for member in self._members[:size]:
            if member.landing.state == "composed":
                member.landing = await self._lane.move(
                    member.landing,
                    "checking",
                    cause=f"checking {tip.commit[:12]}" + (f" with {size - 1} more" if size > 1 else ""),
                )
        async with self._lane.kept(self._unchanged):
            evidence = await self._run_checks(tip.commit, tip.tree)
            if not passes(evidence, self._checks):
                evidence = await self._confirm(tip.commit, tip.tree, evidence)
        return evidence, passes(evidence, self._checks)

    async def _run_checks(self, commit: str, tree: str) -> list[Evidence]:
        verifier, memo = self._yard.verifier, self._yard.memo
        found: list[Evidence] = []
        for check in self._checks:
            known = memo.recall(tree, check, verifier.environment)
            if known is None:
                self.report.runs += 1
                known = await verifier.run(commit, check)
                memo.keep(check, verifier.environment, known)
            found.append(known)
            if known.verdict != "passed" and check.required:
                break
        return found

    async def _confirm(self, commit: str, tree: str, evidence: list[Evidence]) -> list[Evidence]:
        """Only a failure that repeats is one. What passes the second time was a flake, and is named one."""
        verifier, memo = self._yard.verifier, self._yard.memo
        failed = evidence[-1]
        check = next(check for check in self._checks if check.name == failed.check)
        memo.forget(tree, check, verifier.environment)
        self.report.runs += 1
        again = await verifier.run(commit, check)
        if again.verdict != "passed":
            memo.keep(check, verifier.environment, again)
            return [*evidence[:-1], again]
        flaky = msgspec.structs.replace(again, detail=f"flaky: {failed.verdict} first, then passed")
        memo.keep(check, verifier.environment, flaky)
        return await self._run_checks(commit, tree)

    async def _base_is_red(self) -> bool:
        tree = await self._yard.repo.tree_of(self._base)
        assert tree is not None
        async with self._lane.kept(self._unchanged):
            evidence = await self._run_checks(self._base, tree)
            if not passes(evidence, self._checks):
                evidence = await self._confirm(self._base, tree, evidence)
        return not passes(evidence, self._checks)

    def _unchanged(self, work: LaneWork) -> bool:
        there = {landing.id: landing.state for landing in work.landings}
        return all(there.get(m.landing.id) == m.landing.state for m in self._members if not m.landing.ended)

    async def _reject(self, member: Member, evidence: list[Evidence]) -> None:
        self.report.rejected += 1
        failed = evidence[-1]
        names = ", ".join(failed.failures[:3])
        words = {
            "timed_out": f"{failed.check} did not end within its time",
            "could_not_run": f"{failed.check} could not run: {failed.detail or 'no reason given'}",
        }.get(failed.verdict, f"{failed.check} failed" + (f": {names}" if names else ""))
        try:
            await self._lane.move(
                member.landing, "rejected", cause=words, evidence=evidence, facts={"check": failed.check}
            )
        except Dropped:
            return

    async def _back_to_queue(self, members: Sequence[Member], cause: str) -> None:
        for member in members:
            if member.landing.state in ("prepared", "composed", "checking", "green", "pushing"):
                try:
                    member.landing = await self._lane.move(member.landing, "queued", cause=cause, clear=True)
                except Dropped:
                    continue

    # -- push ---------------------------------------------------------------------------------------------

    async def _push(self, members: Sequence[Member], evidence: list[Evidence]) -> bool:
        """Land a tested prefix. True if it is on the remote."""
        yard, lane = self._yard, self._lane
        tip = members[-1]
        candidate = Candidate(base=self._base, commit=tip.commit, tree=tip.tree)
        for member in members:
            member.landing = await lane.move(member.landing, "green", candidate=candidate, evidence=evidence)
        for member in members:
            member.landing = await lane.move(
                member.landing,
                "pushing",
                intent=StoredIntent(
                    remote=yard.remote.url,
                    target_ref=yard.target,
                    old=self._base,
                    new=tip.commit,
                    agent_ref=f"refs/heads/{member.landing.branch}",
                    head=member.landing.head,
                    commit=member.commit,
                    record_ref=landed_ref(member.landing.job_id or member.landing.id),
                    batch=[m.landing.id for m in members],
                ),
            )
        outcome = await push.land(yard.repo, yard.remote, intent_of([m.landing for m in members]))
        if isinstance(outcome, push.RemoteRefused) and outcome.kind == "no_atomic":
            outcome = await push.land_without_atomic(
                yard.repo, yard.remote, intent_of([m.landing for m in members])
            )
        settled = await settle(lane, [m.landing for m in members], outcome, self.report)
        for member, landing in zip(members, settled, strict=True):
            member.landing = landing
        return isinstance(outcome, push.Landed)


def intent_of(landings: Sequence[Landing]) -> push.Intent:
    """The one push that these landings stored their parts of."""
    parts = [(landing, landing.intent) for landing in landings if landing.intent is not None]
    first = parts[0][1]
    jobs = tuple(
        push.LandingJob(
            job=landing.job_id or landing.id,
            head=as_sha(part.head),
            commit=as_sha(part.commit),
            branch=part.agent_ref,
        )
        for landing, part in parts
    )
    return push.Intent(target=first.target_ref, old=as_sha(first.old), new=as_sha(first.new), jobs=jobs)


async def settle(
    lane: HeldLane, landings: Sequence[Landing], outcome: push.Outcome, report: Report
) -> list[Landing]:
    """Write down what a push came to. Read back from the remote; never judged by an exit code."""
    settled: list[Landing] = []
    for landing in landings:
        name = landing.job_id or landing.id
        assert landing.intent is not None
        match outcome:
            case push.Landed(checked_by=checked_by):
                lane.head = landing.intent.new
                report.landed += 1
                facts = {"commit": landing.intent.commit, "headCheckedBy": checked_by}
                moved = await lane.move(
                    landing, "landed", landed_commit=landing.intent.new, facts=facts, cause="read back"
                )
            case push.MainMoved(at=at):
                where = f" to {at[:12]}" if at else ""
                moved = await lane.move(
                    landing, "queued", cause=f"{lane.branch} moved{where}", main_moved=True, clear=True
                )
            case push.HeadMoved(job=job, at=at):
                if job == name:
                    where = f"moved to {at[:12]}" if at else "was deleted"
                    moved = await lane.move(
                        landing, "stale", cause=f"{landing.branch} {where}; the approval is void"
                    )
                else:
                    moved = await lane.move(
                        landing, "queued", cause="another branch of the batch moved", clear=True
                    )
            case push.RecordExists(job=job, at=at):
                if job == name:
                    moved = await lane.move(landing, "failed", cause=f"this job landed before, as {at[:12]}")
                else:
                    moved = await lane.move(
                        landing, "queued", cause="another job had landed before", clear=True
                    )
            case push.Rewound(at=at):
                where = f"at {at[:12]}" if at else "gone"
                cause = f"it landed, and {lane.branch} is {where} without it: an operator must look"
                moved = await lane.move(landing, "failed", cause=cause)
            case push.RemoteRefused(kind=kind, text=text):
                if kind == "locked":
                    report.again_in = 5.0
                moved = await lane.move(
                    landing,
                    "held",
                    cause=f"the remote refused ({kind}): {text}",
                    facts={"hold": kind},
                    clear=True,
                )
            case push.Unreachable(text=text):
                # Whether the push arrived is not known: the landing stays as it is until the remote answers.
                report.again_in = 5.0
                moved = await lane.note(landing, facts={"unreachable": text[:500]})
            case never:
                assert_never(never)
        settled.append(moved)
    return settled


def _when(landing: Landing) -> datetime:
    """A date that is the same each time the landing is composed: when it was submitted."""
    return parse_stamp(landing.created_at)
