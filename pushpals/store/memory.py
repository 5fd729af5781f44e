"""The store in dicts: every promise of :mod:`pushpals.store.base` but durability.

It ships, for tests and for trying things out. Records are kept as JSON and decoded on every read, and
writes that wait in the same turn of the event loop form a group, as they do on disk.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec.structs import replace

from pushpals.protocol.errors import NotFound
from pushpals.protocol.ids import Ids
from pushpals.protocol.jobs import Job, Wire
from pushpals.protocol.records import Actor, Session
from pushpals.store import codec, words
from pushpals.store.asking import Answer, AskUnsupported, Question
from pushpals.store.base import (
    ANSWERS_KEPT_S,
    DEFAULT_WEIGHT,
    MAX_FIND,
    RECORDS,
    Before,
    Head,
    Health,
    OnCommit,
    Page,
    Remembered,
    StoreBusy,
    StoreClosed,
    StoredEvent,
    Tx,
)
from pushpals.store.chain import genesis, link
from pushpals.store.settling import Outcome, deliver, outcome_of, resolve
from pushpals.store.transaction import End, Transaction

R = TypeVar("R", bound=Wire)
T = TypeVar("T")


async def open_store(
    path: Path | None = None,
    *,
    on_commit: OnCommit,
    new_id: Ids,
    max_waiting: int = 10_000,
    max_weight: int = 64 * 1024 * 1024,
) -> MemoryStore:
    """An empty store. ``path`` is there for the port's sake and not used."""
    return MemoryStore(on_commit=on_commit, new_id=new_id, max_waiting=max_waiting, max_weight=max_weight)


class _Row(NamedTuple):
    n: int
    columns: dict[str, Any]
    doc: bytes


class _Facts:
    """Everything there is. Only :class:`_MemoryTx` changes it."""

    def __init__(self) -> None:
        self.tables: dict[type[Wire], dict[str, _Row]] = {kind: {} for kind in RECORDS}
        self.events: dict[str, list[StoredEvent]] = {}
        self.ends: dict[str, End] = {}
        self.geneses: dict[str, bytes] = {}
        self.firsts: dict[str, int] = {}
        self.answers: dict[str, tuple[datetime, Remembered]] = {}
        self.numbers = itertools.count(1)

    def get(self, kind: type[R], key: str) -> R | None:
        codec.table(kind)
        row = self.tables[kind].get(key)
        return None if row is None else self._read(kind, key, row)

    def scan(self, kind: type[R], order: Sequence[str], where: dict[str, Any]) -> Iterator[R]:
        codec.check_filter(kind, order, where)
        rows = [
            (key, row)
            for key, row in self.tables[kind].items()
            if all(codec.matches(row.columns[name], wanted) for name, wanted in where.items())
        ]
        for name in reversed(codec.total_order(order)):
            column = name.removeprefix("-")
            rows.sort(key=lambda pair: _sorted(pair[1], column), reverse=name.startswith("-"))
        return (self._read(kind, key, row) for key, row in rows)

    def count(self, kind: type[Wire], by: str, where: dict[str, Any]) -> dict[str, int]:
        codec.check_filter(kind, (by,), where)
        return dict(
            Counter(
                "" if row.columns[by] is None else str(row.columns[by])
                for row in self.tables[kind].values()
                if all(codec.matches(row.columns[name], wanted) for name, wanted in where.items())
            )
        )

    def head(self, session_id: str) -> Head | None:
        end = self.ends.get(session_id)
        return None if end is None else Head(cursor=end.last, digest=end.head.hex())

    def _read(self, kind: type[R], key: str, row: _Row) -> R:
        if kind is Session:
            return codec.decode(kind, row.doc, self.ends[key].last, self.firsts.get(key, 1))
        return codec.decode(kind, row.doc)

    def history(self, session_id: str) -> list[StoredEvent]:
        """What is left of it to read."""
        return self.events.get(session_id, [])[self.firsts.get(session_id, 1) - 1 :]


def _sorted(row: _Row, column: str) -> tuple[bool, Any]:
    value = row.n if column == "n" else row.columns[column]
    return value is not None, value


