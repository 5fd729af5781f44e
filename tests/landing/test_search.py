"""The search: what it asks for, what it ends with, and what it costs over many seeds."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushpals.testing.simulate import simulate
from pushpals.testing.yard import PusherYard
from pushpals.work.landing.search import Learned, Search


@given(
    bad=st.sets(st.integers(0, 29), max_size=30),
    total=st.integers(1, 30),
    slots=st.integers(1, 5),
    learned=st.builds(Learned, bad=st.floats(0, 20), seen=st.floats(20, 200)),
    presumed=st.none() | st.integers(1, 30),
)
@settings(max_examples=300, deadline=None)
def test_a_search_ends_with_all_green_or_with_the_first_bad_one_as_its_culprit(
    bad: set[int], total: int, slots: int, learned: Learned, presumed: int | None
) -> None:
    bad = {one for one in bad if one < total}
    search = Search(presumed=presumed)
    tested: set[int] = set()
    waves = 0
    while sizes := search.next_sizes(total, learned, slots):
        assert len(sizes) <= slots
        assert not tested & set(sizes), "nothing is tested twice"
        assert all(search.green < size <= total for size in sizes)
        tested |= set(sizes)
        for size in sizes:
            search = search.saw(size, green=not any(one < size for one in bad))
        waves += 1
        assert waves <= total + 2
    if bad:
        assert search.culprit == min(bad)
        assert min(bad) + 1 in tested, "a culprit has a red run of its own"
    else:
        assert (search.green, search.culprit) == (total, None)


def test_a_longer_green_prefix_says_that_a_shorter_red_one_was_a_flake() -> None:
    search = Search().saw(4, green=False).saw(10, green=True)
    assert (search.green, search.red) == (10, None)


@pytest.mark.parametrize(
    ("bad", "slots", "flake", "most"),
    [(0, 1, 0.0, 2), (1, 1, 0.0, 10), (2, 1, 0.0, 16), (5, 1, 0.0, 30), (10, 1, 0.0, 46), (15, 1, 0.0, 52),
     (20, 1, 0.0, 54.6), (30, 1, 0.0, 54.6), (50, 1, 0.0, 54.6), (5, 1, 0.02, 36)],
)  # fmt: skip
def test_fifty_branches_cost_no_more_runs_than_promised(
    bad: int, slots: int, flake: float, most: float
) -> None:
    """The last bound is 1.05 of one by one, which also takes a run to confirm what failed and one of main."""
    runs, wrong, good = [], 0, 0
    for seed in range(150):
        chance = random.Random(seed)
        chosen = set(chance.sample(range(50), bad))
        done = simulate(50, chosen, slots=slots, flake=flake, chance=chance)
        assert done.landed | done.rejected == set(range(50))
        assert done.rejected >= chosen
        runs.append(done.runs)
        wrong += len(done.rejected - chosen)
        good += 50 - bad
    assert statistics.mean(runs) <= most
    assert wrong <= good * 0.001


def test_four_slots_take_half_the_time_of_one() -> None:
    waves = []
    for seed in range(150):
        chance = random.Random(seed)
        waves.append(simulate(50, set(chance.sample(range(50), 5)), slots=4, chance=chance).waves)
    assert statistics.mean(waves) <= 14


def test_a_known_share_stays_within_fifteen_percent_of_the_least_that_is_possible() -> None:
    from math import log2

    ratios = []
    for share in (0.02, 0.05, 0.1, 0.2):
        learned, runs = Learned(), 0
        for seed in range(40):
            chance = random.Random(seed)
            bad = {number for number in range(50) if chance.random() < share}
            done = simulate(50, bad, chance=chance, learned=learned)
            learned = done.learned
            runs += done.runs
        entropy = -share * log2(share) - (1 - share) * log2(1 - share)
        ratios.append(runs / (40 * 50 * entropy))
    assert statistics.mean(ratios) <= 1.15, ratios


@pytest.mark.parametrize("slots", [1, 3])
async def test_the_real_pusher_costs_what_the_simulation_says(yard: PusherYard, slots: int) -> None:
    bad = {3, 11}
    all_of_them = [await yard.submit({f"BAD{n}" if n in bad else f"f{n}": "x\n"}) for n in range(16)]
    pusher = yard.pusher(slots=slots)
    for _ in range(3):
        await pusher.round()
    wanted = ["rejected" if n in bad else "landed" for n in range(16)]
    assert await yard.states(*all_of_them) == wanted
    said = simulate(16, bad, slots=slots, chance=random.Random(0))
    assert len(yard.checks.runs) <= said.runs + 1
