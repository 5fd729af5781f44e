"""A cancel reaches a running job at once, ends its whole process tree, and says what was stopped."""

from __future__ import annotations

import asyncio
import fcntl
from contextlib import aclosing
from pathlib import Path

from pushpals.protocol.commands import Enqueue
from pushpals.protocol.events import ApprovalRequired, JobCancelled, JobLog
from pushpals.testing.town import Town
from pushpals.work.executors.local import LocalExecutor

AT_ONCE_S = 5.0
"""Half of the time between two heartbeats. Two seconds are promised; the rest is for a busy machine."""


def held(lock: Path) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def test_a_cancel_ends_the_process_tree_before_the_next_heartbeat(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    # The lock is held by a child that ignores polite signals, below a shell that waits for it.
    argv = ["flock", str(lock), "sh", "-c", "trap '' TERM; echo ready; sleep 600 & wait"]
    async with Town.open(tmp_path, executor=LocalExecutor()) as town:
        made = await town.person.enqueue(
            Enqueue(task_id="t", kind="command", session_id=town.session, params={"argv": argv})
        )
        doing = asyncio.create_task(town.worker.step())
        async with aclosing(town.person.follow(town.session)) as events:
            async with asyncio.timeout(60):
                async for event in events:
                    if isinstance(event.payload, ApprovalRequired):
                        await town.approve()
                    if isinstance(event.payload, JobLog) and event.payload.line == "ready":
                        break
            assert held(lock)
            async with asyncio.timeout(AT_ONCE_S):
                await town.person.cancel_job(made.job_id, "not needed")
                async for event in events:
                    if isinstance(event.payload, JobCancelled):
                        break
        await doing
        assert not held(lock)
        assert isinstance(event.payload, JobCancelled)
        assert (event.payload.by, event.payload.reason) == ("client:ada", "not needed")
        assert event.payload.stopped
        assert "flock" in event.payload.stopped[0]
