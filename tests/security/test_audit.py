"""The audit trail (table H): every kind of damage is found and named, a crash leaves none, exports verify anywhere."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushpals.cli.audit import verify_export, write_export
from pushpals.hub import sessions
from pushpals.hub.audit import Notary
from pushpals.hub.feed import Feed
from pushpals.hub.hub import Hub
from pushpals.hub.of import Of
from pushpals.hub.signing import public_key, sign, verify
from pushpals.hub.verify import History, Row, Verified, verify_all
from pushpals.protocol.commands import CreateSession, PostMessage
from pushpals.protocol.ids import random_id
from pushpals.protocol.times import utc_now
from pushpals.store.chain import genesis, link
from pushpals.store.sqlite import open_store
from pushpals.store.sqlite.auditing import open_auditor
from pushpals.testing.bench import OPERATOR

SCRIPT = Path(__file__).parents[2] / "docs" / "reference" / "verify_export.py"


async def make_history(root: Path, texts: int = 9, *, checkpoint_after: int = 6) -> Path:
    """A database with one session, closed, and a checkpoint before its end and one at it."""
    await asyncio.to_thread(root.mkdir, parents=True, exist_ok=True)
    feed = Feed()
    store = await open_store(root / "hub.db", on_commit=feed.publish, new_id=random_id)
    hub = Hub(store)
    await hub.start()
    await hub.run(sessions.create, CreateSession(session_id="dev"), actor=OPERATOR)
    notary = Notary(root / "audit", store.reader, feed, hub.clock)
    await notary.open()
    for number in range(texts):
        body = Of(id="dev", body=PostMessage(text=f"message {number}"))
        await hub.run(sessions.message, body, actor=OPERATOR)
        if number + 1 == checkpoint_after:
            await notary.step()
    await notary.step()
    await store.close()
    return root / "hub.db"


def checked(database: Path, folder: Path | None = None) -> Verified:
    folder = folder or database.parent / "audit"
    with open_auditor(database) as auditor:
        stored = [
            (
                History(
                    session_id=one.session_id,
                    epoch=one.epoch,
                    first=one.first,
                    last=one.last,
                    head=one.head,
                ),
                [Row(row.seq, row.data, row.h) for row in auditor.links(one)],
            )
            for one in auditor.histories()
        ]
    lines = folder / "checkpoints.jsonl"
    key = folder / "key.pub"
    return verify_all(
        stored,
        lines.read_bytes() if lines.exists() else None,
        key.read_text().strip() if key.exists() else None,
    )


def damage(database: Path, *statements: str) -> None:
    """Change the file as somebody would who has it."""
    with sqlite3.connect(database) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
    connection.close()


DEV = "session = (SELECT n FROM sessions WHERE id = 'dev')"
HALF = "UPDATE events SET data = CAST(replace(CAST(data AS TEXT), 'message 3', 'message X') AS BLOB)"


@pytest.mark.parametrize(
    ("statements", "found", "seq"),
    [
        ([f"{HALF} WHERE {DEV} AND seq = 4"], "edited", 4),
        ([f"DELETE FROM events WHERE {DEV} AND seq = 4"], "missing", 4),
        (
            [
                f"UPDATE events SET seq = 1000, n = n + 90000 WHERE {DEV} AND seq = 4",
                f"UPDATE events SET seq = 4 WHERE {DEV} AND seq = 7",
                f"UPDATE events SET seq = 7 WHERE {DEV} AND seq = 1000",
            ],
            "reordered",
            4,
        ),
        (
            [
                f"UPDATE events SET seq = seq + 1000 WHERE {DEV} AND seq > 3",
                f"UPDATE events SET seq = seq - 999 WHERE {DEV} AND seq > 1000",
                f"INSERT INTO events SELECT session, 4, 99999, type, data, h FROM events WHERE {DEV} AND seq = 3",
                "UPDATE sessions SET last = last + 1 WHERE id = 'dev'",
            ],
            "edited",
            4,
        ),
        ([f"DELETE FROM events WHERE {DEV} AND seq > 7"], "truncated", 8),
    ],
    ids=["byte", "deleted", "swapped", "inserted", "tail"],
)
async def test_h02_a_changed_database_is_found_and_the_damage_named(
    tmp_path: Path, statements: list[str], found: str, seq: int
) -> None:
    database = await make_history(tmp_path)
    assert checked(database).ok
    damage(database, *statements)
    (finding,) = checked(database).findings
    assert (finding.damage, finding.session_id, finding.seq) == (found, "dev", seq)


def recompute(database: Path, change: Callable[[int, bytes], bytes | None]) -> None:
    """What a careful thief does: the whole chain again, and the session's own head."""
    connection = sqlite3.connect(database)
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    row, epoch = connection.execute("SELECT n, epoch FROM sessions WHERE id = 'dev'").fetchone()
    digest, last = genesis("dev", epoch), 0
    stored = connection.execute("SELECT seq, data FROM events WHERE session = ? ORDER BY seq", (row,))
    for seq, data in stored.fetchall():
        changed = change(seq, data)
        if changed is None:
            connection.execute("DELETE FROM events WHERE session = ? AND seq = ?", (row, seq))
            continue
        digest, last = link(digest, changed), seq
        connection.execute(
            "UPDATE events SET data = ?, h = ? WHERE session = ? AND seq = ?", (changed, digest, row, seq)
        )
    connection.execute("UPDATE sessions SET head = ?, last = ? WHERE n = ?", (digest, last, row))
    connection.commit()
    connection.close()


