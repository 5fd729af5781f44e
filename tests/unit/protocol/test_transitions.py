"""The state machines, step by step: what leads where, and that nothing else does."""

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.protocol import approvals, jobs, landings
from pushpals.protocol.approvals import ApprovalMove, ApprovalState, action_hash, canonical
from pushpals.protocol.errors import Conflict
from pushpals.protocol.jobs import JobMove, JobState
from pushpals.protocol.landings import LandingState

JOB = """
    blocked    release  pending
    blocked    cancel   cancelled
    scheduled  due      pending
    scheduled  cancel   cancelled
    pending    claim    claimed
    pending    cancel   cancelled
    claimed    complete completed
    claimed    fail     failed
    claimed    requeue  pending
    claimed    delay    scheduled
    claimed    block    blocked
    claimed    cancel   cancelled
    failed     retry    pending
    cancelled  retry    pending
"""

APPROVAL = """
    open     approve approved
    open     deny    denied
    open     expire  expired
    open     void    void
    approved consume consumed
    approved expire  expired
    approved void    void
    consumed void    void
"""


def table(text: str) -> dict[tuple[str, str], str]:
    return {(a, b): c for a, b, c in (line.split() for line in text.strip().splitlines())}


@pytest.mark.parametrize(("state", "move"), list(itertools.product(get_args(JobState), get_args(JobMove))))
def test_jobs_move_only_so(state: JobState, move: JobMove) -> None:
    to = table(JOB).get((state, move))
    if to is not None:
        assert jobs.advance(state, move) == to
        return
    with pytest.raises(Conflict, match=f"a {state} job cannot {move}") as refused:
        jobs.advance(state, move)
    assert (refused.value.code, refused.value.status) == ("job.state", 409)


@pytest.mark.parametrize(
    ("state", "move"), list(itertools.product(get_args(ApprovalState), get_args(ApprovalMove)))
)
def test_approvals_move_only_so(state: ApprovalState, move: ApprovalMove) -> None:
    to = table(APPROVAL).get((state, move))
    if to is not None:
        assert approvals.advance(state, move) == to
        return
    with pytest.raises(Conflict, match=f"this approval is {state}") as refused:
        approvals.advance(state, move)
    assert refused.value.code == "approval.state"


def test_completed_is_the_one_end_of_a_job_without_return() -> None:
    leads = {state for state, _ in jobs.TRANSITIONS}
    assert set(get_args(JobState)) - leads == {"completed"}
    assert {state for state, move in jobs.TRANSITIONS if move == "retry"} == jobs.TERMINAL - {"completed"}


def test_landing_states_are_waiting_working_held_or_ended() -> None:
    parts = [landings.WAITING, landings.WORKING, frozenset({"held"}), landings.ENDS]
    assert sorted(state for part in parts for state in part) == sorted(get_args(LandingState))
    assert set(landings.UNFINISHED) == set(get_args(LandingState)) - landings.ENDS
    assert set(landings.STEPS) == set(get_args(LandingState))


@pytest.mark.parametrize(
    ("state", "to"), list(itertools.product(get_args(LandingState), get_args(LandingState)))
)
def test_landings_step_only_so(state: LandingState, to: LandingState) -> None:
    if to in landings.STEPS[state]:
        assert landings.advance(state, to) == to
        return
    with pytest.raises(Conflict) as refused:
        landings.advance(state, to)
    assert refused.value.code == "landing.state"


@pytest.mark.parametrize("state", sorted(landings.ENDS))
def test_an_end_is_an_end(state: LandingState) -> None:
    assert landings.STEPS[state] == frozenset()


def test_what_is_being_pushed_cannot_be_cancelled_and_only_that_lands() -> None:
    assert "cancelled" not in landings.STEPS["pushing"]
    assert [state for state, steps in landings.STEPS.items() if "landed" in steps] == ["prepared", "pushing"]


def test_every_unfinished_landing_can_end() -> None:
    for state in landings.UNFINISHED:
        seen, ahead = {state}, [state]
        while ahead:
            news = landings.STEPS[ahead.pop()] - seen
            seen |= news
            ahead += news
        assert "landed" in seen


def test_the_action_hash_is_fixed() -> None:
    assert (
        canonical({"b": [1, {"z": 1, "a": "é"}], "a": None}) == '{"a":null,"b":[1,{"a":"é","z":1}]}'.encode()
    )
    assert action_hash({"b": 1, "a": 2}) == (
        "f0b67a1879b155c792e71adbe167165cf09fe375c4cbe4276cb01a0225126036"
    )


@given(st.dictionaries(st.text(max_size=4), st.integers(-(2**53), 2**53) | st.text(max_size=4), max_size=5))
def test_an_action_has_one_hash_however_it_is_written(action: dict[str, object]) -> None:
    assert action_hash(dict(reversed(action.items()))) == action_hash(action)
    assert action_hash(action | {"more": True}) != action_hash(action)
