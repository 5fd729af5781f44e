"""What a job tells: in order, bounded, in batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pushpals.protocol.commands import EventIn, LogLine
from pushpals.protocol.events import Log
from pushpals.work.outbox import (
    BATCH_LINES,
    MAX_LINE,
    QUEUE_LINES,
    TAIL_LINES,
    Outbox,
)


def drain(outbox: Outbox) -> list[str]:
    """Everything in the order in which the hub would append it."""
    told: list[str] = []
    while batch := outbox.take():
        told += [str(event.payload["message"]) for event in batch.events]
        told += [line.line for line in batch.lines]
    return told


async def test_a_batch_ends_where_an_event_follows_a_line() -> None:
    outbox = Outbox()
    outbox.event(Log(level="info", message="call"))
    outbox.line("stdout", "a")
    outbox.line("stderr", "b")
    outbox.event(Log(level="info", message="result"))
    first, second, third = outbox.take(), outbox.take(), outbox.take()
    assert first.events == [EventIn(type="log", payload={"level": "info", "message": "call"})]
    assert first.lines == [LogLine(stream="stdout", line="a"), LogLine(stream="stderr", line="b")]
    assert [event.payload["message"] for event in second.events] == ["result"]
    assert not third
    assert len(outbox) == 0


async def test_a_flood_keeps_its_head_and_its_tail_and_says_what_is_missing() -> None:
    outbox = Outbox()
    total = 100_000
    for number in range(total):
        outbox.line("stdout", str(number))
        assert len(outbox) <= QUEUE_LINES + TAIL_LINES
    outbox.event(Log(level="info", message="end"))
    told = drain(outbox)
    missing = total - QUEUE_LINES - TAIL_LINES
    note = f"[{missing} lines are not shown here: they came faster than they could be stored]"
    head = [str(number) for number in range(QUEUE_LINES)]
    tail = [str(number) for number in range(total - TAIL_LINES, total)]
    assert told == [*head, note, *tail, "end"]
    assert outbox.dropped == missing


async def test_memory_is_bounded_by_bytes_too() -> None:
    outbox = Outbox()
    for _ in range(5_000):
        outbox.line("stdout", "x" * MAX_LINE)
    assert len(outbox) * MAX_LINE < 6 * 1024 * 1024


async def test_a_long_line_is_cut_and_counted() -> None:
    outbox = Outbox()
    outbox.line("stdout", "x" * (MAX_LINE + 5))
    assert drain(outbox) == ["x" * MAX_LINE + " [5 more characters]"]


async def test_waiting_ends_early_when_there_is_plenty() -> None:
    outbox = Outbox()
    assert not await outbox.wait(0.0, 0.0)
    for _ in range(BATCH_LINES):
        outbox.line("stdout", "x")
    assert await outbox.wait(3_600.0, 3_600.0)


@given(st.lists(st.one_of(st.text(max_size=5), st.none()), max_size=200), st.integers(1, 50))
def test_nothing_is_lost_or_reordered_below_the_bounds(items: list[str | None], every: int) -> None:
    outbox = Outbox()
    told: list[str] = []
    expected: list[str] = []
    for number, item in enumerate(items):
        if item is None:
            outbox.event(Log(level="info", message=f"event {number}"))
            expected.append(f"event {number}")
        else:
            outbox.line("stdout", item)
            expected.append(item)
        if number % every == 0:
            batch = outbox.take()
            told += [str(event.payload["message"]) for event in batch.events]
            told += [line.line for line in batch.lines]
    assert told + drain(outbox) == expected
