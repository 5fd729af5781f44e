"""The serial-pusher's loop: hold the lane, recover, publish, land.

All state that matters is the hub's and the remote's. What a killed pusher left half done is found in the
landings' states: a push that may have happened is looked up on the remote; everything before a push is
queued again, and finished checks are not repeated.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path

import msgspec

from pushpals.client import HubClient
from pushpals.policy.secrets_scan import scan
from pushpals.protocol.commands import LaneWork
from pushpals.protocol.errors import NotFound
from pushpals.protocol.jobs import CheckSpec
from pushpals.protocol.landings import Landing
from pushpals.protocol.records import Repository
from pushpals.roles.base import Role
from pushpals.roles.pusher.lane import Dropped, HeldLane, LaneLost
from pushpals.roles.pusher.memo import Memo
from pushpals.roles.pusher.train import Report, Train, Yard, intent_of, settle
from pushpals.roles.pusher.verifier import Verifier
from pushpals.work.git.bundles import BundleRefused
from pushpals.work.git.errors import GitError
from pushpals.work.git.names import Sha, parse_agent_branch
from pushpals.work.git.remotes import Remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.landing import push
from pushpals.work.landing.search import Learned, batch_size

MAX_BATCH = 64
LOOK_AGAIN_S = 2.0


class PusherSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``holder`` is the same for each start of the same pusher; its process lock makes that safe."""

    repository: str
    branch: str
    remote: Remote
    data_dir: Path
    holder: str = "serial-pusher"
    lease_s: float = 30.0
    wait_s: float = 20.0
    max_batch: int = MAX_BATCH
    committer_name: str = "Push Pals"
    committer_email: str = "serial-pusher@localhost"


