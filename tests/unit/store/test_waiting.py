"""The queue in front of the writer."""

import asyncio
from typing import Any

import pytest

from pushpals.store.base import StoreBusy, StoreClosed
from pushpals.store.sqlite.waiting import GROUP, GROUP_WEIGHT, WaitingWrites, Write
from pushpals.testing.contracts.store import NOW, OPERATOR


@pytest.fixture
def future() -> Any:
    loop = asyncio.new_event_loop()
    yield loop.create_future()
    loop.close()


def write(future: Any, weight: int = 1) -> Write:
    return Write(lambda tx: None, OPERATOR, NOW, weight, future)


def weights(group: list[Write]) -> list[int]:
    return [write.weight for write in group]


def test_a_group_is_what_waits_up_to_a_number(future: Any) -> None:
    waiting = WaitingWrites(max_waiting=10_000, max_weight=10**9)
    for _ in range(GROUP + 3):
        waiting.offer(write(future))
    assert [len(waiting.take()), len(waiting.take())] == [GROUP, 3]


def test_a_group_is_what_waits_up_to_a_weight(future: Any) -> None:
    waiting = WaitingWrites(max_waiting=10_000, max_weight=10**9)
    half, more = GROUP_WEIGHT // 2, GROUP_WEIGHT + 1
    for weight in (half, half, 1, more, 2, half, more):
        waiting.offer(write(future, weight))
    assert [weights(waiting.take()) for _ in range(5)] == [[half, half], [1], [more], [2, half], [more]]


def test_what_is_too_much_is_refused_until_something_was_taken(future: Any) -> None:
    waiting = WaitingWrites(max_waiting=2, max_weight=10)
    waiting.offer(write(future, 5))
    waiting.offer(write(future, 5))
    with pytest.raises(StoreBusy):
        waiting.offer(write(future, 0))
    waiting.take()
    waiting.offer(write(future, 6))
    with pytest.raises(StoreBusy):
        waiting.offer(write(future, 5))
    waiting.offer(write(future, 4))


def test_a_closed_queue_is_emptied_and_then_ends(future: Any) -> None:
    waiting = WaitingWrites(max_waiting=10, max_weight=10)
    waiting.offer(write(future))
    waiting.close()
    waiting.close()
    with pytest.raises(StoreClosed):
        waiting.offer(write(future))
    assert len(waiting.take()) == 1
    assert waiting.take() == []
    assert waiting.take() == []
