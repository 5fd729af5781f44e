"""Two workers and ten messages at once: ten jobs, ten changes, ten landings, and a stream that stays live."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from pushpals.testing.stack import new_file_patch

Start = Any
TEN = range(1, 11)


@pytest.mark.timeout(300)
async def test_ten_messages_at_once_become_ten_landings(start: Start) -> None:
    async with start(workers=2) as stack:
        async with stack.client() as hub, stack.watch() as watcher:
            await stack.staffed(hub)
            await asyncio.gather(
                *(hub.say("dev", new_file_patch(f"notes/{n}.txt", f"note {n}"), key=f"say-{n}") for n in TEN)
            )
            await watcher.until_type("job_claimed")
            asked = await hub.say("dev", "help")
            answer = await watcher.until(
                lambda frame: (
                    frame.type == "assistant_message" and frame.envelope.get("turnId") == asked.event_id
                )
            )
            await watcher.until(lambda _: len(watcher.of("approval_required")) == len(TEN))
            done = watcher.of("job_completed")
            assert answer.cursor < done[-1].cursor, "it was answered while they worked"
            jobs = await stack.jobs(hub)
            assert [(job.state, job.attempt) for job in jobs] == [("completed", 1)] * len(TEN)
            assert len({job.worker_id for job in jobs}) == 2
            changed = [[change.path for change in job.result.files] for job in jobs if job.result]
            assert sorted(changed) == sorted([f"notes/{n}.txt"] for n in TEN)
            claims = [frame.payload["jobId"] for frame in watcher.of("job_claimed")]
            assert sorted(claims) == sorted(job.id for job in jobs)

            for frame in watcher.of("approval_required"):
                await stack.approve(hub, frame.payload["approvalId"])
            await watcher.until(lambda _: len(watcher.of("task_completed")) == len(TEN))

            landings = await stack.landings(hub)
            assert [landing.state for landing in landings] == ["landed"] * len(TEN)
            for landing in landings:
                assert {(e.check, e.verdict, e.commit) for e in landing.evidence} == {
                    ("tests", "passed", landing.landed_commit)
                }
            files = stack.upstream.files("main")
            assert {files[f"notes/{n}.txt"] for n in TEN} == {f"note {n}" for n in TEN}
            assert len(stack.upstream.git("rev-list", "--first-parent", "main").splitlines()) == len(TEN) + 1

            last = (await hub.snapshot("dev")).cursor
            await watcher.until(lambda frame: frame.cursor >= last)
            assert [frame.cursor for frame in watcher.frames] == list(range(1, watcher.cursor + 1))
            assert watcher.cuts == 0
        assert await stack.end(signal.SIGINT) == 0
        await stack.gone(within_s=1.0)
        assert stack.leftovers() == []
