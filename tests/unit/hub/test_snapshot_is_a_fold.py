"""The snapshot is what the events say: whatever happens, folding the history gives the same state.

A history of random steps (some refused, as they come) is folded from its first event and compared with the
records that the snapshot is read from: jobs, approvals and landings, each by its state and what goes with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushpals.hub import decisions, jobs, landings, leasing, sessions
from pushpals.hub.of import Of
from pushpals.hub.snapshot import snapshot
from pushpals.protocol.commands import (
    CancelJob,
    Complete,
    CreateSession,
    Decide,
    Enqueue,
    Fail,
    Progress,
    RetryJob,
    SubmitLanding,
)
from pushpals.protocol.errors import PushPalsError
from pushpals.protocol.fold import fold
from pushpals.protocol.jobs import Budget
from pushpals.store.memory import open_store
from pushpals.testing.bench import BUDDY, OPERATOR, SHA, WORKER, Bench
from pushpals.testing.clock import CountedIds, ManualClock

Step = tuple[str, int]
NAMES = (
    "enqueue", "later", "after", "claim", "progress", "complete", "fail", "fail for good", "quota", "release",
    "cancel", "retry", "silence", "a while", "land", "approve", "deny", "withdraw",
)  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 5)), max_size=40)


class Story:
    """What happened so far, and how to go on."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.jobs: list[str] = []
        self.landings: list[str] = []
        self.approvals: list[str] = []

    async def take(self, name: str, at: int) -> None:
        bench, now = self.bench, self.bench.clock
        job_id = self.jobs[at % len(self.jobs)] if self.jobs else "none"
        attempt = (await bench.get(jobs.Job, job_id)).attempt if self.jobs else 0
        of: Callable[[Any], Any] = lambda body: Of(id=job_id, body=body)  # noqa: E731
        match name:
            case "enqueue" | "later" | "after":
                extra: dict[str, Any] = {}
                if name == "later":
                    extra["run_at"] = (now() + jobs.timedelta(seconds=40)).isoformat()
                if name == "after":
                    extra["depends_on"] = [job_id]
                body = Enqueue(
                    task_id="t",
                    kind="check",
                    session_id="dev",
                    budget=Budget(queue_s=600, run_s=100),
                    **extra,
                )
                self.jobs.append((await bench.run(jobs.enqueue, body, BUDDY)).job_id)
            case "claim":
                await bench.claim(f"w{at}")
            case "progress":
                await leasing.progress(bench.hub, of(Progress(attempt=attempt, base=SHA)), actor=WORKER)
            case "complete":
                await leasing.complete(bench.hub, of(Complete(attempt=attempt, summary="x")), actor=WORKER)
            case "fail" | "fail for good" | "quota" | "release":
                kind = {"fail": "environment", "quota": "quota", "release": "lost"}.get(name, "code")
                fail = Fail(message="no", attempt=attempt, error_class=kind)  # type: ignore[arg-type]
                await leasing.fail(bench.hub, of(fail), actor=WORKER)
            case "cancel":
                await bench.run(jobs.cancel, of(CancelJob(reason="why not")))
            case "retry":
                await bench.run(jobs.retry, of(RetryJob(note="again")))
            case "silence" | "a while":
                now.advance(31.0 if name == "silence" else 700.0)
                await bench.upkeep.step()
            case "land":
                body = SubmitLanding(
                    session_id="dev", repository="demo", target="main", head=f"{at}" * 40, base="b" * 40,
                    branch=f"agent/w1/job-{at}", title="Land it", tree="e" * 40,
                )  # fmt: skip
                done = await bench.run(landings.submit, body, BUDDY)
                self.landings.append(done.landing.id)
                self.approvals.append(done.landing.approval_id)
            case "approve" | "deny":
                asked = await bench.get(decisions.Approval, self.approvals[at % len(self.approvals)])
                body = Decide(decision=name, action_hash=asked.action_hash)
                await bench.run(decisions.decide, Of(id=asked.id, body=body))
            case "withdraw":
                landing = Of(id=self.landings[at % len(self.landings)], body=CancelJob())
                await bench.run(landings.cancel, landing, OPERATOR)


async def tell(steps: list[Step]) -> None:
    published: list[Any] = []
    store: Any = await open_store(None, on_commit=published.extend, new_id=CountedIds())
    bench = Bench(store, ManualClock(), published)
    await bench.hub.start()
    await bench.run(sessions.create, CreateSession(session_id="dev"))
    story = Story(bench)
    for name, at in steps:
        try:
            await story.take(name, at)
        except (PushPalsError, ZeroDivisionError):
            continue
    shown = await snapshot(store.reader, "dev")
    view = fold(bench.events())
    await store.close()

    assert view.cursor == shown.cursor
    assert {job.id: _job(job) for job in shown.jobs} == {
        id: (job.state, job.attempt, job.worker_id if job.state == "claimed" else None)
        for id, job in view.jobs.items()
    }
    assert {approval.id for approval in shown.approvals} == {
        id for id, approval in view.approvals.items() if approval.state == "open"
    }
    assert {landing.id: landing.state for landing in shown.landings} == {
        id: landing.state for id, landing in view.landings.items()
    }


def _job(job: Any) -> tuple[str, int, str | None]:
    return job.state, job.attempt, job.worker_id if job.state == "claimed" else None


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_folding_the_history_gives_the_snapshot(steps: list[Step]) -> None:
    asyncio.run(tell(steps))


@pytest.mark.parametrize(
    "steps",
    [
        [("enqueue", 0), ("after", 0), ("claim", 0), ("complete", 0)],
        [("later", 0), ("a while", 0), ("claim", 0), ("fail", 0), ("silence", 0), ("claim", 0)],
        [("enqueue", 0), ("claim", 0), ("cancel", 0), ("silence", 0), ("retry", 0)],
        [("enqueue", 0), ("after", 0), ("claim", 0), ("fail for good", 0), ("retry", 1)],
        [("land", 1), ("approve", 0), ("land", 2), ("deny", 1), ("land", 3), ("withdraw", 2)],
    ],
)
def test_these_histories_give_the_snapshot(steps: list[Step]) -> None:
    asyncio.run(tell(steps))
