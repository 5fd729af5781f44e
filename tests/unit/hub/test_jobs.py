"""The job queue, told as what workers and people do to it."""

from __future__ import annotations

import pytest

from pushpals.hub import jobs, leasing, workers
from pushpals.hub.of import Of
from pushpals.protocol.commands import (
    CancelJob,
    Complete,
    Enqueue,
    EventIn,
    Fail,
    LogLine,
    Progress,
    RegisterWorker,
    RetryJob,
    SetWorkerState,
)
from pushpals.protocol.errors import BadRequest, Conflict, Forbidden, KeyReused, LeaseLost, NotFound
from pushpals.protocol.events import JobLog
from pushpals.protocol.jobs import (
    TERMINAL,
    TRANSITIONS,
    Attempt,
    Budget,
    Job,
    JobMove,
    JobResult,
    JobState,
    advance,
)
from pushpals.protocol.times import stamp
from pushpals.testing.bench import BUDDY, OPERATOR, SHA, WORKER, Bench

ASK = Enqueue(task_id="task-1", kind="check", session_id="dev", params={"name": "tests"})


async def enqueue(bench: Bench, **changes: object) -> str:
    fields = {"task_id": "task-1", "kind": "check", "session_id": "dev", **changes}
    return (await bench.run(jobs.enqueue, Enqueue(**fields), BUDDY)).job_id  # type: ignore[arg-type]


async def progress(bench: Bench, job_id: str, attempt: int = 1, **body: object) -> object:
    ask = Of(id=job_id, body=Progress(attempt=attempt, **body))  # type: ignore[arg-type]
    return await leasing.progress(bench.hub, ask, actor=WORKER)


async def complete(bench: Bench, job_id: str, attempt: int = 1, summary: str = "done") -> object:
    ask = Of(id=job_id, body=Complete(attempt=attempt, summary=summary))
    return await leasing.complete(bench.hub, ask, actor=WORKER)


async def fail(bench: Bench, job_id: str, attempt: int = 1, **body: object) -> object:
    ask = Of(id=job_id, body=Fail(message="it broke", attempt=attempt, **body))  # type: ignore[arg-type]
    return await leasing.fail(bench.hub, ask, actor=WORKER)


STATES: tuple[JobState, ...] = (
    "blocked", "scheduled", "pending", "claimed", "completed", "failed", "cancelled",
)  # fmt: skip
MOVES: tuple[JobMove, ...] = (
    "release", "due", "claim", "complete", "fail", "cancel", "requeue", "delay", "block", "retry",
)  # fmt: skip


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("move", MOVES)
def test_the_machine_has_exactly_the_steps_of_its_table(state: JobState, move: JobMove) -> None:
    if (state, move) in TRANSITIONS:
        assert advance(state, move) == TRANSITIONS[state, move]
    else:
        with pytest.raises(Conflict):
            advance(state, move)


def test_an_ended_job_only_ever_moves_by_a_retry() -> None:
    assert {move for state, move in TRANSITIONS if state in TERMINAL} == {"retry"}


async def test_a_job_is_enqueued_claimed_reported_and_completed_in_one_history(bench: Bench) -> None:
    job_id = await enqueue(bench)
    job = await bench.claim()
    assert job is not None
    assert (job.id, job.state, job.attempt, job.worker_id) == (job_id, "claimed", 1, "w1")
    await progress(
        bench,
        job_id,
        base=SHA,
        sandbox="full",
        events=[EventIn(type="log", payload={"level": "info", "message": "starting"})],
        log=[LogLine(stream="stdout", line="1 passed"), LogLine(stream="stderr", line="warning")],
    )
    await complete(bench, job_id)
    assert bench.types() == [
        "job_enqueued", "job_claimed", "job_based", "log", "job_log", "job_log", "job_completed",
    ]  # fmt: skip
    done = await bench.get(Job, job_id)
    assert (done.state, done.base, done.sandbox, done.log_lines) == ("completed", SHA, "full", 2)
    attempt = await bench.get(Attempt, f"{job_id}/1")
    assert (attempt.worker_id, attempt.outcome) == ("w1", "completed")


