"""SQLite's errors in the words of the port."""

from __future__ import annotations

import sqlite3

from pushpals.store.base import StoreBusy, StoreFull, StoreUnreadable

_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
"""A quota or a file size limit shows as a failed write, not as a full disk."""


def translated(error: BaseException) -> BaseException:
    """The port's exception for what SQLite reports, a fresh one each time; ``error`` itself for the rest."""
    code = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.Error) or code is None:
        return error
    better: Exception
    if code in _FULL:
        better = StoreFull(f"nothing more can be written to the disk ({error}); make room and try again")
    elif code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        better = StoreBusy("another process holds the database; try again in a moment")
    elif code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        better = StoreUnreadable(f"the database is damaged ({error}); restore a backup")
    elif code & 0xFF == sqlite3.SQLITE_READONLY:
        better = StoreUnreadable(f"the database cannot be written ({error}); check its owner and mode")
    else:
        return error
    better.__cause__ = error
    return better
