"""The serial-pusher's loop: hold the lane, recover, publish, look, hold or release, land.

All state that matters is the hub's and the remote's. What a killed pusher left half done is found in the
landings' states: a push that may have happened is looked up on the remote; everything before a push is
queued again, and finished checks are not repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import msgspec

from pushpals.client import HubClient
from pushpals.policy.secrets_scan import scan
from pushpals.protocol.commands import LaneWork, Overlap
from pushpals.protocol.errors import NotFound
from pushpals.protocol.jobs import CheckSpec
from pushpals.protocol.landings import Landing, Lane
from pushpals.protocol.records import Repository
from pushpals.roles.base import Role
from pushpals.roles.pusher.checking import Checker, EnvironmentBroken
from pushpals.roles.pusher.lane import HeldLane, LaneLost, Step
from pushpals.roles.pusher.ledger import Ledger
from pushpals.roles.pusher.memo import Memo
from pushpals.roles.pusher.radar import Radar
from pushpals.roles.pusher.redmain import find_culprit
from pushpals.roles.pusher.settle import Report, intent_of, settle
from pushpals.roles.pusher.train import Train
from pushpals.roles.pusher.verifier import Verifier
from pushpals.roles.pusher.yard import Yard
from pushpals.work.git import many
from pushpals.work.git.bundles import BundleRefused
from pushpals.work.git.errors import GitError
from pushpals.work.git.names import AgentBranch, Sha, as_sha, parse_agent_branch
from pushpals.work.git.remotes import Remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.hosts import Host, HostTrouble, Proposal
from pushpals.work.landing import push
from pushpals.work.landing.compose import same_patch
from pushpals.work.landing.gates import GatePolicy
from pushpals.work.landing.search import Learned

MAX_BATCH = 64
LOOK_AGAIN_S = 2.0
BACKOFF_S = (5.0, 15.0, 60.0, 300.0)
"""How long what the remote refused for a passing reason is left alone, by how often it was tried."""
OPERATORS = frozenset({"rule", "auth"})
"""Holds that only a person ends, by opening the queue again."""


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


class PusherSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``holder`` is the same for each start of the same pusher; its process lock makes that safe.

    ``slots`` checks run at once. More of them than cores only pays for checks that wait; with one slot the
    fewest runs are needed. ``reuse_workers_runs`` lets a worker's own green run stand for the pusher's where
    tree and environment are the very same. ``people`` are addresses for Co-authored-by, by name.
    """

    repository: str
    branch: str
    remote: Remote
    data_dir: Path
    holder: str = "serial-pusher"
    lease_s: float = 30.0
    wait_s: float = 20.0
    max_batch: int = MAX_BATCH
    slots: int = msgspec.field(default_factory=cores)
    committer_name: str = "Push Pals"
    committer_email: str = "serial-pusher@localhost"
    people: dict[str, str] = {}
    signing_key: Path | None = None
    reuse_workers_runs: bool = False
    min_free_bytes: int = 200 * 1024 * 1024
    policy: GatePolicy = GatePolicy()


