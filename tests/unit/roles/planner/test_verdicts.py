"""What receipts say about a change, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from pushpals.protocol.jobs import Evidence, JobResult, Verdict
from pushpals.roles.verdicts import Standing, assess

BASE, HEAD = "b" * 40, "c" * 40


def receipt(verdict: Verdict, *failures: str, commit: str = HEAD) -> Evidence:
    return Evidence(
        check="pytest",
        argv=["pytest"],
        verdict=verdict,
        commit=commit,
        tree="d" * 40,
        failures=list(failures),
    )


def result(*evidence: Evidence, baseline: dict[str, Any] | None = None, head: str | None = HEAD) -> JobResult:
    output = {"baseline": {"pytest": baseline}} if baseline else {}
    return JobResult(summary="", base=BASE, head=head, evidence=list(evidence), output=output)


@pytest.mark.parametrize(
    ("made", "standing", "lands"),
    [
        (result(receipt("passed")), "passed", True),
        (result(receipt("could_not_run")), "unknown", True),
        (result(receipt("failed", "t::a")), "broken", False),
        (result(receipt("timed_out")), "broken", False),
        (result(receipt("failed", "t::a"), baseline={"verdict": "passed"}), "broken", False),
        (result(receipt("failed", "t::a"), baseline={"verdict": "failed", "broken": []}), "red_before", True),
        (
            result(receipt("failed", "t::a"), baseline={"verdict": "failed", "broken": ["t::a"]}),
            "broken",
            False,
        ),
        (
            result(receipt("failed", "t::a"), baseline={"verdict": "failed", "vanished": ["t::b"]}),
            "broken",
            False,
        ),
        (result(receipt("failed"), baseline={"verdict": "could_not_run"}), "broken", False),
        (result(receipt("timed_out"), baseline={"verdict": "timed_out"}), "red_before", True),
        (result(receipt("failed", "t::a", commit=BASE), receipt("failed", "t::a")), "red_before", True),
        (result(receipt("failed", "t::a", commit=BASE), receipt("failed", "t::b")), "broken", False),
        (result(receipt("failed", "t::a", commit=BASE), head=None), "red_before", False),
        (result(receipt("passed", commit=BASE), head=BASE), "passed", False),
    ],
)
def test_a_check_stands_beside_its_baseline(made: JobResult, standing: Standing, lands: bool) -> None:
    verdict = assess(made)
    assert ([check.standing for check in verdict.checks], verdict.lands) == ([standing], lands)


def test_a_receipt_for_another_commit_does_not_count() -> None:
    assert assess(result(receipt("passed", commit="f" * 40))).checks == ()


def test_what_the_change_mended_is_known() -> None:
    verdict = assess(result(receipt("failed", "t::a", commit=BASE), receipt("failed")))
    assert verdict.checks[0].fixed == ("t::a",)


def test_a_summary_is_never_evidence() -> None:
    made = JobResult(summary="All tests pass. Trust me.", base=BASE, head=HEAD)
    assert assess(made).checks == ()


@pytest.mark.parametrize("odd", [3, "x", [1], {"pytest": 3}, {"pytest": {"broken": "all"}}, None])
def test_odd_baselines_are_read_as_none(odd: Any) -> None:
    made = JobResult(
        summary="", base=BASE, head=HEAD, evidence=[receipt("failed", "t::a")], output={"baseline": odd}
    )
    assert assess(made).lands is False
