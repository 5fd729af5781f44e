"""The pusher's hold on its lane: one lease, one fence, and the steps of landings made under it.

Whoever has lost the lease must stop at once; every step carries the fence, so a late one is refused by
the hub in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from pushpals.client import HubClient
from pushpals.protocol.commands import (
    LandingStep,
    LaneWork,
    LeaseLane,
    MoveLandings,
    Overlap,
    SetLaneMode,
)
from pushpals.protocol.errors import Conflict, Forbidden, PushPalsError
from pushpals.protocol.jobs import Evidence
from pushpals.protocol.landings import Candidate, Intent, Landing, LandingState, LaneMode, lane_id

MOST_STEPS = 900
"""In one request."""


class LaneLost(Exception):
    """Another holder has the lane, or the hub forgot us: stop what runs and take it anew."""


class LaneClosed(Exception):
    """A person froze the queue, or main turned red, before the push: nothing may move now."""


class LandingsChanged(Exception):
    """A landing of the batch was cancelled or superseded: compose anew without it."""


class Dropped(Exception):
    """The landing is not in the state it was left in: somebody cancelled it, or it was superseded."""

    def __init__(self, landing: Landing, reason: str = ""):
        super().__init__(reason or f"{landing.id} is {landing.state}")
        self.landing = landing


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a landing, from the state it is in, or ``since`` an earlier step of the same request.

    ``clear`` gives up the candidate and the intent. ``to`` as it is: facts without a step.
    """

    landing: Landing
    to: LandingState
    since: LandingState | None = None
    cause: str | None = None
    candidate: Candidate | None = None
    intent: Intent | None = None
    clear: bool = False
    evidence: Sequence[Evidence] = ()
    landed_commit: str | None = None
    conflict_paths: Sequence[str] | None = None
    main_moved: bool = False
    published: bool = False
    facts: dict[str, Any] = {}
    overlaps: Sequence[Overlap] = ()

    def wire(self) -> LandingStep:
        return LandingStep(
            id=self.landing.id,
            expected=self.since or self.landing.state,
            to=self.to,
            cause=self.cause[:8_000] if self.cause else None,
            candidate=self.candidate,
            intent=self.intent,
            clear_candidate=self.clear,
            clear_intent=self.clear,
            evidence=list(self.evidence),
            landed_commit=self.landed_commit,
            conflict_paths=None if self.conflict_paths is None else list(self.conflict_paths)[:1_000],
            main_moved=self.main_moved,
            published=self.published,
            facts=self.facts,
            overlaps=list(self.overlaps)[:100],
            fence=0,
        )


class Stepped(msgspec.Struct, kw_only=True):
    """Landings as they are after some steps, and why steps were refused; both by landing id."""

    landings: dict[str, Landing]
    refused: dict[str, str]


def through(landing: Landing, *states: LandingState, **last: Any) -> list[Step]:
    """Several steps of one landing in a row; ``last`` goes with the last of them."""
    steps: list[Step] = []
    at = landing.state
    for number, state in enumerate(states, 1):
        steps.append(Step(landing=landing, to=state, since=at, **(last if number == len(states) else {})))
        at = state
    return steps


