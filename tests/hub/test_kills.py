"""The hub is killed at any moment under load: nothing acknowledged is lost, repeated or torn.

Eight writers post with a key each and try again until they are answered; three followers read along and
resume by themselves; the hub dies by SIGKILL at random moments and is started again. At the end the history
must hold every acknowledged text once and in its place, without a hole; each follower must have seen it
from first to last, once, in order; the file's own check must find nothing.

``PUSHPALS_KILLS`` says how often (3 without it; `make soak` does 1,000); ``PUSHPALS_SEED`` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from pushpals.client import HubClient
from pushpals.protocol.events import Message
from pushpals.protocol.wire import read_event
from pushpals.store.sqlite import files
from pushpals.testing.hubprocess import HubProcess

KILLS = int(os.environ.get("PUSHPALS_KILLS", "3"))
SEED = int(os.environ.get("PUSHPALS_SEED", str(random.randrange(2**32))))
WRITERS, FOLLOWERS = 8, 3


async def write(client: HubClient, writer: int, stop: asyncio.Event) -> dict[str, int]:
    """Post until told to stop; cursor by acknowledged text."""
    acked: dict[str, int] = {}
    number = 0
    while not stop.is_set():
        text = f"{writer}/{number}"
        acked[text] = (await client.say("dev", text, key=text)).cursor
        if number % 7 == 3:
            again = await client.say("dev", text, key=text)
            assert again.cursor == acked[text], "a repeated key is the same event"
        number += 1
    return acked


class Follower:
    def __init__(self) -> None:
        self.seen: list[int] = []
        self.wanted: int | None = None

    async def run(self, client: HubClient) -> None:
        async with aclosing(client.follow("dev")) as events:
            async for event in events:
                self.seen.append(event.cursor)
                if self.wanted is not None and event.cursor >= self.wanted:
                    return


async def history(client: HubClient) -> list[str]:
    found: list[str] = []
    after = 0
    while True:
        page = await client.history("dev", after=after, limit=1_000)
        for item in page.items:
            assert item.cursor == len(found) + 1, "a hole in the history"
            payload = read_event(bytes(item.envelope), item.cursor).payload
            assert isinstance(payload, Message)
            found.append(payload.text)
        if page.next is None:
            return found
        after = page.next


@pytest.mark.timeout(120 + 3 * KILLS)
async def test_kills_lose_repeat_and_tear_nothing(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    print(f"PUSHPALS_SEED={SEED}")
    stop = asyncio.Event()
    back: list[float] = []
    async with HubProcess(tmp_path, events_per_s=1e9, events_burst=1e9) as hub:
        await hub.start()
        async with hub.client() as client:
            await client.create_session("dev")
            followers = [Follower() for _ in range(FOLLOWERS)]
            following = [asyncio.create_task(one.run(client)) for one in followers]
            writing = [asyncio.create_task(write(client, n, stop)) for n in range(WRITERS)]
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.02, 0.4))
                await hub.kill()
                began = time.monotonic()
                await hub.start()
                back.append(time.monotonic() - began)
            stop.set()
            acked: dict[str, int] = {}
            for writer in writing:
                acked |= await writer

            kept = await history(client)
            for one in followers:
                one.wanted = len(kept)
            await client.say("dev", "last", key="last")
            kept.append("last")
            async with asyncio.timeout(60):
                await asyncio.gather(*following)

        assert {text: kept[cursor - 1] for text, cursor in acked.items()} == {text: text for text in acked}
        assert len(kept) == len(set(kept)), "a repeated key made a second event"
        for one in followers:
            assert one.seen == list(range(1, len(one.seen) + 1))
            assert len(one.seen) >= len(kept) - 1
        await hub.kill()
        assert files.check(hub.database) == []
    back.sort()
    print(
        f"{KILLS} kills, {len(acked)} acknowledged, {len(kept)} kept, 0 lost, 0 repeated, 0 torn;"
        f" back in {back[len(back) // 2]:.2f} s (p50), {back[-1]:.2f} s (max)"
    )
