"""A store whose files may not grow any further for a while. Run by test_sqlite_trouble.py.

A file size limit stands in for a full disk: it needs no privileges, and is lifted again as room is made.
"""

import asyncio
import json
import resource
import sys
from pathlib import Path

from pushpals.protocol.events import Message
from pushpals.protocol.ids import random_id
from pushpals.protocol.records import Session
from pushpals.store.base import StoreFull, Tx
from pushpals.store.sqlite import open_store
from pushpals.testing.contracts.store import NOW, OPERATOR, SESSION

ROOM = 512 * 1024


async def main(path: Path) -> None:
    committed: list[int] = []
    store = await open_store(
        path, on_commit=lambda events: committed.extend(e.cursor for e in events), new_id=random_id
    )
    acknowledged: list[int] = []

    async def say(number: int) -> str:
        def work(tx: Tx) -> int:
            return tx.append("s", Message(text=str(number), intent="x" * 4_000)).cursor

        try:
            acknowledged.append(await store.write(work, actor=OPERATOR, now=NOW))
        except StoreFull as error:
            return str(error)
        return ""

    await store.write(lambda tx: tx.put(SESSION), actor=OPERATOR, now=NOW)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    refusals = []
    for turn in range(40):
        refusals += [why for why in await asyncio.gather(*(say(turn) for _ in range(8))) if why]
    at_full = len(acknowledged)
    session = await store.reader.get(Session, "s")
    assert session is not None
    readable = len(await store.reader.events("s", limit=10_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    afterwards = await asyncio.gather(*(say(n) for n in range(8)))

    print(
        json.dumps(
            {
                "reasons": sorted({why.split("(")[0] for why in refusals}),
                "refused": len(refusals),
                "acknowledged when full": at_full,
                "last when full": session.last,
                "readable when full": readable,
                "refused afterwards": [why for why in afterwards if why],
                "acknowledged": sorted(acknowledged),
                "committed": committed,
                "kept": [event.cursor for event in await store.reader.events("s", limit=10_000)],
                "check": await store.check(),
            }
        )
    )
    await store.close()


asyncio.run(main(Path(sys.argv[1])))
