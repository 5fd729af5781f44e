"""Opening the file: what it must look like, and how each connection is set up."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Literal

from pushpals.store.base import StoreUnreadable
from pushpals.store.sqlite.errors import translated
from pushpals.store.sqlite.migrate import migrate

Synchronous = Literal["full", "normal"]
"""``full`` flushes each commit: what was acknowledged survives a power cut. ``normal`` flushes at
checkpoints only: after a power cut the last commits may be gone, though never a hole in the middle (after
a mere crash of the process nothing is). With grouped commits it buys little."""

BUSY_S = 5.0
"""How long to wait for a lock that another program holds, in seconds."""

CHECKED_BYTES = 64 * 1024 * 1024
"""Files up to this size are checked whole when opened; larger ones would keep the hub from its work."""

_MAGIC = b"SQLite format 3\0"


def connect(path: Path, *, synchronous: Synchronous = "full", busy_s: float = BUSY_S) -> sqlite3.Connection:
    """A connection that may write, with everything that our rules rely on switched on."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=busy_s, cached_statements=512
    )
    try:
        for pragma in (
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            f"synchronous = {synchronous}",
            "wal_autocheckpoint = 0",
            "foreign_keys = ON",
            "recursive_triggers = ON",
            "trusted_schema = OFF",
            "cache_size = -65536",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot change anything."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_S, cached_statements=512
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def open_database(path: Path, *, synchronous: Synchronous, busy_s: float) -> sqlite3.Connection:
    """The writer's connection to a database that is new or ours, brought up to date.

    Raises :class:`StoreUnreadable` and leaves the file alone otherwise. The caller holds the process lock.
    """
    try:
        _look_at(path)
        connection = connect(path, synchronous=synchronous, busy_s=busy_s)
        try:
            if path.stat().st_size <= CHECKED_BYTES:
                ((found,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
                if found != "ok":
                    raise StoreUnreadable(f"{path} is damaged ({found}); restore a backup")
            migrate(connection)
        except BaseException:
            connection.close()
            raise
    except StoreUnreadable as error:
        raise StoreUnreadable(f"{path}: {error}") from error
    except sqlite3.Error as error:
        better = translated(error)
        if better is error:
            raise StoreUnreadable(f"{path} cannot be opened: {error}") from error
        raise type(better)(f"{path}: {better}") from error
    except OSError as error:
        raise StoreUnreadable(f"{path} cannot be opened: {error.strerror}") from error
    return connection


def _look_at(path: Path) -> None:
    """Refuse what is plainly no database of ours before SQLite touches it; create a private new file."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        start = os.read(fd, len(_MAGIC))
    finally:
        os.close(fd)
    if start and start != _MAGIC:
        raise StoreUnreadable("this is not a database; choose another place")
