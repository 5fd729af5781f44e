"""Any sequence of requests over HTTP keeps the promises of the queue and of the history, restarts included.

A real hub on SQLite, its real client, and a model in the simplest words: at most one live attempt of a job,
every job in the state that the answers said, one event for one key, cursors without a hole, and a follower
that comes back any number of times sees each event once.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pushpals.client import HubClient
from pushpals.protocol.commands import Claim, Complete, Enqueue, Fail, Heartbeat, Progress
from pushpals.protocol.errors import Conflict, LeaseLost
from pushpals.protocol.jobs import Job
from pushpals.server import start_service
from pushpals.store.sqlite import open_store
from pushpals.testing.site import FAST, RunningSite

T = TypeVar("T")
KEYS = st.sampled_from(["k1", "k2", "k3", "k4"])
WHICH = st.integers(0, 30)


class Wire(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp())
        self.said: dict[str, int] = {}
        self.jobs: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        self.live: dict[str, int] = {}
        self.seen: list[int] = []
        self.secrets: dict[str, str] = {}

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(what, 30))

    async def _start(self) -> None:
        service = await start_service(open_store, self.root / "hub.db", data_dir=self.root, port=0)
        self.site = RunningSite(service)
        if not self.secrets:
            await self.site.make_tokens()
            self.secrets = dict(self.site.secrets)
        self.site.secrets = dict(self.secrets)  # type: ignore[arg-type]
        self.person: HubClient = await self.site.client(backoff=FAST)
        self.worker: HubClient = await self.site.client("worker", backoff=FAST)

    @initialize()
    def start(self) -> None:
        self.do(self._start())
        self.do(self.person.create_session("dev"))

    @rule()
    def restart(self) -> None:
        self.do(self.site.close())
        self.do(self._start())

    @rule(key=KEYS)
    def say(self, key: str) -> None:
        cursor = self.do(self.person.say("dev", f"text of {key}", key=key)).cursor
        assert self.said.setdefault(key, cursor) == cursor, "one event for one key"

    @rule()
    def enqueue(self) -> None:
        made = self.do(self.person.enqueue(Enqueue(task_id="t", kind="check", session_id="dev")))
        self.jobs[made.job_id] = "pending"

    @rule(worker=st.sampled_from(["w1", "w2"]))
    def claim(self, worker: str) -> None:
        job = self.do(self.worker.claim(Claim(worker_id=worker, lease_s=300)))
        waiting = [name for name, state in self.jobs.items() if state == "pending"]
        assert (job is None) == (not waiting)
        if job is not None:
            assert job.id in waiting
            assert job.id not in self.live, "at most one live attempt"
            assert job.attempt == self.attempts.get(job.id, 0) + 1
            self.jobs[job.id] = "claimed"
            self.attempts[job.id] = self.live[job.id] = job.attempt

    def _some(self, which: int) -> str:
        return sorted(self.jobs)[which % len(self.jobs)]

    @precondition(lambda self: self.jobs)
    @rule(
        which=WHICH,
        stale=st.booleans(),
        how=st.sampled_from(["beat", "log", "complete", "fail", "give back"]),
    )
    def report(self, which: int, stale: bool, how: str) -> None:
        job_id = self._some(which)
        attempt = max(1, self.attempts.get(job_id, 1) - stale)
        valid = self.live.get(job_id) == attempt
        again = self.jobs[job_id] == "completed" and how == "complete" and attempt == self.attempts[job_id]
        report: Coroutine[Any, Any, Any]
        match how:
            case "beat":
                report = self.worker.heartbeat(job_id, Heartbeat(attempt=attempt))
            case "log":
                report = self.worker.progress(job_id, Progress(attempt=attempt))
            case "complete":
                report = self.worker.complete(job_id, Complete(attempt=attempt, summary="done"))
            case "fail":
                report = self.worker.fail(job_id, Fail(attempt=attempt, message="no"))
            case _:
                report = self.worker.fail(job_id, Fail(attempt=attempt, message="back", error_class="lost"))
        try:
            self.do(report)
        except LeaseLost:
            assert not valid
            return
        if not valid:
            # A report that ended the attempt may be repeated, and says the same again.
            assert again or how in ("fail", "give back")
            return
        if how in ("complete", "fail", "give back"):
            del self.live[job_id]
            self.jobs[job_id] = {"complete": "completed", "fail": "failed"}.get(how, "pending")

    @precondition(lambda self: self.jobs)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        job_id = self._some(which)
        try:
            self.do(self.person.cancel_job(job_id))
        except Conflict:
            assert self.jobs[job_id] in ("completed", "failed")
            return
        if self.jobs[job_id] == "pending":
            self.jobs[job_id] = "cancelled"
        elif job_id in self.live:
            done = Fail(attempt=self.live.pop(job_id), message="stopped", error_class="cancelled")
            self.do(self.worker.fail(job_id, done))
            self.jobs[job_id] = "cancelled"

    @rule()
    def follow_on(self) -> None:
        self.do(self._follow())

    async def _follow(self) -> None:
        last = (await self.person.snapshot("dev")).cursor
        after = self.seen[-1] if self.seen else 0
        if last <= after:
            return
        async with aclosing(self.person.follow("dev", after=after)) as events:
            async for event in events:
                self.seen.append(event.cursor)
                if event.cursor >= last:
                    return

    @invariant()
    def a_follower_sees_each_event_once(self) -> None:
        assert self.seen == list(range(1, len(self.seen) + 1))

    def teardown(self) -> None:
        async def states() -> dict[str, str]:
            found: list[Job] = (await self.person.jobs(limit=1_000)).items
            return {job.id: job.state for job in found}

        try:
            if hasattr(self, "person"):
                assert self.do(states()) == self.jobs
                self.follow_on()
                self.a_follower_sees_each_event_once()
                assert self.do(self.site.service.store.check()) == []
        finally:
            if hasattr(self, "site"):
                self.do(self.site.close())
            self.loop.close()
            shutil.rmtree(self.root)


TestWire = Wire.TestCase
TestWire.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
