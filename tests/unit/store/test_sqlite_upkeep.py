"""Databases of every released version are brought up to date; backups come back; free room is given back."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pushpals.hub import jobs
from pushpals.hub.hub import Hub
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import Claim
from pushpals.protocol.events import Message
from pushpals.protocol.ids import random_id
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing
from pushpals.protocol.records import Session
from pushpals.store.base import StoreLocked, StoreUnreadable
from pushpals.store.sqlite import files, open_store
from pushpals.store.sqlite.migrate import known
from pushpals.testing.bench import OPERATOR, WORKER
from pushpals.testing.clock import ManualClock
from pushpals.testing.contracts.store import NOW, SESSION

RELEASED = sorted((Path(__file__).parents[2] / "fixtures" / "schema").glob("*.sql"))


async def opened(path: Path) -> Any:
    return await open_store(path, on_commit=lambda events: None, new_id=random_id)


def test_every_migration_but_the_newest_has_a_database_of_its_time() -> None:
    assert [path.stem for path in RELEASED] == [f"{m.version:04d}" for m in known()[:-1]]


@pytest.mark.parametrize("released", RELEASED, ids=lambda path: path.stem)
async def test_a_database_of_a_released_version_goes_on(tmp_path: Path, released: Path) -> None:
    path = tmp_path / "hub.db"
    connection = sqlite3.connect(path)
    connection.executescript(released.read_text())  # noqa: ASYNC240 - nothing else runs yet
    before = connection.execute("SELECT session, seq, n, type, data, h FROM events ORDER BY n").fetchall()
    connection.close()

    store = await opened(path)
    try:
        hub = Hub(store, clock=ManualClock())
        await hub.start()
        assert await store.check() == []
        session = await store.reader.get(Session, "dev")
        assert session is not None
        assert (session.first, session.label) == (1, "An old session")
        texts = [e.data for e in await store.reader.events("dev")]
        assert texts == [bytes(row[4]) for row in before if row[0] == 2]

        while await store.write(lambda tx: tx.index(), actor=OPERATOR, now=NOW):
            pass
        assert len(await store.reader.search("dev", "parser")) == 1
        assert {x.state for x in (await store.reader.page(Landing)).items} == {"needs_approval"}
        assert len(await store.reader.find(Approval, state="open")) == 1
        claimed = []
        while (job := await hub.run(jobs.claim, Claim(worker_id="w2"), actor=WORKER)) is not None:
            claimed.append(job.title)
        assert claimed == ["normal", "normal", "background"], "in the order of their turns"
        assert {job.state for job in await store.reader.find(Job)} == {"claimed", "blocked"}
    finally:
        await store.close()


async def test_a_backup_comes_back_under_new_epochs_and_the_old_file_stays(tmp_path: Path) -> None:
    path, backup = tmp_path / "hub.db", tmp_path / "copy.db"
    store = await opened(path)
    await store.write(lambda tx: tx.put(SESSION), actor=OPERATOR, now=NOW)
    await store.write(lambda tx: tx.append("s", Message(text="kept")), actor=OPERATOR, now=NOW)
    await store.backup(backup)
    await store.write(lambda tx: tx.append("s", Message(text="lost")), actor=OPERATOR, now=NOW)
    with pytest.raises(StoreLocked):
        files.restore(backup, path)
    with pytest.raises(StoreLocked):
        files.vacuum(path)
    await store.close()

    old = files.restore(backup, path)

    store = await opened(path)
    session = await store.reader.get(Session, "s")
    assert session is not None
    assert session.last == 1
    assert session.epoch != SESSION.epoch, "cursors of before mean other events now"
    assert await store.check() == []
    await store.write(lambda tx: tx.append("s", Message(text="goes on")), actor=OPERATOR, now=NOW)
    assert await store.check() == []
    await store.close()
    assert old == tmp_path / "hub.db.replaced-1"
    assert files.check(old) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [  # noqa: ASYNC240 - nothing else runs any more
        "copy.db", "hub.db", "hub.db.lock", "hub.db.replaced-1",
    ]  # fmt: skip


async def test_a_damaged_backup_replaces_nothing(tmp_path: Path) -> None:
    path, backup = tmp_path / "hub.db", tmp_path / "copy.db"
    store = await opened(path)
    await store.write(lambda tx: tx.put(SESSION), actor=OPERATOR, now=NOW)
    for n in range(200):
        await store.write(lambda tx, n=n: tx.append("s", Message(text=f"{n}" * 500)), actor=OPERATOR, now=NOW)
    await store.close()
    shutil.copy(path, backup)
    with backup.open("r+b") as file:
        file.seek(backup.stat().st_size // 2)
        file.write(b"\xff" * 20_000)
    before = path.read_bytes()
    with pytest.raises(StoreUnreadable):
        files.restore(backup, path)
    assert path.read_bytes() == before
    text = tmp_path / "no.db"
    text.write_text("this is no database")
    with pytest.raises(StoreUnreadable):
        files.restore(text, path)


async def test_what_was_erased_gives_its_room_back(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store = await opened(path)
    await store.write(lambda tx: tx.put(SESSION), actor=OPERATOR, now=NOW)

    def fill(tx: Any) -> None:
        for n in range(400):
            tx.append("s", Message(text=f"{n} " * 1_000))

    await store.write(fill, actor=OPERATOR, now=NOW)
    while await store.write(lambda tx: tx.erase("s", 401), actor=OPERATOR, now=NOW):
        pass
    await store.close()
    before, after = files.vacuum(path)
    assert after < before / 4
    assert files.check(path) == []