async def test_h04_a_chain_made_again_after_an_edit_is_not_the_signed_one(tmp_path: Path) -> None:
    database = await make_history(tmp_path)
    recompute(database, lambda seq, data: data.replace(b"message 2", b"message Z"))
    (finding,) = checked(database).findings
    assert (finding.damage, finding.session_id) == ("forked", "dev")
    without = verify_all([], None, None)
    assert without.ok
    (tmp_path / "audit" / "checkpoints.jsonl").unlink()
    assert checked(database).ok, "without checkpoints nothing shows: that is what they are for"


async def test_h04_an_end_cut_off_with_care_is_not_the_signed_one(tmp_path: Path) -> None:
    database = await make_history(tmp_path)
    recompute(database, lambda seq, data: data if seq <= 7 else None)
    (finding,) = checked(database).findings
    assert (finding.damage, finding.seq) == ("truncated", 8)


async def test_h06_a_copy_that_went_its_own_way_is_a_fork(tmp_path: Path) -> None:
    database = await make_history(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "hub.db").write_bytes(database.read_bytes())
    for name in ("a", "b"):
        feed = Feed()
        store = await open_store(tmp_path / name / "hub.db", on_commit=feed.publish, new_id=random_id)
        hub = Hub(store)
        notary = Notary(tmp_path / name / "audit", store.reader, feed, hub.clock)
        await notary.open()
        body = Of(id="dev", body=PostMessage(text=f"only in {name}"))
        await hub.run(sessions.message, body, actor=OPERATOR)
        await notary.step()
        await store.close()
        assert checked(tmp_path / name / "hub.db").ok
    crossed = checked(tmp_path / "b" / "hub.db", tmp_path / "a" / "audit")
    assert {finding.damage for finding in crossed.findings} == {"forked"}


async def test_a_checkpoint_that_was_touched_is_a_bad_signature(tmp_path: Path) -> None:
    database = await make_history(tmp_path)
    path = tmp_path / "audit" / "checkpoints.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    edited = lines[1].replace(b'"events":', b'"events":1', 1)
    forged = json.loads(lines[-1])
    forged["sig"] = sign(b"\1" * 32, b"anything").hex()
    cases = {
        "edited": b"".join([lines[0], edited, *lines[2:]]),
        "left out": b"".join([lines[0], *lines[2:]]),
        "garbled": b"".join([lines[0], b"{" + lines[1][5:], *lines[2:]]),
        "another key": b"".join(lines[:-1])
        + json.dumps(forged, sort_keys=True, separators=(",", ":")).encode()
        + b"\n",
    }
    for name, data in cases.items():
        path.write_bytes(data)
        found = [finding.damage for finding in checked(database).findings]
        assert found[:1] == ["bad-signature"], name
    path.write_bytes(whole.replace(b'"v":"pushpals.checkpoint.v1"', b'"v":"pushpals.checkpoint.v9"'))
    assert checked(database).findings[0].damage == "unknown-format"


async def test_a_checkpoint_line_that_a_crash_cut_short_does_no_harm(tmp_path: Path) -> None:
    database = await make_history(tmp_path)
    path = tmp_path / "audit" / "checkpoints.jsonl"
    with path.open("ab") as file:
        file.write(b'{"at":"2026-')
    assert checked(database).ok
    feed = Feed()
    store = await open_store(database, on_commit=feed.publish, new_id=random_id)
    hub = Hub(store)
    notary = Notary(tmp_path / "audit", store.reader, feed, hub.clock)
    await notary.open()
    await hub.run(sessions.message, Of(id="dev", body=PostMessage(text="after")), actor=OPERATOR)
    await notary.step()
    await store.close()
    assert checked(database).ok


WRITER = """
import asyncio, sys
from pathlib import Path
from pushpals.hub import jobs, sessions
from pushpals.hub.audit import Notary
from pushpals.hub.feed import Feed
from pushpals.hub.hub import Hub
from pushpals.protocol.commands import CreateSession, Enqueue
from pushpals.protocol.ids import random_id
from pushpals.store.sqlite import open_store
from pushpals.testing.bench import OPERATOR

async def main(root):
    feed = Feed()
    store = await open_store(root / "hub.db", on_commit=feed.publish, new_id=random_id)
    hub = Hub(store)
    await hub.start()
    await hub.run(sessions.create, CreateSession(session_id="dev"), actor=OPERATOR)
    notary = Notary(root / "audit", store.reader, feed, hub.clock)
    await notary.open()
    print("up", flush=True)
    async def write(number):
        for n in range(100_000):
            ask = Enqueue(task_id=f"{number}-{n}", kind="command", session_id="dev")
            try:
                await hub.run(jobs.enqueue, ask, actor=OPERATOR)
            except Exception:
                await asyncio.sleep(0)
    async def note():
        while True:
            await notary.step()
            await asyncio.sleep(0.001)
    await asyncio.gather(note(), *(write(number) for number in range(8)))

asyncio.run(main(Path(sys.argv[1])))
"""

