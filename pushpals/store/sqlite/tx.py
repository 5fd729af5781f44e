"""A transaction on the writer's connection.

Events gather in :class:`Group` and are inserted before the commit, so a write that only appends runs no
statement of its own. The first statement that changes something opens a savepoint; a write that fails
goes back to it, and to where the sessions' ends were.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from pushpals.protocol.errors import NotFound
from pushpals.protocol.ids import Ids
from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Actor, Session
from pushpals.protocol.times import stamp
from pushpals.store import codec, words
from pushpals.store.base import ANSWERS_KEPT_S, MAX_FIND, Remembered, StoredEvent
from pushpals.store.chain import genesis
from pushpals.store.sqlite import finding
from pushpals.store.sqlite.queries import sql
from pushpals.store.transaction import End, Transaction

R = TypeVar("R", bound=Wire)

_END = sql("end_of_session")
_SPAN = sql("span_of_session")
_GIVE_UP = sql("give_up")
_BODIES = sql("bodies_before")
_ERASE = sql("erase_body")
_SEARCHED = sql("searched")
_NEWEST = sql("newest_number")
_TO_SEARCH = sql("events_to_search")
_FIND = sql("make_searchable")
_UNFIND = sql("make_unsearchable")
_NOW_SEARCHED = sql("now_searched")
_SEARCHED_TYPES = msgspec.json.encode(sorted(words.SEARCHED)).decode()
_PUT_SESSION = sql("put_session")
_RECALL = sql("recall")
_FORGET = sql("forget")
_REMEMBER = sql("remember")


class Group:
    """What the writes of one commit have in common."""

    def __init__(self, connection: sqlite3.Connection, ends: dict[str, End], number: int) -> None:
        self.connection = connection
        self.ends = ends
        """The ends of sessions as this group leaves them; shared by all groups of a writer."""
        self.number = number
        """The commit-ordered number of the newest event."""
        self.rows: list[tuple[int, int, int, str, bytes, bytes]] = []
        self.events: list[StoredEvent] = []
        self.moved: set[str] = set()
        self.changes = 0
        """Records put or deleted, for a guess at how much was written."""


class SqliteTx(Transaction):
    def __init__(self, group: Group, *, actor: Actor, now: datetime, new_id: Ids) -> None:
        super().__init__(actor=actor, now=now, new_id=new_id)
        self._group = group
        self._connection = group.connection
        self._begin = len(group.events)
        self._before: dict[str, End | None] = {}
        self._saved = False
        self._scans: list[sqlite3.Cursor] = []

    def get(self, kind: type[R], key: str) -> R | None:
        row = self._connection.execute(finding.get(kind), (key,)).fetchone()
        return None if row is None else self._read(kind, row[0], key, row[1], row[2])

    def find(
        self, kind: type[R], /, *, order: Sequence[str] = ("n",), limit: int = MAX_FIND, **where: Any
    ) -> list[R]:
        text, values = finding.select(kind, order, where, codec.clamp(limit))
        rows = self._connection.execute(text, values).fetchall()
        return [self._read(kind, doc, key, last, first) for doc, key, last, first, _ in rows]

    def scan(self, kind: type[R], /, *, order: Sequence[str] = ("n",), **where: Any) -> Iterator[R]:
        text, values = finding.select(kind, order, where)
        cursor = self._connection.execute(text, values)
        self._scans.append(cursor)
        return (self._read(kind, doc, key, last, first) for doc, key, last, first, _ in cursor)

    def count(self, kind: type[Wire], by: str, /, **where: Any) -> dict[str, int]:
        text, values = finding.count(kind, by, where)
        return counted(self._connection.execute(text, values))

    def put(self, record: Wire) -> None:
        doc = codec.encode(record).decode()
        self._save()
        if isinstance(record, Session):
            start = genesis(record.id, record.epoch)
            self._connection.execute(_PUT_SESSION, (record.id, record.created_at, record.epoch, start, doc))
        else:
            values = (codec.key(record), *codec.columns(record), doc)
            self._connection.execute(finding.put(type(record)), values)

    def delete(self, kind: type[Wire], key: str) -> None:
        if kind is Session and (end := self._end(key)) is not None:
            if end.last:
                raise ValueError(f"session {key!r} has events; it cannot be deleted")
            self._group.ends.pop(key)
        self._save()
        self._connection.execute(finding.delete(kind), (key,))

    def erase(self, session_id: str, first: int, *, limit: int = 500) -> int:
        row = self._connection.execute(_SPAN, (session_id,)).fetchone()
        if row is None:
            raise NotFound(f"there is no session {session_id!r}", code="session.unknown")
        session, last, was = row
        first = max(was, min(first, last + 1, was + limit))
        if first == was:
            return 0
        self._save()
        self._connection.execute(_GIVE_UP, (first, session))
        bodies = self._connection.execute(_BODIES, (session, was, first)).fetchall()
        (searched,) = self._connection.execute(_SEARCHED).fetchone()
        for seq, n, kind, data in bodies:
            if n <= searched and (text := words.text_of(kind, data)):
                self._connection.execute(_UNFIND, (n, f"s{session}", text))
            self._connection.execute(_ERASE, (session, seq))
        return int(first - was)

    def index(self, *, limit: int = 1_000) -> int:
        (searched,) = self._connection.execute(_SEARCHED).fetchone()
        # Events of this very group are not in the table yet; the next call finds them.
        (newest,) = self._connection.execute(_NEWEST).fetchone()
        until = min(newest, searched + max(0, limit))
        if until == searched:
            return 0
        self._save()
        for n, session, kind, data in self._connection.execute(
            _TO_SEARCH, (searched, until, _SEARCHED_TYPES)
        ).fetchall():
            if text := words.text_of(kind, data):
                self._connection.execute(_FIND, (n, f"s{session}", text))
        self._connection.execute(_NOW_SEARCHED, (until,))
        return int(until - searched)

    def recall(self, key: str) -> Remembered | None:
        row = self._connection.execute(_RECALL, (key, oldest_answer(self.now))).fetchone()
        return None if row is None else Remembered(fingerprint=row[0], answer=row[1])

    def remember(self, key: str, remembered: Remembered) -> None:
        self._save()
        self._connection.execute(_FORGET, (key, oldest_answer(self.now)))
        self._connection.execute(_REMEMBER, (key, remembered.fingerprint, remembered.answer, self.stamp))

    def keep(self) -> None:
        """End well: what was done becomes part of the group."""
        self._end_scans()
        if self._saved:
            self._connection.execute("RELEASE write")

    def roll_back(self) -> None:
        """End as if nothing had been done. The connection must still be in its transaction."""
        self._end_scans()
        if self._saved:
            self._connection.execute("ROLLBACK TO write")
            self._connection.execute("RELEASE write")
        group = self._group
        group.number -= len(group.events) - self._begin
        del group.events[self._begin :]
        del group.rows[self._begin :]
        for session_id, end in self._before.items():
            if end is None:
                group.ends.pop(session_id, None)
            else:
                group.ends[session_id] = end

    def _end(self, session_id: str) -> End | None:
        end = self._group.ends.get(session_id)
        if end is None:
            row = self._connection.execute(_END, (session_id,)).fetchone()
            if row is None:
                return None
            end = self._group.ends[session_id] = End(*row)
            # The session may have been made by this very write: forget it with the rest on rollback.
            self._before.setdefault(session_id, None)
        else:
            self._before.setdefault(session_id, end)
        return end

    def _extend(self, end: End, event: StoredEvent) -> None:
        group = self._group
        group.number += 1
        group.ends[event.session_id] = end
        group.moved.add(event.session_id)
        group.events.append(event)
        group.rows.append((end.row, end.last, group.number, event.type, event.data, end.head))

    def _read(self, kind: type[R], doc: str, key: str, last: int | None, first: int | None) -> R:
        if last is not None and (end := self._group.ends.get(key)) is not None:
            last = end.last
        return codec.decode(kind, doc, last, first)

    def _save(self) -> None:
        self._group.changes += 1
        if not self._saved:
            self._connection.execute("SAVEPOINT write")
            self._saved = True

    def _end_scans(self) -> None:
        """A statement left half-read would hold its snapshot, and with it the next transaction."""
        for cursor in self._scans:
            cursor.close()


def oldest_answer(now: datetime) -> str:
    return stamp(now - timedelta(seconds=ANSWERS_KEPT_S))


def counted(rows: Iterator[tuple[Any, int]]) -> dict[str, int]:
    return {"" if value is None else str(value): number for value, number in rows}
