"""Time and ids that tests own."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class ManualClock:
    """A clock that moves only when told. Call it for the time; ``monotonic`` moves with it."""

    def __init__(self, start: datetime = NOON):
        self.now = start
        self._elapsed = 0.0

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)
        self._elapsed += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock; no time passes."""
        self.now += timedelta(seconds=seconds)


class CountedIds:
    """``job-1``, ``job-2``, ``event-1`` …"""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __call__(self, prefix: str) -> str:
        self._counts[prefix] += 1
        return f"{prefix}-{self._counts[prefix]}"