class _MemoryTx(Transaction):
    def __init__(self, facts: _Facts, *, actor: Actor, now: datetime, new_id: Ids) -> None:
        super().__init__(actor=actor, now=now, new_id=new_id)
        self._facts = facts
        self._undo: list[Callable[[], object]] = []
        self.events: list[StoredEvent] = []

    def get(self, kind: type[R], key: str) -> R | None:
        return self._facts.get(kind, key)

    def find(
        self, kind: type[R], /, *, order: Sequence[str] = ("n",), limit: int = MAX_FIND, **where: Any
    ) -> list[R]:
        return list(itertools.islice(self._facts.scan(kind, order, where), codec.clamp(limit)))

    def scan(self, kind: type[R], /, *, order: Sequence[str] = ("n",), **where: Any) -> Iterator[R]:
        return self._facts.scan(kind, order, where)

    def count(self, kind: type[Wire], by: str, /, **where: Any) -> dict[str, int]:
        return self._facts.count(kind, by, where)

    def put(self, record: Wire) -> None:
        kind, table = type(record), codec.table(type(record))
        key, doc = codec.key(record), codec.encode(record)
        rows = self._facts.tables[kind]
        old = rows.get(key)
        n = next(self._facts.numbers) if old is None else old.n
        row = _Row(
            n=n,
            columns={"n": n, table.key: key, **dict(zip(table.columns, codec.columns(record), strict=True))},
            doc=doc,
        )
        self._set(rows, key, row)
        if isinstance(record, Session) and old is None:
            start = genesis(key, record.epoch)
            self._set(self._facts.geneses, key, start)
            self._set(self._facts.ends, key, End(row.n, 0, start))

    def delete(self, kind: type[Wire], key: str) -> None:
        codec.table(kind)
        if kind is Session and key in self._facts.ends:
            if self._facts.ends[key].last:
                raise ValueError(f"session {key!r} has events; it cannot be deleted")
            self._drop(self._facts.ends, key)
            self._drop(self._facts.geneses, key)
        if key in self._facts.tables[kind]:
            self._drop(self._facts.tables[kind], key)

    def erase(self, session_id: str, first: int, *, limit: int = 500) -> int:
        end = self._facts.ends.get(session_id)
        if end is None:
            raise NotFound(f"there is no session {session_id!r}", code="session.unknown")
        was = self._facts.firsts.get(session_id, 1)
        first = max(was, min(first, end.last + 1, was + limit))
        self._set(self._facts.firsts, session_id, first)
        history = self._facts.events.get(session_id, [])
        for at in range(was - 1, first - 1):
            old, history[at] = history[at], replace(history[at], data=b"")
            self._undo.append(partial(history.__setitem__, at, old))
        return first - was

    def index(self, *, limit: int = 1_000) -> int:
        """Nothing to do: a search reads it all."""
        return 0

    def recall(self, key: str) -> Remembered | None:
        found = self._facts.answers.get(key)
        if found is None or found[0] < self.now - timedelta(seconds=ANSWERS_KEPT_S):
            return None
        return found[1]

    def remember(self, key: str, remembered: Remembered) -> None:
        if self.recall(key) is None:
            self._set(self._facts.answers, key, (self.now, remembered))

    def roll_back(self) -> None:
        for undo in reversed(self._undo):
            undo()
        self.events.clear()

    def _end(self, session_id: str) -> End | None:
        return self._facts.ends.get(session_id)

    def _extend(self, end: End, event: StoredEvent) -> None:
        self._set(self._facts.ends, event.session_id, end)
        history = self._facts.events.setdefault(event.session_id, [])
        history.append(event)
        self._undo.append(history.pop)
        self.events.append(event)

    def _set(self, into: dict[str, Any], key: str, value: Any) -> None:
        if key in into:
            old = into[key]
            self._undo.append(lambda: into.__setitem__(key, old))
        else:
            self._undo.append(lambda: into.pop(key))
        into[key] = value

    def _drop(self, out_of: dict[str, Any], key: str) -> None:
        old = out_of.pop(key)
        self._undo.append(lambda: out_of.__setitem__(key, old))


class MemoryReader:
    def __init__(self, facts: _Facts) -> None:
        self._facts = facts
        self.closed = False

    async def get(self, kind: type[R], key: str) -> R | None:
        self._refuse_closed()
        return self._facts.get(kind, key)

    async def find(
        self,
        kind: type[R],
        /,
        *,
        order: Sequence[str] = ("n",),
        limit: int = MAX_FIND,
        skip: int = 0,
        **where: Any,
    ) -> list[R]:
        self._refuse_closed()
        skip = min(max(0, skip), codec.MAX_INTEGER - MAX_FIND)
        found = self._facts.scan(kind, order, where)
        return list(itertools.islice(found, skip, skip + codec.clamp(limit)))

    async def page(
        self, kind: type[R], /, *, before: int | None = None, limit: int = 100, **where: Any
    ) -> Page[R]:
        self._refuse_closed()
        limit = max(1, codec.clamp(limit))
        if before is not None:
            where["n"] = Before(before)
        found = list(itertools.islice(self._facts.scan(kind, ("-n",), where), limit))
        if len(found) < limit:
            return Page(items=found, next=None)
        return Page(items=found, next=self._facts.tables[kind][codec.key(found[-1])].n)

    async def search(
        self,
        session_id: str,
        query: str,
        *,
        before: int | None = None,
        limit: int = 50,
        types: Sequence[str] | None = None,
    ) -> list[StoredEvent]:
        self._refuse_closed()
        wanted = words.terms(query)
        found = (
            event
            for event in reversed(self._facts.history(session_id))
            if (before is None or event.cursor < before)
            and (types is None or event.type in types)
            and wanted
            and words.matches(words.text_of(event.type, event.data), wanted)
        )
        return list(itertools.islice(found, max(0, limit)))

    async def count(self, kind: type[Wire], by: str, /, **where: Any) -> dict[str, int]:
        self._refuse_closed()
        return self._facts.count(kind, by, where)

    async def events(
        self, session_id: str, *, after: int = 0, limit: int = 500, types: Sequence[str] | None = None
    ) -> list[StoredEvent]:
        self._refuse_closed()
        later = [event for event in self._facts.history(session_id) if event.cursor > after]
        wanted = later if types is None else [event for event in later if event.type in types]
        return wanted[: max(0, limit)]

    async def tail(
        self, session_id: str, *, before: int | None = None, limit: int = 500
    ) -> list[StoredEvent]:
        self._refuse_closed()
        earlier = self._facts.history(session_id)
        if before is not None:
            earlier = [event for event in earlier if event.cursor < before]
        return earlier[-limit:] if limit > 0 else []

    async def total_events(self) -> int:
        self._refuse_closed()
        return sum(end.last for end in self._facts.ends.values())

    async def head(self, session_id: str) -> Head | None:
        self._refuse_closed()
        return self._facts.head(session_id)

    def _refuse_closed(self) -> None:
        if self.closed:
            raise StoreClosed("the store is closed")


