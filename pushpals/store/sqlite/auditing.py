"""A database's histories read straight from the file, for verification: digests and all, changing nothing.

Works beside a running hub and on a file whose hub is gone. What is damaged is returned as it is found.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pushpals.store.base import StoreUnreadable
from pushpals.store.sqlite.queries import sql


class StoredHistory(NamedTuple):
    """A session's row as far as its chain is concerned."""

    row: int
    session_id: str
    first: int
    """Bodies of events before it may be erased; their links stay."""
    last: int
    epoch: str
    head: bytes


class StoredLink(NamedTuple):
    seq: int
    data: bytes
    h: bytes


class Auditor:
    """An open file. All reads see one moment."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def histories(self) -> list[StoredHistory]:
        """Every session, oldest first."""
        return [StoredHistory(*row) for row in self._connection.execute(sql("histories")).fetchall()]

    def links(self, history: StoredHistory) -> Iterator[StoredLink]:
        """Every event that is stored for a session, in the order of its cursor, also past its end."""
        last = -1
        while rows := self._connection.execute(sql("chain_after"), (history.row, last, 1 << 62)).fetchall():
            yield from (StoredLink(*row) for row in rows)
            last = rows[-1][0]


@contextlib.contextmanager
def open_auditor(path: Path) -> Iterator[Auditor]:
    """Raises :class:`StoreUnreadable` for a file that is missing or no database of ours."""
    if not path.exists():
        raise StoreUnreadable(f"there is no database at {path}")
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
    try:
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sessions").fetchone()
        except sqlite3.DatabaseError as error:
            raise StoreUnreadable(f"{path} cannot be read: {error}") from None
        yield Auditor(connection)
    finally:
        connection.close()