KILLS = int(os.environ.get("PUSHPALS_KILLS", "8"))


async def test_h08_kill_9_while_writing_leaves_a_trail_that_verifies(tmp_path: Path) -> None:
    chance = random.Random(8)
    for _ in range(KILLS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])},
        )  # fmt: skip
        assert process.stdout is not None
        assert (await process.stdout.readline()).strip() == b"up"
        await asyncio.sleep(chance.uniform(0.01, 0.12))
        process.send_signal(signal.SIGKILL)
        await process.wait()
        # Opening rolls the log forward, as the next start of a hub does.
        store = await open_store(tmp_path / "hub.db", on_commit=lambda events: None, new_id=random_id)
        assert await store.check() == []
        await store.close()
        verified = checked(tmp_path / "hub.db")
        assert verified.findings == ()
    with sqlite3.connect(tmp_path / "hub.db") as connection:
        (made,) = connection.execute("SELECT count(*) FROM jobs").fetchone()
        (told,) = connection.execute("SELECT count(*) FROM events WHERE type = 'job_enqueued'").fetchone()
    connection.close()
    assert made == told > 0, "no change of state without its event"


def exported(database: Path, to: Path) -> Path:
    with open_auditor(database) as auditor, to.open("wb") as file:
        write_export(auditor, database.parent / "audit", file)
    return to


def alone(path: Path, *arguments: str) -> tuple[int, str]:
    """The stand-alone script, in a Python that cannot see us."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), str(path), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return done.returncode, done.stdout + done.stderr


async def test_h10_an_export_is_the_same_twice_and_verifies_without_us(tmp_path: Path) -> None:
    database = await make_history(tmp_path)
    one, two = exported(database, tmp_path / "1"), exported(database, tmp_path / "2")
    assert one.read_bytes() == two.read_bytes()
    code, said = alone(one)
    assert (code, said.split()[0]) == (0, "ok")
    assert verify_export(one, None, {}).ok
    key = (tmp_path / "audit" / "key.pub").read_text().strip()
    assert alone(one, key)[0] == 0
    assert alone(one, public_key(b"\2" * 32).hex())[0] == 1


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (b"message 3", b"message Y", "edited"),
        (b'"events":', b'"events":1', "bad-signature"),
        (b'{"format":"pushpals.audit.v1"', b'{"format":"pushpals.audit.v2"', "unknown-format"),
    ],
)
async def test_an_export_that_was_changed_says_so(tmp_path: Path, old: bytes, new: bytes, word: str) -> None:
    path = exported(await make_history(tmp_path), tmp_path / "export")
    data = path.read_bytes()
    assert old in data or old.replace(b'"', b'\\"') in data
    changed = (
        data.replace(old, new, 1)
        if old in data
        else data.replace(old.replace(b'"', b'\\"'), new.replace(b'"', b'\\"'), 1)
    )
    path.write_bytes(changed)
    code, said = alone(path)
    assert code == 1
    assert said.startswith(word)
    found = verify_export(path, None, {})
    assert not found.ok
    assert word in {finding.damage for finding in found.findings}


async def test_a_witness_sees_what_even_the_key_s_owner_rewrites(tmp_path: Path) -> None:
    database = await make_history(tmp_path)
    with open_auditor(database) as auditor:
        (dev,) = (one for one in auditor.histories() if one.session_id == "dev")
        seen = {"dev": {row.seq: row.h.hex() for row in auditor.links(dev) if row.seq == 5}}
    recompute(database, lambda seq, data: data.replace(b"message 2", b"message Z"))
    path = exported(database, tmp_path / "export")
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if b'"checkpoint"' not in line]
    path.write_bytes(b"".join(kept))
    found = verify_export(path, None, seen)
    assert "forked" in {finding.damage for finding in found.findings} | {
        finding.damage for finding in checked(database).findings
    }


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511))
def test_a_signature_holds_for_its_message_and_no_other(seed: bytes, message: bytes, bit: int) -> None:
    public, signature = public_key(seed), sign(seed, message)
    assert verify(public, message, signature)
    assert not verify(public, message + b"\0", signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not verify(public, message, bytes(flipped))


@pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ],
)
def test_signatures_are_those_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    assert public_key(bytes.fromhex(seed)).hex() == public
    assert sign(bytes.fromhex(seed), bytes.fromhex(message)).hex() == signature


async def test_the_key_is_private_and_its_name_is_in_each_line(tmp_path: Path) -> None:
    await make_history(tmp_path)
    key = tmp_path / "audit" / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    lines = [
        json.loads(line) for line in (tmp_path / "audit" / "checkpoints.jsonl").read_bytes().splitlines()
    ]
    names: set[Any] = {line["key"] for line in lines}
    assert len(names) == 1
    assert key.read_text().strip() not in (tmp_path / "audit" / "checkpoints.jsonl").read_text()
    assert utc_now().tzinfo is not None
