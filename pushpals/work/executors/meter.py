"""What a sandboxed tree uses, measured from outside while it runs.

bubblewrap exits before its process 1 does, so the kernel never adds the sandbox to bubblewrap's own account
and the ``wait4`` that reaps it knows nothing. The tree is looked at instead, often at first and then at every
tenth of its age. The figures are never more than the truth; what a short command used may be missed.
"""

from __future__ import annotations

import asyncio
import os

from pushpals.work.executors import proctree

FIRST_S = 0.05
SHARE = 0.1
SLOWEST_S = 2.0


class Meter:
    """Processor time of a whole tree, and the resident size of its largest process."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.peak_memory_bytes = 0
        self._next: asyncio.TimerHandle | None = None

    def start(self, leader: int) -> None:
        self._plan(leader, FIRST_S, asyncio.get_running_loop().time())

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def sample(self, leader: int) -> None:
        ticks = 0
        for pid in proctree.descendants(leader):
            used, peak = proctree.usage_of(pid)
            ticks += used
            self.peak_memory_bytes = max(self.peak_memory_bytes, peak)
        self.cpu_s = max(self.cpu_s, ticks / os.sysconf("SC_CLK_TCK"))

    def _plan(self, leader: int, wait: float, began: float) -> None:
        loop = asyncio.get_running_loop()

        def turn() -> None:
            self.sample(leader)
            self._plan(leader, min(max(FIRST_S, SHARE * (loop.time() - began)), SLOWEST_S), began)

        self._next = loop.call_later(wait, turn)
