"""Whose turn it is: priorities that age, fair shares of sessions and repositories, jobs for one worker."""

from __future__ import annotations

from typing import Any

import pytest

from pushpals.hub import jobs, sessions
from pushpals.hub.figures import measure
from pushpals.hub.of import Of
from pushpals.hub.turns import AGE_S
from pushpals.protocol.commands import CancelJob, Complete, CreateSession, Enqueue, Fail, Heartbeat, RetryJob
from pushpals.protocol.errors import LeaseLost
from pushpals.protocol.jobs import Budget, Job
from pushpals.testing.bench import WORKER, Bench


async def ask(bench: Bench, name: str, session: str = "dev", **fields: Any) -> str:
    await bench.run(sessions.create, CreateSession(session_id=session))
    body = Enqueue(task_id="t", kind="check", session_id=session, title=name, **fields)
    done = await bench.run(jobs.enqueue, body)
    return str(done.job_id)


async def order(bench: Bench, count: int) -> list[str]:
    """The titles of the next claims."""
    claimed = [await bench.claim(f"w{n}") for n in range(count)]
    return [job.title for job in claimed if job is not None]


async def test_a_higher_priority_goes_first_and_equals_in_order(bench: Bench) -> None:
    await ask(bench, "b", priority="background")
    await ask(bench, "n1")
    await ask(bench, "i", priority="interactive")
    await ask(bench, "n2")
    assert await order(bench, 4) == ["i", "n1", "n2", "b"]


@pytest.mark.parametrize(("waited_s", "first"), [(AGE_S * 2 - 1, "new"), (AGE_S * 2 + 1, "old")])
async def test_what_waits_long_enough_is_overtaken_by_nobody(
    bench: Bench, waited_s: float, first: str
) -> None:
    await ask(bench, "old", priority="background")
    bench.clock.advance(waited_s)
    await ask(bench, "new", session="other", priority="interactive")
    assert (await order(bench, 2))[0] == first


async def test_a_session_that_asks_for_much_at_once_does_not_keep_others_waiting(bench: Bench) -> None:
    for number in range(20):
        await ask(bench, f"flood-{number}", session="flood")
    bench.clock.advance(1)
    await ask(bench, "mine")
    claimed = await order(bench, 3)
    assert claimed[0] == "flood-0"
    assert claimed[1] == "mine"


async def test_the_repository_with_fewer_running_jobs_goes_first(bench: Bench) -> None:
    await ask(bench, "a1", session="s1", repository="a")
    assert await order(bench, 1) == ["a1"]
    await ask(bench, "a2", session="s2", repository="a")
    await ask(bench, "b1", session="s3", repository="b")
    assert await order(bench, 2) == ["b1", "a2"]


async def test_fairness_passes_over_nothing_for_long(bench: Bench) -> None:
    await ask(bench, "a1", session="s1", repository="a")
    await order(bench, 1)
    await ask(bench, "a2", session="s1", repository="a")
    bench.clock.advance(31)
    await ask(bench, "b1", session="s2", repository="b")
    assert await order(bench, 2) == ["a2", "b1"]


async def test_a_job_for_one_worker_waits_for_it(bench: Bench) -> None:
    await ask(bench, "mine", for_worker="w7")
    await ask(bench, "any")
    assert await order(bench, 2) == ["any"]
    job = await bench.claim("w7")
    assert job is not None
    assert job.title == "mine"


async def test_a_lost_lease_keeps_its_place_and_a_retry_begins_to_wait_anew(bench: Bench) -> None:
    first = await ask(bench, "first")
    job = await bench.claim()
    assert job is not None
    bench.clock.advance(31)
    await ask(bench, "second", session="other")
    await bench.upkeep.step()
    assert await order(bench, 1) == ["first"]

    again = Of(id=first, body=Fail(message="no", attempt=2, no_retry=True))
    await bench.run(jobs.fail, again, WORKER)
    bench.clock.advance(1)
    await bench.run(jobs.retry, Of(id=first, body=RetryJob(note="again")))
    assert await order(bench, 2) == ["second", "first"]


async def test_the_hub_ends_an_attempt_that_keeps_beating_past_its_budget(bench: Bench) -> None:
    job_id = await ask(bench, "endless", budget=Budget(run_s=60, final_s=10))
    job = await bench.claim()
    assert job is not None
    for _ in range(4):
        bench.clock.advance(20)
        bench.hub.job_leases.renew(job.id, 1, 30)
        await bench.upkeep.step()
    assert (await bench.get(Job, job_id)).state == "claimed", "the worker has 30 s to end it itself"
    bench.clock.advance(21)
    bench.hub.job_leases.renew(job.id, 1, 30)
    await bench.upkeep.step()
    ended = await bench.get(Job, job_id)
    assert (ended.state, ended.attempt) == ("failed", 1)
    assert "budget of 60 s to run" in ended.error.message
    with pytest.raises(LeaseLost):
        await bench.run(jobs.heartbeat, Of(id=job_id, body=Heartbeat(attempt=1)), WORKER)


async def test_a_heartbeat_says_that_a_cancel_was_asked_for(bench: Bench) -> None:
    job_id = await ask(bench, "x")
    await bench.claim()
    beat = Of(id=job_id, body=Heartbeat(attempt=1))
    assert not (await bench.run(jobs.heartbeat, beat, WORKER)).cancel
    await bench.run(jobs.cancel, Of(id=job_id, body=CancelJob()))
    assert (await bench.run(jobs.heartbeat, beat, WORKER)).cancel


async def test_places_and_times_come_from_what_was_measured(bench: Bench) -> None:
    figures, now = bench.hub.figures, bench.clock
    done = await ask(bench, "done")
    bench.clock.advance(5)
    await bench.claim()
    bench.clock.advance(60)
    await bench.run(jobs.complete, Of(id=done, body=Complete(attempt=1, summary="ok")), WORKER)
    waiting = [await ask(bench, f"w{n}") for n in range(3)]
    last = await bench.get(Job, waiting[2])

    assert await figures.position(last) == 2
    assert await figures.eta_s(last, 2, now()) is None, "nobody works"
    day = await figures.last_day(now())
    assert (day.kinds["check"].wait_p50_s, day.kinds["check"].run_p50_s) == (5.0, 60.0)
    assert day.kinds[""].success == 1.0
    assert measure([], [], now()).kinds == {}
