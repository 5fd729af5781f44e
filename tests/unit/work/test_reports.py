"""Reading what checks say, from real outputs and from hostile ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushpals.protocol.jobs import Counts
from pushpals.work.executors.base import Outcome
from pushpals.work.reports import (
    MAX_REPORT_BYTES,
    Comparison,
    Reading,
    TestReport,
    compare,
    missing_modules,
    parse_junit,
    read,
    tool_of,
)

JUNIT = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4">
<testcase classname="tests.test_a" name="test_good" time="0.001" />
<testcase classname="tests.test_a" name="test_bad"><failure message="assert 1 == 2">text</failure></testcase>
<testcase classname="tests.test_a" name="test_skipped"><skipped type="pytest.skip" message="no" /></testcase>
<testcase classname="" name="tests.test_b"><error message="collection failure">x
E   ModuleNotFoundError: No module named 'gone'</error></testcase>
</testsuite></testsuites>"""

REPORT = TestReport(
    results={
        "tests.test_a::test_good": "passed",
        "tests.test_a::test_bad": "failed",
        "tests.test_a::test_skipped": "skipped",
        "tests.test_b": "error",
    },
    messages={
        "tests.test_a::test_bad": "assert 1 == 2",
        "tests.test_b": "ModuleNotFoundError: No module named 'gone'",
    },
)


def done(code: int | None, stdout: str = "", stderr: str = "", **fields: object) -> Outcome:
    return Outcome(exit_code=code, stdout=stdout.encode(), stderr=stderr.encode(), **fields)  # type: ignore[arg-type]


def test_a_report_is_read_test_by_test() -> None:
    assert parse_junit(JUNIT) == REPORT
    assert REPORT.counts == Counts(passed=1, failed=1, errors=1, skipped=1)


