"""Whether the file still says what was written: SQLite's own check, then ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from pushpals.store.chain import genesis, link
from pushpals.store.sqlite.queries import sql

MOST = 100
"""Findings reported; a damaged file could fill pages."""


class _History(NamedTuple):
    row: int
    id: str
    first: int
    last: int
    epoch: str
    head: bytes


def findings(connection: sqlite3.Connection) -> list[str]:
    """What is wrong, a sentence each, at most :data:`MOST`. Writes may go on meanwhile."""
    found: list[str] = []
    try:
        for finding in _findings(connection):
            found.append(finding)
            if len(found) >= MOST:
                break
    except sqlite3.DatabaseError as error:
        found.append(f"the file cannot be read further: {error}")
    return found


def _findings(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute(f"PRAGMA integrity_check({MOST})").fetchall():
        if line != "ok":
            yield f"the file is damaged: {line}"
    for table, *_ in connection.execute("PRAGMA foreign_key_check").fetchall():
        yield f"a row of {table} points nowhere"
    for job_id, *_ in connection.execute(sql("claimed_without_lease")).fetchall():
        yield f"job {job_id} is claimed, but nobody holds its lease"
    for row in connection.execute(sql("histories")).fetchall():
        yield from _history(connection, _History(*row))


def _history(connection: sqlite3.Connection, session: _History) -> Iterator[str]:
    cursor, head = 0, genesis(session.id, session.epoch)
    while rows := connection.execute(sql("chain_after"), (session.row, cursor, session.last)).fetchall():
        for seq, data, expected in rows:
            if seq != cursor + 1:
                yield f"session {session.id}: events {cursor + 1} to {seq - 1} are missing"
                head = b""
            if head and (data or seq >= session.first):
                head = link(head, data)
                if head != expected:
                    yield f"session {session.id}: event {seq} is not the one that was written"
            # Go on from what is stored, so that one bad event is one finding.
            cursor, head = seq, expected
    if cursor != session.last:
        yield f"session {session.id}: events {cursor + 1} to {session.last} are missing"
    elif head != session.head:
        yield f"session {session.id}: the chain does not lead to its head"
