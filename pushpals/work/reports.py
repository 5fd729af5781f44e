"""What a check's output says: counts, names of what failed, and a verdict.

Three verdicts are not enough: a check that *could not run* is neither red nor green. Missing programs and
modules, wrong options, an internal error of the tool and "no tests collected" are told apart from failures
here, by exit code and by what the tool itself reports, never by guessing from prose.

Reports come out of a tree that untrusted code could write to, so they are parsed defensively: a size cap,
UTF-8 only, no document type and no entities, bounded names. A report never makes an outcome better than the
exit code says, only worse or clearer.
"""

from __future__ import annotations

import re
import signal
import xml.etree.ElementTree as ET
from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from pushpals.protocol.jobs import Counts, Verdict
from pushpals.work.executors.base import Outcome

Tool = Literal["pytest", "ruff", "ruff-format", "mypy", "typos", "other"]
Result = Literal["passed", "failed", "error", "skipped"]

MAX_REPORT_BYTES = 32 * 1024 * 1024
MAX_CASES = 200_000
MAX_FAILURES = 50
"""Names kept in evidence: the first ones, in the order of the report."""
MAX_NAME = 300


class TestReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a test suite, test by test. Names are ``module::class::test`` or ``class::test``."""

    __test__ = False

    results: dict[str, Result]
    messages: dict[str, str] = {}
    """The first line of what went wrong, for tests that failed or erred."""

    @property
    def counts(self) -> Counts:
        seen = list(self.results.values())
        return Counts(
            passed=seen.count("passed"),
            failed=seen.count("failed"),
            errors=seen.count("error"),
            skipped=seen.count("skipped"),
        )

    @property
    def bad(self) -> list[str]:
        return [name for name, result in self.results.items() if result in ("failed", "error")]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The same suite on two commits. ``vanished`` passed before and is not reported any more."""

    broken: list[str] = []
    vanished: list[str] = []
    fixed: list[str] = []
    still: list[str] = []

    @property
    def harmless(self) -> bool:
        """No test that passed before fails now, and none vanished."""
        return not self.broken and not self.vanished


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one check run amounts to."""

    verdict: Verdict
    counts: Counts | None = None
    failures: list[str] = []
    detail: str | None = None


def compare(before: TestReport, after: TestReport) -> Comparison:
    """Per test: broken, vanished, fixed, still failing."""
    was_bad, is_bad = set(before.bad), set(after.bad)
    return Comparison(
        broken=[name for name in after.bad if name not in was_bad],
        vanished=[n for n, r in before.results.items() if r == "passed" and n not in after.results],
        fixed=[name for name in before.bad if after.results.get(name) == "passed"],
        still=[name for name in after.bad if name in was_bad and name in is_bad],
    )


def parse_junit(data: bytes) -> TestReport | None:
    """A JUnit XML report; ``None`` for anything that is not plainly one."""
    if len(data) > MAX_REPORT_BYTES or b"<!" in data.replace(b"<![CDATA[", b"").replace(b"<!--", b""):
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    declared = re.match(r"\s*<\?xml[^>]*encoding\s*=\s*[\"']([^\"']+)[\"']", text)
    if "\0" in text or (declared and declared[1].lower() not in ("utf-8", "utf8", "us-ascii")):
        return None
    try:
        root = ET.fromstring(text.encode())
    except (ET.ParseError, RecursionError, ValueError):
        return None
    if root.tag not in ("testsuites", "testsuite"):
        return None
    results: dict[str, Result] = {}
    messages: dict[str, str] = {}
    for case in root.iter("testcase"):
        if len(results) >= MAX_CASES:
            return None
        name = _case_name(case)
        result, message = _case_result(case)
        # pytest reports a failing teardown as a second case of the same name: the worse one counts.
        if name not in results or _RANK[result] > _RANK[results[name]]:
            results[name] = result
            if message:
                messages[name] = message
    return TestReport(results=results, messages=messages)


def read(
    tool: Tool, outcome: Outcome, report: TestReport | None = None, local: Collection[str] = ()
) -> Reading:
    """The verdict of one run. ``local`` are the top-level module names of the repository itself."""
    if outcome.error is not None:
        return Reading(verdict="could_not_run", detail=outcome.error)
    if outcome.cancelled:
        return Reading(verdict="could_not_run", detail="it was stopped")
    counts = report.counts if report else None
    if outcome.timed_out:
        return Reading(verdict="timed_out", counts=counts, detail=f"stopped after {outcome.wall_s:.0f} s")
    if outcome.signal is not None:
        return Reading(
            verdict="failed", counts=counts, detail=f"ended by signal {_signal_name(outcome.signal)}"
        )
    match tool:
        case "pytest":
            return _read_pytest(outcome, report, local)
        case "ruff":
            return _read_findings(outcome, _RUFF_LINE, "finding", "findings")
        case "ruff-format":
            return _read_findings(outcome, _REFORMAT_LINE, "file to format", "files to format")
        case "mypy":
            return _read_findings(outcome, _MYPY_LINE, "type error", "type errors")
        case "typos":
            return _read_findings(outcome, _TYPOS_LINE, "misspelling", "misspellings")
        case "other":
            return _read_other(outcome)


def tool_of(argv: Collection[str]) -> Tool:
    """Which of the tools that we can read an argv runs; ``other`` for everything else."""
    words = list(argv)
    if not words:
        return "other"
    program = words[0].rsplit("/", 1)[-1]
    rest = words[1:]
    if re.fullmatch(r"python(\d+(\.\d+)?)?", program):
        while rest and rest[0] in ("-I", "-B", "-E", "-s", "-u", "-P"):
            rest = rest[1:]
        if len(rest) < 2 or rest[0] != "-m":
            return "other"
        program, rest = rest[1], rest[2:]
    if program in ("pytest", "py.test"):
        return "pytest"
    if program == "ruff":
        return {"check": "ruff", "format": "ruff-format"}.get(rest[0] if rest else "", "other")  # type: ignore[return-value]
    if program in ("mypy", "dmypy"):
        return "mypy"
    return "typos" if program == "typos" else "other"


def missing_modules(text: str) -> list[str]:
    """Top-level modules that an import failed on, in order of appearance."""
    found = re.findall(r"(?:ModuleNotFoundError|ImportError): No module named '?([A-Za-z_][\w.]*)", text)
    return list(dict.fromkeys(name.split(".")[0] for name in found))


_RANK: Mapping[Result, int] = {"skipped": 0, "passed": 1, "failed": 2, "error": 3}
_RUFF_LINE = re.compile(
    r"^(?P<at>[^\s:][^:\n]*:\d+:\d+): (?P<what>.+)$|^ *--> (?P<at2>[^\n]+:\d+:\d+)$", re.M
)
_REFORMAT_LINE = re.compile(r"^(?P<what>Would reformat): (?P<at>.+)$", re.M)
_MYPY_LINE = re.compile(r"^(?P<at>[^\s:][^:\n]*:\d+(?::\d+)?): error: (?P<what>.+)$", re.M)
_TYPOS_LINE = re.compile(r"^(?P<at>[^\s:][^:\n]*:\d+:\d+): (?P<what>.+)$", re.M)


def _case_name(case: ET.Element) -> str:
    parts = [case.get("classname") or "", case.get("name") or "?"]
    return _bounded("::".join(part for part in parts if part))


def _case_result(case: ET.Element) -> tuple[Result, str]:
    for tag, result in (("error", "error"), ("failure", "failed"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            message = (found.get("message") or found.text or "").strip()
            # Collection errors carry the cause in the text only: the last line that names an exception.
            causes = re.findall(r"^E\s+(\S.*)$", found.text or "", re.M)
            if result == "error" and causes:
                message = causes[-1]
            return result, _bounded(message.split("\n", 1)[0]) if result != "skipped" else ""  # type: ignore[return-value]
    return "passed", ""


def _read_pytest(outcome: Outcome, report: TestReport | None, local: Collection[str]) -> Reading:
    counts = report.counts if report else _counts_from_summary(_text(outcome))
    failures = [_named(name, report) for name in report.bad[:MAX_FAILURES]] if report else []
    code = outcome.exit_code
    if code == 0:
        if report and report.bad:
            return Reading(
                verdict="failed",
                counts=counts,
                failures=failures,
                detail="exit 0, but its report has failures",
            )
        if counts is not None and counts.passed + counts.skipped == 0:
            return Reading(verdict="could_not_run", counts=counts, detail="no tests were run")
        return Reading(verdict="passed", counts=counts)
    if code == 5:
        return Reading(verdict="could_not_run", counts=counts, detail="no tests were collected")
    text = _text(outcome)
    foreign = [name for name in missing_modules(text) if name not in local]
    # With 1 pytest has run tests, unless it is the interpreter's own exit code: pytest did not even start.
    started = counts is not None or not text.lstrip().startswith("Traceback")
    if code == 1 and started and (counts is not None or not foreign):
        return Reading(verdict="failed", counts=counts, failures=failures, detail=_missing_note(foreign))
    if code == 2 and not foreign and (failures or (counts is not None and counts.errors)):
        return Reading(
            verdict="failed", counts=counts, failures=failures, detail="tests could not be collected"
        )
    if foreign:
        detail = f"the environment has no module {', '.join(foreign[:5])}"
    elif code == 4:
        detail = _last_line(_text(outcome), r"(?i)error") or "pytest refused its options"
    elif code == 3:
        detail = "pytest failed internally"
    else:
        detail = _last_line(_text(outcome), r"\S") or f"exit {code}"
    return Reading(verdict="could_not_run", counts=counts, failures=failures, detail=detail)


def _read_findings(outcome: Outcome, line: re.Pattern[str], noun: str, nouns: str) -> Reading:
    text = _text(outcome)
    found = [_finding(match) for match in line.finditer(text)]
    total = len(found)
    if stated := re.search(r"^Found (\d+) error", text, re.M):
        total = int(stated[1])
    if outcome.exit_code == 0:
        return Reading(verdict="passed", counts=Counts(failed=total) if total else None)
    # Exit 2 means that the tool gave up. mypy also says it for a syntax error, and names the place then.
    if found and (outcome.exit_code in (1, 2)):
        return Reading(
            verdict="failed",
            counts=Counts(failed=total),
            failures=found[:MAX_FAILURES],
            detail=f"{total} {noun if total == 1 else nouns}",
        )
    if outcome.exit_code == 1:
        return Reading(verdict="failed", detail=_last_line(text, r"\S"))
    return Reading(verdict="could_not_run", detail=_last_line(text, r"\S") or f"exit {outcome.exit_code}")


def _read_other(outcome: Outcome) -> Reading:
    if outcome.exit_code == 0:
        return Reading(verdict="passed", counts=_counts_from_summary(_text(outcome)))
    text = _text(outcome)
    last = _last_line(text, r"\S")
    if outcome.exit_code in (126, 127):
        return Reading(verdict="could_not_run", detail=last or f"exit {outcome.exit_code}")
    detail = f"exit {outcome.exit_code}" + (f": {last}" if last else "")
    # unittest prints a header for each failure: `FAIL: test_x (module.Class.test_x)`.
    named = re.findall(r"^(?:FAIL|ERROR): (\S+ \([\w.]+\))", text, re.M)
    failures = [_bounded(name) for name in dict.fromkeys(named)][:MAX_FAILURES]
    return Reading(verdict="failed", counts=_counts_from_summary(text), failures=failures, detail=detail)


def _counts_from_summary(text: str) -> Counts | None:
    """The last summary of pytest (``3 failed, 10 passed in 0.12s``), or that of unittest."""
    lines = re.findall(r"^=*\s*((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s\b.*$", text, re.M)
    if not lines:
        return _counts_of_unittest(text)
    seen = {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", lines[-1])}
    return Counts(
        passed=seen.get("passed", 0) + seen.get("xpassed", 0),
        failed=seen.get("failed", 0),
        errors=seen.get("error", 0) + seen.get("errors", 0),
        skipped=seen.get("skipped", 0) + seen.get("xfailed", 0),
    )


def _counts_of_unittest(text: str) -> Counts | None:
    ran = re.findall(r"^Ran (\d+) tests? in [\d.]+s$", text, re.M)
    if not ran:
        return None
    last = re.findall(r"^(?:OK|FAILED)(?: \(([^)\n]*)\))?$", text, re.M)
    seen = {word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", last[-1] if last else "")}
    failed, errors, skipped = (seen.get(word, 0) for word in ("failures", "errors", "skipped"))
    passed = max(0, int(ran[-1]) - failed - errors - skipped)
    return Counts(passed=passed, failed=failed, errors=errors, skipped=skipped)


def _named(name: str, report: TestReport | None) -> str:
    message = report.messages.get(name) if report else None
    return _bounded(f"{name}: {message}" if message else name)


def _finding(match: re.Match[str]) -> str:
    groups = match.groupdict()
    where = groups.get("at") or groups.get("at2") or ""
    return _bounded(f"{where} {groups.get('what') or ''}".strip())


def _missing_note(foreign: list[str]) -> str | None:
    return f"the environment has no module {', '.join(foreign[:5])}" if foreign else None


def _last_line(text: str, pattern: str) -> str | None:
    lines = [line.strip() for line in text.splitlines() if re.search(pattern, line)]
    return _bounded(lines[-1]) if lines else None


def _text(outcome: Outcome) -> str:
    return (outcome.stdout + b"\n" + outcome.stderr).decode("utf-8", "replace")


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
