"""The worker registry."""

from __future__ import annotations

from pushpals.hub import workers
from pushpals.hub.of import Of
from pushpals.protocol.commands import RegisterWorker, SetWorkerState, WorkerReply, Workers
from pushpals.protocol.records import Worker
from pushpals.server.base import Handler, needs
from pushpals.server.handlers.lists import MAX_PAGE, counts, following, page


class WorkerList(Handler):
    """``/workers``"""

    @needs("worker.read")
    async def get(self) -> None:
        states = self.text("state")
        where = {"state": tuple(states.split(","))} if states else {}
        found = await page(self, Worker, where, default=MAX_PAGE)
        self.reply(
            Workers(
                items=sorted(found.items, key=lambda worker: worker.seen_at, reverse=True),
                next=following(found),
                counts=await counts(self, Worker, where, "state"),
            )
        )


class OneWorker(Handler):
    """``/workers/:id``"""

    @needs("worker.register")
    async def put(self, worker_id: str) -> None:
        ask = Of(id=worker_id, body=self.body(RegisterWorker))
        worker = await self.hub.run(workers.register, ask, actor=self.actor, key=self.key, reply=Worker)
        self.reply(WorkerReply(worker=worker))


class WorkerStateOf(Handler):
    """``/workers/:id/state``"""

    @needs("worker.manage")
    async def post(self, worker_id: str) -> None:
        ask = Of(id=worker_id, body=self.body(SetWorkerState))
        worker = await self.hub.run(workers.set_state, ask, actor=self.actor, key=self.key, reply=Worker)
        self.reply(WorkerReply(worker=worker))
