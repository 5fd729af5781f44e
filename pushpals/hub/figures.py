"""What was measured in the last day: success, waits and run times, and from them when a job will start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from pushpals.protocol.commands import KindFigures, LandingFigures, LastDay
from pushpals.protocol.jobs import TERMINAL, Job
from pushpals.protocol.landings import ENDS, Landing
from pushpals.protocol.records import Worker
from pushpals.protocol.times import parse_stamp, stamp
from pushpals.store.base import MAX_FIND, Before, Reader

KEPT_S = 10.0
"""How long figures are used again, in seconds."""

DAY = timedelta(days=1)


class Figures:
    """Measures when asked, at most every :data:`KEPT_S`."""

    def __init__(self, reader: Reader, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._monotonic = monotonic
        self._last: LastDay | None = None
        self._at = 0.0

    async def last_day(self, now: datetime) -> LastDay:
        """From the newest 1,000 ended jobs and landings, at most a day old."""
        if self._last is None or self._monotonic() - self._at > KEPT_S:
            jobs = await self._reader.find(
                Job, state=tuple(sorted(TERMINAL)), order=("-updated_at",), limit=MAX_FIND
            )
            landings = await self._reader.find(
                Landing, state=tuple(sorted(ENDS)), order=("-updated_at",), limit=MAX_FIND
            )
            self._last, self._at = measure(jobs, landings, now), self._monotonic()
        return self._last

    async def position(self, job: Job) -> int:
        """How many claimable jobs have an earlier turn."""
        return sum((await self._reader.count(Job, "state", state="pending", due=Before(job.due))).values())

    async def eta_s(self, job: Job, position: int, now: datetime) -> float | None:
        """When it will start: the jobs ahead, each as long as its kind usually is, shared by those who work."""
        kinds = (await self.last_day(now)).kinds
        known = kinds.get(job.kind) or kinds.get("")
        states = await self._reader.count(Worker, "state", state=("busy", "idle"))
        workers = sum(states.values())
        if known is None or known.run_p50_s is None or not workers:
            return None
        idle = states.get("idle", 0)
        if position < idle:
            return 0.0
        # Whoever works now is half through, on average.
        return round(known.run_p50_s * (0.5 + (position - idle) / workers), 1)


def measure(jobs: Iterable[Job], landings: Iterable[Landing], now: datetime) -> LastDay:
    """The figures of what ended within the last day. The kind ``""`` stands for all."""
    since = stamp(now - DAY)
    ended = [job for job in jobs if (job.finished_at or "") >= since]
    by_kind: dict[str, list[Job]] = {"": ended} if ended else {}
    for job in ended:
        by_kind.setdefault(job.kind, []).append(job)
    done = [landing for landing in landings if landing.updated_at >= since]
    took = sorted(_seconds(x.created_at, x.updated_at) for x in done if x.state == "landed")
    return LastDay(
        kinds={kind: _figures(some) for kind, some in by_kind.items()},
        landings=LandingFigures(
            ended=len(done), landed=len(took), p50_s=_at(took, 0.5), p95_s=_at(took, 0.95)
        ),
    )


def _figures(jobs: Sequence[Job]) -> KindFigures:
    started = [job for job in jobs if job.started_at]
    waits = sorted(_seconds(job.queued_at or job.created_at, job.started_at or "") for job in started)
    runs = sorted(_seconds(job.started_at or "", job.finished_at or "") for job in started)
    states = [job.state for job in jobs]
    completed, failed = states.count("completed"), states.count("failed")
    return KindFigures(
        completed=completed,
        failed=failed,
        cancelled=states.count("cancelled"),
        success=round(completed / (completed + failed), 4) if completed + failed else None,
        wait_p50_s=_at(waits, 0.5),
        wait_p95_s=_at(waits, 0.95),
        run_p50_s=_at(runs, 0.5),
        run_p95_s=_at(runs, 0.95),
    )


def _seconds(since: str, until: str) -> float:
    return max(0.0, (parse_stamp(until) - parse_stamp(since)).total_seconds())


def _at(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[int(share * (len(ordered) - 1))], 3) if ordered else None
