"""Which files are opened, and what is said about the others."""

import asyncio
import os
import shutil
import sqlite3
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pushpals.protocol.ids import random_id
from pushpals.store.base import StoreLocked, StoreUnreadable
from pushpals.store.sqlite import SqliteStore, open_store
from pushpals.store.sqlite.migrate import APPLICATION_ID, Migration, known, migrate, statements
from pushpals.testing.contracts.store import NOW, OPERATOR, SESSION

HOLDER = """
import asyncio, sys
from pathlib import Path
from pushpals.store.sqlite import open_store

async def main():
    store = await open_store(Path(sys.argv[1]), on_commit=print, new_id=str)
    print("open", flush=True)
    sys.stdin.readline()
    await store.close()

asyncio.run(main())
"""

TRY_AS_NOBODY = """
import asyncio, concurrent.futures.thread, os, sys
from pathlib import Path
from pushpals.store.base import StoreUnreadable
from pushpals.store.sqlite import open_store

if os.geteuid() == 0:  # nothing is read-only to root
    os.setgid(65534)
    os.setuid(65534)
try:
    asyncio.run(open_store(Path(sys.argv[1]), on_commit=print, new_id=str))
except StoreUnreadable as error:
    print("unreadable:", error)
"""


async def opened(path: Path) -> SqliteStore:
    return await open_store(path, on_commit=lambda events: None, new_id=random_id)


