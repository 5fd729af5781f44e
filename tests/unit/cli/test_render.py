"""Events as lines: every type has its words, and nobody's text speaks to the terminal."""

import ast
import inspect
from typing import Any

import click
import pytest

from pushpals.cli import render
from pushpals.cli.app import pick, safe_line, short
from pushpals.cli.errors import Failed
from pushpals.cli.render import Lines
from pushpals.protocol import events as ev
from pushpals.protocol.jobs import Counts, Evidence

TS = "2026-01-31T12:00:00.000Z"
HOSTILE = "\x1b]0;title\x07\x1b[2K\rdone\u202e\u200b"
COMMIT = "a" * 40


def line(payload: ev.Payload, *, quiet: bool = False, **more: Any) -> str | None:
    lines = Lines(quiet=quiet, local_time=False)
    said = lines.line(ev.Event(cursor=1, id="e", ts=TS, session_id="dev", payload=payload, **more))
    return None if said is None else click.unstyle(said)


LINES: list[tuple[ev.Payload, str | None]] = [
    (ev.Message(text="fix it"), "12:00:00  you       fix it"),
    (ev.Message(text="one\ntwo"), "12:00:00  you       one\n                    two"),
    (ev.Log(level="debug", message="x"), None),
    (ev.Log(level="warn", message="x"), "12:00:00  log       x"),
    (ev.JobLog(job_id="j", stream="stdout", seq=1, line="1 passed"), "12:00:00           │ 1 passed"),
    (ev.ToolCall(tool_call_id="c", tool="run", args={"argv": ["ls", "-l"]}), "12:00:00           │ $ ls -l"),
    (ev.ToolResult(tool_call_id="c", ok=True, exit_code=0), None),
    (ev.ToolResult(tool_call_id="c", ok=False, exit_code=2), "12:00:00           │ exit code 2"),
    (ev.ToolResult(tool_call_id="c", ok=False), "12:00:00           │ did not run"),
    (
        ev.ApprovalRequired(
            approval_id="approval-12345678901", action="git.push", summary="Land x", details={}
        ),
        "12:00:00  approval  Land x\n                    pushpals approve approval-123456",
    ),
    (
        ev.LandingMoved(landing_id="landing-1", state="landed", previous="pushing", cause="read back"),
        "12:00:00  landing   landing-1 landed: read back",
    ),
    (ev.Done(ok=True), None),
    (
        ev.PlanMade(
            plan_id="p",
            message_id="m",
            understanding="Fix the lint",
            steps=[ev.PlanStep(kind="fix", title="Fix the lint")],
        ),
        "12:00:00  plan      Fix the lint",
    ),
]


@pytest.mark.parametrize(("payload", "expected"), LINES, ids=lambda value: getattr(value, "TYPE", None))
def test_an_event_is_one_line_of_who_and_what(payload: ev.Payload, expected: str | None) -> None:
    assert line(payload) == expected


def test_a_job_is_named_by_what_it_does_once_its_task_is_known() -> None:
    lines = Lines(local_time=False)
    for payload in (
        ev.TaskCreated(task_id="t", title="Fix the lint", description="", created_by="buddy"),
        ev.JobEnqueued(job_id="j", task_id="t", kind="fix", params={}),
    ):
        lines.line(ev.Event(cursor=1, id="e", ts=TS, session_id="dev", payload=payload))
    claimed = ev.JobClaimed(job_id="j", worker_id="w1")
    said = lines.line(ev.Event(cursor=3, id="e", ts=TS, session_id="dev", payload=claimed))
    assert click.unstyle(said or "") == "12:00:00  job       j Fix the lint on w1"


def test_every_event_type_has_words_of_its_own() -> None:
    tree = ast.parse(inspect.getsource(render))
    matched = {
        node.cls.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.MatchClass) and isinstance(node.cls, ast.Attribute)
    }
    assert {kind.__name__ for kind in ev.PAYLOADS.values()} - matched == set()