class SerialPusher(Role):
    """Lands what was approved. Opened by :func:`~pushpals.roles.pusher.assemble.open_pusher`."""

    name = "serial-pusher"

    def __init__(
        self,
        hub: HubClient,
        settings: PusherSettings,
        repo: BareRepo,
        verifier: Verifier,
        host: Host | None = None,
    ):
        super().__init__()
        self._hub = hub
        self._host = host
        self._settings = settings
        self._repo = repo
        self._lane = HeldLane(
            hub,
            repository=settings.repository,
            branch=settings.branch,
            holder=settings.holder,
            lease_s=settings.lease_s,
        )
        self._report = Report()
        self._ledger = Ledger(settings.data_dir / "checks.json")
        self._yard = Yard(
            lane=self._lane,
            repo=repo,
            remote=settings.remote,
            checker=Checker(
                verifier,
                Memo(settings.data_dir / "results"),
                self._ledger,
                reuse_workers_runs=settings.reuse_workers_runs,
                count=self._ran,
            ),
            scan=scan,
            fetch=self._bring,
            find=self._find,
            committer_name=settings.committer_name,
            committer_email=settings.committer_email,
            slots=settings.slots,
            people=settings.people,
            policy=settings.policy,
            signing_key=settings.signing_key,
        )
        self._radar = Radar(repo)
        self._looked_at: frozenset[tuple[str, str]] = frozenset()
        self._learned = _read_learned(settings.data_dir)
        self._reported: str | None = None
        self._red_at: str | None = None
        self._tries: dict[str, tuple[int, float]] = {}

    async def step(self) -> None:
        """One round, and the wait for the next one to make sense."""
        try:
            report = await self.round()
        except LaneLost as lost:
            self._lane.has_seen(None)
            self.log.warning("%s; looking again in %.0f s", lost, LOOK_AGAIN_S)
            await self.pause(LOOK_AGAIN_S)
            return
        except GitError as error:
            # The remote is away or refuses: nothing has happened, and the next round asks again.
            self._lane.has_seen(None)
            self.log.warning("%s; asking again in %.0f s", error, LOOK_AGAIN_S)
            await self._say(f"{error}")
            await self.pause(LOOK_AGAIN_S)
            return
        if report.again_in:
            await self.pause(report.again_in)

    async def round(self) -> Report:
        """Wait for work, then do what there is. Raises :class:`LaneLost` when another has the lane."""
        work = await self._lane.lease(wait_s=self._settings.wait_s)
        report = self._report = Report()
        await self._look_at_main()
        work = await self._recover(work, report)
        work = await self._publish(work)
        work = await self._look_for_overlaps(work)
        work = await self._carry_approvals(work)
        if work.lane.mode == "red":
            await self._look_whether_green(work)
            work = await self._lane.lease()
        work = await self._hold_and_release(work, report)
        await self._land(work, report)
        if report.landed:
            await self._look_at_main()
        await self._end_draining(work)
        if self._ledger.save():
            await self._lane.lease(facts={"checks": self._ledger.shown()})
        if report.did and not report.landed and not report.rejected and report.again_in is None:
            report.again_in = 0.2
        self._lane.has_seen(None if report.did or report.again_in else work)
        return report

    async def close(self) -> None:
        if self._host is not None:
            await self._host.close()
        await self._yard.checker.verifier.close()

    def _ran(self) -> None:
        self._report.runs += 1

    # -- main ---------------------------------------------------------------------------------------------

    async def _look_at_main(self) -> Sha:
        """Fetch the target, report its head, and pin it here."""
        ref, pin = self._yard.target, f"refs/upstream/{self._settings.branch}"
        await self._repo.fetch(self._settings.remote, [f"+{ref}:{pin}"])
        head = await self._repo.resolve(pin)
        if head is None:
            raise GitError("missing_ref", f"{self._settings.branch} does not exist on the remote")
        if head != self._reported:
            if self._reported is not None and not await self._repo.is_ancestor(self._reported, head):
                self.log.warning(
                    "%s was rewound from %s to %s", self._settings.branch, self._reported[:12], head[:12]
                )
                await self._lane.lease(facts={"rewound": {"from": self._reported, "to": head}})
            checks: tuple[CheckSpec, ...] = ()
            with contextlib.suppress(ValueError):
                checks = await self._yard.checker.verifier.checks_at(head)
            await self._hub.put_repository(
                Repository(
                    id=self._settings.repository,
                    name=self._settings.repository,
                    upstream=self._settings.remote.url,
                    branch=self._settings.branch,
                    head=head,
                    checks=list(checks),
                )
            )
            self._reported = head
        self._lane.head = head
        return head

    async def _look_whether_green(self, work: LaneWork) -> None:
        """Main was red. If it has moved since, and is green now, the queue opens by itself."""
        head = self._lane.head
        if head is None or head == self._red_at:
            return
        train = Train(self._yard, as_sha(head), self._learned)
        try:
            green = await train.is_green()
        except (ValueError, EnvironmentBroken):
            return
        if green:
            await self._lane.set_mode("open", None)
            self._red_at = None
        else:
            self._red_at = head

    async def _main_is_red(self) -> None:
        """Close the queue, and say what made it red if that can be found."""
        head = self._red_at = self._lane.head
        assert head is not None
        checks = await self._yard.checker.verifier.checks_at(head)
        culprit = await find_culprit(self._repo, self._hub, self._yard.checker, head, checks)
        cause = f"{self._lane.branch} fails its own checks at {head[:12]}"
        if culprit is not None:
            cause += f"; {culprit['commit'][:12]} by {culprit['author']} made it red"
        await self._lane.set_mode("red", cause, culprit)

    # -- rounds ---------------------------------------------------------------------------------------------

    async def _recover(self, work: LaneWork, report: Report) -> LaneWork:
        """Finish or take back what an earlier run of this pusher left half done."""
        pushes: dict[tuple[str, str], list[Landing]] = defaultdict(list)
        steps: list[Step] = []
        for landing in work.landings:
            if landing.state == "pushing" and landing.intent is not None:
                pushes[landing.intent.old, landing.intent.new].append(landing)
            elif landing.state in ("prepared", "composed", "checking", "green"):
                cause = "taken up again after a restart"
                steps.append(Step(landing=landing, to="queued", cause=cause, clear=True))
        if not pushes and not steps:
            return work
        await self._lane.steps(steps)
        for landings in pushes.values():
            intent = intent_of(landings)
            found = await push.recover(self._repo, self._settings.remote, intent)
            if not isinstance(found, push.NotPushed):
                await settle(self._lane, landings, found, report)
            elif whole(landings):
                outcome = await push.land(self._repo, self._settings.remote, intent)
                await settle(self._lane, landings, outcome, report)
            else:
                cause = "a landing of its batch was taken out before the push"
                await self._lane.steps(
                    [Step(landing=x, to="queued", cause=cause, clear=True) for x in landings]
                )
        return await self._lane.lease()

    async def _publish(self, work: LaneWork) -> LaneWork:
        """Show agent branches on the remote, where people and the landing push look for them."""
        new = [
            x for x in work.landings if not x.published and x.state in ("needs_approval", "queued", "held")
        ]
        if not new:
            return work
        hopeless = await self._bring(new)
        steps = [Step(landing=x, to="rejected", cause=hopeless[x.id]) for x in new if x.id in hopeless]
        branches: dict[AgentBranch, Landing] = {}
        for landing in new:
            branch = parse_agent_branch(landing.branch)
            if landing.id in hopeless:
                continue
            if branch is None:
                steps.append(
                    Step(landing=landing, to="rejected", cause=f"{landing.branch} is no agent branch")
                )
            else:
                branches[branch] = landing
        shown = await push.publish_branches(
            self._repo, self._settings.remote, {branch: x.head for branch, x in branches.items()}
        )
        for branch, landing in branches.items():
            step = self._published(landing, shown[branch])
            if step.published:
                step = msgspec.structs.replace(step, facts=await self._proposed(landing))
            steps.append(step)
        await self._lane.steps(steps)
        return await self._lane.lease()

    def _published(
        self, landing: Landing, shown: push.Published | push.Taken | push.RemoteRefused | push.Unreachable
    ) -> Step:
        match shown:
            case push.Published():
                return Step(landing=landing, to=landing.state, published=True)
            case push.Taken(at=at):
                where = f"is at {at[:12]}" if at else "is gone"
                return Step(landing=landing, to="stale", cause=f"{landing.branch} {where} on the remote")
            case push.RemoteRefused(kind=kind, text=text) if landing.state == "queued":
                cause = f"the remote refused ({kind}): {text}"
                return Step(landing=landing, to="held", cause=cause, facts={"hold": kind})
            case push.RemoteRefused(text=text) | push.Unreachable(text=text):
                return Step(landing=landing, to=landing.state, facts={"unpublished": text[:500]})
            case never:
                assert_never(never)

    async def _proposed(self, landing: Landing) -> dict[str, object]:
        """Show a published branch as a pull request, where there is a host. Never a reason not to land."""
        if self._host is None:
            return {}
        proposal = Proposal(
            branch=landing.branch, target=landing.target, title=landing.title, body=landing.body
        )
        try:
            shown = await self._host.propose(proposal)
        except HostTrouble as trouble:
            return {"pullTrouble": f"{trouble}"[:300]}
        return {"pull": {"number": shown.number, "url": shown.url}}

    async def _look_for_overlaps(self, work: LaneWork) -> LaneWork:
        """Tell each landing which others touch the same lines. Looks again when there are new heads."""
        alive = [x for x in work.landings if x.published]
        now = frozenset((x.id, x.head) for x in alive)
        if now == self._looked_at or len(alive) < 2:
            self._looked_at = now
            return work
        overlaps = await self._radar.look(alive)
        self._looked_at = now
        steps = [
            Step(landing=x, to=x.state, overlaps=new)
            for x in alive
            if (new := [o for o in overlaps.get(x.id, []) if _is_news(x, o)])
        ]
        if not steps:
            return work
        await self._lane.steps(steps)
        return await self._lane.lease()

    async def _carry_approvals(self, work: LaneWork) -> LaneWork:
        """A yes to the same patch on an older head still counts, if a person has said so for this queue."""
        if not work.lane.carry_approval:
            return work
        steps = []
        for landing in work.landings:
            if landing.state != "needs_approval" or not landing.supersedes or not landing.published:
                continue
            old = await self._find(landing.supersedes)
            if old is None or old.approved_by is None:
                continue
            patch = await same_patch(self._repo, (old.base, old.head), (landing.base, landing.head))
            if patch is not None:
                cause = f"the approval of {old.head[:12]} carries over: the patch is identical"
                steps.append(Step(landing=landing, to="queued", cause=cause, facts={"patchId": patch}))
        if not steps:
            return work
        await self._lane.steps(steps)
        return await self._lane.lease()

    async def _hold_and_release(self, work: LaneWork, report: Report) -> LaneWork:
        """What keeps a landing from moving now is its state and its cause; when it is over, it goes on."""
        steps: list[Step] = []
        for landing in work.landings:
            if landing.state not in ("queued", "held"):
                continue
            reason = await self._reason(landing, work.lane, report)
            if isinstance(reason, Step):
                steps.append(reason)
            elif reason is not None and landing.state == "queued":
                hold, cause = reason
                steps.append(Step(landing=landing, to="held", cause=cause, facts={"hold": hold}))
            elif reason is None and landing.state == "held":
                steps.append(Step(landing=landing, to="queued", cause="goes on", facts={"hold": None}))
        if not steps:
            return work
        await self._lane.steps(steps)
        return await self._lane.lease()

    async def _reason(self, landing: Landing, lane: Lane, report: Report) -> tuple[str, str] | Step | None:
        """Why a landing may not go on now: a name and words; or the step that ends it."""
        hold = landing.facts.get("hold") if landing.state == "held" else None
        if lane.mode == "frozen":
            return "frozen", f"the queue is frozen: {lane.cause or 'no reason given'}"
        if lane.mode == "red" and (not landing.fix or landing.facts.get("redWith") == self._lane.head):
            return "main_red", lane.cause or f"{lane.branch} is red"
        if lane.mode == "draining" and landing.number > lane.drain_to:
            return "draining", "the queue is being drained; this came later"
        if hold in OPERATORS and lane.since <= landing.since:
            return hold, landing.cause or "the remote refused"
        if hold in ("locked", "environment", "no_atomic"):
            tries, at = self._tries.get(landing.id, (0, 0.0))
            now = asyncio.get_running_loop().time()
            if at == 0.0:
                at = now + BACKOFF_S[min(tries, len(BACKOFF_S) - 1)] * (0.75 + random.random() / 2)
                self._tries[landing.id] = tries + 1, at
            if now < at and lane.since <= landing.since:
                report.again_in = min(report.again_in or at - now, at - now)
                return hold, landing.cause or "tried again later"
            self._tries[landing.id] = tries + 1, 0.0
        free = shutil.disk_usage(self._settings.data_dir).free
        if free < self._settings.min_free_bytes:
            report.again_in = 10.0
            return "disk", f"only {free // (1024 * 1024)} MiB are free where the pusher works"
        return await self._waits_for(landing)

    async def _waits_for(self, landing: Landing) -> tuple[str, str] | Step | None:
        for wanted in landing.after:
            other = await self._find(wanted)
            if other is None or other.state in ("landed", "noop"):
                continue
            if not other.ended:
                return "dependency", f"waits for {wanted} ({other.state})"
            cause = f"it builds on {wanted}, which is {other.state}"
            return Step(landing=landing, to="stale", cause=cause)
        return None

    async def _end_draining(self, work: LaneWork) -> None:
        """A drained queue is empty: it stops until a person opens it."""
        if work.lane.mode != "draining":
            return
        work = await self._lane.lease()
        left = [x for x in work.landings if x.number <= work.lane.drain_to and x.state != "needs_approval"]
        if work.lane.mode == "draining" and not left:
            await self._lane.set_mode("paused", "drained: everything that was in it has left")

    async def _land(self, work: LaneWork, report: Report) -> None:
        lane = work.lane
        if lane.mode in ("paused", "frozen") or self._lane.head is None:
            return
        queued = [x for x in work.landings if x.state == "queued" and x.published]
        if lane.mode == "red":
            queued = [x for x in queued if x.fix]
        if not queued:
            return
        train = Train(self._yard, as_sha(self._lane.head), self._learned)
        done = await train.run(queued[: self._settings.max_batch])
        report.landed += done.landed
        report.rejected += done.rejected
        report.did = report.did or done.did
        report.again_in = done.again_in or report.again_in
        self._learned = train.learned
        _write_learned(self._settings.data_dir, self._learned)
        if done.main_red and lane.mode != "red":
            await self._main_is_red()
        elif done.main_red:
            # These did not mend it; they wait until main is another.
            work = await self._lane.lease()
            await self._lane.steps(
                [
                    Step(landing=x, to=x.state, facts={"redWith": self._lane.head})
                    for x in work.landings
                    if x.fix and x.state == "queued"
                ]
            )

    async def _bring(self, landings: Sequence[Landing]) -> dict[str, str]:
        """Get the heads' objects: from the worker's bundle, else from the remote. Says why not, if never."""
        hopeless: dict[str, str] = {}
        absent = await many.missing(self._repo, (x.head for x in landings))
        for landing in [x for x in landings if x.head in absent and x.bundle is not None]:
            if problem := await self._unbundle(landing):
                hopeless[landing.id] = problem
            elif await self._repo.commit_of(landing.head) is not None:
                absent.discard(as_sha(landing.head))
        if absent:
            try:
                await self._repo.fetch(self._settings.remote, sorted(absent))
                absent = await many.missing(self._repo, absent)
            except GitError as error:
                if error.kind != "missing_ref":
                    raise
        pins: dict[str, str] = {}
        for landing in landings:
            pin = f"refs/queue/{landing.id}"
            if landing.id in hopeless:
                continue
            if landing.head not in absent or await self._repo.fetch_sha(
                self._settings.remote, landing.head, pin, fallback=f"refs/heads/{landing.branch}"
            ):
                pins[pin] = landing.head
            else:
                hopeless[landing.id] = f"commit {landing.head[:12]} is nowhere to be had"
        await many.set_refs(self._repo, pins)
        return hopeless

    async def _unbundle(self, landing: Landing) -> str | None:
        assert landing.bundle is not None
        try:
            data = await self._hub.get_artifact(landing.bundle)
        except NotFound:
            return "the worker's bundle is not in the artifact store"
        taken = await self._repo.bundle_import(data, landing.head, f"refs/queue/{landing.id}")
        if isinstance(taken, BundleRefused) and taken.code != "missing_base":
            return f"the worker's bundle was refused ({taken.code}): {taken.detail}"
        return None

    async def _find(self, landing_id: str) -> Landing | None:
        try:
            return (await self._hub.landing(landing_id)).landing
        except NotFound:
            return None

    async def _say(self, message: str) -> None:
        with contextlib.suppress(LaneLost):
            await self._lane.lease(facts={"trouble": message[:500]})


def whole(landings: Sequence[Landing]) -> bool:
    """Whether these are all landings of their push: the commit holds the changes of every one of them."""
    there = {landing.id for landing in landings}
    return all(landing.intent is not None and there.issuperset(landing.intent.batch) for landing in landings)


def _is_news(landing: Landing, overlap: Overlap) -> bool:
    known: dict[str, bool] = landing.facts.get("overlaps", {})
    return known.get(overlap.other) != overlap.conflict


def _read_learned(data_dir: Path) -> Learned:
    try:
        return msgspec.json.decode((data_dir / "learned.json").read_bytes(), type=Learned)
    except (OSError, msgspec.DecodeError):
        return Learned()


def _write_learned(data_dir: Path, learned: Learned) -> None:
    aside = data_dir / "learned.json.new"
    aside.write_bytes(msgspec.json.encode(learned))
    aside.replace(data_dir / "learned.json")