async def said(program: str, path: Path) -> str:
    """What a program prints that is run in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode()


async def made(path: Path) -> None:
    store = await opened(path)
    await store.write(lambda tx: tx.put(SESSION), actor=OPERATOR, now=NOW)
    await store.close()


def execute(path: Path, *commands: str) -> None:
    connection = sqlite3.connect(path)
    for command in commands:
        connection.execute(command)
    connection.commit()
    connection.close()


async def test_a_new_database_is_made_private_and_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "hub.db"
    await made(path)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "hub.db").touch()
    await made(tmp_path / "hub.db")


async def test_a_path_is_required(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="memory store"):
        await open_store(None, on_commit=lambda events: None, new_id=random_id)


async def test_the_settings_that_our_rules_rely_on_are_on(tmp_path: Path) -> None:
    store = await opened(tmp_path / "hub.db")
    connection = store._connection

    def pragma(name: str) -> object:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert {
        name: pragma(name)
        for name in (
            "journal_mode", "synchronous", "wal_autocheckpoint", "auto_vacuum", "foreign_keys",
            "recursive_triggers", "busy_timeout", "application_id",
        )
    } == {
        "journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0, "auto_vacuum": 2,
        "foreign_keys": 1, "recursive_triggers": 1, "busy_timeout": 5_000, "application_id": APPLICATION_ID,
    }  # fmt: skip
    await store.close()

    store = await open_store(
        tmp_path / "hub.db", on_commit=lambda events: None, new_id=random_id, synchronous="normal"
    )
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (1,)
    await store.close()


async def test_what_was_migrated_is_on_record(tmp_path: Path) -> None:
    await made(tmp_path / "hub.db")
    await made(tmp_path / "hub.db")
    connection = sqlite3.connect(tmp_path / "hub.db")
    assert connection.execute("SELECT version, name, digest FROM migrations").fetchall() == [
        (migration.version, migration.name, migration.digest) for migration in known()
    ]
    connection.close()


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.version for migration in known()] == list(range(1, len(known()) + 1))


def test_a_migration_that_fails_leaves_nothing() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    first = Migration(1, "first", "CREATE TABLE a (x);\n")
    broken = Migration(2, "broken", "CREATE TABLE b (x);\nINSERT INTO nowhere VALUES (1);\n")
    assert migrate(connection, [first]) == [1]
    before = list(connection.iterdump())
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(connection, [first, broken])
    assert list(connection.iterdump()) == before

    mended = Migration(2, "mended", "CREATE TABLE b (x);\n")
    assert migrate(connection, [first, mended]) == [2]
    assert migrate(connection, [first, mended]) == []
    connection.close()


def test_a_script_is_split_at_statements_not_at_semicolons() -> None:
    trigger = "CREATE TRIGGER t BEFORE DELETE ON a\nBEGIN\n    SELECT 1;\n    SELECT 2;\nEND;\n"
    assert list(statements(f"-- words; words\nSELECT ';';\n{trigger}-- the end\n")) == [
        "-- words; words\nSELECT ';';\n", trigger,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="within a statement"):
        list(statements("SELECT 1;\nSELECT 2\n"))


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 + 100 : 3 * 4096] = b"\xff" * (2 * 4096 - 100)
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def no_database(path: Path) -> None:
    path.write_text("somebody's notes, longer than a header")


def header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def of_another_program(path: Path) -> None:
    path.unlink()
    execute(path, "CREATE TABLE notes (text)")


def with_another_id(path: Path) -> None:
    execute(path, "PRAGMA application_id = 7")


def newer(path: Path) -> None:
    execute(path, "INSERT INTO migrations VALUES (999, 'future', 'x', 'y')")


def otherwise_migrated(path: Path) -> None:
    execute(path, "UPDATE migrations SET digest = 'x'")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (damaged, "damaged"),
        (cut, "damaged"),
        (header_only, "damaged"),
        (no_database, "not a database"),
        (of_another_program, "another program"),
        (with_another_id, "another program"),
        (newer, "version 999"),
        (otherwise_migrated, "different migration"),
    ],
)
async def test_a_file_that_is_not_sound_and_ours_is_refused_and_left_alone(
    tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    path = tmp_path / "hub.db"
    await made(path)
    spoil(path)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreUnreadable, match=sentence) as raised:
            await opened(path)
        assert str(path) in str(raised.value)
    # SQLite notes in the header that a foreign database went over to its log; its content stays.
    assert path.read_bytes()[100:] == before[100:]


async def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnreadable, match="cannot be opened"):
        await opened(tmp_path / "file" / "hub.db")
    with pytest.raises(StoreUnreadable, match="cannot be opened"):
        await opened(tmp_path)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that another user can enter; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="pushpals-store-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def test_a_read_only_file_is_refused(public_folder: Path) -> None:
    path = public_folder / "hub.db"
    await made(path)
    before = path.read_bytes()
    path.chmod(0o444)
    path.with_name("hub.db.lock").chmod(0o666)
    tried = await said(TRY_AS_NOBODY, path)
    assert tried == f"unreadable: {path} cannot be opened: Permission denied\n"
    assert path.read_bytes() == before


@asynccontextmanager
async def held_open(path: Path) -> AsyncIterator[Process]:
    """Another process that has the store open until a line is written to it."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"open\n"
    yield holder
    await holder.communicate(b"\n" if holder.returncode is None else None)


async def test_a_second_process_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    async with held_open(path) as holder:
        with pytest.raises(StoreLocked, match=f"in use by process {holder.pid};"):
            await opened(path)
        (tmp_path / "link.db").symlink_to(path)
        with pytest.raises(StoreLocked, match=f"in use by process {holder.pid};"):
            await opened(tmp_path / "link.db")
    assert holder.returncode == 0
    await made(path)


async def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    async with held_open(path) as holder:
        holder.kill()
        await holder.wait()
    await made(path)


async def test_a_second_store_in_one_process_is_refused_too(tmp_path: Path) -> None:
    store = await opened(tmp_path / "hub.db")
    with pytest.raises(StoreLocked, match=f"process {os.getpid()};"):
        await opened(tmp_path / "hub.db")
    await store.close()
    await made(tmp_path / "hub.db")


async def test_an_open_that_failed_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    no_database(path)
    with pytest.raises(StoreUnreadable):
        await opened(path)
    path.unlink()
    await made(path)
