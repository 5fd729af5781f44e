"""A full disk, a lock that somebody else holds, a copy under load, a log that must not grow for ever."""

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pushpals.protocol.events import Message
from pushpals.protocol.records import Session
from pushpals.store.base import Remembered, StoreBusy, StoreClosed, Tx
from pushpals.store.sqlite import SqliteStore, open_store
from pushpals.store.sqlite.checkpoint import LOG_BYTES, LONG_LOG, Checkpointer
from pushpals.store.sqlite.connecting import connect, open_database
from pushpals.store.sqlite.tx import Group
from pushpals.store.sqlite.waiting import WaitingWrites, Write
from pushpals.store.sqlite.writer import Writer
from pushpals.testing.contracts.store import NOW, OPERATOR, SESSION, Bench

FULL_DISK = Path(__file__).with_name("full_disk.py")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.open(open_store, tmp_path / "hub.db")
    await bench.put(SESSION)
    yield bench
    await bench.store.close()


def say(text: str) -> Any:
    def work(tx: Tx) -> int:
        return tx.append("s", Message(text=text)).cursor

    return work


async def test_a_full_disk_refuses_writes_and_nothing_else(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(FULL_DISK), str(tmp_path / "hub.db"), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    told = json.loads(output)

    assert told["reasons"] == ["nothing more can be written to the disk "]
    assert told["refused"] > 0
    assert told["acknowledged when full"] > 0
    assert told["last when full"] == told["readable when full"] == told["acknowledged when full"]
    assert told["refused afterwards"] == []
    all_of_them = list(range(1, len(told["kept"]) + 1))
    assert told["acknowledged"] == told["committed"] == told["kept"] == all_of_them
    assert told["check"] == []


async def test_a_lock_of_another_program_is_waited_for(bench: Bench, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(bench.write(say("1")))
    await bench.store.reader.find(Session)
    assert not writing.done()
    other.execute("COMMIT")
    assert await writing == 1
    other.close()


async def test_a_lock_for_ever_is_reported_and_then_forgotten(tmp_path: Path) -> None:
    bench = Bench()
    await bench.open(open_store, tmp_path / "hub.db", busy_s=0.05)
    await bench.put(SESSION)
    other = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answers = await asyncio.gather(*(bench.write(say(str(n))) for n in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreBusy] * 5
    assert len({id(answer) for answer in answers}) == 5
    other.execute("ROLLBACK")
    other.close()
    assert await bench.write(say("1")) == 1
    assert [event.cursor for event in bench.committed] == [1]
    await bench.store.close()


async def test_a_write_that_ends_the_transaction_fails_with_its_whole_group(bench: Bench) -> None:
    """The cursors and the sessions' ends are those of the file again, whatever the group had done."""

    def treacherous(tx: Tx) -> None:
        tx.append("s", Message(text="lost"))
        tx._connection.execute("ROLLBACK")  # type: ignore[attr-defined]

    answers = await asyncio.gather(
        *(bench.write(work) for work in (say("a"), treacherous, say("b"))), return_exceptions=True
    )
    assert isinstance(answers[1], sqlite3.OperationalError)
    kept = [answer for answer in answers if isinstance(answer, int)]
    assert await bench.write(say("after")) == len(kept) + 1
    assert [event.cursor for event in bench.committed] == list(range(1, len(kept) + 2))
    assert await bench.store.check() == []


async def test_a_refused_statement_is_its_writers_own_trouble(bench: Bench) -> None:
    def asleep(tx: Tx) -> None:
        tx.append("s", Message(text="lost"))
        tx._connection.execute("UPDATE sessions SET last = -1")  # type: ignore[attr-defined]

    good, bad, better = await asyncio.gather(
        *(bench.write(work) for work in (say("a"), asleep, say("b"))), return_exceptions=True
    )
    assert (good, better) == (1, 2)
    assert isinstance(bad, sqlite3.IntegrityError)


async def test_a_copy_under_load_opens_and_is_sound(bench: Bench, tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def poster(number: int) -> None:
        while not stop.is_set():
            await bench.write(say("x" * 500))

    posting = [asyncio.create_task(poster(number)) for number in range(16)]
    await bench.write(say("before"))
    for number in range(3):
        await bench.store.backup(tmp_path / f"copy-{number}.db")
    stop.set()
    await asyncio.gather(*posting)

    lengths = []
    for number in range(3):
        copy = Bench()
        await copy.open(open_store, tmp_path / f"copy-{number}.db")
        assert await copy.store.check() == []
        session = await copy.store.reader.get(Session, "s")
        assert session is not None
        lengths.append(session.last)
        cursors = [event.cursor for event in await copy.store.reader.events("s", limit=10**9)]
        assert cursors == list(range(1, session.last + 1))
        assert await copy.write(say("goes on")) == session.last + 1
        await copy.store.close()
    assert 1 <= lengths[0] <= lengths[1] <= lengths[2]


async def test_the_log_is_copied_back_under_load(bench: Bench, tmp_path: Path) -> None:
    log = tmp_path / "hub.db-wal"

    async def poster() -> None:
        for _ in range(150):
            await bench.write(say("x" * 20_000))

    await asyncio.gather(*(poster() for _ in range(32)))
    written = 150 * 32 * 20_000
    assert log.stat().st_size < 2 * LONG_LOG < written
    assert (tmp_path / "hub.db").stat().st_size > written / 2


async def test_closing_leaves_one_file_and_its_lock(bench: Bench, tmp_path: Path) -> None:
    await bench.write(say("1"))
    await bench.store.close()
    assert sorted(os.listdir(tmp_path)) == ["hub.db", "hub.db.lock"]


async def test_a_replicator_can_have_the_log_to_itself(tmp_path: Path) -> None:
    bench = Bench()
    store = await bench.open(open_store, tmp_path / "hub.db", checkpoints=False)
    await bench.put(SESSION)
    for _ in range(30):
        await bench.write(say("x" * 200_000))
    assert (tmp_path / "hub.db-wal").stat().st_size > LOG_BYTES
    assert (tmp_path / "hub.db").stat().st_size < LOG_BYTES
    await store.close()


class BrokenCheckpointer(Checkpointer):
    def wrote(self, group: Group) -> None:
        raise RuntimeError("a bug")


async def test_nobody_waits_for_a_writer_that_died(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    connection = open_database(path, synchronous="full", busy_s=5)
    checkpointer = BrokenCheckpointer(path, connect)
    waiting = WaitingWrites(max_waiting=10, max_weight=10)
    writer = Writer(connection, waiting, checkpointer, on_commit=lambda events: None, new_id=str)
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[None]] = [loop.create_future() for _ in range(3)]
    for future in futures:
        waiting.offer(Write(lambda tx: tx.put(SESSION), OPERATOR, NOW, 1, future))
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreClosed}
    with pytest.raises(StoreClosed):
        waiting.offer(Write(lambda tx: None, OPERATOR, NOW, 1, loop.create_future()))
    await writer.ended
    checkpointer.close()
    connection.close()


def tampered(path: Path, *commands: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER events_are_not_changed")
    connection.execute("DROP TRIGGER events_are_not_deleted")
    for command in commands:
        connection.execute(command)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("command", "findings"),
    [
        ("DELETE FROM jobs", []),
        (
            "UPDATE events SET data = CAST(replace(CAST(data AS TEXT), 'text 3', 'text 9') AS BLOB)",
            ["session s: event 3 is not the one that was written"],
        ),
        ("DELETE FROM events WHERE seq IN (2, 3)", ["session s: events 2 to 3 are missing"]),
        ("DELETE FROM events WHERE seq = 5", ["session s: events 5 to 5 are missing"]),
        (
            "UPDATE events SET seq = CASE seq WHEN 2 THEN 102 WHEN 3 THEN 2 ELSE seq END WHERE seq IN (2, 3)",
            ["session s: event 2 is not the one that was written", "session s: events 3 to 3 are missing"],
        ),
        ("UPDATE sessions SET head = zeroblob(32)", ["session s: the chain does not lead to its head"]),
        (
            "UPDATE sessions SET epoch = 'other'",
            ["session s: event 1 is not the one that was written"],
        ),
        (
            "INSERT INTO jobs (id, session_id, task_id, kind, state, rank, created_at, updated_at, doc)"
            " VALUES ('job-1', 's', 't', 'look', 'claimed', 1, '', '', '{}')",
            ["job job-1 is claimed, but nobody holds its lease"],
        ),
    ],
)
async def test_check_names_what_is_wrong(tmp_path: Path, command: str, findings: list[str]) -> None:
    bench = Bench()
    await bench.open(open_store, tmp_path / "hub.db")
    await bench.put(SESSION)
    for number in range(1, 6):
        await bench.write(say(f"text {number}"))
    await bench.store.close()
    tampered(tmp_path / "hub.db", command)
    store: SqliteStore = await open_store(
        tmp_path / "hub.db", on_commit=lambda events: None, new_id=bench.new_id
    )
    assert await store.check() == findings
    await store.close()


async def test_old_answers_are_pruned(bench: Bench, tmp_path: Path) -> None:
    for number in range(10):
        await bench.write(lambda tx, n=number: tx.remember(str(n), Remembered(fingerprint="f", answer=b"")))
    for _ in range(64):
        await bench.write(say("later"), now=NOW + timedelta(days=2))
    other = sqlite3.connect(tmp_path / "hub.db")
    assert other.execute("SELECT count(*) FROM answers").fetchone() == (0,)
    other.close()
