"""How much one token may post: a bucket of events that fills at a steady rate.

It bounds what people and agents say. What a job reports is bounded by its lease and its kept lines, and
one job may well print faster than anybody should talk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from pushpals.protocol.errors import TooMany

KEPT = 4_096


class Rates:
    """``per_s`` events a second for each name, and ``burst`` at once after a silence."""

    def __init__(self, per_s: float, burst: float, monotonic: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._now = monotonic
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, events: int = 1) -> None:
        """Raises :class:`TooMany`, with the time to wait, when the bucket holds too little."""
        now = self._now()
        left, since = self._left.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_s)
        enough = left >= events
        self._left[name] = (left - events if enough else left, now)
        if len(self._left) > KEPT:
            # The one that was quiet longest has a full bucket again, or nearly so.
            self._left.popitem(last=False)
        if not enough:
            raise TooMany(
                f"this token may post {self._per_s:g} events a second; slow down",
                code="events.too_many",
                retry_after=(events - left) / self._per_s,
            )
