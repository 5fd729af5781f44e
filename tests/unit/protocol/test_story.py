"""The story of a job, from the shared fixtures."""

from __future__ import annotations

import json
from pathlib import Path

from pushpals.protocol.events import Event
from pushpals.protocol.story import MAX_OUTPUT_LINES, story
from pushpals.protocol.wire import read_event

FIXTURES = Path(__file__).parents[2] / "fixtures" / "fold"


def events_of(name: str) -> list[Event]:
    fixture = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    return [read_event(json.dumps(one["envelope"]), one["cursor"]) for one in fixture["events"]]


def test_a_landed_job_is_told_from_the_message_to_main() -> None:
    told = [(entry.step, entry.who, entry.text) for entry in story(events_of("a_fix_that_lands"), "job-1")]
    assert told == [
        ("message", "client:ada", "fix the lint"),
        ("said", "agent:remote", "I will apply ruff's safe fixes."),
        ("plan", "agent:remote", "Fix the lint"),
        ("job", "agent:remote", "enqueued: fix"),
        ("job", "w1", "claimed by w1"),
        ("job", "worker:w1", "works on bbbbbbbbbbbb, attempt 1"),
        ("log", "worker:w1", "ruff can fix 2 of 3 findings."),
        ("command", "worker:w1", "ruff check --fix ."),
        ("artifact", "worker:w1", "patch, 180 bytes"),
        ("diff", "worker:w1", "1 file changed, 1 insertion(+), 1 deletion(-)"),
        ("commit", "worker:w1", "Fix the lint"),
        ("check", "worker:w1", "pytest passed: 12 passed (2.5 s) on cccccccccccc"),
        ("job", "worker:w1", "completed: ruff fixed 2 findings."),
        ("landing", "agent:remote", "submitted"),
        ("approval", "hub", "Land cccccccccccc on main: 1 file, +1 −1"),
        ("landing", "agent:remote", "needs_approval: waits for a person's yes"),
        ("said", "agent:remote", "The change is ready: 1 file changed."),
        ("approval", "client:ada", "approved"),
        ("landing", "client:ada", "queued: approved by client:ada"),
        ("landing", "agent:serial-pusher", "checking"),
        ("check", "agent:serial-pusher", "pytest passed (2.0 s) on eeeeeeeeeeee"),
        ("landing", "agent:serial-pusher", "landed"),
        ("commit", "agent:serial-pusher", "Fix the lint"),
        ("job", "agent:remote", "task completed: Landed on main as eeeeeeeeeeee."),
    ]


def test_a_command_comes_with_its_output_and_exit_code() -> None:
    (command,) = [entry for entry in story(events_of("a_fix_that_lands"), "job-1") if entry.step == "command"]
    assert command.data["exitCode"] == 0
    assert command.data["output"] == ["Found 3 errors (2 fixed, 1 remaining)."]


def test_a_sibling_job_is_not_in_the_story() -> None:
    told = story(events_of("lost_retried_and_cancelled"), "job-2")
    assert [(entry.step, entry.text) for entry in told] == [
        ("message", "run the tests"),
        ("job", "enqueued: look"),
        ("job", "claimed by w2"),
        ("command", "ruff"),
        ("job", "asked to stop: asked to stop"),
        ("job", "cancelled: asked to stop"),
        ("job", "task failed: Run the tests failed"),
    ]


def test_an_unknown_job_has_no_story() -> None:
    assert story(events_of("a_fix_that_lands"), "job-77") == []


def test_endless_output_keeps_its_head_and_tail() -> None:
    from pushpals.protocol import events as e

    def event(payload: e.Payload, cursor: int) -> Event:
        return Event(cursor=cursor, id=f"e{cursor}", ts="", session_id="dev", payload=payload)

    events = [
        event(e.JobEnqueued(job_id="j", task_id="t", kind="command", params={}), 1),
        event(e.JobClaimed(job_id="j", worker_id="w"), 2),
        event(e.ToolCall(tool_call_id="c", tool="run", args={"argv": ["yes"]}), 3),
    ]
    events += [
        event(e.JobLog(job_id="j", stream="stdout", seq=n, line=str(n)), 3 + n) for n in range(1, 10_001)
    ]
    events.append(event(e.ToolResult(tool_call_id="c", ok=True, exit_code=0), 20_000))
    (command,) = [entry for entry in story(events, "j") if entry.step == "command"]
    output = command.data["output"]
    assert len(output) == MAX_OUTPUT_LINES + 1
    assert (output[0], output[1_000], output[-1]) == ("1", "… 8000 lines …", "10000")
