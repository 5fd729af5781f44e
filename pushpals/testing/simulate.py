"""A train without git and without a hub: only the search and the rule of evidence, for many seeds.

It drives the real :class:`~pushpals.work.landing.search.Search` and repeats the rule of
:mod:`pushpals.roles.pusher.train` on plain numbers, so that shares over thousands of queues can be measured.
The real pusher is compared with it in ``tests/landing``.
"""

from __future__ import annotations

import random
from collections.abc import Set

import msgspec

from pushpals.work.landing.search import Learned, Search


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """``waves`` is the time in checks: runs at the same time count once."""

    runs: int
    waves: int
    landed: frozenset[int]
    rejected: frozenset[int]
    learned: Learned


class _Run(msgspec.Struct, frozen=True):
    members: tuple[int, ...]
    names: frozenset[str]


class _Queue:
    def __init__(self, bad: Set[int], slots: int, flake: float, chance: random.Random, learned: Learned):
        self.bad, self.slots, self.flake, self.chance = bad, slots, flake, chance
        self.learned = learned
        self.members: list[int] = []
        self.reds: list[_Run] = []
        self.blamed: set[str] = set()
        self.suspects: list[tuple[int, _Run]] = []
        self.landed: set[int] = set()
        self.rejected: set[int] = set()
        self.runs = self.waves = 0
        self.flaked: set[str] = set()
        self.base_green = False

    def test(self, members: tuple[int, ...]) -> frozenset[str]:
        """What a run of these names as failing; nothing if it is green."""
        self.runs += 1
        names = frozenset(f"bad-{member}" for member in members if member in self.bad)
        if self.chance.random() < self.flake and not names:
            return frozenset({f"flake-{self.chance.randrange(40)}"})
        return names

    def presumed(self) -> int | None:
        at = {member: number for number, member in enumerate(self.members)}
        found = [
            max(places) + 1
            for red in self.reds
            if (places := [at[m] for m in red.members if m in at]) and red.names - self.blamed
        ]
        return min(found) if found else None

    def search(self) -> None:
        search = Search(presumed=self.presumed())
        last: dict[int, _Run] = {}
        while sizes := search.next_sizes(len(self.members), self.learned, self.slots):
            self.waves += 1
            for size in sizes:
                names = self.test(tuple(self.members[:size]))
                if names:
                    last[size] = _Run(tuple(self.members[:size]), names)
                    self.reds.append(last[size])
                search = search.saw(size, green=not names)
            if search.green:
                count = search.green
                self.land(count)
                last = {size - count: run for size, run in last.items() if size > count}
                search = search.landed(count)
        if search.culprit is not None:
            self.blame(search.culprit, last[search.culprit + 1])

    def land(self, count: int) -> None:
        self.landed.update(self.members[:count])
        del self.members[:count]
        self.learned = self.learned.after(landed=count)
        self.base_green = True

    def blame(self, number: int, red: _Run) -> None:
        member = self.members[number]
        if not self.base_green:
            self.runs += 1
            self.waves += 1
            self.base_green = True
        self.blamed |= red.names
        steady = red.names - self.flaked
        if any(other is not red and member in other.members and steady & other.names for other in self.reds):
            self.rejected.add(member)
        elif steady:
            self.suspects.append((member, red))
        else:
            self.waves += 1
            self.reds.remove(red)
            if not self.test(tuple(self.members[: number + 1])):
                self.flaked |= red.names
                self.land(number + 1)
                return
            self.rejected.add(member)
        del self.members[number]
        self.learned = self.learned.after(rejected=1)

    def second_look(self) -> None:
        self.waves += 1
        names = self.test(tuple(member for member, _ in self.suspects))
        suspects, self.suspects = self.suspects, []
        for member, red in suspects:
            self.reds.remove(red)
            if not names:
                self.flaked |= red.names
                self.landed.add(member)
            elif names & red.names or len(suspects) == 1:
                self.rejected.add(member)
            else:
                self.members.append(member)


def simulate(
    branches: int,
    bad: Set[int],
    *,
    slots: int = 1,
    flake: float = 0.0,
    chance: random.Random,
    learned: Learned | None = None,
) -> Simulated:
    """Land a queue of ``branches`` of which ``bad`` are bad; each run fails with probability ``flake``."""
    queue = _Queue(bad, slots, flake, chance, learned or Learned())
    queue.members = list(range(branches))
    while queue.members or queue.suspects:
        while queue.members:
            queue.search()
        if queue.suspects:
            queue.second_look()
    return Simulated(
        runs=queue.runs,
        waves=queue.waves,
        landed=frozenset(queue.landed),
        rejected=frozenset(queue.rejected),
        learned=queue.learned,
    )