FOREIGN: list[ev.Payload] = [
    ev.Message(text=HOSTILE),
    ev.AssistantMessage(text=HOSTILE),
    ev.Log(level="info", message=HOSTILE),
    ev.Error(message=HOSTILE, detail=HOSTILE),
    ev.TaskFailed(task_id="t", message=HOSTILE),
    ev.ToolCall(tool_call_id="c", tool="run", args={"argv": ["echo", HOSTILE]}),
    ev.JobLog(job_id="j", stream="stderr", seq=1, line=HOSTILE),
    ev.JobCompleted(job_id="j", summary=HOSTILE),
    ev.DiffReady(unified_diff=HOSTILE, diff_stat=HOSTILE, branch=HOSTILE),
    ev.Committed(branch=HOSTILE, commit_hash=COMMIT, message=HOSTILE),
    ev.ApprovalRequired(approval_id="a", action="other", summary=HOSTILE, details={}),
    ev.ApprovalDecided(
        approval_id="a", decision="deny", by=HOSTILE, token_id="t", action_hash="h", reason=HOSTILE
    ),
    ev.LandingMoved(landing_id="l", state="rejected", previous="queued", cause=HOSTILE),
    ev.Suggestions(items=[ev.Suggestion(id="s", title=HOSTILE, detail="", effort="S")]),
    ev.PlanMade(plan_id="p", message_id="m", understanding=HOSTILE, steps=[]),
]


@pytest.mark.parametrize("payload", FOREIGN, ids=lambda payload: payload.TYPE)
def test_foreign_text_cannot_speak_to_the_terminal_or_hide(payload: ev.Payload) -> None:
    said = line(payload, from_=f"agent:{HOSTILE}")
    assert said is not None
    assert not {"\x1b", "\x07", "\r", "\u202e", "\u200b"} & set(said)
    assert "<U+202E>" in said


RECEIPTS = [
    (
        Evidence(
            check="tests",
            argv=[],
            verdict="passed",
            commit=COMMIT,
            tree="",
            seconds=1.25,
            counts=Counts(passed=8),
        ),
        "tests passed  8 passed  1.2 s  on aaaaaaaaaa",
    ),
    (
        Evidence(
            check="tests",
            argv=[],
            verdict="failed",
            commit=COMMIT,
            tree="",
            failures=["test_x"],
            counts=Counts(passed=1, failed=2),
        ),
        "tests failed  1 passed, 2 failed  0.0 s  on aaaaaaaaaa  test_x",
    ),
    (
        Evidence(
            check="types",
            argv=[],
            verdict="could_not_run",
            commit="",
            tree="",
            detail="no such program: mypy",
        ),
        "types could not run  0.0 s  no such program: mypy",
    ),
]


@pytest.mark.parametrize(("evidence", "expected"), RECEIPTS)
def test_a_receipt_says_verdict_counts_time_and_commit(evidence: Evidence, expected: str) -> None:
    assert click.unstyle(render.receipt(evidence)) == expected


def test_a_diff_keeps_its_text_and_gets_colours() -> None:
    text = "diff --git a/x b/x\n@@ -1 +1 @@\n-old\n+new\n same"
    shown = render.diff(text)
    assert click.unstyle(shown) == text
    assert shown != text


IDS = ["job-abc111", "job-abc222", "job-xyz000", "plain"]


@pytest.mark.parametrize(
    ("typed", "found"), [("job-x", "job-xyz000"), ("abc1", "job-abc111"), ("plain", "plain")]
)
def test_a_unique_beginning_is_enough(typed: str, found: str) -> None:
    assert pick("job", typed, IDS) == found


@pytest.mark.parametrize(
    ("typed", "says"), [("abc", "begins more than one job"), ("q", "no job begins with 'q'")]
)
def test_what_is_not_unique_or_not_there_is_said(typed: str, says: str) -> None:
    with pytest.raises(Failed, match=says):
        pick("job", typed, IDS)


def test_short_ids_and_lines_stay_readable() -> None:
    assert (short("job-0123456789"), short("w1-abc"), short("plain")) == ("job-012345", "w1-abc", "plain")
    assert safe_line("a\n  b" + "c" * 300, 10) == "a bcccccc…"
