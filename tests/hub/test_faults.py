"""What else can happen to a hub and its workers, each with real processes and an exact outcome."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from pushpals.client import Backoff, HubClient
from pushpals.protocol.commands import Claim, Complete, Enqueue, NewToken
from pushpals.protocol.errors import Conflict, LeaseLost, StorageFull, Unavailable
from pushpals.protocol.events import JobLeaseLost
from pushpals.protocol.wire import read_event
from pushpals.store.sqlite import files
from pushpals.testing.hubprocess import HubProcess

CLIENTS = int(os.environ.get("PUSHPALS_CLIENTS", "300"))
"""Readers that come back at once (10,000 in `make soak`)."""

ONCE = Backoff(tries=1)


@contextlib.asynccontextmanager
async def running(directory: Path, **options: object) -> AsyncIterator[tuple[HubProcess, HubClient]]:
    async with HubProcess(directory, **options) as hub:
        await hub.start()
        async with hub.client() as client:
            await client.create_session("dev")
            yield hub, client


# --- the disk and the file --------------------------------------------------------------------------


async def test_a_full_disk_refuses_writes_and_nothing_else_and_room_mends_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (hub, client):
        first = await client.say("dev", "before")
        # As a quota does: the file may not grow, and what is in it can be read.
        _, hard = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (1, hard))
        async with hub.client(backoff=ONCE) as once:
            for _ in range(3):
                with pytest.raises(StorageFull):
                    await once.say("dev", "does not fit")
        assert (await client.history("dev")).last == first.cursor
        async with asyncio.timeout(20), aclosing(client.follow("dev")) as events:
            async for event in events:
                assert event.cursor == first.cursor
                break

        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
        assert (await client.say("dev", "after")).cursor == first.cursor + 1
        assert await hub.end() == 0
        assert files.check(hub.database) == []


@pytest.mark.parametrize("held", ["for a moment", "for ever"])
async def test_a_lock_by_another_program_delays_a_write_or_answers_503(tmp_path: Path, held: str) -> None:
    async with running(tmp_path, busy_s=0.5 if held == "for ever" else 5.0) as (hub, client):
        other = sqlite3.connect(hub.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with hub.client(backoff=ONCE) as once:
            saying = asyncio.create_task(once.say("dev", "while it is locked"))
            if held == "for ever":
                with pytest.raises(Unavailable) as refused:
                    await saying
                assert refused.value.retry_after is not None
                other.execute("ROLLBACK")
            else:
                done, _ = await asyncio.wait({saying}, timeout=0.5)
                assert not done
                other.execute("ROLLBACK")
                assert (await saying).cursor == 1
        other.close()
        assert (await client.say("dev", "afterwards")).cursor == (1 if held == "for ever" else 2)


# --- stopping ---------------------------------------------------------------------------------------


async def test_sigterm_answers_who_waits_ends_streams_cleanly_and_leaves_no_log(tmp_path: Path) -> None:
    async with running(tmp_path) as (hub, client):
        worker = hub.client((await client.new_token(NewToken(role="worker"))).secret, backoff=ONCE)
        async with worker:
            claiming = asyncio.create_task(worker.claim(Claim(worker_id="w1", wait_s=30)))
            reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
            ask = f"GET /sessions/dev/events HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\n"
            writer.write(f"{ask}Authorization: Bearer {hub.secret}\r\n\r\n".encode())
            async with asyncio.timeout(20):
                await reader.readuntil(b": live")
                posts = [asyncio.create_task(client.say("dev", f"m{n}", key=f"m{n}")) for n in range(20)]
                done, _ = await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
                assert await hub.end(signal.SIGTERM) == 0
                tail = await reader.read()
            assert tail.endswith(b"0\r\n\r\n"), "the terminating chunk tells a clean end from a cut"
            assert await claiming is None
            writer.close()
        assert not hub.database.with_name("hub.db-wal").exists(), "the log was copied into the database"
        await hub.start()
        cursors = [(await post).cursor for post in posts]
        assert len(done) > 0
        assert sorted(cursors) == list(range(1, 21))


# --- workers ----------------------------------------------------------------------------------------

WORKER = """
import asyncio, sys
from pushpals.client import Backoff, HubClient
from pushpals.protocol.commands import Claim, Complete, Progress
from pushpals.protocol.errors import LeaseLost