class _Waiting(NamedTuple):
    work: Callable[[Tx], Any]
    actor: Actor
    now: datetime
    weight: int
    future: asyncio.Future[Any]


class MemoryStore:
    def __init__(self, *, on_commit: OnCommit, new_id: Ids, max_waiting: int, max_weight: int) -> None:
        self._facts = _Facts()
        self._reader = MemoryReader(self._facts)
        self._on_commit = on_commit
        self._new_id = new_id
        self._max_waiting = max_waiting
        self._max_weight = max_weight
        self._waiting: list[_Waiting] = []
        self._weight = 0
        self._closed = False
        self._commits = self._writes = 0

    @property
    def reader(self) -> MemoryReader:
        return self._reader

    async def write(
        self,
        work: Callable[[Tx], T],
        *,
        actor: Actor,
        now: datetime,
        weight: int = DEFAULT_WEIGHT,
    ) -> T:
        if self._closed:
            raise StoreClosed("the store is closed")
        if len(self._waiting) >= self._max_waiting or self._weight + weight > self._max_weight:
            raise StoreBusy("too many writes are waiting; try again in a moment")
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._commit)
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Waiting(work, actor, now, weight, future))
        self._weight += weight
        return await future

    def health(self) -> Health:
        return Health(waiting=len(self._waiting), commits=self._commits, writes=self._writes)

    async def backup(self, target: Path) -> None:
        """Everything as lines of JSON. ``target`` must not exist."""
        if self._closed:
            raise StoreClosed("the store is closed")
        lines = [
            msgspec.json.encode({"table": RECORDS[kind].name, "record": msgspec.Raw(row.doc)})
            for kind, rows in self._facts.tables.items()
            for row in rows.values()
        ] + [
            msgspec.json.encode({"cursor": event.cursor, "envelope": msgspec.Raw(event.data)})
            for history in self._facts.events.values()
            for event in history
        ]
        with target.open("xb") as file:
            file.writelines(line + b"\n" for line in lines)

    async def ask(self, question: Question) -> Answer:
        if self._closed:
            raise StoreClosed("the store is closed")
        raise AskUnsupported(
            "this hub keeps its history in memory, where SQL cannot reach it; run it on SQLite"
        )

    async def check(self) -> list[str]:
        if self._closed:
            raise StoreClosed("the store is closed")
        found = [
            f"job {job.id} is claimed, but nobody holds its lease"
            for job in self._facts.scan(Job, ("n",), {"state": "claimed"})
            if job.lease_until is None or job.worker_id is None
        ]
        for session in self._facts.scan(Session, ("n",), {}):
            head = self._facts.geneses[session.id]
            for cursor, event in enumerate(self._facts.events.get(session.id, []), start=1):
                head = link(head, event.data) if event.data or cursor >= session.first else head
                if event.cursor != cursor:
                    found.append(f"session {session.id}: event {cursor} is missing")
            if session.first == 1 and head != self._facts.ends[session.id].head:
                found.append(f"session {session.id}: the chain does not lead to its head")
        return found

    async def close(self) -> None:
        self._closed = True
        while self._waiting:
            await asyncio.wait([waiting.future for waiting in self._waiting])
        self._reader.closed = True

    def _commit(self) -> None:
        group, self._waiting, self._weight = self._waiting, [], 0
        self._commits += 1
        self._writes += len(group)
        events: list[StoredEvent] = []
        outcomes: list[tuple[asyncio.Future[Any], Outcome]] = []
        for waiting in group:
            if waiting.future.cancelled():
                continue
            tx = _MemoryTx(self._facts, actor=waiting.actor, now=waiting.now, new_id=self._new_id)
            outcome = outcome_of(waiting.work, cast(Tx, tx))
            if outcome.error is not None:
                tx.roll_back()
            events += tx.events
            outcomes.append((waiting.future, outcome))
        deliver(self._on_commit, events)
        resolve(outcomes)
