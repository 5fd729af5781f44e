"""The store in one SQLite file.

::

    write ──▶ WaitingWrites ──▶ Writer (thread, its own connection) ──▶ file ◀── SqliteReader (2 connections)
                                   │ one call after each commit                    ▲
                                   └──▶ event loop: on_commit, then answers        Checkpointer (thread)

Durable by default: an answer is given after the commit's flush (``synchronous="full"``). Which file may
be opened, and by how many, is in :mod:`.connecting` and :mod:`.lock`; what is in it, in ``migrations/``.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TypeVar

from pushpals.protocol.ids import Ids
from pushpals.protocol.records import Actor
from pushpals.store.asking import Answer, Question
from pushpals.store.base import DEFAULT_WEIGHT, Health, OnCommit, StoreClosed, StoreUnreadable, Tx
from pushpals.store.sqlite import checking
from pushpals.store.sqlite.checkpoint import Checkpointer
from pushpals.store.sqlite.connecting import (
    BUSY_S,
    Synchronous,
    connect,
    connect_reading,
    open_database,
)
from pushpals.store.sqlite.errors import translated
from pushpals.store.sqlite.guard import Asking
from pushpals.store.sqlite.lock import ProcessLock
from pushpals.store.sqlite.reader import SqliteReader
from pushpals.store.sqlite.waiting import WaitingWrites, Write
from pushpals.store.sqlite.writer import Writer

T = TypeVar("T")

ASKERS = 2
"""Questions in SQL that are answered at once, on threads of their own."""


async def open_store(
    path: Path | None,
    *,
    on_commit: OnCommit,
    new_id: Ids,
    synchronous: Synchronous = "full",
    busy_s: float = BUSY_S,
    max_waiting: int = 10_000,
    max_weight: int = 64 * 1024 * 1024,
    checkpoints: bool = True,
) -> SqliteStore:
    """Open the database at ``path``, or make one where there is none.

    ``synchronous="normal"`` may lose the newest commits in a power cut (never in a crash of the process).
    ``busy_s`` is how long a write waits for another program that holds the file. ``max_waiting`` writes of
    together ``max_weight`` bytes may wait for the writer. ``checkpoints=False`` leaves the log to an
    outside replicator.

    Raises :class:`~pushpals.store.base.StoreLocked` when another process has it open and
    :class:`~pushpals.store.base.StoreUnreadable` for a file that is damaged, newer, or not ours.
    """
    if path is None:
        raise ValueError("the sqlite store needs a path; without one, use the memory store")
    file, lock, connection = await asyncio.to_thread(_lock_and_open, path, synchronous, busy_s)
    try:
        reader = await SqliteReader.open(file)
    except BaseException:
        connection.close()
        lock.release()
        raise
    waiting = WaitingWrites(max_waiting=max_waiting, max_weight=max_weight)
    checkpointer = Checkpointer(file, connect) if checkpoints else None
    writer = Writer(connection, waiting, checkpointer, on_commit=on_commit, new_id=new_id)
    return SqliteStore(file, lock, connection, waiting, writer, checkpointer, reader)


def _lock_and_open(
    path: Path, synchronous: Synchronous, busy_s: float
) -> tuple[Path, ProcessLock, sqlite3.Connection]:
    try:
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = ProcessLock(path)
    except OSError as error:
        raise StoreUnreadable(f"{path} cannot be opened: {error.strerror} ({error.filename})") from error
    try:
        return path, lock, open_database(path, synchronous=synchronous, busy_s=busy_s)
    except BaseException:
        lock.release()
        raise


class SqliteStore:
    def __init__(
        self,
        path: Path,
        lock: ProcessLock,
        connection: sqlite3.Connection,
        waiting: WaitingWrites,
        writer: Writer,
        checkpointer: Checkpointer | None,
        reader: SqliteReader,
    ) -> None:
        self._path = path
        self._lock = lock
        self._connection = connection
        self._waiting = waiting
        self._writer = writer
        self._checkpointer = checkpointer
        self._reader = reader
        self._askers = ThreadPoolExecutor(ASKERS, thread_name_prefix="pushpals-store-ask")
        self._asked: set[Asking] = set()
        self._closing: asyncio.Task[None] | None = None

    @property
    def reader(self) -> SqliteReader:
        return self._reader

    async def write(
        self,
        work: Callable[[Tx], T],
        *,
        actor: Actor,
        now: datetime,
        weight: int = DEFAULT_WEIGHT,
    ) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.offer(Write(work, actor, now, weight, future))
        return await future

    def health(self) -> Health:
        writer = self._writer
        began = writer.began
        return Health(
            waiting=len(self._waiting),
            stuck_s=0.0 if began is None else max(0.0, monotonic() - began),
            commits=writer.commits,
            writes=writer.writes,
            commit_s=writer.commit_s,
            slowest_s=writer.slowest_s,
            size_bytes=sum(
                file.stat().st_size
                for file in (self._path, self._path.with_name(f"{self._path.name}-wal"))
                if file.exists()
            ),
        )

    async def backup(self, target: Path) -> None:
        """A copy in one step. In several steps it would begin anew with every commit and never end."""
        self._refuse_closed()
        try:
            await asyncio.to_thread(_back_up, self._path, target)
        except sqlite3.Error as error:
            raise translated(error) from error

    async def check(self) -> list[str]:
        self._refuse_closed()
        return await asyncio.to_thread(_check, self._path)

    async def ask(self, question: Question) -> Answer:
        self._refuse_closed()
        asking = Asking(self._path, question)
        self._asked.add(asking)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._askers, asking.run)
        except sqlite3.Error as error:
            raise translated(error) from error
        finally:
            # A caller that left does not wait for the thread, which ends within a thousand steps.
            asking.stop()
            self._asked.discard(asking)

    async def close(self) -> None:
        if self._closing is None:
            self._waiting.close()
            self._closing = asyncio.create_task(self._close(), name="pushpals-store-close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        for asking in self._asked:
            asking.stop()
        await self._writer.ended
        await self._reader.close()
        await asyncio.to_thread(self._askers.shutdown)
        await asyncio.to_thread(self._close_files)

    def _close_files(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()
        # The last connection to close copies the log into the database and removes it.
        self._connection.close()
        self._lock.release()

    def _refuse_closed(self) -> None:
        if self._closing is not None:
            raise StoreClosed("the store is closed")


def _back_up(path: Path, target: Path) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        source = connect_reading(path)
        try:
            copy = sqlite3.connect(target)
            try:
                source.backup(copy, pages=-1)
            finally:
                copy.close()
        finally:
            source.close()
    except BaseException:
        target.unlink()
        raise


def _check(path: Path) -> list[str]:
    connection = connect_reading(path)
    try:
        return checking.findings(connection)
    finally:
        connection.close()
