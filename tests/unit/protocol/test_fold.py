"""Events fold to views: shared fixtures, and what holds for every history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushpals.protocol import events as e
from pushpals.protocol.events import OURS, PAYLOADS, Event
from pushpals.protocol.fold import EMPTY, FOLDS, apply, fold
from pushpals.protocol.views import KEEP, KEEP_LINES, SessionView
from pushpals.protocol.wire import read_event

FIXTURES = Path(__file__).parents[2] / "fixtures" / "fold"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def events_of(name: str) -> list[Event]:
    return [read_event(json.dumps(one["envelope"]), one["cursor"]) for one in load(name)["events"]]


def as_json(view: SessionView) -> Any:
    return json.loads(msgspec.json.encode(view))


def event(payload: e.Payload, cursor: int, **route: Any) -> Event:
    return Event(
        cursor=cursor,
        id=f"event-{cursor}",
        ts="2026-01-31T12:00:00.000Z",
        session_id="dev",
        payload=payload,
        **route,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_fixture_folds_to_its_view(name: str) -> None:
    assert as_json(fold(events_of(name))) == load(name)["view"]


@pytest.mark.parametrize("name", NAMES)
def test_a_view_survives_its_json(name: str) -> None:
    view = fold(events_of(name))
    assert msgspec.json.decode(msgspec.json.encode(view), type=SessionView) == view


@pytest.mark.parametrize("name", NAMES)
def test_stopping_anywhere_and_going_on_gives_the_same(name: str) -> None:
    events = events_of(name)
    whole = fold(events)
    for cut in range(len(events)):
        assert fold(events[cut:], fold(events[:cut])) == whole
        # A client that overlaps its snapshot with its stream.
        assert fold(events[max(0, cut - 3) :], fold(events[:cut])) == whole


def test_every_event_type_has_a_step_and_a_fixture() -> None:
    assert set(FOLDS) == set(PAYLOADS.values())
    seen = {type(one.payload) for name in NAMES for one in events_of(name)}
    assert set(FOLDS) - seen == set()
    assert set(OURS) <= seen


def test_an_event_copies_only_what_it_touches() -> None:
    view = fold(events_of("a_fix_that_lands"))
    after = apply(view, event(e.Message(text="more"), view.cursor + 1))
    untouched = set(SessionView.__struct_fields__) - {"session_id", "cursor", "ts", "messages"}
    assert all(getattr(after, name) is getattr(view, name) for name in untouched)


def test_a_log_line_touches_only_the_output() -> None:
    view = fold(events_of("lost_retried_and_cancelled"))
    line = e.JobLog(job_id="job-3", stream="stdout", seq=2, line="more")
    after = apply(view, event(line, view.cursor + 1))
    assert after.jobs is view.jobs
    assert after.output["job-3"].count == 2


def test_everything_is_bounded() -> None:
    view = fold(event(e.Message(text=str(number)), number) for number in range(1, KEEP + 10))
    assert (len(view.messages), view.messages[0].text) == (KEEP, "10")

    running = e.JobEnqueued(job_id="first", task_id="t", kind="check", params={})
    view = fold([event(running, 1), event(e.JobClaimed(job_id="first", worker_id="w"), 2)])
    cursor = 2
    for number in range(KEEP + 5):
        ended = e.JobEnqueued(job_id=f"job-{number}", task_id="t", kind="check", params={})
        view = fold(
            [event(ended, cursor + 1), event(e.JobFailed(job_id=f"job-{number}", message="x"), cursor + 2)],
            view,
        )
        cursor += 2
    assert len(view.jobs) == KEEP
    assert "first" in view.jobs, "a running job is not forgotten for ended ones"

    lines = (e.JobLog(job_id="first", stream="stdout", seq=n, line=str(n)) for n in range(1, 100))
    view = fold((event(line, cursor + n) for n, line in enumerate(lines, 1)), view)
    assert (len(view.output["first"].lines), view.output["first"].count) == (KEEP_LINES, 99)
    assert view.output["first"].lines[-1] == "99"


def test_two_workers_of_one_task_keep_their_commands_apart() -> None:
    events = events_of("lost_retried_and_cancelled")
    view = fold(events[:8])
    assert {job: [c.tool for c in output.commands] for job, output in view.output.items()} == {
        "job-1": ["check"],
        "job-2": ["look"],
    }


def test_a_job_that_is_there_is_not_enqueued_over() -> None:
    enqueued = e.JobEnqueued(job_id="j", task_id="t", kind="check", params={})
    claimed = e.JobClaimed(job_id="j", worker_id="w")
    view = fold(event(one, cursor) for cursor, one in enumerate([enqueued, claimed, enqueued], 1))
    assert view.jobs["j"].state == "claimed"


ANY_EVENTS = [one for name in NAMES for one in events_of(name)]


@given(st.lists(st.sampled_from(ANY_EVENTS), max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_order_of_events_makes_the_fold_raise(chosen: list[Event]) -> None:
    view = EMPTY
    for number, one in enumerate(chosen, start=1):
        before = view
        view = apply(view, msgspec.structs.replace(one, cursor=number))
        assert view.cursor == number
        assert apply(view, one if one.cursor <= number else event(e.Done(ok=True), number)) is view
        assert before.cursor == number - 1
    assert set(view.output) <= {id for id, job in view.jobs.items() if job.state == "claimed"}
    assert msgspec.json.decode(msgspec.json.encode(view), type=SessionView) == view