class SerialPusher(Role):
    """Lands what was approved. Opened by :func:`~pushpals.roles.pusher.assemble.open_pusher`."""

    name = "serial-pusher"

    def __init__(self, hub: HubClient, settings: PusherSettings, repo: BareRepo, verifier: Verifier):
        super().__init__()
        self._hub = hub
        self._settings = settings
        self._repo = repo
        self._lane = HeldLane(
            hub,
            repository=settings.repository,
            branch=settings.branch,
            holder=settings.holder,
            lease_s=settings.lease_s,
        )
        self._yard = Yard(
            lane=self._lane,
            repo=repo,
            remote=settings.remote,
            verifier=verifier,
            memo=Memo(settings.data_dir / "results"),
            scan=scan,
            fetch=self._bring,
            committer_name=settings.committer_name,
            committer_email=settings.committer_email,
        )
        self._learned = _read_learned(settings.data_dir)
        self._reported: str | None = None
        self._red_at: str | None = None

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
        report = Report()
        await self._look_at_main()
        work = await self._recover(work, report)
        work = await self._publish(work)
        work = await self._release_held(work)
        if work.lane.mode == "red":
            await self._look_whether_green(work)
            work = await self._lane.lease()
        await self._land(work, report)
        if report.landed:
            await self._look_at_main()
        changed = report.again_in or report.landed or report.rejected
        self._lane.has_seen(None if changed else work)
        return report

    async def close(self) -> None:
        await self._yard.verifier.close()

    # -- main ---------------------------------------------------------------------------------------------

    async def _look_at_main(self) -> str:
        """Fetch the target, report its head, and pin it here."""
        ref = self._yard.target
        await self._repo.fetch(self._settings.remote, [f"+{ref}:refs/upstream/{self._settings.branch}"])
        head = await self._repo.resolve(f"refs/upstream/{self._settings.branch}")
        if head is None:
            raise GitError("missing_ref", f"{self._settings.branch} does not exist on the remote")
        if head != self._reported:
            checks: tuple[CheckSpec, ...] = ()
            with contextlib.suppress(ValueError):
                checks = await self._yard.verifier.checks_at(head)
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
        if work.lane.mode != "red" or head is None or head == self._red_at:
            return
        train = Train(self._yard, head, self._learned.p_bad)
        if await train.is_green():
            await self._lane.set_mode("open", None)
            self._red_at = None
        else:
            self._red_at = head

    # -- rounds ---------------------------------------------------------------------------------------------

    async def _recover(self, work: LaneWork, report: Report) -> LaneWork:
        """Finish or take back what an earlier run of this pusher left half done."""
        pushes: dict[tuple[str, str], list[Landing]] = defaultdict(list)
        changed = False
        for landing in work.landings:
            if landing.state == "pushing" and landing.intent is not None:
                pushes[landing.intent.old, landing.intent.new].append(landing)
            elif landing.state in ("prepared", "composed", "checking", "green"):
                changed = True
                with contextlib.suppress(Dropped):
                    await self._lane.move(
                        landing, "queued", cause="taken up again after a restart", clear=True
                    )
        for landings in pushes.values():
            changed = True
            intent = intent_of(landings)
            found = await push.recover(self._repo, self._settings.remote, intent)
            if not isinstance(found, push.NotPushed):
                await settle(self._lane, landings, found, report)
            elif _whole(landings):
                outcome = await push.land(self._repo, self._settings.remote, intent)
                await settle(self._lane, landings, outcome, report)
            else:
                for landing in landings:
                    with contextlib.suppress(Dropped):
                        cause = "a landing of its batch was taken out before the push"
                        await self._lane.move(landing, "queued", cause=cause, clear=True)
        return await self._lane.lease() if changed else work

    async def _publish(self, work: LaneWork) -> LaneWork:
        """Show agent branches on the remote, where people and the landing push look for them."""
        changed = False
        for landing in work.landings:
            if landing.published or landing.state not in ("needs_approval", "queued"):
                continue
            changed = True
            problem = await self._bring(landing)
            with contextlib.suppress(Dropped):
                if problem is not None:
                    await self._lane.move(landing, "rejected", cause=problem)
                    continue
                branch = parse_agent_branch(landing.branch)
                if branch is None:
                    await self._lane.move(landing, "rejected", cause=f"{landing.branch} is no agent branch")
                    continue
                shown = await push.publish_branch(self._repo, self._settings.remote, branch, landing.head)
                match shown:
                    case push.Published():
                        await self._lane.note(landing, published=True)
                    case push.Taken(at=at):
                        where = f"is at {at[:12]}" if at else "is gone"
                        await self._lane.move(
                            landing, "stale", cause=f"{landing.branch} {where} on the remote"
                        )
                    case push.RemoteRefused(kind=kind, text=text) if landing.state == "queued":
                        await self._lane.move(
                            landing,
                            "held",
                            cause=f"the remote refused ({kind}): {text}",
                            facts={"hold": kind},
                        )
                    case push.RemoteRefused(text=text) | push.Unreachable(text=text):
                        await self._lane.note(landing, facts={"unpublished": text[:500]})
        return await self._lane.lease() if changed else work

    async def _release_held(self, work: LaneWork) -> LaneWork:
        """Held landings go back to the queue when a person reopened it, or when waiting was enough."""
        changed = False
        for landing in work.landings:
            if landing.state != "held" or work.lane.mode != "open":
                continue
            if landing.facts.get("hold") in ("rule", "auth") and work.lane.since <= landing.since:
                continue
            changed = True
            with contextlib.suppress(Dropped):
                await self._lane.move(landing, "queued", cause="tried again", facts={"hold": None})
        return await self._lane.lease() if changed else work

    async def _land(self, work: LaneWork, report: Report) -> None:
        lane = work.lane
        if lane.mode in ("paused", "frozen"):
            return
        queued = [x for x in work.landings if x.state == "queued" and x.published]
        if lane.mode == "red":
            queued = [x for x in queued if x.fix]
        size = min(batch_size(self._learned.p_bad), self._settings.max_batch)
        if not queued or self._lane.head is None:
            return
        done = await Train(self._yard, self._lane.head, self._learned.p_bad).run(queued[:size])
        report.landed += done.landed
        report.rejected += done.rejected
        report.runs += done.runs
        report.again_in = done.again_in
        if done.main_red and lane.mode == "open":
            self._red_at = self._lane.head
            await self._lane.set_mode("red", f"{lane.branch} fails its own checks at {self._lane.head[:12]}")
        self._learned = self._learned.after(landed=done.landed, rejected=done.rejected)
        _write_learned(self._settings.data_dir, self._learned)

    async def _bring(self, landing: Landing) -> str | None:
        """Get the head's objects: from the worker's bundle, else from the remote. Says why not, if never."""
        pin = f"refs/queue/{landing.id}"
        if await self._repo.commit_of(landing.head) is not None:
            await self._repo.set_ref(pin, Sha(landing.head))
            return None
        if landing.bundle is not None:
            try:
                data = await self._hub.get_artifact(landing.bundle)
            except NotFound:
                return "the worker's bundle is not in the artifact store"
            taken = await self._repo.bundle_import(data, landing.head, pin)
            if not isinstance(taken, BundleRefused):
                return None
            if taken.code != "missing_base":
                return f"the worker's bundle was refused ({taken.code}): {taken.detail}"
        found = await self._repo.fetch_sha(
            self._settings.remote, landing.head, pin, fallback=f"refs/heads/{landing.branch}"
        )
        return None if found else f"commit {landing.head[:12]} is nowhere to be had"

    async def _say(self, message: str) -> None:
        with contextlib.suppress(LaneLost):
            await self._lane.lease(facts={"trouble": message[:500]})


def _whole(landings: list[Landing]) -> bool:
    """Whether these are all landings of their push: the commit holds the changes of every one of them."""
    there = {landing.id for landing in landings}
    return all(landing.intent is not None and there.issuperset(landing.intent.batch) for landing in landings)


def _read_learned(data_dir: Path) -> Learned:
    try:
        return msgspec.json.decode((data_dir / "learned.json").read_bytes(), type=Learned)
    except (OSError, msgspec.DecodeError):
        return Learned()


def _write_learned(data_dir: Path, learned: Learned) -> None:
    aside = data_dir / "learned.json.new"
    aside.write_bytes(msgspec.json.encode(learned))
    aside.replace(data_dir / "learned.json")
