"""How a group's results reach those who wait: events first, then answers.

A waiter that sees its answer can rely on every follower having been handed its events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from pushpals.store.base import OnCommit, StoredEvent, Tx


class Outcome(NamedTuple):
    """What became of one write."""

    result: Any = None
    error: BaseException | None = None


def outcome_of(work: Callable[[Tx], Any], tx: Tx) -> Outcome:
    """Run the work; whatever it raises is its outcome, for the writer must outlive it."""
    try:
        return Outcome(work(tx))
    except StopIteration as error:
        # A future cannot carry StopIteration: it would end the coroutine that awaits it.
        wrapped = RuntimeError("the write raised StopIteration")
        wrapped.__cause__ = error
        return Outcome(error=wrapped)
    except BaseException as error:
        return Outcome(error=error)


def deliver(on_commit: OnCommit, events: Sequence[StoredEvent]) -> None:
    """Hand over committed events. They are durable by now, so a failing listener changes no answer."""
    if not events:
        return
    try:
        on_commit(events)
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "the listener for committed events failed", "exception": error}
        )


def resolve(outcomes: Iterable[tuple[asyncio.Future[Any], Outcome]]) -> None:
    for future, outcome in outcomes:
        if future.done():
            continue
        if outcome.error is None:
            future.set_result(outcome.result)
        else:
            future.set_exception(outcome.error)
