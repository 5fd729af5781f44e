"""The worker registry. Whether a worker is alive is computed from when it was last seen."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from pushpals.hub.of import Of
from pushpals.protocol.commands import RegisterWorker, SetWorkerState
from pushpals.protocol.errors import BadRequest, NotFound, TooMany
from pushpals.protocol.events import SandboxProbed, WorkerChanged
from pushpals.protocol.ids import SYSTEM_SESSION, is_worker_id
from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Worker, WorkerState
from pushpals.protocol.times import stamp
from pushpals.store.base import Before, Tx

GONE_AFTER = timedelta(seconds=90)
"""Three missed registrations."""
MAX_WORKERS = 2_000


def register(tx: Tx, ask: Of[RegisterWorker], now: datetime) -> Worker:
    """A worker says that it is there, and what it can do. An operator's pause or drain survives this."""
    if not is_worker_id(ask.id):
        raise BadRequest(
            "a worker id is 1 to 48 characters out of a-z, 0-9, '.', '_' and '-'", code="worker.bad_id"
        )
    body = ask.body
    known = tx.get(Worker, ask.id)
    if known is None and sum(tx.count(Worker, "state").values()) >= MAX_WORKERS:
        raise TooMany(f"{MAX_WORKERS} workers are registered already", code="worker.too_many")
    state: WorkerState = body.state
    if known is not None and known.state in ("draining", "paused") and body.state != "gone":
        state = known.state
    elif known is not None and known.jobs and body.state == "idle":
        state = "busy"
    worker = Worker(
        id=ask.id,
        state=state,
        registered_at=known.registered_at if known else stamp(now),
        seen_at=stamp(now),
        kinds=body.kinds,
        capabilities=body.capabilities,
        sandbox=body.sandbox,
        sandbox_reason=body.sandbox_reason,
        version=body.version,
        host=body.host,
        pid=body.pid,
        jobs=known.jobs if known else [],
        note=known.note if known else None,
    )
    tx.put(worker)
    if (probe := body.probe) is not None:
        tx.append(
            SYSTEM_SESSION,
            SandboxProbed(
                worker_id=worker.id,
                executor=probe.executor,
                level=probe.level,
                reason=probe.reason,
                held=probe.held,
                broke=probe.broke,
            ),
        )
    if known is None or known.state != state or known.sandbox != worker.sandbox:
        _tell(tx, worker, worker.sandbox_reason or None)
    return worker


def set_state(tx: Tx, ask: Of[SetWorkerState], now: datetime) -> Worker:
    """Drain, pause or resume a worker: it takes no new job, and finishes the one it has."""
    worker = tx.get(Worker, ask.id)
    if worker is None:
        raise NotFound(f"there is no worker {ask.id!r}; `pushpals workers` lists them", code="worker.unknown")
    state: WorkerState = "busy" if ask.body.state == "idle" and worker.jobs else ask.body.state
    worker = replace(worker, state=state, note=ask.body.note, seen_at=worker.seen_at)
    tx.put(worker)
    _tell(tx, worker, ask.body.note)
    return worker


class WorkerTick(Wire, frozen=True, kw_only=True):
    limit: int = 200


def forget_silent(tx: Tx, ask: WorkerTick, now: datetime) -> int:
    """Workers that were not seen for a while are gone. Their jobs' leases end by themselves."""
    silent = tx.find(
        Worker,
        state=("idle", "busy", "draining", "paused"),
        seen_at=Before(stamp(now - GONE_AFTER)),
        limit=ask.limit,
    )
    for worker in silent:
        tx.put(replace(worker, state="gone", jobs=[]))
        _tell(tx, replace(worker, state="gone"), "not seen for 90 s")
    return len(silent)


def _tell(tx: Tx, worker: Worker, detail: str | None) -> None:
    tx.append(
        SYSTEM_SESSION,
        WorkerChanged(worker_id=worker.id, state=worker.state, sandbox=worker.sandbox, detail=detail),
    )
