"""The hub as a process: it starts, is stopped under load, is killed, and owes nobody anything."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pushpals.client import Backoff, HubClient
from pushpals.protocol.errors import PushPalsError

PROGRAM = """
import asyncio, sys
from pathlib import Path
from pushpals.server import ensure_operator, serve
from pushpals.store.sqlite import open_store

async def main():
    made = asyncio.Event()
    def ready(service):
        async def tell():
            token = await ensure_operator(service.hub)
            print(service.url, token.secret if token else "-", flush=True)
        made.task = asyncio.ensure_future(tell())
    await serve(open_store, Path(sys.argv[1]) / "hub.db", data_dir=Path(sys.argv[1]), port=0, ready=ready)

asyncio.run(main())
"""
TRY_ONCE = Backoff(tries=1)


class Process:
    def __init__(self, process: asyncio.subprocess.Process, url: str, secret: str) -> None:
        self.process = process
        self.url = url
        self.secret = secret

    async def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        async with asyncio.timeout(20):
            return await self.process.wait()


@asynccontextmanager
async def hub(directory: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(directory), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            url, secret = (await process.stdout.readline()).decode().split()
        yield Process(process, url, secret)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def write_until_refused(client: HubClient, writer: int) -> list[str]:
    """Post until the hub goes; the texts it took."""
    taken = []
    for number in range(100_000):
        try:
            await client.say("dev", f"{writer}/{number}", key=f"{writer}/{number}")
        except PushPalsError:
            break
        taken.append(f"{writer}/{number}")
    return taken


async def texts(client: HubClient) -> list[str]:
    found, after = [], 0
    while True:
        page = await client.history("dev", after=after)
        for item in page.items:
            assert item.cursor == len(found) + 1, "a hole in the history"
            found.append(bytes(item.envelope).split(b'"text":"')[1].split(b'"')[0].decode())
        if page.next is None:
            return found
        after = page.next


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_what_was_answered_is_there_after_the_end(tmp_path: Path, how: signal.Signals) -> None:
    async with hub(tmp_path) as first:
        secret = first.secret
        async with HubClient(first.url, secret, backoff=TRY_ONCE) as client:
            await client.create_session("dev")
            writers = [asyncio.create_task(write_until_refused(client, number)) for number in range(8)]
            while (await client.status()).events < 100:  # noqa: ASYNC110 - the writers are in the way of nothing
                await asyncio.sleep(0)
            code = await first.end(how)
            taken = [text for writer in writers for text in await writer]
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 0)

    async with hub(tmp_path) as second, HubClient(second.url, secret) as client:
        kept = await texts(client)
        again = await client.say("dev", taken[0], key=taken[0])
        assert set(taken) <= set(kept)
        assert len(kept) == len(set(kept))
        assert again.cursor == kept.index(taken[0]) + 1, "a repeated key is the same event"
        assert await second.end(signal.SIGTERM) == 0


async def test_a_second_hub_on_the_same_file_does_not_start(tmp_path: Path) -> None:
    async with hub(tmp_path) as first:
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, str(tmp_path),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(30):
            _, errors = await second.communicate()
        assert second.returncode != 0
        assert b"StoreLocked" in errors
        async with HubClient(first.url, first.secret) as client:
            assert (await client.create_session("dev")).session_id == "dev"
