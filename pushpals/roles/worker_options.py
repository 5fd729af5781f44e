"""How a worker is set up, and the part of the hub that it needs."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from pushpals.policy.rules import Policy, load_policy
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import (
    AskApproval,
    Claim,
    Complete,
    Fail,
    Heartbeat,
    Ok,
    Progress,
    ProgressReply,
    RegisterWorker,
    UseApproval,
)
from pushpals.protocol.ids import Ids, random_id
from pushpals.protocol.jobs import Job
from pushpals.protocol.records import StoredArtifact
from pushpals.protocol.records import Worker as WorkerRecord
from pushpals.work.context import Settings
from pushpals.work.environment import Environment
from pushpals.work.git.remotes import Remote


class WorkerHub(Protocol):
    """The part of :class:`~pushpals.client.HubClient` that a worker uses."""

    async def claim(self, claim: Claim) -> Job | None: ...
    async def progress(self, job_id: str, progress: Progress) -> ProgressReply: ...

    async def heartbeat(self, job_id: str, heartbeat: Heartbeat) -> ProgressReply: ...
    async def complete(self, job_id: str, complete: Complete, *, key: str | None = None) -> Ok: ...
    async def fail(self, job_id: str, fail: Fail, *, key: str | None = None) -> Ok: ...
    async def register_worker(self, worker_id: str, worker: RegisterWorker) -> WorkerRecord: ...
    async def ask_approval(self, ask: AskApproval, *, key: str | None = None) -> Approval: ...
    async def wait_approval(self, approval_id: str, state: str, wait_s: float) -> Approval: ...
    async def use_approval(
        self, approval_id: str, use: UseApproval, *, key: str | None = None
    ) -> Approval: ...
    async def put_artifact(
        self,
        data: bytes | Path,
        *,
        kind: str,
        media_type: str = ...,
        session_id: str | None = ...,
        job_id: str | None = ...,
    ) -> StoredArtifact: ...


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker is set up. Times in seconds.

    ``state_dir`` is the worker's own folder, outside every working tree; workers of one user may share it.
    ``branch`` is what a job without base and target starts from. ``slot`` tells the workers of one
    machine apart: each gets a user id of its own in the sandbox when the worker is root.
    """

    upstream: Remote
    state_dir: Path
    branch: str = "main"
    kinds: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] = ()
    lease_s: float = 30.0
    claim_wait_s: float = 20.0
    grace_s: float = 10.0
    last_word_s: float = 8.0
    """After a stop: how long the end of the last job is told to a hub that is away. A hub that ended with the
    worker never answers, and the lease says the rest. With the grace it is less than a supervisor waits."""
    policy: Policy = msgspec.field(default_factory=load_policy)
    """The operator's. A repository may tighten it, from the base commit of each job."""
    allow_unsandboxed: bool = False
    machine_is_the_sandbox: bool = False
    """Whoever starts the worker vouches for the machine: without a sandbox, commands are judged as in one.
    They
    are still marked ``none``. For containers made for one job, and for tests."""
    reprobe_jobs: int = 50
    """After so many jobs the sandbox is tried again."""
    bwrap: Path | None = None
    """The bubblewrap to use; looked for in the system's folders by default."""
    slot: int = 0
    label: str = ""
    settings: Settings = Settings()
    environment: Environment | None = None
    secrets: Mapping[str, str] = {}
    """Values by name that must not appear in anything told. Those of the agents' ``env`` are added."""


def new_worker_id(label: str = "", new_id: Ids = random_id) -> str:
    """Unique for each start of a process, and usable as ``agent/<worker>/…``."""
    slug = re.sub(r"[^a-z0-9]+", "-", (label or platform.node() or "worker").lower()).strip("-")[:24]
    return f"{slug or 'worker'}-{new_id('w').removeprefix('w-')[-10:]}"
