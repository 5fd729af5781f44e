"""What the hub does by itself: rescue, release, expire. One ``step()`` at a time."""

from __future__ import annotations

import asyncio
from datetime import datetime

from pushpals.hub import decisions, jobs, lanes, retention, workers
from pushpals.hub.hub import SYSTEM, Hub
from pushpals.hub.retention import Retention
from pushpals.protocol.errors import PushPalsError
from pushpals.store.base import Tx

SLOW_EVERY = 30
"""Steps between two rounds of the checks that need no hurry."""
HOURLY = 3_600
"""Steps between two rounds of retention."""


class Upkeep:
    """Leases, schedules and expiries. Every round is idempotent; a failed one is tried again."""

    def __init__(self, hub: Hub, retention: Retention | None = None):
        self._hub = hub
        self._retention = retention
        self.rounds = 0
        self.last_round = hub.monotonic()
        """When the last round ended, by the hub's monotonic clock."""
        self._round = 0
        self.last_error: str | None = None

    async def step(self) -> None:
        """One round. Call it about once a second."""
        hub = self._hub
        for name, fence in hub.job_leases.expired():
            await hub.run(jobs.expire_lease, jobs.LeaseRef(id=name, attempt=fence), actor=SYSTEM)
            hub.job_leases.release(name, fence)
            hub.run_limits.release(name, fence)
        for name, fence in hub.run_limits.expired():
            await hub.run(jobs.overrun, jobs.LeaseRef(id=name, attempt=fence), actor=SYSTEM)
            hub.run_limits.release(name, fence)
            hub.job_leases.release(name, fence)
        for name, fence in hub.lane_leases.expired():
            await hub.run(lanes.release, lanes.LaneRef(id=name, fence=fence), actor=SYSTEM)
            hub.lane_leases.release(name, fence)
        await hub.run(jobs.release_due, jobs.Tick(), actor=SYSTEM)
        await hub.run(decisions.expire_unanswered, decisions.ApprovalTick(), actor=SYSTEM)
        if self._round % SLOW_EVERY == 0:
            await hub.run(workers.forget_silent, workers.WorkerTick(), actor=SYSTEM)
            await hub.run(jobs.expire_waits, jobs.Tick(), actor=SYSTEM)
        await hub.run(index, jobs.Tick(), actor=SYSTEM)
        if self._retention is not None and self._round % HOURLY == 0:
            await retention.apply(hub, self._retention)
        self._round += 1
        self.rounds += 1
        self.last_round = hub.monotonic()

    def stalled_s(self) -> float:
        """For how long no round has ended, in seconds."""
        return self._hub.monotonic() - self.last_round

    async def run(self, stopping: asyncio.Event, every_s: float = 1.0) -> None:
        """``step()`` until ``stopping``. A busy or full store delays upkeep; it does not end it."""
        while not stopping.is_set():
            try:
                await self.step()
                self.last_error = None
            except PushPalsError as error:
                self.last_error = error.message
            try:
                await asyncio.wait_for(stopping.wait(), every_s)
            except TimeoutError:
                continue


def index(tx: Tx, ask: jobs.Tick, now: datetime) -> int:
    """Make what was said since searchable."""
    return tx.index(limit=2 * ask.limit)
