"""kill -9 in the middle of writing, again and again: what was acknowledged is there."""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

from pushpals.protocol.events import Message
from pushpals.protocol.ids import random_id
from pushpals.protocol.jobs import Attempt
from pushpals.protocol.records import Session
from pushpals.protocol.wire import read_event
from pushpals.store.sqlite import open_store

WRITER = Path(__file__).with_name("crash_writer.py")
ROUNDS = 25


async def write_and_die(path: Path, run: int, acknowledgements: int) -> list[tuple[str, int, str]]:
    """What one writer acknowledged before it was killed."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, str(WRITER), str(path), str(run), stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    lines: list[bytes] = []
    while len(lines) < acknowledgements and (line := await writer.stdout.readline()):
        lines.append(line)
    writer.kill()
    lines += (await writer.stdout.read()).splitlines()
    assert await writer.wait() == -signal.SIGKILL
    said = [line.decode().split() for line in lines]
    # The last line may have been cut.
    return [(words[0], int(words[1]), words[2]) for words in said if len(words) == 3]


async def test_killed_writers_lose_nothing_that_they_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    chance = random.Random(20260131)
    acknowledged: dict[tuple[str, int], str] = {}
    for run in range(ROUNDS):
        said = await write_and_die(path, run, chance.randrange(1, 400))
        assert said
        acknowledged |= {(session, cursor): text for session, cursor, text in said}

    store = await open_store(path, on_commit=lambda events: None, new_id=random_id)
    kept: dict[tuple[str, int], str] = {}
    for session in await store.reader.find(Session):
        events = await store.reader.events(session.id, limit=10**9)
        assert [event.cursor for event in events] == list(range(1, session.last + 1))
        for event in events:
            payload = read_event(event.data, event.cursor).payload
            assert isinstance(payload, Message)
            kept[session.id, event.cursor] = payload.text
    assert acknowledged.items() <= kept.items()
    # The record and the event of a write are kept together or not at all.
    assert await store.reader.count(Attempt, "worker_id") == {"w": len(kept)}
    assert await store.check() == []
    await store.close()
    assert sorted(os.listdir(tmp_path)) == ["hub.db", "hub.db.lock"]
