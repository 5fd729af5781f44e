"""The worker against the real hub: leases, cancels, drains, absences and crashes."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pushpals.client import Backoff
from pushpals.protocol.commands import Progress, ProgressReply
from pushpals.protocol.errors import Unavailable
from pushpals.protocol.events import (
    JobBased,
    JobCancelled,
    JobClaimed,
    JobCompleted,
    JobLeaseLost,
    JobLog,
    JobRequeued,
    TaskProgress,
    ToolCall,
)
from pushpals.protocol.jobs import Budget, Job
from pushpals.protocol.records import Worker as WorkerRecord
from pushpals.roles.base import RoleEnded
from pushpals.roles.worker import Worker, WorkerOptions, new_worker_id
from pushpals.testing.bench import WORKER
from pushpals.testing.clock import CountedIds
from pushpals.testing.direct import DirectHub
from pushpals.testing.workshop import Workshop
from pushpals.work.git.names import agent_branch
from pushpals.work.git.remotes import parse_remote

FILES = {"README.md": "# Example\n"}


def held(lock: Path) -> bool:
    """Whether a process still holds the lock."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def holding(lock: Path) -> list[str]:
    """A command that holds a lock for ten minutes, with a child that ignores polite signals."""
    return ["flock", str(lock), "sh", "-c", "trap '' TERM; echo ready; sleep 600 & wait"]


async def start_long_job(shop: Workshop, lock: Path, **fields: Any) -> tuple[str, asyncio.Task[None]]:
    job_id = await shop.ask("command", {"argv": holding(lock)}, **fields)
    doing = asyncio.create_task(shop.worker.step())
    await shop.until(JobLog, lambda line: line.line == "ready")
    assert held(lock)
    return job_id, doing


