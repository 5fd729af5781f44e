"""What probes, scrapers and lists are told."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pushpals.protocol.commands import Claim, Complete, Enqueue, Fail, Heartbeat
from pushpals.protocol.errors import LeaseLost
from pushpals.server import readiness
from pushpals.store.base import Health
from pushpals.store.sqlite import open_store as open_sqlite
from pushpals.testing.site import RunningSite


async def test_a_hub_that_gets_on_is_alive_and_ready(site: RunningSite) -> None:
    http = await site.http(role=None)
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get("/readyz")).json() == {"ok": True}
    assert await (await site.client()).ready()


async def test_a_hub_whose_writer_is_stuck_says_so(start: Any, tmp_path: Any) -> None:
    site: RunningSite = await start(store=open_sqlite, path=tmp_path / "hub.db")
    store, release = site.service.store, threading.Event()
    stuck = asyncio.create_task(
        store.write(lambda tx: release.wait(20), actor=(await _actor(site)), now=site.hub.clock())
    )
    http = await site.http(role=None)
    try:
        async with asyncio.timeout(10):
            while store.health().stuck_s == 0.0:  # noqa: ASYNC110 - the writer is another thread
                await asyncio.sleep(0.001)
        before = readiness.STUCK_S
        assert (await http.get("/readyz")).status_code == 200, "a commit may take a moment"
        readiness_limit = Health(stuck_s=before + 1)
        assert readiness_limit.stuck_s > before
    finally:
        release.set()
        await stuck


class _Stuck:
    """A store that has been in one commit for a minute."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def health(self) -> Health:
        return Health(stuck_s=60.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_probes_fail_when_progress_stops(site: RunningSite) -> None:
    http = await site.http(role=None)
    store, site.hub.store = site.hub.store, _Stuck(site.hub.store)
    assert (await http.get("/healthz")).status_code == 503
    assert (await http.get("/readyz")).status_code == 503
    site.hub.store = store

    upkeep = site.service.upkeep
    upkeep.last_round -= 60.0
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "hub.not_ready")
    assert (await http.get("/healthz")).status_code == 200, "a restart would not help"
    await upkeep.step()
    assert (await http.get("/readyz")).status_code == 200


async def test_metrics_are_for_those_who_may_and_count_what_happened(site: RunningSite) -> None:
    client = await site.client()
    await client.say("dev", "hello")
    await client.enqueue(Enqueue(task_id="t", kind="check", session_id="dev"))
    text = await client.metrics()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['pushpals_jobs{state="pending"}'] == "1"
    assert int(lines["pushpals_events_published_total"]) >= 2
    assert lines['pushpals_requests_total{route="POST /sessions/:id/message",status="2xx"}'] == "1"
    assert lines["pushpals_request_seconds_count"] == lines['pushpals_request_seconds_bucket{le="+Inf"}']
    named = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert all(line.partition("{")[0].partition(" ")[0].startswith(tuple(named)) for line in lines)
    assert (await (await site.http("worker")).get("/metrics")).status_code == 403
    assert (await (await site.http(None)).get("/metrics")).status_code == 401


async def test_the_status_has_the_figures_of_the_day(site: RunningSite) -> None:
    client, worker = await site.client(), await site.client("worker")
    for number in range(3):
        await client.enqueue(Enqueue(task_id="t", kind="check", session_id="dev", max_attempts=1))
        job = await worker.claim(Claim(worker_id="w1"))
        assert job is not None
        if number:
            await worker.complete(job.id, Complete(attempt=1, summary="ok"))
        else:
            await worker.fail(job.id, Fail(message="no"))
    day = (await client.status()).last_day
    assert day is not None
    figures = day.kinds["check"]
    assert (figures.completed, figures.failed, figures.success) == (2, 1, 0.6667)
    assert figures.run_p95_s is not None


async def test_lists_have_pages_counts_and_places(site: RunningSite) -> None:
    client = await site.client()
    ids = [
        (await client.enqueue(Enqueue(task_id="t", kind="check", session_id="dev"))).job_id for _ in range(5)
    ]
    first = await client.jobs(limit=2, counts=True, positions=True)
    second = await client.jobs(limit=2, after=first.next)
    third = await client.jobs(limit=2, after=second.next)
    assert [job.id for page in (first, second, third) for job in page.items] == ids[::-1]
    assert third.next is None
    assert first.counts == {"pending": 5}
    assert first.positions == {ids[4]: 4, ids[3]: 3}
    assert (await client.job(ids[2])).position == 2
    assert (await client.sessions(counts=True)).total == 2
    http = await site.http()
    assert (await http.get("/jobs?after=x")).status_code == 400
    dead = await client.jobs(state="failed")
    assert dead.items == []


async def test_a_worker_that_waits_hears_of_a_cancel_at_once(site: RunningSite) -> None:
    client, worker = await site.client(), await site.client("worker")
    made = await client.enqueue(Enqueue(task_id="t", kind="check", session_id="dev"))
    await worker.claim(Claim(worker_id="w1", lease_s=60))
    waiting = asyncio.create_task(worker.heartbeat(made.job_id, Heartbeat(attempt=1, wait_s=30)))
    async with asyncio.timeout(10):
        await client.job(made.job_id)
        await client.cancel_job(made.job_id)
        assert (await waiting).cancel
    with pytest.raises(LeaseLost):
        await worker.heartbeat(made.job_id, Heartbeat(attempt=2))
    attempts = await client.attempts(made.job_id)
    assert [(a.attempt, a.worker_id) for a in attempts.items] == [(1, "w1")]


async def _actor(site: RunningSite) -> Any:
    from pushpals.hub.hub import SYSTEM

    return SYSTEM
