"""Writes into a store and says what was acknowledged, until it is killed. Run by test_sqlite_crash.py."""

import asyncio
import os
import sys
from pathlib import Path

from pushpals.protocol.events import Message
from pushpals.protocol.ids import random_id
from pushpals.protocol.jobs import Attempt
from pushpals.store.base import Appended, Tx
from pushpals.store.sqlite import open_store
from pushpals.testing.contracts.store import NOW, OPERATOR, SESSION, STAMP

PADDING = "x" * 2_000


async def main(path: Path, run: str) -> None:
    store = await open_store(path, on_commit=lambda events: None, new_id=random_id)

    async def poster(number: int) -> None:
        session = f"s{number % 3}"
        for turn in range(10**9):
            text = f"{run}-{number}-{turn}"

            def work(tx: Tx, text: str = text) -> Appended:
                tx.put(Attempt(id=text, job_id="j", attempt=1, worker_id="w", started_at=STAMP))
                return tx.append(session, Message(text=text, intent=PADDING))

            appended = await store.write(work, actor=OPERATOR, now=NOW)
            os.write(1, f"{session} {appended.cursor} {text}\n".encode())

    def sessions(tx: Tx) -> None:
        for name in ("s0", "s1", "s2"):
            tx.put(type(SESSION)(id=name, created_at=STAMP, epoch="e"))

    await store.write(sessions, actor=OPERATOR, now=NOW)
    await asyncio.gather(*(poster(number) for number in range(16)))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