async def test_a_job_without_a_base_takes_the_branch_s_head_and_says_so(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        job = await shop.do("command", {"argv": ["true"]})
        (based,) = shop.events(JobBased)
        assert (based.base, based.sandbox) == (shop.repo.checkout.sha("main"), "none")
        assert job.base == based.base


async def test_a_job_works_on_its_base_although_the_branch_moved_on(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        base = shop.repo.checkout.sha("main")
        shop.repo.checkout.commit("More", {"README.md": "# Other\n"})
        shop.repo.push()
        job = await shop.do("command", {"argv": ["cat", "README.md"]}, base=base)
        assert (job.base, shop.lines()) == (base, ["# Example"])


async def test_a_base_that_is_gone_fails_the_job_with_the_reason(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        job = await shop.do("command", {"argv": ["true"]}, base="b" * 40)
        assert job.error is not None
        assert job.error.message.startswith("the base bbbbbbbbbbbb is not in the repository any more")


async def test_an_upstream_without_the_branch_is_said_plainly(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES, branch="trunk") as shop:
        job = await shop.do("command", {"argv": ["true"]})
        assert job.error is not None
        assert job.error.message == "the repository has no branch trunk; commit something to it first"


async def test_a_cancelled_job_is_stopped_with_its_whole_tree_and_says_what_was_stopped(
    tmp_path: Path,
) -> None:
    lock = tmp_path / "lock"
    async with Workshop(tmp_path, FILES, lease_s=1.0) as shop:
        job_id, doing = await start_long_job(shop, lock)
        await shop.asker.cancel_job(job_id, "changed my mind")
        await doing
        job = await shop.job(job_id)
        assert job.state == "cancelled"
        assert not held(lock)
        (told,) = shop.events(JobCancelled)
        assert told.stopped is not None
        assert told.stopped[0].startswith(f"flock {lock} sh -c")
        # The worker is free for the next one.
        assert (await shop.do("command", {"argv": ["true"]})).state == "completed"


async def test_an_attempt_that_lost_its_lease_is_discarded(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    async with Workshop(tmp_path, FILES, lease_s=1.0) as shop:
        job_id, doing = await start_long_job(shop, lock)
        shop.clock.advance(40.0)
        await shop.bench.upkeep.step()
        if not shop.events(JobLeaseLost):
            shop.clock.advance(40.0)
            await shop.bench.upkeep.step()
        assert shop.events(JobLeaseLost)
        await doing
        assert not held(lock)
        job = await shop.job(job_id)
        assert (job.state, job.attempt, job.result) == ("pending", 1, None)


async def test_a_worker_that_is_asked_to_stop_finishes_a_short_job(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    async with Workshop(tmp_path, FILES, grace_s=60.0) as shop:
        job_id = await shop.ask("command", {"argv": ["sh", "-c", f"echo ready; read x < {gate}; echo $x"]})
        running = asyncio.create_task(shop.worker.run())
        await shop.until(JobLog)
        shop.worker.stop()
        await asyncio.to_thread(gate.write_text, "go\n")
        await running
        job = await shop.job(job_id)
        assert (job.state, shop.lines()) == ("completed", ["ready", "go"])
        assert not (tmp_path / "state" / "w1" / "trees").exists()


async def test_a_worker_that_is_asked_to_stop_gives_a_long_job_back(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    async with Workshop(tmp_path, FILES, grace_s=0.0) as shop:
        job_id = await shop.ask("command", {"argv": holding(lock)})
        running = asyncio.create_task(shop.worker.run())
        await shop.until(JobLog)
        shop.worker.stop()
        await running
        job = await shop.job(job_id)
        assert not held(lock)
        assert (job.state, job.spent, job.worker_id) == ("pending", 0, None)
        assert shop.events(JobRequeued)[0].reason == "the worker was stopped"
        record = await shop.bench.get(WorkerRecord, "w1")
        assert record.state == "gone"


async def test_a_second_stop_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    async with Workshop(tmp_path, FILES, grace_s=3_600.0) as shop:
        job_id, doing = await start_long_job(shop, lock)
        shop.worker.stop()
        shop.worker.stop()
        await doing
        assert (await shop.job(job_id)).state == "pending"
        assert not held(lock)


async def test_a_job_ends_what_it_runs_when_its_time_is_up(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    async with Workshop(tmp_path, FILES) as shop:
        job = await shop.do("command", {"argv": holding(lock)}, budget=Budget(run_s=1.0))
        assert job.result is not None
        assert job.result.evidence[0].verdict == "timed_out"
        assert not held(lock)


class AbsentHub(DirectHub):
    """A hub that is away for the next ``away`` calls."""

    away = 0

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("no answer", code="hub.unreachable")

    async def claim(self, ask: Any) -> Job | None:
        self._answer()
        return await super().claim(ask)

    async def progress(self, job_id: str, body: Progress) -> ProgressReply:
        self._answer()
        return await super().progress(job_id, body)

    async def complete(self, job_id: str, body: Any, *, key: str | None = None) -> Any:
        self._answer()
        return await super().complete(job_id, body, key=key)


async def test_a_job_outlives_an_absence_of_the_hub(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        hub = AbsentHub(shop.bench.hub, WORKER, shop.blobs)
        worker = await shop.hire("w2", hub=hub)
        job_id = await shop.ask("command", {"argv": ["seq", "3"]})
        doing = asyncio.create_task(worker.step())
        await shop.until(JobClaimed)
        hub.away = 3
        await doing
        job = await shop.job(job_id)
        assert (job.state, shop.lines()) == ("completed", ["1", "2", "3"])


async def test_a_worker_that_is_asked_to_stop_does_not_wait_for_a_hub_that_never_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = tmp_path / "lock"
    async with Workshop(tmp_path, FILES) as shop:
        hub = AbsentHub(shop.bench.hub, WORKER, shop.blobs)
        worker = await shop.hire("w2", hub=hub, grace_s=0.0, last_word_s=0.0)
        job_id = await shop.ask("command", {"argv": holding(lock)})
        doing = asyncio.create_task(worker.step())
        await shop.until(JobLog)
        hub.away = 1_000_000
        worker.stop()
        await doing
        assert not held(lock)
        assert (await shop.job(job_id)).state == "claimed"
        assert "left to its lease" in caplog.text


async def test_the_absence_of_the_hub_is_said_once_and_its_return_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        hub = AbsentHub(shop.bench.hub, WORKER, shop.blobs)
        hub.away = 5
        worker = await shop.hire("w2", hub=hub)
        worker._backoff = Backoff(first_s=0.001, most_s=0.001)
        job_id = await shop.ask("command", {"argv": ["true"]})
        with caplog.at_level(logging.INFO, "pushpals.worker"):
            running = asyncio.create_task(worker.run())
            await shop.until(JobCompleted)
            worker.stop()
            await running
        assert (await shop.job(job_id)).state == "completed"
        said = [record.message for record in caplog.records if "hub is" in record.message]
        assert said == [
            "the hub is away, trying again until it is back: no answer",
            "the hub is back",
        ]


async def test_a_flood_of_output_arrives_as_head_and_tail_in_order(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        job = await shop.do("command", {"argv": ["seq", "300000"]})
        lines = shop.lines()
        assert lines[:3] == ["1", "2", "3"]
        assert lines[-1] == "300000"
        assert len(lines) < 60_000
        numbers = [int(line) for line in lines if line.isdigit()]
        assert numbers == sorted(set(numbers))
        assert job.result is not None
        whole = shop.blobs[job.result.output["artifact"]]
        assert whole.startswith(b"1\n2\n")
        assert whole.endswith(b"299999\n300000\n")


async def test_events_and_lines_come_in_the_order_in_which_they_happened(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        await shop.do("command", {"argv": ["seq", "2"]}, checks=[])
        story = [
            event.payload.line if isinstance(event.payload, JobLog) else event.type
            for event in shop.story()
            if event.type in ("job_log", "tool_call", "tool_result", "job_completed", "job_based")
        ]
        assert story == ["job_based", "tool_call", "1", "2", "tool_result", "job_completed"]


async def test_two_workers_do_ten_jobs_once_each(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        other = await shop.hire("w2")
        ids = [await shop.ask("command", {"argv": ["touch", f"new-{n}"]}, checks=[]) for n in range(10)]

        async def work(worker: Worker) -> None:
            while "pending" in [(await shop.job(job_id)).state for job_id in ids]:
                await worker.step()

        await asyncio.gather(work(shop.worker), work(other))
        jobs = [await shop.job(job_id) for job_id in ids]
        assert {job.state for job in jobs} == {"completed"}
        assert [job.attempt for job in jobs] == [1] * 10
        assert len({job.result.head for job in jobs if job.result}) == 10
        assert [claimed.job_id for claimed in shop.events(JobClaimed)] == ids


async def test_no_sandbox_ends_the_worker_with_78_and_tells_the_hub_why(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        worker = Worker(
            DirectHub(shop.bench.hub, WORKER, shop.blobs),
            WorkerOptions(
                upstream=parse_remote(shop.repo.upstream.path),
                state_dir=tmp_path / "other",
                bwrap=tmp_path / "no-bwrap",
            ),
            worker_id="w9",
        )
        with pytest.raises(RoleEnded) as ended:
            await worker.run()
        assert ended.value.exit_code == 78
        record = await shop.bench.get(WorkerRecord, "w9")
        assert (record.state, record.sandbox) == ("gone", "none")
        assert "bubblewrap" in record.sandbox_reason


async def test_without_a_sandbox_by_the_operator_s_word_the_record_says_none(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        worker = Worker(
            DirectHub(shop.bench.hub, WORKER, shop.blobs),
            WorkerOptions(
                upstream=parse_remote(shop.repo.upstream.path),
                state_dir=tmp_path / "other",
                bwrap=tmp_path / "no-bwrap",
                allow_unsandboxed=True,
                claim_wait_s=0.0,
            ),
            worker_id="w9",
        )
        await worker.start()
        record = await shop.bench.get(WorkerRecord, "w9")
        assert (record.state, record.sandbox) == ("idle", "none")
        assert "operator" in record.sandbox_reason
        await worker.close()


def test_worker_ids_are_unique_for_each_start_and_usable_in_a_branch() -> None:
    ids = CountedIds()
    first, second = new_worker_id("My Box.local", lambda _: "w-abcdefghijklmnop"), new_worker_id("é", ids)
    assert first == "my-box-local-ghijklmnop"
    for name in (first, second, new_worker_id("")):
        assert agent_branch(name, "job-1").worker == name
    assert new_worker_id("a") != new_worker_id("a")


DOOMED = """
import asyncio, sys
from pathlib import Path
from pushpals.protocol.events import JobLog
from pushpals.testing.workshop import Workshop

async def main(root: Path, lock: str) -> None:
    async with Workshop(root, {"README.md": "x"}) as shop:
        script = "trap '' TERM; echo ready; sleep 600 & wait"
        await shop.ask("command", {"argv": ["flock", lock, "sh", "-c", script]})
        doing = asyncio.create_task(shop.worker.step())
        await shop.until(JobLog)
        print("ready", flush=True)
        await doing

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_what_a_killed_worker_left_is_gone_after_the_next_start(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    root = tmp_path / "doomed"
    script = tmp_path / "doomed.py"
    script.write_text(textwrap.dedent(DOOMED))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        str(root),
        str(lock),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": os.environ["PATH"]},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    state = root / "state" / "w1"
    assert list((state / "trees").glob("slot-*/repo"))

    async with Workshop(tmp_path / "next", FILES) as shop:
        worker = Worker(
            DirectHub(shop.bench.hub, WORKER, shop.blobs),
            WorkerOptions(upstream=parse_remote(shop.repo.upstream.path), state_dir=state, claim_wait_s=0.0),
            worker_id="w2",
        )
        await worker.start()
        assert not held(lock)
        assert not list((state / "trees").glob("slot-*"))
        assert not list((state / "scratch").iterdir())
        await worker.close()
    process._transport.close()  # type: ignore[attr-defined]  # asyncio closes it only with the loop


async def test_a_job_says_in_sentences_how_far_it_is(tmp_path: Path) -> None:
    files = {"pushpals.toml": '[[checks]]\nname = "true"\ncommand = "true"\n'}
    async with Workshop(tmp_path, files) as shop:
        await shop.do("check")
        assert [told.message for told in shop.events(TaskProgress)] == ["Running true."]
        assert shop.events(ToolCall)[0].tool == "check:true"