async def test_an_empty_queue_gives_nothing(bench: Bench) -> None:
    assert await bench.claim() is None


async def test_interactive_jobs_come_first_and_equals_in_order_of_arrival(bench: Bench) -> None:
    slow = await enqueue(bench, priority="background")
    first = await enqueue(bench)
    second = await enqueue(bench)
    urgent = await enqueue(bench, priority="interactive")
    claimed = [await bench.claim(f"w{n}") for n in range(4)]
    assert [job.id for job in claimed if job] == [urgent, first, second, slow]


async def test_a_worker_gets_only_kinds_and_needs_that_it_has(bench: Bench) -> None:
    await enqueue(bench, kind="agent", needs=["gpu"])
    plain = await enqueue(bench, kind="check")
    assert await bench.claim(kinds=["fix"]) is None
    job = await bench.claim(kinds=["agent", "check"])
    assert job is not None
    assert job.id == plain
    assert await bench.claim("w2", kinds=["agent"], capabilities=["gpu", "net"]) is not None


async def test_a_draining_worker_gets_no_new_job(bench: Bench) -> None:
    await enqueue(bench)
    await bench.run(workers.register, Of(id="w1", body=RegisterWorker(kinds=["check"])), WORKER)
    await bench.run(workers.set_state, Of(id="w1", body=SetWorkerState(state="draining")))
    assert await bench.claim("w1") is None
    await bench.run(workers.set_state, Of(id="w1", body=SetWorkerState(state="idle")))
    assert await bench.claim("w1") is not None


async def test_a_silent_worker_loses_its_lease_and_everything_it_says_later(bench: Bench) -> None:
    job_id = await enqueue(bench)
    await bench.claim("w1")
    bench.clock.advance(29)
    await bench.upkeep.step()
    assert (await bench.get(Job, job_id)).state == "claimed"
    bench.clock.advance(2)
    await bench.upkeep.step()
    again = await bench.claim("w2")
    assert again is not None
    assert (again.id, again.attempt) == (job_id, 2)
    for late in (progress(bench, job_id), complete(bench, job_id), fail(bench, job_id)):
        with pytest.raises(LeaseLost):
            await late
    await complete(bench, job_id, attempt=2)
    assert bench.types().count("job_lease_lost") == 1
    assert bench.types().count("job_completed") == 1


async def test_a_heartbeat_keeps_the_lease_however_long_the_job_takes(bench: Bench) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    for _ in range(20):
        bench.clock.advance(20)
        await progress(bench, job_id)
        await bench.upkeep.step()
    assert (await bench.get(Job, job_id)).attempt == 1


@pytest.mark.parametrize("jump", [3600, -3600])
async def test_a_jump_of_the_wall_clock_neither_takes_nor_prolongs_a_lease(bench: Bench, jump: float) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    bench.clock.jump(jump)
    await bench.upkeep.step()
    assert (await bench.get(Job, job_id)).state == "claimed"
    bench.clock.advance(31)
    await bench.upkeep.step()
    assert (await bench.get(Job, job_id)).state == "pending"


async def test_after_a_restart_every_running_job_gets_one_fresh_lease(bench: Bench) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    bench.clock.advance(3600)
    reborn = Bench(bench.store, bench.clock, bench.published)
    await reborn.hub.start()
    await reborn.upkeep.step()
    assert (await bench.get(Job, job_id)).state == "claimed"
    await complete(reborn, job_id)
    assert (await bench.get(Job, job_id)).state == "completed"


async def test_a_job_that_every_worker_loses_ends_in_the_dead_letters(bench: Bench) -> None:
    job_id = await enqueue(bench, max_attempts=3)
    for _ in range(3):
        assert await bench.claim() is not None
        bench.clock.advance(31)
        await bench.upkeep.step()
    dead = await bench.get(Job, job_id)
    assert (dead.state, dead.error.error_class) == ("failed", "lost")
    assert await bench.claim() is None


