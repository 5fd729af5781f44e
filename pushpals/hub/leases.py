"""Deadlines of leases, on the monotonic clock.

The wall clock may jump; a lease must neither be lost nor prolonged by that. So deadlines live in memory,
and after a restart everything held gets one fresh lease.
"""

from __future__ import annotations

from collections.abc import Callable


class Leases:
    """``name`` is held under ``fence`` until its deadline."""

    def __init__(self, monotonic: Callable[[], float]):
        self._now = monotonic
        self._deadlines: dict[str, tuple[int, float]] = {}

    def renew(self, name: str, fence: int, seconds: float) -> None:
        held = self._deadlines.get(name)
        if held is None or held[0] <= fence:
            self._deadlines[name] = (fence, self._now() + seconds)

    def release(self, name: str, fence: int) -> None:
        """Forget the lease, unless somebody took it again under a newer fence meanwhile."""
        held = self._deadlines.get(name)
        if held is not None and held[0] <= fence:
            del self._deadlines[name]

    def live(self, name: str) -> bool:
        held = self._deadlines.get(name)
        return held is not None and held[1] > self._now()

    def expired(self) -> list[tuple[str, int]]:
        """``(name, fence)`` of every lease past its deadline; they stay until released or renewed."""
        now = self._now()
        return [(name, fence) for name, (fence, deadline) in self._deadlines.items() if deadline <= now]