def test_a_failing_teardown_spoils_a_passed_test() -> None:
    data = b'<testsuite><testcase name="t"/><testcase name="t"><error message="teardown"/></testcase></testsuite>'
    assert parse_junit(data) == TestReport(results={"t": "error"}, messages={"t": "teardown"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        b"<html/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><testsuite><testcase name="&a;"/></testsuite>',
        '<?xml version="1.0" encoding="utf-16"?><testsuite/>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="utf-7"?><testsuite/>',
        b"<testsuite>" + b"<a>" * 100_000,
        b"\xff\xfe<testsuite/>",
        b"<testsuite/>" + b" " * MAX_REPORT_BYTES,
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_not_plainly_a_report_is_none(data: bytes) -> None:
    assert parse_junit(data) is None


@pytest.mark.parametrize(
    ("outcome", "report", "reading"),
    [
        (
            done(0),
            parse_junit(b'<testsuite><testcase name="t"/></testsuite>'),
            Reading(verdict="passed", counts=Counts(passed=1)),
        ),
        (
            done(0, "3 passed, 1 skipped in 0.12s\n"),
            None,
            Reading(verdict="passed", counts=Counts(passed=3, skipped=1)),
        ),
        (
            done(0),
            TestReport(results={"t": "failed"}),
            Reading(
                verdict="failed",
                counts=Counts(failed=1),
                failures=["t"],
                detail="exit 0, but its report has failures",
            ),
        ),
        (
            done(1),
            REPORT,
            Reading(
                verdict="failed",
                counts=REPORT.counts,
                failures=[
                    "tests.test_a::test_bad: assert 1 == 2",
                    "tests.test_b: ModuleNotFoundError: No module named 'gone'",
                ],
            ),
        ),
        (done(5), None, Reading(verdict="could_not_run", detail="no tests were collected")),
        (
            done(0),
            TestReport(results={}),
            Reading(verdict="could_not_run", counts=Counts(), detail="no tests were run"),
        ),
        (done(3), None, Reading(verdict="could_not_run", detail="pytest failed internally")),
        (
            done(4, "", "ERROR: usage: pytest\npytest: error: unrecognized arguments: --cov\n"),
            None,
            Reading(verdict="could_not_run", detail="pytest: error: unrecognized arguments: --cov"),
        ),
        (
            done(2, "E   ModuleNotFoundError: No module named 'numpy.linalg'\n"),
            TestReport(results={"tests.test_a": "error"}),
            Reading(
                verdict="could_not_run",
                counts=Counts(errors=1),
                failures=["tests.test_a"],
                detail="the environment has no module numpy",
            ),
        ),
        (
            done(2, "E   ModuleNotFoundError: No module named 'ours.gone'\n"),
            TestReport(results={"tests.test_a": "error"}),
            Reading(
                verdict="failed",
                counts=Counts(errors=1),
                failures=["tests.test_a"],
                detail="tests could not be collected",
            ),
        ),
        (
            done(1, "", "ModuleNotFoundError: No module named 'trio'"),
            None,
            Reading(verdict="could_not_run", detail="the environment has no module trio"),
        ),
        (
            done(
                1, "", "Traceback (most recent call last):\nModuleNotFoundError: No module named 'ours.gone'"
            ),
            None,
            Reading(verdict="could_not_run", detail="ModuleNotFoundError: No module named 'ours.gone'"),
        ),
        (
            Outcome(error="no such program: pytest"),
            None,
            Reading(verdict="could_not_run", detail="no such program: pytest"),
        ),
        (
            Outcome(signal=15, timed_out=True, wall_s=60.0),
            None,
            Reading(verdict="timed_out", detail="stopped after 60 s"),
        ),
        (Outcome(signal=11), None, Reading(verdict="failed", detail="ended by signal SIGSEGV")),
        (Outcome(signal=15, cancelled=True), None, Reading(verdict="could_not_run", detail="it was stopped")),
    ],
    ids=lambda value: None if isinstance(value, (TestReport, Reading)) else "",
)
def test_pytest_s_word_is_a_verdict(outcome: Outcome, report: TestReport | None, reading: Reading) -> None:
    assert read("pytest", outcome, report, local={"ours"}) == reading


def test_findings_of_linters_are_named_and_counted() -> None:
    ruff = "F401 [*] `os` imported but unused\n --> a.py:1:8\n\nFound 1 error.\n"
    assert read("ruff", done(1, ruff)) == Reading(
        verdict="failed", counts=Counts(failed=1), failures=["a.py:1:8"], detail="1 finding"
    )
    mypy = "a.py:3: error: Incompatible types  [assignment]\na.py:4: note: hint\nFound 1 error in 1 file (checked 2)\n"
    assert read("mypy", done(1, mypy)) == Reading(
        verdict="failed",
        counts=Counts(failed=1),
        failures=["a.py:3 Incompatible types  [assignment]"],
        detail="1 type error",
    )
    assert read("mypy", done(0, "Success: no issues found\n")) == Reading(verdict="passed")
    assert read(
        "ruff", done(2, "", "ruff failed\n  Cause: Required version `==0.1` does not match\n")
    ) == Reading(verdict="could_not_run", detail="Cause: Required version `==0.1` does not match")


def test_unittest_is_counted_and_its_failures_are_named() -> None:
    text = "FAIL: test_x (a.b.Case.test_x)\n----\nRan 10 tests in 0.1s\n\nFAILED (failures=1, errors=2, skipped=3)\n"
    assert read("other", done(1, "", text)) == Reading(
        verdict="failed",
        counts=Counts(passed=4, failed=1, errors=2, skipped=3),
        failures=["test_x (a.b.Case.test_x)"],
        detail="exit 1: FAILED (failures=1, errors=2, skipped=3)",
    )
    assert read("other", done(127, "", "sh: just: not found\n")).verdict == "could_not_run"


@pytest.mark.parametrize(
    ("argv", "tool"),
    [
        (["pytest", "-q"], "pytest"),
        (["python", "-m", "pytest"], "pytest"),
        (["/x/python3.11", "-B", "-m", "mypy"], "mypy"),
        (["ruff", "check", "."], "ruff"),
        (["ruff", "format", "--check"], "ruff-format"),
        (["ruff", "rule"], "other"),
        (["python", "-c", "pytest"], "other"),
        (["make", "test"], "other"),
        ([], "other"),
    ],
)
def test_the_tool_is_known_by_its_argv(argv: list[str], tool: str) -> None:
    assert tool_of(argv) == tool


def test_two_runs_are_compared_test_by_test() -> None:
    before = TestReport(results={"a": "passed", "b": "failed", "c": "failed", "d": "passed", "e": "skipped"})
    after = TestReport(results={"a": "failed", "b": "failed", "c": "passed"})
    assert compare(before, after) == Comparison(broken=["a"], vanished=["d"], fixed=["c"], still=["b"])
    assert not compare(before, after).harmless
    assert compare(before, before).harmless


def test_missing_modules_are_named_once_by_their_top() -> None:
    text = "ModuleNotFoundError: No module named 'a.b'\nImportError: No module named a\nModuleNotFoundError: No module named 'c'"
    assert missing_modules(text) == ["a", "c"]


def test_the_report_of_a_real_run_is_read(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "test_x.py").write_text("def test_a(): pass\n\ndef test_b(): assert 'é' == '<&>'\n")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=r.xml", "--rootdir=."],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    report = parse_junit((tmp_path / "r.xml").read_bytes())
    assert report is not None
    assert report.results == {"test_x::test_a": "passed", "test_x::test_b": "failed"}
    assert report.messages["test_x::test_b"].startswith("AssertionError: assert 'é' == '<&>'")
