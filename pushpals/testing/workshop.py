"""A workshop to try job kinds in: a real repository, the real hub, a real worker, real processes.

::

    async with Workshop(tmp_path, {"a.py": "import os\n"}) as shop:
        job = await shop.do("fix", {"fixer": "ruff"})
        assert job.result.head

Only HTTP is left out. Commands run with the local executor unless another is given, so a workshop needs no
sandbox; what a sandbox adds is the executor's business and tested there.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pushpals.hub import sessions
from pushpals.protocol.commands import CreateSession, Enqueue
from pushpals.protocol.events import Event, JobLog, Payload
from pushpals.protocol.jobs import Job
from pushpals.roles.worker import Worker
from pushpals.roles.worker_options import WorkerOptions
from pushpals.store.base import StoredEvent
from pushpals.store.memory import open_store
from pushpals.testing.bench import BUDDY, WORKER, Bench
from pushpals.testing.clock import CountedIds, ManualClock
from pushpals.testing.direct import DirectHub
from pushpals.testing.repos import Cloned, Content, make_cloned
from pushpals.work.context import Settings
from pushpals.work.environment import build_environment
from pushpals.work.executors.base import Executor
from pushpals.work.executors.local import LocalExecutor
from pushpals.work.git.remotes import parse_remote
from pushpals.work.kind import JobKind

P = TypeVar("P", bound=Payload)


class Workshop:
    """Use it as an async context manager. ``options`` replace fields of :class:`WorkerOptions`."""

    def __init__(
        self,
        root: Path,
        files: Mapping[str, Content],
        *,
        settings: Settings | None = None,
        executor: Executor | None = None,
        kinds_added: Sequence[JobKind] = (),
        **options: Any,
    ) -> None:
        """``kinds_added`` are known to the workshop's workers without being installed."""
        self._kinds = {kind.name: kind for kind in kinds_added}
        self.root = root
        self.repo: Cloned = make_cloned(root, files)
        self.clock = ManualClock()
        self.published: list[StoredEvent] = []
        self.blobs: dict[str, bytes] = {}
        self._waiters: set[asyncio.Event] = set()
        self._settings = settings or Settings()
        self._executor = executor
        self._options = options
        self._cleanup = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        def keep(events: Sequence[StoredEvent]) -> None:
            self.published.extend(events)
            for waiter in self._waiters:
                waiter.set()

        ids = CountedIds()
        store = await open_store(None, on_commit=keep, new_id=ids)
        self._cleanup.push_async_callback(store.close)
        self.bench = Bench(store, self.clock, self.published)
        await self.bench.hub.start()
        await self.bench.run(sessions.create, CreateSession(session_id="dev"))
        self.asker = DirectHub(self.bench.hub, BUDDY, self.blobs)
        self.worker = await self.hire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._cleanup.aclose()

    async def hire(self, worker_id: str = "w1", *, hub: Any = None, **options: Any) -> Worker:
        """A further worker, started, in a folder of its own."""
        state_dir = self.root / "state" / worker_id
        executor = self._executor
        if executor is None:
            executor = LocalExecutor(record_dir=state_dir / "running")
            self._cleanup.push_async_callback(executor.close)
        worker = Worker(
            hub if hub is not None else DirectHub(self.bench.hub, WORKER, self.blobs),
            WorkerOptions(
                upstream=parse_remote(self.repo.upstream.path),
                state_dir=state_dir,
                settings=self._settings,
                environment=build_environment(running=Path(sys.prefix)),
                **{"claim_wait_s": 0.0, "machine_is_the_sandbox": True, **self._options, **options},
            ),
            executor=executor,
            worker_id=worker_id,
            kinds=self._kinds,
            clock=self.clock,
        )
        self._cleanup.push_async_callback(worker.close)
        await worker.start()
        return worker

    async def ask(self, kind: str, params: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """Enqueue a job; returns its id."""
        ask = Enqueue(task_id="task-1", kind=kind, params=dict(params or {}), session_id="dev", **fields)
        return (await self.asker.enqueue(ask)).job_id

    async def do(self, kind: str, params: Mapping[str, Any] | None = None, **fields: Any) -> Job:
        """Enqueue a job, let the worker take one step, and return the job as the hub has it then."""
        job_id = await self.ask(kind, params, **fields)
        await self.worker.step()
        return await self.job(job_id)

    async def job(self, job_id: str) -> Job:
        return (await self.asker.job(job_id)).job

    def events(self, kind: type[P]) -> list[P]:
        """What was published of one type, in order."""
        return [event.payload for event in self.story() if isinstance(event.payload, kind)]

    async def until(self, kind: type[P], where: Callable[[P], bool] = lambda _: True) -> P:
        """Wait for an event; one that happened already counts."""
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            while True:
                changed.clear()
                for payload in self.events(kind):
                    if where(payload):
                        return payload
                await changed.wait()
        finally:
            self._waiters.discard(changed)

    def story(self) -> list[Event]:
        return self.bench.events()

    def lines(self) -> list[str]:
        """The output of commands, as people see it."""
        return [line.line for line in self.events(JobLog)]
