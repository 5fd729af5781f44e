"""Putting a serial-pusher together: its repository, its process lock, its workspaces."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from pushpals.client import HubClient
from pushpals.policy.rules import Policy
from pushpals.protocol.ids import Ids
from pushpals.roles.pusher.pusher import PusherSettings, SerialPusher
from pushpals.roles.pusher.sandboxed import SandboxedVerifier
from pushpals.work.environment import Environment
from pushpals.work.executors.base import Executor
from pushpals.work.git.repo import BareRepo
from pushpals.work.hosts import Host
from pushpals.work.workspace import WorkspacePool


@contextlib.asynccontextmanager
async def open_pusher(
    hub: HubClient,
    settings: PusherSettings,
    *,
    executor: Executor,
    environment: Environment,
    new_id: Ids,
    host: Host | None = None,
    policy: Policy | None = None,
) -> AsyncIterator[SerialPusher]:
    """A pusher that owns ``settings.data_dir``.

    Raises :class:`~pushpals.work.git.repo.RepositoryBusy` while another process owns it: two pushers of one
    directory would share a holder's name, and each would take the lane from the other.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    repo = await BareRepo.init(settings.data_dir / "pusher.git")
    async with repo.locked("pusher", wait_s=5.0):
        repo.clear_stale_locks()
        async with WorkspacePool(settings.data_dir / "workspaces", repo) as pool:
            home = settings.data_dir / "home"
            home.mkdir(exist_ok=True, mode=0o700)
            verifier = SandboxedVerifier(
                hub=hub,
                repo=repo,
                pool=pool,
                executor=executor,
                environment=environment,
                home=home,
                new_id=new_id,
                run_by=settings.holder,
                policy=policy,
            )
            pusher = SerialPusher(hub, settings, repo, verifier, host)
            try:
                yield pusher
            finally:
                await pusher.close()