class HeldLane:
    """Leases the lane through the hub and remembers the fence."""

    def __init__(self, hub: HubClient, *, repository: str, branch: str, holder: str, lease_s: float = 30.0):
        self._hub = hub
        self.repository = repository
        self.branch = branch
        self.holder = holder
        self.lease_s = lease_s
        self.fence: int | None = None
        self.head: str | None = None
        self._seen: str | None = None

    @property
    def id(self) -> str:
        return lane_id(self.repository, self.branch)

    async def lease(self, *, wait_s: float = 0.0, facts: dict[str, Any] | None = None) -> LaneWork:
        """Take or keep the lane; with ``wait_s``, wait for its work to change. Raises :class:`LaneLost`."""
        try:
            work = await self._hub.lease_lane(
                LeaseLane(
                    lane=self.id,
                    holder=self.holder,
                    repository=self.repository,
                    branch=self.branch,
                    lease_s=self.lease_s,
                    fence=self.fence,
                    wait_s=wait_s,
                    seen=self._seen if wait_s else None,
                    head=self.head,
                    facts=facts or {},
                )
            )
        except Conflict as error:
            self.fence = None
            raise LaneLost(error.message) from None
        self.fence = work.lane.fence
        return work

    def has_seen(self, work: LaneWork | None) -> None:
        """The next wait ends when the work differs from this; ``None`` means at once."""
        self._seen = None if work is None else work.version

    @contextlib.asynccontextmanager
    async def kept(self, watch: Callable[[LaneWork], bool]) -> AsyncIterator[None]:
        """Renew the lease while the block runs, and cancel it when ``watch`` says no or the lane is lost.

        The hub being away does not end the block: the lease is judged by the hub when it is back, and
        nothing is pushed without it.
        """
        block = asyncio.current_task()
        assert block is not None
        failed: list[Exception] = []

        async def renew() -> None:
            while True:
                await asyncio.sleep(self.lease_s / 3)
                try:
                    work = await self.lease()
                    if watch(work):
                        continue
                    failed.append(LandingsChanged())
                except LaneLost as error:
                    failed.append(error)
                except PushPalsError:
                    continue
                block.cancel()
                return

        renewing = asyncio.create_task(renew(), name=f"lease {self.id}")
        try:
            yield
        except asyncio.CancelledError:
            if failed:
                block.uncancel()
                raise failed[0] from None
            raise
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing

    async def steps(self, steps: Sequence[Step], *, together: bool = False) -> Stepped:
        """Make steps in one transaction of the hub. Raises :class:`LaneLost` if the lane is another's.

        What is refused is named in the answer; with ``together`` the first refusal refuses all, and raises
        :class:`LaneClosed` or :class:`LandingsChanged`.
        """
        done = Stepped(landings={}, refused={})
        for start in range(0, len(steps), MOST_STEPS):
            asked = MoveLandings(
                lane=self.id,
                fence=self._fence(),
                steps=[step.wire() for step in steps[start : start + MOST_STEPS]],
                all_or_none=together,
            )
            try:
                moved = await self._hub.move_landings(asked)
            except Conflict as error:
                if error.code == "lease_lost":
                    self.fence = None
                    raise LaneLost(error.message) from None
                if error.code == "lane.closed":
                    raise LaneClosed(error.message) from None
                raise LandingsChanged(error.message) from None
            done.landings.update((landing.id, landing) for landing in moved.items)
            done.refused.update((refused.id, refused.message) for refused in moved.refused)
        return done

    async def move(self, landing: Landing, to: LandingState, **options: Any) -> Landing:
        """One step. Raises :class:`Dropped` if it is refused: somebody else moved the landing."""
        done = await self.steps([Step(landing=landing, to=to, **options)])
        if landing.id in done.refused:
            raise Dropped(done.landings.get(landing.id, landing), done.refused[landing.id])
        return done.landings[landing.id]

    async def note(
        self, landing: Landing, *, published: bool = False, facts: dict[str, Any] | None = None
    ) -> Landing:
        """Facts about a landing, without a step."""
        return await self.move(landing, landing.state, published=published, facts=facts or {})

    async def set_mode(
        self, mode: LaneMode, cause: str | None, culprit: dict[str, str] | None = None
    ) -> bool:
        """Switch the queue, unless a person has meanwhile. False if it was left as it is."""
        try:
            await self._hub.set_lane_mode(
                SetLaneMode(
                    lane=self.id,
                    mode=mode,
                    cause=cause[:2_000] if cause else None,
                    fence=self._fence(),
                    culprit=culprit,
                )
            )
        except Forbidden:
            return False
        except Conflict as error:
            self.fence = None
            raise LaneLost(error.message) from None
        return True

    def _fence(self) -> int:
        if self.fence is None:
            raise LaneLost(f"{self.id} is not held")
        return self.fence
