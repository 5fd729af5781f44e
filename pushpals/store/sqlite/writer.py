"""The writer: one thread, one connection, one commit for everything that gathered meanwhile.

No timer makes writes wait for company: while one group is being flushed the next one forms. After each
commit the event loop gets one call that publishes the group's events and then answers its writers.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from threading import Thread
from time import monotonic
from typing import Any, cast

from pushpals.protocol.ids import Ids
from pushpals.store.base import OnCommit, StoreClosed, StoredEvent, Tx
from pushpals.store.settling import Outcome, deliver, outcome_of, resolve
from pushpals.store.sqlite.checkpoint import Checkpointer
from pushpals.store.sqlite.errors import translated
from pushpals.store.sqlite.queries import sql
from pushpals.store.sqlite.tx import Group, SqliteTx, oldest_answer
from pushpals.store.sqlite.waiting import WaitingWrites, Write
from pushpals.store.transaction import End

KNOWN_ENDS = 10_000
"""How many sessions' ends are kept at hand."""

PRUNE_EVERY = 64
"""Groups between two looks at answers that are too old."""

Outcomes = list[tuple["asyncio.Future[Any]", Outcome]]

_APPEND = sql("append_event")
_MOVE_END = sql("move_end")
_NEWEST = sql("newest_number")
_PRUNE = sql("prune_answers")


class Writer:
    def __init__(
        self,
        connection: sqlite3.Connection,
        waiting: WaitingWrites,
        checkpointer: Checkpointer | None,
        *,
        on_commit: OnCommit,
        new_id: Ids,
    ) -> None:
        self._connection = connection
        self._waiting = waiting
        self._checkpointer = checkpointer
        self._on_commit = on_commit
        self._new_id = new_id
        self._ends: dict[str, End] = {}
        (self._number,) = connection.execute(_NEWEST).fetchone()
        self._groups = 0
        self.writes = 0
        self.commit_s = self.slowest_s = 0.0
        self.began: float | None = None
        """When the group under way was begun, by the monotonic clock."""
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = Thread(target=self._run, name="pushpals-store-writer", daemon=True)
        self._thread.start()

    @property
    def commits(self) -> int:
        return self._groups

    def _run(self) -> None:
        group: list[Write] = []
        try:
            while group := self._waiting.take():
                self.began = began = monotonic()
                outcomes, events = self._commit(group)
                self.began, took = None, monotonic() - began
                self.writes += len(group)
                self.commit_s += took
                self.slowest_s = max(self.slowest_s, took)
                self._tell(self._settle, outcomes, events)
        except BaseException as error:
            # A bug of ours. Nobody may wait for ever for what the writer cannot do any more.
            self._waiting.close()
            while group:
                why = f"the writer failed, and may or may not have kept this: {error!r}"
                dead = [(write.future, Outcome(error=StoreClosed(why))) for write in group]
                self._tell(self._settle, dead, ())
                group = self._waiting.take()
        self._tell(self._end)

    def _tell(self, what: Callable[..., None], *values: Any) -> None:
        # A loop that is closed has nobody left who waits for answers.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *values)

    def _settle(self, outcomes: Outcomes, events: Sequence[StoredEvent]) -> None:
        deliver(self._on_commit, events)
        resolve(outcomes)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _commit(self, writes: Sequence[Write]) -> tuple[Outcomes, Sequence[StoredEvent]]:
        group = Group(self._connection, self._ends, self._number)
        outcomes: Outcomes = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for write in writes:
                # A caller that has gone away takes its write back, as long as it only waited.
                if not write.future.cancelled():
                    outcomes.append((write.future, self._perform(write, group)))
            self._prune(writes[-1])
            if group.rows:
                self._connection.executemany(_APPEND, group.rows)
                ends = [self._ends[session_id] for session_id in group.moved if session_id in self._ends]
                self._connection.executemany(_MOVE_END, [(end.last, end.head, end.row) for end in ends])
            self._connection.execute("COMMIT")
        except BaseException as error:
            return self._fail(writes, outcomes, error), ()
        self._number = group.number
        if len(self._ends) > KNOWN_ENDS:
            self._ends.clear()
        if self._checkpointer is not None:
            self._checkpointer.wrote(group)
        return outcomes, group.events

    def _perform(self, write: Write, group: Group) -> Outcome:
        tx = SqliteTx(group, actor=write.actor, now=write.now, new_id=self._new_id)
        outcome = outcome_of(write.work, cast(Tx, tx))
        if not self._connection.in_transaction:
            # SQLite rolls everything back by itself when the disk fails it.
            raise outcome.error or sqlite3.OperationalError("the transaction was rolled back")
        if outcome.error is None:
            tx.keep()
            return outcome
        tx.roll_back()
        return Outcome(error=translated(outcome.error))

    def _fail(self, writes: Sequence[Write], outcomes: Outcomes, error: BaseException) -> Outcomes:
        """Nothing of the group was kept: those who failed keep their reason, all others get this one."""
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
        self._ends.clear()
        own = {future: outcome for future, outcome in outcomes if outcome.error is not None}
        return [
            (write.future, own.get(write.future) or Outcome(error=_again(translated(error))))
            for write in writes
        ]

    def _prune(self, write: Write) -> None:
        self._groups += 1
        if self._groups % PRUNE_EVERY == 0:
            self._connection.execute(_PRUNE, (oldest_answer(write.now),))


def _again(error: BaseException) -> BaseException:
    """A copy to raise: an exception that many coroutines share would collect all their tracebacks."""
    if isinstance(error, Exception):
        copy = type(error)(*error.args)
        copy.__cause__ = error.__cause__
        return copy
    return error
