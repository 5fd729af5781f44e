"""A whole team in one process, on a throw-away repository, with story verbs.

Everything is real: the hub serves HTTP on a free port, roles reach it through the client only, git is git,
commands are processes, checks run in the sandbox. What is not there is waiting: nothing runs in the
background except what a test starts; each verb drives the parts that it names until they have nothing left
to do.

::

    async with Town.open(tmp_path) as town:
        await town.say("fix the lint")
        await town.work()
        await town.approve()
        await town.land()
        assert "import os" not in town.main["parcels/labels.py"]
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pushpals.client import HubClient
from pushpals.hub import tokens
from pushpals.hub.hub import SYSTEM
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import Decide, NewToken
from pushpals.protocol.events import Event
from pushpals.protocol.ids import random_id
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing
from pushpals.protocol.records import Role
from pushpals.protocol.wire import read_event
from pushpals.roles.buddy import SessionBuddy
from pushpals.roles.pusher import PusherSettings, SerialPusher, open_pusher
from pushpals.roles.worker import Worker
from pushpals.roles.worker_options import WorkerOptions
from pushpals.server import Service, start_service
from pushpals.store.sqlite import open_store
from pushpals.testing.repos import make_demo_repository
from pushpals.work.environment import build_environment
from pushpals.work.executors.base import Executor
from pushpals.work.executors.choose import choose_executor
from pushpals.work.git.remotes import parse_remote

PATIENCE_S = 60.0
"""How long a verb waits for what must happen. Only a broken test ever waits so long."""


class Town:
    """The team, the repository and the person. Made by :meth:`open`."""

    def __init__(
        self, root: Path, service: Service, checkout: Path, upstream: Path, stack: contextlib.AsyncExitStack
    ):
        self.root = root
        self.service = service
        self.checkout = checkout
        self.upstream = upstream
        self.session = "dev"
        self._stack = stack
        self.person: HubClient
        self.buddy: SessionBuddy
        self.worker: Worker
        self.pusher: SerialPusher

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        root: Path,
        *,
        repository: tuple[Path, Path] | None = None,
        executor: Executor | None = None,
        **options: Any,
    ) -> AsyncIterator[Town]:
        """A town on ``repository`` (checkout, bare upstream), by default the demo's."""
        checkout, upstream = repository or make_demo_repository(root / "repository")
        async with contextlib.AsyncExitStack() as stack:
            data = root / "hub"
            data.mkdir(parents=True, exist_ok=True)
            service = await start_service(open_store, data / "hub.db", data_dir=data, port=0, **options)
            stack.push_async_callback(service.stop)
            town = cls(root, service, checkout, upstream, stack)
            town.person = await town.client("operator", "ada")
            await town._staff(executor)
            yield town

    async def _staff(self, executor: Executor | None) -> None:
        stack, root = self._stack, self.root
        if executor is None:
            executor, _ = await choose_executor(allow_unsandboxed=False)
            stack.push_async_callback(executor.close)
        environment = await asyncio.to_thread(build_environment)
        self.buddy = SessionBuddy(await self.client("buddy", "remote"), self.session)
        remote = parse_remote(self.upstream)
        self.worker = Worker(
            await self.client("worker", "w1"),
            WorkerOptions(
                upstream=remote,
                state_dir=root / "worker",
                claim_wait_s=0.0,
                label="w1",
                environment=environment,
            ),
            executor=executor,
        )
        self.pusher = await stack.enter_async_context(
            open_pusher(
                await self.client("pusher", "serial-pusher"),
                PusherSettings(
                    repository="demo", branch="main", remote=remote, data_dir=root / "pusher", wait_s=0.0
                ),
                executor=executor,
                environment=environment,
                new_id=random_id,
            )
        )
        stack.push_async_callback(self.buddy.close)
        await self.worker.start()
        stack.push_async_callback(self.worker.close)
        await self.pusher.round()
        await self.buddy.start()

    async def client(self, role: Role, label: str, **options: Any) -> HubClient:
        """A client with a fresh token, closed with the town."""
        made = await self.service.hub.run(tokens.make, NewToken(role=role, label=label), actor=SYSTEM)
        return await self._stack.enter_async_context(HubClient(self.service.url, made.secret, **options))

    # -- what people do -------------------------------------------------------------------------------------

    async def say(self, text: str) -> None:
        """A person writes; the buddy has read it when this returns."""
        await self.person.say(self.session, text)
        await self.read()

    async def approve(self, approval: Approval | None = None) -> Approval:
        """A person looks at the open approval and says yes to exactly that."""
        return await self._decide("approve", approval)

    async def deny(self, reason: str | None = None) -> Approval:
        return await self._decide("deny", None, reason)

    async def _decide(self, decision: Any, approval: Approval | None, reason: str | None = None) -> Approval:
        approval = approval or await self.open_approval()
        body = Decide(decision=decision, action_hash=approval.action_hash, reason=reason, device="test")
        decided = await self.person.decide(approval.id, body)
        await self.read()
        return decided

    # -- what the team does ---------------------------------------------------------------------------------

    async def read(self) -> None:
        """The buddy deals with everything that is in the history, including what it adds."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                session = (await self.person.snapshot(self.session)).session
                unread = await self._heard_after(self.buddy.view.cursor, session.last)
                if not unread:
                    return
                await self.buddy.step()

    async def work(self) -> list[Job]:
        """The worker does every job that there is; the buddy reads what came of them."""
        done: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            while job := await self.worker._claim():
                await self.worker.do(job)
                done.append(job.id)
                await self.read()
        return [(await self.person.job(job_id)).job for job_id in done]

    async def land(self, rounds: int = 4) -> list[Landing]:
        """The pusher lands what is approved; the buddy reads what came of it."""
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(rounds):
                await self.pusher.round()
                await self.read()
        return (await self.person.landings(session_id=self.session)).items

    # -- what can be seen -----------------------------------------------------------------------------------

    async def open_approval(self) -> Approval:
        """The one approval that waits for a person."""
        waiting = (await self.person.approvals(session_id=self.session)).items
        assert len(waiting) == 1, [approval.summary for approval in waiting]
        return waiting[0]

    async def events(self, *types: str) -> list[Event]:
        found: list[Event] = []
        after = 0
        while True:
            page = await self.person.history(self.session, after=after, types=list(types) or None)
            found += [read_event(bytes(entry.envelope), entry.cursor) for entry in page.items]
            if page.next is None:
                return found
            after = page.next

    async def said(self) -> list[str]:
        """Everything the buddy said, in order."""
        return [event.payload.text for event in await self.events("assistant_message")]  # type: ignore[attr-defined]

    @property
    def main(self) -> dict[str, str]:
        """The files on the upstream's main, by path."""
        from pushpals.testing.repos import Repository

        bare = Repository(self.upstream, bare=True)
        names = bare.git("ls-tree", "-r", "--name-only", "main").splitlines()
        return {name: bare.git("show", f"main:{name}") for name in names}

    async def _heard_after(self, cursor: int, last: int) -> bool:
        from pushpals.roles.buddy import HEARD

        if cursor >= last:
            return False
        page = await self.person.history(self.session, after=cursor, limit=1, types=list(HEARD))
        return bool(page.items)
