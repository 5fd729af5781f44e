"""The loop, killed at each hand-over by SIGKILL, finishes after a restart with exactly one landing.

The kill follows the event that tells of the hand-over, by however long it takes a process to hear of it.
For every story: each job is done once, each change lands once, nothing that was told is lost or told twice.
``PUSHPALS_PROOF=full`` kills every part at every point; by default each at those where it has something in
its hands.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Any

import pytest

from pushpals.client import HubClient
from pushpals.testing.stack import Frame, Stack, Watcher, new_file_patch

Start = Any
FULL = os.environ.get("PUSHPALS_PROOF") == "full"

POINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "message": ("message", {}),
    "plan": ("plan_made", {}),
    "enqueued": ("job_enqueued", {}),
    "claim": ("job_claimed", {}),
    "job runs": ("tool_call", {}),
    "diff": ("diff_ready", {}),
    "completion": ("job_completed", {}),
    "question": ("approval_required", {}),
    "approval": ("approved", {}),
    "checks": ("landing_moved", {"state": "checking"}),
    "green": ("landing_moved", {"state": "green"}),
    "push": ("landing_moved", {"state": "pushing"}),
    "landed": ("landing_moved", {"state": "landed"}),
}
BUSY: dict[str, tuple[str, ...]] = {
    "hub": ("message", "job runs", "approval", "push"),
    "buddy": ("message", "plan", "completion", "approval"),
    "pusher": ("approval", "checks", "green", "push"),
}
AT_ONCE = 4
"""Kills of one part under one supervisor: each further restart waits twice as long."""


def stories() -> list[Any]:
    found = []
    for part, busy in BUSY.items():
        points = list(POINTS) if FULL else list(busy)
        for first in range(0, len(points), AT_ONCE):
            chosen = points[first : first + AT_ONCE]
            found.append(pytest.param(part, chosen, id=f"{part}: {', '.join(chosen)}"))
    return found


class Killer:
    """Kills ``part`` once, at the next event of a point."""

    def __init__(self, stack: Stack, watcher: Watcher) -> None:
        self.stack = stack
        self.dead: list[tuple[str, str]] = []
        self._next: tuple[str, str] | None = None
        watcher.call(self._seen)

    def wait_for(self, part: str, point: str) -> None:
        self._next = part, point

    def _seen(self, frame: Frame) -> None:
        if self._next is None:
            return
        part, point = self._next
        kind, fields = POINTS[point]
        if frame.type == kind and fields.items() <= frame.payload.items():
            self.stack.kill(part)
            self.dead.append((part, point))
            self._next = None


async def one_loop(stack: Stack, hub: HubClient, watcher: Watcher, number: int) -> None:
    """From a message to a landed commit, however often somebody dies on the way."""
    after = watcher.cursor
    await hub.say("dev", new_file_patch(f"notes/{number}.txt", f"note {number}"), key=f"say-{number}")
    asked = await watcher.until_type("approval_required", after=after)
    await stack.approve(hub, asked.payload["approvalId"])
    await watcher.until_type("landing_moved", state="landed", after=after)
    await watcher.until_type("task_completed", after=after)


async def check_the_books(stack: Stack, hub: HubClient, watcher: Watcher, loops: int) -> None:
    """Everything once: jobs, landings, commits on main, events."""
    jobs, landings = await stack.jobs(hub), await stack.landings(hub)
    assert sorted(job.state for job in jobs) == ["completed"] * loops
    assert sorted(landing.state for landing in landings) == ["landed"] * loops
    assert {landing.job_id for landing in landings} == {job.id for job in jobs}

    files = stack.upstream.files("main")
    assert {name: text for name, text in files.items() if name.startswith("notes/")} == {
        "notes/0.txt": "0", **{f"notes/{n}.txt": f"note {n}" for n in range(1, loops + 1)},
    }  # fmt: skip
    merges = stack.upstream.git("rev-list", "--first-parent", "main").splitlines()
    assert len(merges) == loops + 1
    # Landings of one batch were tested, and so landed, as its last commit; each has a record of its own.
    assert {landing.landed_commit for landing in landings} <= set(merges[:-1])
    records = {job.id: stack.upstream.sha(f"refs/pushpals/landed/{job.id}") for job in jobs}
    assert sorted(records.values()) == sorted(merges[:-1])

    told = Counter((frame.type, frame.payload.get("jobId")) for frame in watcher.frames)
    for job in jobs:
        for kind in ("job_enqueued", "job_completed"):
            assert told[kind, job.id] == 1, (kind, told)
    for kind in ("message", "plan_made", "task_created", "approval_required", "approved", "task_completed"):
        assert len(watcher.of(kind)) == loops, kind
    await check_the_stream(hub, watcher)


async def check_the_stream(hub: HubClient, watcher: Watcher) -> None:
    """What a follower saw is the history: cursors from 1 without a hole, and nothing twice."""
    last = (await hub.snapshot("dev")).cursor
    await watcher.until(lambda frame: frame.cursor >= last)
    assert [frame.cursor for frame in watcher.frames] == list(range(1, watcher.cursor + 1))
    assert len({frame.envelope["id"] for frame in watcher.frames}) == len(watcher.frames)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("part", "points"), stories())
async def test_killed_by_sigkill_the_loop_lands_once(start: Start, part: str, points: list[str]) -> None:
    async with start() as stack:
        async with stack.client() as hub, stack.watch() as watcher:
            killer = Killer(stack, watcher)
            for number, point in enumerate(points, start=1):
                killer.wait_for(part, point)
                await one_loop(stack, hub, watcher, number)
            assert killer.dead == [(part, point) for point in points]
            await check_the_books(stack, hub, watcher, len(points))
        assert await stack.end(signal.SIGINT) == 0
        await stack.gone(within_s=1.0)
        assert stack.leftovers() == []


@pytest.mark.timeout(400)
async def test_defect_10_workers_killed_with_a_job_in_their_hands_leave_it_to_another_attempt(
    start: Start,
) -> None:
    points = ["claim", "job runs", "diff"]
    async with start(workers=3) as stack:
        async with stack.client() as hub, stack.watch() as watcher:
            await stack.staffed(hub)
            left: dict[str, str | None] = dict.fromkeys(points)
            tasks: dict[str, str] = {}
            holders: dict[str, str] = {}

            def kill_its_worker(frame: Frame) -> None:
                if frame.type == "job_enqueued":
                    tasks[frame.payload["jobId"]] = frame.payload["taskId"]
                if frame.type == "job_claimed":
                    holders[tasks[frame.payload["jobId"]]] = frame.payload["workerId"]
                worker = holders.get(str(frame.envelope.get("correlationId")), "")
                for point, victim in left.items():
                    if victim is None and frame.type == POINTS[point][0] and worker not in left.values():
                        # `w2-abc…` is what the process of the part `worker-2` calls itself.
                        left[point] = worker
                        stack.kill(f"worker-{worker[1:].partition('-')[0]}")
                        return

            watcher.call(kill_its_worker)
            for number in range(1, len(points) + 1):
                await hub.say("dev", new_file_patch(f"notes/{number}.txt", f"note {number}"))
            for number in range(1, len(points) + 1):
                await watcher.until(lambda _, n=number: len(watcher.of("approval_required")) >= n)
                asked = watcher.of("approval_required")[number - 1]
                await stack.approve(hub, asked.payload["approvalId"])
            await watcher.until(lambda _: len(watcher.of("task_completed")) == len(points))
            assert None not in left.values()
            assert sorted(job.attempt for job in await stack.jobs(hub)) == [2, 2, 2]
            assert len(watcher.of("job_lease_lost")) == len(points)
            await check_the_books(stack, hub, watcher, len(points))
        assert await stack.end(signal.SIGINT) == 0
        await stack.gone(within_s=1.0)
        assert stack.leftovers() == []


@pytest.mark.timeout(400)
async def test_everything_killed_at_once_and_started_again_goes_on_where_it_was(start: Start) -> None:
    async with start() as stack:
        for number, point in enumerate(["question", "checks"], start=1):
            before = await killed_at(stack, number, point)
            await stack.gone(within_s=20.0)
            await stack.up()
            async with stack.client() as hub, stack.watch() as watcher:
                await stack.staffed(hub)
                asked = await watcher.until_type("approval_required", after=before)
                if point == "question":
                    await stack.approve(hub, asked.payload["approvalId"])
                await watcher.until_type("task_completed", after=before)
                await check_the_books(stack, hub, watcher, number)
        assert await stack.end(signal.SIGINT) == 0
        await stack.gone(within_s=1.0)
        assert stack.leftovers() == []


async def killed_at(stack: Stack, number: int, point: str) -> int:
    """Kill every process of the stack in loop ``number``, at ``point``. Returns the cursor it began at."""
    kind, fields = POINTS[point]
    pids = stack.told()["pids"].values()
    async with stack.client() as hub, stack.watch() as watcher:
        await hub.create_session("dev")
        before = (await hub.snapshot("dev")).cursor

        def kill_all(frame: Frame) -> None:
            if frame.cursor > before and frame.type == kind and fields.items() <= frame.payload.items():
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)

        watcher.call(kill_all)
        await hub.say("dev", new_file_patch(f"notes/{number}.txt", f"note {number}"))
        if point != "question":
            asked = await watcher.until_type("approval_required", after=before)
            await stack.approve(hub, asked.payload["approvalId"])
        await watcher.until_type(kind, after=before, **fields)
    return before
