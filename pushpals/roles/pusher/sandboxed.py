"""Checks in the sandbox that jobs run in: fresh checkout of the commit, no credentials, no network."""

from __future__ import annotations

from pathlib import Path

from pushpals.client import HubClient
from pushpals.policy.rules import Policy, PolicyError, load_policy, load_repository_policy
from pushpals.protocol.ids import Ids
from pushpals.protocol.jobs import CheckSpec, Evidence
from pushpals.protocol.records import StoredArtifact
from pushpals.work.checks import CONFIG
from pushpals.work.commit_files import detect_at, files_at
from pushpals.work.environment import Environment
from pushpals.work.executors.base import Executor
from pushpals.work.git.repo import BareRepo
from pushpals.work.guard import Guard
from pushpals.work.outbox import Outbox
from pushpals.work.run_check import run_check
from pushpals.work.tools import Tools
from pushpals.work.workspace import WorkspacePool


class SandboxedVerifier:
    """The pusher's :class:`~pushpals.roles.pusher.verifier.Verifier`. Output goes to the artifact store."""

    def __init__(
        self,
        *,
        hub: HubClient,
        repo: BareRepo,
        pool: WorkspacePool,
        executor: Executor,
        environment: Environment,
        home: Path,
        new_id: Ids,
        run_by: str,
        policy: Policy | None = None,
    ):
        """``policy`` is the operator's. Nobody can be asked here: what the policy asks about does not run."""
        self._policy = self._tightened = policy or load_policy()
        self._hub = hub
        self._repo = repo
        self._pool = pool
        self._executor = executor
        self._environment = environment
        self._home = home
        self._new_id = new_id
        self._run_by = run_by

    @property
    def environment(self) -> str:
        return f"{self._environment.digest}/{self._executor.level}"

    async def checks_at(self, base: str) -> tuple[CheckSpec, ...]:
        text = (await files_at(self._repo, base)).texts.get(CONFIG)
        try:
            self._tightened = load_repository_policy(self._policy, text) if text is not None else self._policy
        except PolicyError as error:
            raise ValueError(f"the policy in {CONFIG} cannot be used: {error}") from None
        return (await detect_at(self._repo, base)).checks

    async def run(self, commit: str, check: CheckSpec) -> Evidence:
        tree = await self._repo.tree_of(commit)
        assert tree is not None
        # What a command prints is kept as an artifact; the lines and events of a job have no place here.
        unsent = Outbox()
        shelf = _Shelf(self._hub)
        tools = Tools(
            executor=self._executor,
            # The operator's start flag is the yes to checks without a sandbox; their receipts say so.
            guard=Guard(self._tightened, level=self._executor.level, trusts_machine=True),
            environment=self._environment,
            outbox=unsent,
            shelf=shelf,
            home=self._home,
            new_id=self._new_id,
        )
        files = await files_at(self._repo, commit)
        async with self._pool.acquire(commit, self._run_by) as workspace:
            checked = await run_check(
                tools,
                shelf,
                workspace.place,
                check,
                commit=commit,
                tree=tree,
                run_by=self._run_by,
                files=files,
            )
        return checked.evidence

    async def close(self) -> None:
        await self._executor.close()
        await self._pool.close()


class _Shelf:
    def __init__(self, hub: HubClient):
        self._hub = hub

    async def put(self, data: bytes, *, kind: str, media_type: str) -> StoredArtifact:
        return await self._hub.put_artifact(data, kind=kind, media_type=media_type)