async def test_a_released_lease_does_not_count_as_an_attempt(bench: Bench) -> None:
    job_id = await enqueue(bench, max_attempts=1)
    await bench.claim()
    await fail(bench, job_id, error_class="lost")
    again = await bench.claim()
    assert again is not None
    assert (again.attempt, again.spent) == (2, 0)


@pytest.mark.parametrize(
    ("error_class", "state"),
    [
        ("code", "failed"),
        ("policy", "failed"),
        ("conflict", "failed"),
        ("environment", "scheduled"),
        ("quota", "scheduled"),
        ("lost", "pending"),
    ],
)
async def test_only_errors_that_another_try_can_mend_are_tried_again(
    bench: Bench, error_class: str, state: str
) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    await fail(bench, job_id, error_class=error_class)
    assert (await bench.get(Job, job_id)).state == state


async def test_a_delayed_job_comes_back_when_its_time_has_come(bench: Bench) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    await fail(bench, job_id, error_class="environment", retry_after_s=60)
    await bench.upkeep.step()
    assert await bench.claim() is None
    bench.clock.advance(61)
    await bench.upkeep.step()
    again = await bench.claim()
    assert again is not None
    assert (again.id, again.attempt) == (job_id, 2)


async def test_a_scheduled_job_waits_for_its_time(bench: Bench) -> None:
    await enqueue(bench, run_at=stamp(bench.clock.now.replace(hour=13)))
    assert await bench.claim() is None
    bench.clock.advance(3601)
    await bench.upkeep.step()
    assert await bench.claim() is not None


async def test_a_job_waits_for_what_it_depends_on(bench: Bench) -> None:
    first = await enqueue(bench)
    second = await enqueue(bench, depends_on=[first])
    assert (await bench.get(Job, second)).state == "blocked"
    await bench.claim()
    assert await bench.claim("w2") is None
    await complete(bench, first)
    job = await bench.claim("w2")
    assert job is not None
    assert job.id == second


async def test_what_depends_on_a_failed_job_is_cancelled_with_the_reason(bench: Bench) -> None:
    first = await enqueue(bench)
    second = await enqueue(bench, depends_on=[first])
    await bench.claim()
    await fail(bench, first)
    ended = await bench.get(Job, second)
    assert (ended.state, ended.cancel_reason) == ("cancelled", f"{first}, which it depends on, is failed")


async def test_the_same_completion_twice_is_one_and_another_one_is_refused(bench: Bench) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    await complete(bench, job_id)
    await complete(bench, job_id)
    with pytest.raises(Conflict):
        await complete(bench, job_id, summary="something else")
    assert bench.types().count("job_completed") == 1


async def test_a_waiting_job_is_cancelled_at_once(bench: Bench) -> None:
    job_id = await enqueue(bench)
    reply = await bench.run(jobs.cancel, Of(id=job_id, body=CancelJob(reason="not needed")))
    assert (reply.job.state, reply.job.cancel_by) == ("cancelled", "client:ada")
    assert await bench.claim() is None


async def test_a_running_job_is_asked_to_stop_and_says_what_it_stopped(bench: Bench) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    await bench.run(jobs.cancel, Of(id=job_id, body=CancelJob()))
    reply = await progress(bench, job_id)
    assert reply.cancel  # type: ignore[attr-defined]
    await fail(bench, job_id, error_class="cancelled", stopped=["pytest -q"])
    assert bench.types()[-2:] == ["job_cancel_requested", "job_cancelled"]
    assert bench.events()[-1].payload.stopped == ["pytest -q"]  # type: ignore[attr-defined]


async def test_a_cancelled_job_whose_worker_dies_stays_cancelled(bench: Bench) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    await bench.run(jobs.cancel, Of(id=job_id, body=CancelJob()))
    bench.clock.advance(31)
    await bench.upkeep.step()
    assert (await bench.get(Job, job_id)).state == "cancelled"


