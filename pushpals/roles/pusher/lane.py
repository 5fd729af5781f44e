"""The pusher's hold on its lane: one lease, one fence, and the steps of landings made under it.

Whoever has lost the lease must stop at once; every step carries the fence, so a late one is refused by
the hub in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from pushpals.client import HubClient
from pushpals.protocol.commands import LaneWork, LeaseLane, MoveLanding, NoteLanding, SetLaneMode
from pushpals.protocol.errors import Conflict, PushPalsError
from pushpals.protocol.jobs import Evidence
from pushpals.protocol.landings import Candidate, Intent, Landing, LandingState, LaneMode, lane_id


class LaneLost(Exception):
    """Another holder has the lane, or the hub forgot us: stop what runs and take it anew."""


class Dropped(Exception):
    """The landing is not in the state it was left in: somebody cancelled it, or it was superseded."""

    def __init__(self, landing: Landing):
        super().__init__(f"{landing.id} is {landing.state}")
        self.landing = landing


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

    async def move(
        self,
        landing: Landing,
        to: LandingState,
        *,
        cause: str | None = None,
        candidate: Candidate | None = None,
        intent: Intent | None = None,
        clear: bool = False,
        evidence: Sequence[Evidence] = (),
        landed_commit: str | None = None,
        conflict_paths: Sequence[str] | None = None,
        main_moved: bool = False,
        facts: dict[str, Any] | None = None,
    ) -> Landing:
        """One step. Raises :class:`Dropped` if the landing is elsewhere, :class:`LaneLost` if the lane is."""
        body = MoveLanding(
            fence=self._fence(),
            expected=landing.state,
            to=to,
            cause=cause[:8_000] if cause else None,
            candidate=candidate,
            intent=intent,
            clear_candidate=clear,
            clear_intent=clear,
            evidence=list(evidence),
            landed_commit=landed_commit,
            conflict_paths=None if conflict_paths is None else list(conflict_paths)[:1_000],
            main_moved=main_moved,
            facts=facts or {},
        )
        try:
            return await self._hub.move_landing(landing.id, body)
        except Conflict as error:
            if error.code == "lease_lost":
                self.fence = None
                raise LaneLost(error.message) from None
            now = (await self._hub.landing(landing.id)).landing
            if now.state == landing.state and error.code != "approval.stale":
                raise
            raise Dropped(now) from None

    async def note(
        self, landing: Landing, *, published: bool = False, facts: dict[str, Any] | None = None
    ) -> Landing:
        return await self._hub.note_landing(
            landing.id, NoteLanding(fence=self._fence(), published=published, facts=facts or {})
        )

    async def set_mode(self, mode: LaneMode, cause: str | None) -> None:
        await self._hub.set_lane_mode(
            SetLaneMode(lane=self.id, mode=mode, cause=cause[:2_000] if cause else None, fence=self._fence())
        )

    def _fence(self) -> int:
        if self.fence is None:
            raise LaneLost(f"{self.id} is not held")
        return self.fence


class LandingsChanged(Exception):
    """While checks ran, a landing of the batch was cancelled or superseded: compose anew without it."""
