"""``pushpals up`` as a person meets it: the four commands, Ctrl-C, and a death of the supervisor."""

from __future__ import annotations

import os
import signal
from typing import Any

from pushpals.testing.stack import Stack, new_file_patch

Start = Any


def files_on_main(stack: Stack) -> set[str]:
    return set(stack.upstream.files("main"))


async def test_say_approve_and_log_from_the_command_line_land_a_commit(start: Start) -> None:
    async with start() as stack:
        said = stack.run("say", "-", "--wait", stdin=new_file_patch("notes/1.txt", "one"))
        assert said.returncode == 0, said.stderr
        before = stack.upstream.sha("main")

        yes = stack.run("approve", "--yes")
        assert yes.returncode == 0, yes.stderr
        landed = stack.upstream.sha("main")
        assert landed != before
        assert f"landed  {landed} on main" in yes.stdout
        assert stack.upstream.files("main")["notes/1.txt"] == "one"

        async with stack.client() as hub:
            (job,) = await stack.jobs(hub)
        story = stack.run("log", "--job", job.id)
        assert story.returncode == 0, story.stderr
        for part in ("apply this patch", "git apply", "tests passed", "approve by", landed[:10]):
            assert part in story.stdout, part

        assert await stack.end(signal.SIGINT) == 0
        await stack.gone(within_s=1.0)
        assert stack.leftovers() == []
        assert stack.told() == {}


async def test_ctrl_c_gives_a_running_job_back_and_the_next_start_goes_on(start: Start) -> None:
    mark = f"86391.{os.getpid()}"
    async with start() as stack:
        async with stack.client() as hub, stack.watch() as watcher:
            await hub.say("dev", f"run: sleep {mark}")
            await watcher.until_type("tool_call")
            assert stack.processes(mark)

            assert await stack.end(signal.SIGINT) == 0
            await stack.gone(mark, within_s=1.0)
            assert stack.leftovers() == []

            await stack.up()
            again = await watcher.until_type("job_claimed", after=watcher.of("job_claimed")[-1].cursor)
            (job,) = await stack.jobs(hub)
            assert job.attempt == 2
            assert [frame.type for frame in watcher.of("job_failed", "job_lease_lost")] == []
            await watcher.until_type("tool_call", after=again.cursor)

            await hub.cancel_job(job.id, "enough")
            await hub.say("dev", new_file_patch("notes/1.txt", "one"))
            asked = await watcher.until_type("approval_required")
            await stack.approve(hub, asked.payload["approvalId"])
            await watcher.until_type("landing_moved", state="landed")
            assert "notes/1.txt" in files_on_main(stack)
            await watcher.until_type("job_cancelled", jobId=job.id)
            assert [frame.cursor for frame in watcher.frames] == list(range(1, watcher.cursor + 1))
        assert await stack.end(signal.SIGINT) == 0
        await stack.gone(mark, within_s=1.0)
        assert stack.leftovers() == []


async def test_a_second_ctrl_c_ends_everything_at_once_and_the_next_start_sweeps(start: Start) -> None:
    mark = f"86392.{os.getpid()}"
    async with start() as stack:
        async with stack.client() as hub, stack.watch() as watcher:
            await hub.say("dev", f"run: sleep {mark}")
            await watcher.until_type("tool_call")
        assert stack.process is not None
        stack.process.send_signal(signal.SIGINT)
        await stack.until_said("ending:")
        await stack.end(signal.SIGINT)
        await stack.gone(mark, within_s=5.0)

        await stack.up()
        async with stack.client() as hub:
            await stack.staffed(hub)
        assert await stack.end(signal.SIGTERM) == 0
        await stack.gone(mark, within_s=1.0)
        assert stack.leftovers() == []


async def test_the_supervisors_sudden_death_takes_its_parts_with_it(start: Start) -> None:
    mark = f"86393.{os.getpid()}"
    async with start() as stack:
        async with stack.client() as hub, stack.watch() as watcher:
            await hub.say("dev", f"run: sleep {mark}")
            await watcher.until_type("tool_call")
            stack.kill("up")
            await stack.gone(mark, within_s=45.0)

            await stack.up()
            await stack.staffed(hub)
            await hub.say("dev", new_file_patch("notes/1.txt", "one"))
            asked = await watcher.until_type("approval_required")
            await stack.approve(hub, asked.payload["approvalId"])
            await watcher.until_type("landing_moved", state="landed")
            assert "notes/1.txt" in files_on_main(stack)
            assert [frame.cursor for frame in watcher.frames] == list(range(1, watcher.cursor + 1))
        assert await stack.end(signal.SIGINT) == 0
        await stack.gone(mark, within_s=1.0)
        assert stack.leftovers() == []


async def test_a_second_up_on_the_same_checkout_says_where_the_first_runs(start: Start) -> None:
    async with start() as stack:
        second = stack.run("up")
        assert second.returncode == 1
        assert stack.url in second.stderr
        assert stack.process is not None
        assert stack.process.poll() is None