async def test_an_ended_job_cannot_be_cancelled_but_can_be_tried_again_with_a_note(bench: Bench) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    await fail(bench, job_id)
    with pytest.raises(Conflict):
        await bench.run(jobs.cancel, Of(id=job_id, body=CancelJob()))
    await bench.run(jobs.retry, Of(id=job_id, body=RetryJob(note="the disk was full")))
    job = await bench.claim()
    assert job is not None
    assert (job.note, job.attempt, job.spent) == ("the disk was full", 2, 0)


async def test_a_job_that_waits_longer_than_its_budget_ends_and_says_so(bench: Bench) -> None:
    job_id = await enqueue(bench, budget=Budget(queue_s=60))
    bench.clock.advance(61)
    await bench.upkeep.step()
    ended = await bench.get(Job, job_id)
    assert (ended.state, ended.error.message) == ("failed", "no worker took it within 60 s")


async def test_a_worker_reports_only_what_its_role_may_and_only_about_its_job(bench: Bench) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    for kind, payload in [
        ("approved", {"approvalId": "x"}),
        ("job_completed", {"jobId": job_id}),
        ("message", {"text": "land it"}),
        ("landing_moved", {"landingId": "l", "state": "landed", "previous": "pushing"}),
    ]:
        with pytest.raises(Forbidden):
            await progress(bench, job_id, events=[EventIn(type=kind, payload=payload)])
    with pytest.raises(BadRequest):
        await progress(bench, job_id, events=[EventIn(type="log", payload={"level": "loud", "message": "x"})])
    with pytest.raises(BadRequest):
        await progress(bench, job_id, events=[EventIn(type="no_such_type", payload={})])
    assert bench.types() == ["job_enqueued", "job_claimed"]


async def test_log_lines_are_numbered_within_an_attempt(bench: Bench) -> None:
    job_id = await enqueue(bench)
    await bench.claim()
    await progress(bench, job_id, log=[LogLine(stream="stdout", line=f"{n}") for n in range(3)])
    await progress(bench, job_id, log=[LogLine(stream="stdout", line="3")])
    lines = [event.payload for event in bench.events() if isinstance(event.payload, JobLog)]
    assert [(line.seq, line.line) for line in lines] == [(1, "0"), (2, "1"), (3, "2"), (4, "3")]


async def test_the_base_of_a_job_is_fixed_once(bench: Bench) -> None:
    job_id = await enqueue(bench, base=SHA)
    await bench.claim()
    with pytest.raises(Conflict):
        await progress(bench, job_id, base="b" * 40)
    ask = Of(id=job_id, body=Complete(attempt=1, result=JobResult(summary="x", base="b" * 40)))
    with pytest.raises(Conflict):
        await leasing.complete(bench.hub, ask, actor=WORKER)


async def test_the_same_key_gives_the_same_job_and_another_body_is_refused(bench: Bench) -> None:
    first = await bench.run(jobs.enqueue, ASK, BUDDY, key="k1", reply=jobs.Enqueued)
    again = await bench.run(jobs.enqueue, ASK, BUDDY, key="k1", reply=jobs.Enqueued)
    assert first == again
    other = Enqueue(task_id="task-2", kind="check")
    with pytest.raises(KeyReused):
        await bench.run(jobs.enqueue, other, BUDDY, key="k1", reply=jobs.Enqueued)
    someone_else = await bench.run(jobs.enqueue, ASK, OPERATOR, key="k1", reply=jobs.Enqueued)
    assert someone_else != first
    assert bench.types().count("job_enqueued") == 2


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"session_id": "nowhere"}, NotFound),
        ({"base": "HEAD"}, BadRequest),
        ({"depends_on": ["job-99"]}, BadRequest),
        ({"run_at": "tomorrow"}, BadRequest),
    ],
)
async def test_bad_requests_are_refused_and_leave_no_trace(
    bench: Bench, changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await enqueue(bench, **changes)
    assert bench.types() == []


async def test_claims_race_and_each_job_goes_to_one(bench: Bench) -> None:
    import asyncio

    wanted = {await enqueue(bench) for _ in range(20)}
    claimed = await asyncio.gather(*(bench.claim(f"w{n}") for n in range(40)))
    assert [job is None for job in claimed].count(True) == 20
    assert {job.id for job in claimed if job} == wanted
