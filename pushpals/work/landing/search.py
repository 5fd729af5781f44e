"""Which prefix of a queue to test next.

A queue is composed into a chain of commits, one per landing. A prefix is green if its last commit passes.
The search looks for the longest green prefix: first a prefix that passes about every second time, then
halves between the longest known green and the shortest known red one. What it ends with is one culprit
with evidence: the landing after the longest green prefix, and a red run in which only it was new.

The size ``0.69/p`` is where a batch of independent landings, each bad with probability ``p``, passes with
probability one half (``(1-p)^n = 1/2``); it comes within a few percent of the entropy bound of any plan of
yes/no tests.
"""

from __future__ import annotations

import math

import msgspec
from msgspec.structs import replace


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of ``total`` landings in order: prefixes up to ``green`` pass, that of ``red`` fails."""

    total: int
    green: int = 0
    red: int | None = None

    def next_size(self, p_bad: float) -> int | None:
        """The length of the prefix to test now, or ``None`` when everything is known."""
        if self.red is not None:
            return None if self.red == self.green + 1 else (self.green + self.red) // 2
        if self.green == self.total:
            return None
        return min(self.total, self.green + batch_size(p_bad))

    def saw(self, size: int, *, green: bool) -> Search:
        """After testing the prefix of ``size``."""
        if green:
            return replace(self, green=max(self.green, size))
        return replace(self, red=size if self.red is None else min(self.red, size))

    @property
    def culprit(self) -> int | None:
        """Index of the landing that is to blame, once it is known."""
        return self.green if self.red is not None and self.red == self.green + 1 else None


def batch_size(p_bad: float) -> int:
    """How many landings pass together about every second time, at least one."""
    if p_bad >= 0.25:
        return 1
    return max(1, math.floor(math.log(2) / max(p_bad, 1e-4)))


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """The share of bad landings of a repository, learned from what was landed and rejected.

    Starts as if 50 landings with one bad had been seen, and forgets slowly, so that a bad week passes.
    """

    bad: float = 1.0
    seen: float = 50.0

    def after(self, *, landed: int, rejected: int) -> Learned:
        bad, seen = self.bad + rejected, self.seen + landed + rejected
        scale = min(1.0, 200.0 / seen)
        return Learned(bad=bad * scale, seen=seen * scale)

    @property
    def p_bad(self) -> float:
        return self.bad / self.seen
