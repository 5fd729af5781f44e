"""Checkpoints off the writer's path.

With SQLite's own checkpoints the writer would pause for one every thousand pages, in the middle of
somebody's commit. Here a second connection copies the log into the database (PASSIVE: it waits for nobody
and nobody for it) whenever about :data:`LOG_BYTES` were written. Under steady load such a checkpoint
never quite reaches the end of the log, and only a log that was copied whole is begun anew: past four times
the size the writer itself copies the rest, which is little by then.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Thread

from pushpals.store.sqlite.tx import Group

LOG_BYTES = 4 * 1024 * 1024
"""Log size at which it is copied into the database, in bytes."""

_PAGE = 4096


class Checkpointer:
    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self._connection = connect(path)
        self._changed = Condition()
        self._written = 0
        """Bytes in the log that were not copied yet, about."""
        self._length = 0
        """Bytes in the log at the last look."""
        self._ratio = 1.0
        self._closed = False
        self._thread = Thread(target=self._run, name="pushpals-store-checkpoints", daemon=True)
        self._thread.start()

    def wrote(self, group: Group) -> None:
        """Called by the writer after each commit."""
        guess = sum(len(row[4]) + 120 for row in group.rows)
        guess += _PAGE * (2 + 2 * len(group.moved) + 3 * group.changes) if group.rows or group.changes else 0
        with self._changed:
            self._written += int(guess * self._ratio)
            if self._written >= LOG_BYTES:
                self._changed.notify()
            behind = self._length + self._written > 4 * LOG_BYTES and self._length > LOG_BYTES
        if behind:
            self._copy(group.connection)

    def close(self) -> None:
        """End the thread; returns when it is gone."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._written < LOG_BYTES and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
            self._copy(self._connection)

    def _copy(self, connection: sqlite3.Connection) -> None:
        with self._changed:
            guess, self._written = self._written, 0
        log = copied = 0
        # A full disk or a busy log: what was not copied now stays in the log and is copied later.
        with contextlib.suppress(sqlite3.Error):
            _, log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        with self._changed:
            fresh = log * _PAGE - self._length
            if guess and fresh > 0:
                self._ratio = min(4.0, max(0.25, self._ratio * fresh / guess))
            self._length = 0 if log == copied else log * _PAGE
