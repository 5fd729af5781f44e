"""The worker over real HTTP: long polls, artifacts, and a hub that restarts under a running job."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pushpals.client import Backoff
from pushpals.protocol.commands import Enqueue
from pushpals.protocol.events import JobLog
from pushpals.roles.worker import Worker, WorkerOptions
from pushpals.server import start_service
from pushpals.store.sqlite import open_store
from pushpals.testing.repos import make_cloned
from pushpals.testing.site import FAST, RunningSite
from pushpals.work.executors.local import LocalExecutor
from pushpals.work.git.remotes import parse_remote

FILES = {"a.py": "import os\n\nONE = 1\n"}


async def hire(site: RunningSite, tmp_path: Path, **options: object) -> Worker:
    cloned = make_cloned(tmp_path / "repo", FILES)
    hub = await site.client("worker", timeout_s=10.0)
    return Worker(
        hub,
        WorkerOptions(
            upstream=parse_remote(cloned.upstream.path),
            state_dir=tmp_path / "state",
            **{"claim_wait_s": 20.0, "machine_is_the_sandbox": True, **options},  # type: ignore[arg-type]
        ),
        executor=LocalExecutor(),
        worker_id="w1",
        backoff=FAST,
    )


async def test_a_job_goes_through_the_wire_and_its_artifacts_can_be_fetched(
    site: RunningSite, tmp_path: Path
) -> None:
    worker = await hire(site, tmp_path)
    buddy, person = await site.client("buddy"), await site.client("operator")
    running = asyncio.create_task(worker.run())
    ask = Enqueue(task_id="t", kind="fix", params={"fixer": "ruff"})
    job_id = (await buddy.enqueue(ask)).job_id
    async for event in person.follow("dev"):
        if event.type == "job_completed":
            break
    job = (await person.job(job_id)).job
    assert job.result is not None
    assert job.result.patch is not None
    assert b"-import os" in await person.get_artifact(job.result.patch)
    (record,) = (await person.workers()).items
    assert (record.id, record.state, record.sandbox) == ("w1", "idle", "none")
    worker.stop()
    await running
    (record,) = [one for one in (await person.workers()).items if one.id == "w1"] or [None]
    assert record is None or record.state == "gone"


async def test_a_job_that_runs_while_the_hub_restarts_ends_once(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    first = RunningSite(await start_service(open_store, path, data_dir=tmp_path / "data", port=0))
    await first.make_tokens()
    person = await first.client("operator")
    await person.create_session("dev")
    worker = await hire(first, tmp_path)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    ask = Enqueue(
        task_id="t",
        kind="command",
        params={"argv": ["sh", "-c", f"echo ready; read word < {gate}; echo $word"]},
    )
    buddy = await first.client("buddy")
    job_id = (await buddy.enqueue(ask)).job_id
    running = asyncio.create_task(worker.run())
    patient = await first.client("operator", backoff=Backoff(first_s=0.01, most_s=0.05, tries=1_000))
    async for event in patient.follow("dev"):
        if isinstance(event.payload, JobLog):
            break

    port = int(first.url.rsplit(":", 1)[1])
    await first.service.stop()
    await asyncio.to_thread(gate.write_text, "go\n")
    second = await start_service(open_store, path, data_dir=tmp_path / "data", port=port)

    types: list[str] = []
    lines: list[str] = []
    async for event in patient.follow("dev"):
        types.append(event.type)
        if isinstance(event.payload, JobLog):
            lines.append(event.payload.line)
        if event.type == "job_completed":
            break
    job = (await patient.job(job_id)).job
    assert (job.state, job.attempt, lines) == ("completed", 1, ["ready", "go"])
    assert (types.count("job_claimed"), types.count("tool_result")) == (1, 1)
    worker.stop()
    await running
    await first._stack.aclose()
    await second.stop()
