"""A database file from outside of the process that owns it: copied, checked, brought back, compacted.

``back_up`` and ``check`` only read and may run beside a hub. ``restore`` and ``vacuum`` take the lock that
a hub holds, and refuse while one runs.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from pathlib import Path

from pushpals.protocol.ids import random_id
from pushpals.store.base import StoreUnreadable
from pushpals.store.sqlite.connecting import BUSY_S, open_database
from pushpals.store.sqlite.lock import ProcessLock
from pushpals.store.sqlite.store import _back_up, _check


def back_up(source: Path, target: Path) -> None:
    """A consistent copy in one step. Raises ``FileExistsError`` when ``target`` exists."""
    _back_up(source, target)


def check(source: Path) -> list[str]:
    """What is wrong with the stored facts; an empty list means nothing is."""
    return _check(source)


def restore(backup: Path, target: Path) -> Path | None:
    """Put a backup in the place of a database; where the one that stood there went.

    The backup is checked first and brought up to date in a copy, so a damaged one replaces nothing. Every
    session gets a new epoch: cursors that were handed out after the backup was made mean other events now,
    and readers that come back with one are told so. Raises :class:`StoreUnreadable` for a backup that is
    no good, and :class:`~pushpals.store.base.StoreLocked` while a hub runs.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = ProcessLock(target)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        try:
            _back_up(backup, fresh)
        except sqlite3.Error as error:
            raise StoreUnreadable(f"{backup} cannot be copied: {error}") from error
        try:
            connection = open_database(fresh, synchronous="full", busy_s=BUSY_S)
            try:
                _new_epochs(connection)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.close()
            wrong = _check(fresh)
            if wrong:
                raise StoreUnreadable(f"{backup} is damaged: {wrong[0]}")
            old = _aside(target)
            os.replace(fresh, target)
            _flush(target.parent)
            return old
        finally:
            for leftover in target.parent.glob(f"{fresh.name}*"):
                leftover.unlink()
    finally:
        lock.release()


def vacuum(path: Path) -> tuple[int, int]:
    """Give free room back to the disk; the size before and after, in bytes. No hub may run."""
    lock = ProcessLock(path)
    try:
        before = path.stat().st_size
        connection = open_database(path, synchronous="full", busy_s=BUSY_S)
        try:
            connection.execute("INSERT INTO words (words) VALUES ('optimize')")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()
        return before, path.stat().st_size
    finally:
        lock.release()


def _new_epochs(connection: sqlite3.Connection) -> None:
    # The column is what the chain begins from and stays; the record is what readers are shown.
    connection.execute("BEGIN IMMEDIATE")
    for (n,) in connection.execute("SELECT n FROM sessions").fetchall():
        connection.execute(
            "UPDATE sessions SET doc = json_set(doc, '$.epoch', ?) WHERE n = ?", (random_id("epoch"), n)
        )
    connection.execute("COMMIT")


def _aside(target: Path) -> Path | None:
    """Move a database and its log out of the way."""
    if not target.exists():
        return None
    try:
        # What is still in the log belongs to the file that is put aside.
        connection = sqlite3.connect(target)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()
    except sqlite3.Error:
        pass  # it is damaged: that may be why somebody restores
    number = 1
    while (old := target.with_name(f"{target.name}.replaced-{number}")).exists():
        number += 1
    for end in ("-wal", "-shm"):
        log = target.with_name(target.name + end)
        if log.exists():
            os.replace(log, old.with_name(old.name + end))
    os.replace(target, old)
    return old


def _flush(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
