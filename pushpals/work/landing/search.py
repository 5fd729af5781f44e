"""Which prefixes of a queue to test next.

A queue is composed into a chain of commits, one per landing. A prefix is green if its last commit passes.
The search looks for the longest green prefix: first prefixes that split what is believed about the first bad
landing into equal parts, then again between the longest known green and the shortest known red one. What it
ends with is one culprit with evidence: the landing after the longest green prefix, and a red run in which
only it was new.

With one slot and a share ``p`` of bad landings, the first prefix is the one that passes about every second
time, ``0.69/p`` long; this comes within a few percent of the entropy bound of any plan of yes/no tests. With
``k`` slots, ``k`` prefixes are tested at once. From a share of a quarter on, one by one is cheapest.

A prefix may be *presumed* red, because an earlier red run of it named failures that nobody has been blamed
for yet. That saves the run that would show it, and is never evidence: a culprit needs a run of its own.
"""

from __future__ import annotations

import math

import msgspec
from msgspec.structs import replace

ONE_BY_ONE = 0.25
"""From this share of bad landings on, batches cost more runs than they save."""

_SHARES = (0.002, 0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
_BEFORE = (0.40, 0.12, 0.08, 0.06, 0.06, 0.05, 0.05, 0.04, 0.04, 0.04, 0.03, 0.03)
"""How likely each share is before anything was seen: most repositories are nearly always green, and the rest
is anything. So fifty green landings cost one run, and a bad day is noticed after the first few."""
_MEMORY = 200.0


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a repository's landings: how many, and how many of them were bad.

    Forgets: about the last 200 count, so that a bad week passes.
    """

    bad: float = 0.0
    seen: float = 0.0

    def after(self, *, landed: int = 0, rejected: int = 0) -> Learned:
        bad, seen = self.bad + rejected, self.seen + landed + rejected
        scale = min(1.0, _MEMORY / seen) if seen else 1.0
        return Learned(bad=bad * scale, seen=seen * scale)

    @property
    def p_bad(self) -> float:
        """The expected share of bad landings."""
        return sum(weight * share for weight, share in self._belief())

    def split(self, length: int, slots: int, *, red: bool) -> tuple[int, ...]:
        """Up to ``slots`` prefixes of ``length`` landings that split the place of the first bad one evenly.

        ``red``: the whole is red, so that the first bad one is among them, and the whole itself is no answer.
        """
        most = length - 1 if red else length
        belief = self._belief()
        if not red and sum(weight * share for weight, share in belief) >= ONE_BY_ONE:
            return tuple(range(1, min(slots, most) + 1))
        passes = [sum(weight * (1 - share) ** n for weight, share in belief) for n in range(length + 1)]
        least = passes[length] if red else 0.0
        sizes: set[int] = set()
        for part in range(1, slots + 1):
            wanted = 1 - (1 - least) * part / (slots + 1)
            sizes.add(min(range(1, most + 1), key=lambda n: abs(passes[n] - wanted)))
        return tuple(sorted(sizes))

    def _belief(self) -> list[tuple[float, float]]:
        good = self.seen - self.bad
        logs = [
            math.log(weight) + self.bad * math.log(share) + good * math.log1p(-share)
            for weight, share in zip(_BEFORE, _SHARES, strict=True)
        ]
        top = max(logs)
        weights = [math.exp(value - top) for value in logs]
        total = sum(weights)
        return [(weight / total, share) for weight, share in zip(weights, _SHARES, strict=True)]


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of landings in order: prefixes up to ``green`` pass, that of ``red`` fails.

    ``presumed`` is a prefix believed to fail, without a run that says so.
    """

    green: int = 0
    red: int | None = None
    presumed: int | None = None

    def next_sizes(self, total: int, learned: Learned, slots: int = 1) -> tuple[int, ...]:
        """The lengths of the prefixes to test now; none when everything about ``total`` is known."""
        end = self._end(total)
        if self.red is not None and end == self.red:
            if self.red == self.green + 1:
                return ()
            found = learned.split(self.red - self.green, slots, red=True)
        elif self.green >= total:
            return ()
        elif end is not None:
            if end == self.green + 1:
                return (end,)
            found = learned.split(end - self.green, slots, red=True)
        else:
            found = learned.split(total - self.green, slots, red=False)
        return tuple(self.green + size for size in found)

    def saw(self, size: int, *, green: bool) -> Search:
        """After testing the prefix of ``size``. A presumption ends where a run says more."""
        if green:
            now = replace(self, green=max(self.green, size))
            if now.presumed is not None and now.presumed <= now.green:
                now = replace(now, presumed=None)
            # A longer prefix is green: whatever was red below it was a flake, or is mended further on.
            return replace(now, red=None) if now.red is not None and now.red <= now.green else now
        if size <= self.green:
            return self
        return replace(self, red=size if self.red is None else min(self.red, size))

    def landed(self, count: int) -> Search:
        """After the first ``count`` landings have left the front of the queue."""
        return Search(
            green=max(0, self.green - count),
            red=None if self.red is None or self.red <= count else self.red - count,
            presumed=None if self.presumed is None or self.presumed <= count else self.presumed - count,
        )

    def moot(self, size: int) -> bool:
        """Whether a run of this prefix can tell nothing more."""
        return size <= self.green or (self.red is not None and size > self.red)

    @property
    def culprit(self) -> int | None:
        """Index of the landing that is to blame, once it is known."""
        return self.green if self.red is not None and self.red == self.green + 1 else None

    def _end(self, total: int) -> int | None:
        ends = [end for end in (self.red, self.presumed) if end is not None and self.green < end <= total]
        return min(ends) if ends else None
