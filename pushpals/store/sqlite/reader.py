"""Reads, off the event loop, on connections that cannot write.

Each call is one statement (long histories: one for each 500 events), so no snapshot is held between two
calls and the log can always be begun anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
import msgspec

from pushpals.protocol.jobs import Wire
from pushpals.store import codec, words
from pushpals.store.base import MAX_FIND, Before, Head, Page, StoreClosed, StoredEvent
from pushpals.store.sqlite import finding
from pushpals.store.sqlite.connecting import BUSY_S
from pushpals.store.sqlite.errors import translated
from pushpals.store.sqlite.queries import sql
from pushpals.store.sqlite.tx import counted

R = TypeVar("R", bound=Wire)

CHUNK = 500
"""Events read in one statement."""

CONNECTIONS = 2

_AFTER = sql("events_after")
_AFTER_OF = sql("events_after_of")
_BEFORE = sql("events_before")
_TOTAL = sql("total_events")
_END = sql("end_of_session")
_SPAN = sql("span_of_session")
_SEARCH = sql("search")
_SEARCH_OF = sql("search_of")


class SqliteReader:
    def __init__(self, connections: Sequence[aiosqlite.Connection]) -> None:
        self._connections = list(connections)
        self._busy = [0] * len(connections)
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> SqliteReader:
        connections: list[aiosqlite.Connection] = []
        try:
            for _ in range(CONNECTIONS):
                connection = await aiosqlite.connect(
                    path, isolation_level=None, timeout=BUSY_S, cached_statements=512
                )
                connections.append(connection)
                await connection.execute_fetchall("PRAGMA query_only = ON")
        except BaseException:
            for connection in connections:
                await connection.close()
            raise
        return cls(connections)

    async def close(self) -> None:
        self._closed = True
        for connection in self._connections:
            await connection.close()

    async def get(self, kind: type[R], key: str) -> R | None:
        for doc, last, first in await self._rows(finding.get(kind), (key,)):
            return codec.decode(kind, doc, last, first)
        return None

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
        skip = min(max(0, skip), codec.MAX_INTEGER)
        text, values = finding.select(kind, order, where, codec.clamp(limit), skip)
        rows = await self._rows(text, values)
        return [codec.decode(kind, doc, last, first) for doc, _, last, first, _ in rows]

    async def page(
        self, kind: type[R], /, *, before: int | None = None, limit: int = 100, **where: Any
    ) -> Page[R]:
        limit = max(1, codec.clamp(limit))
        if before is not None:
            where["n"] = Before(min(max(0, before), codec.MAX_INTEGER))
        text, values = finding.select(kind, ("-n",), where, limit)
        rows = await self._rows(text, values)
        items = [codec.decode(kind, doc, last, first) for doc, _, last, first, _ in rows]
        return Page(items=items, next=rows[-1][4] if len(rows) == limit else None)

    async def search(
        self,
        session_id: str,
        query: str,
        *,
        before: int | None = None,
        limit: int = 50,
        types: Sequence[str] | None = None,
    ) -> list[StoredEvent]:
        wanted = words.terms(query)
        spans = await self._rows(_SPAN, (session_id,))
        if not wanted or not spans:
            return []
        session = spans[0][0]
        # Each word in quotes, so that none is an operator; the place keeps other sessions out.
        quoted = " AND ".join(f'"{w[:-1]}"*' if w.endswith("*") else f'"{w}"' for w in wanted)
        match = f'place : "s{session}" AND text : ({quoted})'
        end = codec.MAX_INTEGER if before is None else min(max(0, before), codec.MAX_INTEGER)
        limit = codec.clamp(limit)
        if types is None:
            rows = await self._rows(_SEARCH, (match, session, end, limit))
        else:
            listed = msgspec.json.encode(list(types)).decode()
            rows = await self._rows(_SEARCH_OF, (match, session, end, listed, limit))
        return _events(session_id, rows)

    async def count(self, kind: type[Wire], by: str, /, **where: Any) -> dict[str, int]:
        text, values = finding.count(kind, by, where)
        return counted(iter(await self._rows(text, values)))

    async def events(
        self, session_id: str, *, after: int = 0, limit: int = 500, types: Sequence[str] | None = None
    ) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        after = min(max(0, after), codec.MAX_INTEGER)
        while (wanted := min(CHUNK, limit - len(found))) > 0:
            if types is None:
                rows = await self._rows(_AFTER, (session_id, after, wanted))
            else:
                listed = msgspec.json.encode(list(types)).decode()
                rows = await self._rows(_AFTER_OF, (session_id, after, listed, wanted))
            found += _events(session_id, rows)
            if len(rows) < wanted:
                break
            after = found[-1].cursor
        return found

    async def tail(
        self, session_id: str, *, before: int | None = None, limit: int = 500
    ) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        end = codec.MAX_INTEGER if before is None else min(max(0, before), codec.MAX_INTEGER)
        while (wanted := min(CHUNK, limit - len(found))) > 0:
            rows = await self._rows(_BEFORE, (session_id, end, wanted))
            found += _events(session_id, rows)
            if len(rows) < wanted:
                break
            end = found[-1].cursor
        return found[::-1]

    async def total_events(self) -> int:
        ((total,),) = await self._rows(_TOTAL, ())
        return int(total)

    async def head(self, session_id: str) -> Head | None:
        for _, last, head in await self._rows(_END, (session_id,)):
            return Head(cursor=last, digest=head.hex())
        return None

    async def _rows(self, text: str, values: Sequence[Any]) -> list[Any]:
        if self._closed:
            raise StoreClosed("the store is closed")
        which = self._busy.index(min(self._busy))
        self._busy[which] += 1
        try:
            return list(await self._connections[which].execute_fetchall(text, values))
        except sqlite3.Error as error:
            raise translated(error) from error
        finally:
            self._busy[which] -= 1


def _events(session_id: str, rows: Iterable[Any]) -> list[StoredEvent]:
    return [
        StoredEvent(session_id=session_id, cursor=cursor, type=kind, data=data) for cursor, kind, data in rows
    ]