async def main():
    async with HubClient(sys.argv[1], sys.argv[2], backoff=Backoff(tries=50)) as hub:
        job = await hub.claim(Claim(worker_id="first", lease_s=1, wait_s=30))
        print(job.id, flush=True)
        try:
            while True:
                await hub.progress(job.id, Progress(attempt=job.attempt))
                await asyncio.sleep(0.1)
        except LeaseLost:
            print("lost", flush=True)
        try:
            await hub.complete(job.id, Complete(attempt=job.attempt, summary="by the first"))
        except LeaseLost:
            print("refused", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_the_job_of_a_silent_worker_goes_to_another_and_the_first_is_refused(
    tmp_path: Path, how: signal.Signals
) -> None:
    async with running(tmp_path) as (hub, client):
        secret = (await client.new_token(NewToken(role="worker"))).secret
        await client.enqueue(Enqueue(task_id="t", kind="check", session_id="dev"))
        first = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, hub.url, secret, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert first.stdout is not None
            async with hub.client(secret) as second, asyncio.timeout(30):
                job_id = (await first.stdout.readline()).decode().strip()
                first.send_signal(how)
                job = await second.claim(Claim(worker_id="second", lease_s=30, wait_s=30))
                assert job is not None
                assert (job.id, job.attempt) == (job_id, 2)
                if how == signal.SIGSTOP:
                    first.send_signal(signal.SIGCONT)
                    assert (await first.stdout.read()).split() == [b"lost", b"refused"]
                await second.complete(job_id, Complete(attempt=2, summary="by the second"))
                await second.complete(job_id, Complete(attempt=2, summary="by the second"))
                with pytest.raises(Conflict):
                    await second.complete(job_id, Complete(attempt=2, summary="otherwise"))
                with pytest.raises(LeaseLost):
                    await second.complete(job_id, Complete(attempt=1, summary="by the first"))
            reply = (await client.job(job_id)).job
            assert reply.result is not None
            assert (reply.state, reply.result.summary) == ("completed", "by the second")
            page = await client.history("dev")
            events = [read_event(bytes(item.envelope), item.cursor) for item in page.items]
            assert [e.type for e in events].count("job_completed") == 1
            lost = [e.payload for e in events if isinstance(e.payload, JobLeaseLost)]
            assert [(x.worker_id, x.attempt) for x in lost] == [("first", 1)]
        finally:
            if first.returncode is None:
                first.kill()
            await first.communicate()


# --- crowds -----------------------------------------------------------------------------------------


async def resume(port: int, secret: str, after: int, last: int) -> int:
    """One reader that comes back with its cursor and reads to the end; the number of tries."""
    ask = (
        f"GET /sessions/dev/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nLast-Event-ID: {after}\r\n"
        f"Authorization: Bearer {secret}\r\n\r\n"
    ).encode()
    tries, seen = 0, after
    while True:
        tries += 1
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(ask)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head:
                await asyncio.sleep(0.05)
                continue
            while seen < last:
                line = await reader.readuntil(b"\n")
                if line.startswith(b"id: "):
                    assert int(line[4:]) == seen + 1
                    seen += 1
            return tries
        finally:
            writer.close()


@pytest.mark.timeout(300)
async def test_a_crowd_that_comes_back_at_once_is_served_whole_and_keeps_nobody_waiting(
    tmp_path: Path,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CLIENTS + 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, wanted), max(hard, soft)), hard))
    chance = random.Random(7)
    room = {"streams": CLIENTS + 100, "streams_per_token": CLIENTS + 100}
    async with running(tmp_path, **room, events_per_s=1e6, events_burst=1e6) as (hub, client):
        for number in range(200):
            await client.say("dev", f"message {number}")
        await hub.kill()
        await hub.start()
        loop = asyncio.get_running_loop()
        began = loop.time()
        crowd = [
            asyncio.create_task(resume(hub.port, hub.secret, chance.randrange(200), 200))
            for _ in range(CLIENTS)
        ]
        slowest = 0.0
        while not all(one.done() for one in crowd):
            asked = loop.time()
            await client.set_mark("dev", "probe", 1)
            slowest = max(slowest, loop.time() - asked)
            await asyncio.sleep(0.01)
        tries = [await one for one in crowd]
        took = loop.time() - began
        status = await client.status()
        print(
            f"{CLIENTS} readers whole after {took:.1f} s, {max(tries)} tries at most; slowest write {slowest:.2f} s"
        )
        assert json.dumps(status.data["streamsDropped"]) == "{}"
