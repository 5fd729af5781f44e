"""Checkpoints off the writer's path.

With SQLite's own checkpoints the writer would pause for one every thousand pages, in the middle of
somebody's commit. Here a second connection copies the log into the database (PASSIVE: it waits for nobody
and nobody for it) whenever about :data:`LOG_BYTES` were written. Under steady load such a copy never quite
reaches the end of the log, and only a log that was copied to its end is begun anew: at :data:`LONG_LOG`
the writer itself copies the rest, which is little by then.

How much was written is a guess, corrected by what each checkpoint reports: the length of the file says
nothing, because a log that is begun anew keeps it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Lock, Thread

from pushpals.store.sqlite.tx import Group

LOG_BYTES = 4 * 1024 * 1024
"""How much is written to the log before it is copied into the database, in bytes."""

LONG_LOG = 4 * LOG_BYTES
"""Length of the log at which the writer pauses to have it begun anew, in bytes."""

_PAGE = 4096


class Checkpointer:
    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self._connection = connect(path)
        self._changed = Condition()
        self._copying = Lock()
        self._written = 0
        """Bytes in the log that no copy was begun for."""
        self._log = 0
        """Bytes in the log."""
        self._limit = LONG_LOG
        self._closed = False
        self._thread = Thread(target=self._run, name="pushpals-store-checkpoints", daemon=True)
        self._thread.start()

    def wrote(self, group: Group) -> None:
        """Called by the writer after each commit."""
        if not group.rows and not group.changes:
            return
        written = sum(len(row[4]) + 120 for row in group.rows)
        written += _PAGE * (2 + 2 * len(group.moved) + 3 * group.changes)
        with self._changed:
            self._written += written
            self._log += written
            if self._written >= LOG_BYTES:
                self._changed.notify()
            too_long = self._log >= self._limit
        if too_long:
            self._copy(group.connection, between_commits=True)
            # A reader that stays in its snapshot keeps the log from its end: do not ask at every commit.
            self._limit = LONG_LOG + self._log

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
            self._copy(self._connection, between_commits=False)

    def _copy(self, connection: sqlite3.Connection, *, between_commits: bool) -> None:
        with self._copying:
            with self._changed:
                self._written = 0
            # A full disk: what was not copied now stays in the log and is copied later.
            with contextlib.suppress(sqlite3.Error):
                busy, log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                # ``log`` is the end of the log when the copy began. Only if nothing was written meanwhile
                # does copying up to it mean that the next commit starts the log anew.
                if not busy:
                    done = between_commits and log == copied
                    with self._changed:
                        self._log = self._written + (0 if done else log * _PAGE)
