"""What a kind works with: one job, one workspace, and the ways to act and to tell.

Time: every command gets the smaller of its own limit and what is left of the job's ``run_s``, so the job
stops what it runs in time to say what it found. The clock is monotonic and given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pushpals.protocol.events import Artifact, CheckFinished, TaskProgress
from pushpals.protocol.jobs import CheckSpec, Job, JobResult
from pushpals.protocol.times import Clock
from pushpals.work.checks import BadConfig, Detected, Files, detect, pick
from pushpals.work.commit_files import files_at
from pushpals.work.executors.base import Limits, Mount
from pushpals.work.git.names import Sha
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity
from pushpals.work.kind import JobFailure
from pushpals.work.outbox import Outbox
from pushpals.work.run_check import Checked, run_check
from pushpals.work.tools import Call, Ran, Shelf, Tools
from pushpals.work.workspace import Workspace, WorkspacePool


class AgentCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A coding agent that the operator configured.

    In ``argv``, ``{brief_file}`` stands for the path of a file with the brief and ``{repo}`` for the tree;
    without ``{brief_file}`` the brief comes on standard input. ``env`` are the variables it gets besides
    the usual ones; their values are redacted everywhere. ``network`` are the ``host:port`` pairs it may
    reach.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = {}
    network: tuple[str, ...] = ()
    timeout_s: float = 1_500.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator decided for every job of a worker."""

    agents: Mapping[str, AgentCommand] = {}
    author_name: str = "Push Pals"
    author_email: str = "pals@pushpals.invalid"
    baseline: bool = True
    """Run a check that failed on the base too, to tell "red before" from "broken by this"."""


class JobContext:
    """Given to ``JobKind.run``. One per attempt."""

    def __init__(
        self,
        *,
        job: Job,
        worker_id: str,
        base: str,
        tree: str,
        workspace: Workspace,
        pool: WorkspacePool,
        tools: Tools,
        outbox: Outbox,
        shelf: Shelf,
        scratch: Path,
        settings: Settings,
        clock: Clock,
        monotonic: Callable[[], float],
        baselines: MutableMapping[tuple[str, str], Checked] | None = None,
    ) -> None:
        self.job = job
        self.worker_id = worker_id
        self.base = base
        self.tree = tree
        """The base's tree id."""
        self.workspace = workspace
        self.tools = tools
        self.scratch = scratch
        """A folder of this attempt outside the tree; it goes with the attempt."""
        self.settings = settings
        self.clock = clock
        self.baselines = baselines if baselines is not None else {}
        """Results of checks on base commits, by (commit, check), shared between jobs."""
        self._pool = pool
        self._outbox = outbox
        self._shelf = shelf
        self._monotonic = monotonic
        run_s = min(job.budget.run_s, tools.guard.policy.limits.job_wall_s or job.budget.run_s)
        self._deadline = monotonic() + run_s
        self._files: Files | None = None
        self._detected: Detected | None = None

    # -- knowing ----------------------------------------------------------------------------------------

    @property
    def repo(self) -> BareRepo:
        return self._pool.cache

    @property
    def remaining_s(self) -> float:
        """Seconds left of the job's time to run, never below zero. Waiting for a person does not count."""
        return max(0.0, self._deadline + self.tools.waited_s - self._monotonic())

    async def files(self) -> Files:
        """The names in the base and its configuration files."""
        if self._files is None:
            self._files = await files_at(self.repo, self.base)
        return self._files

    async def detected(self) -> Detected:
        """How the base says, or shows, that it is checked. A broken ``pushpals.toml`` fails the job."""
        if self._detected is None:
            try:
                self._detected = detect(await self.files())
            except BadConfig as error:
                raise JobFailure(str(error)) from None
        return self._detected

    async def checks(self) -> tuple[CheckSpec, ...]:
        """The checks that judge this job's change: from the base, so that no change picks its own judge."""
        try:
            return pick((await self.detected()).checks, self.job.checks)
        except BadConfig as error:
            raise JobFailure(str(error)) from None

    def author(self) -> Identity:
        return Identity(name=self.settings.author_name, email=self.settings.author_email, when=self.clock())

    # -- telling ----------------------------------------------------------------------------------------

    def say(self, message: str, percent: float | None = None) -> None:
        """One sentence about how far the job is."""
        text = self.tools.redact(message)[:2_000]
        self._outbox.event(TaskProgress(task_id=self.job.task_id, message=text, percent=percent))

    def tell(self, payload: Any) -> None:
        """An event of the kinds that a worker may report."""
        self._outbox.event(payload)

    async def store(self, data: bytes, *, kind: str, media_type: str) -> str:
        """Put an artifact; returns its SHA-256."""
        return (await self._shelf.put(data, kind=kind, media_type=media_type)).sha256

    async def artifact(self, data: bytes, *, kind: str, media_type: str) -> Artifact:
        return Artifact(kind=kind, uri=f"artifact:{await self.store(data, kind=kind, media_type=media_type)}")

    # -- acting -----------------------------------------------------------------------------------------

    async def run(
        self,
        argv: Sequence[str] = (),
        *,
        script: str | None = None,
        tool: str = "run",
        cwd: str = ".",
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = 600.0,
        output_bytes: int = 1024 * 1024,
        network: tuple[str, ...] = (),
        mounts: tuple[Mount, ...] = (),
        quiet: bool = False,
    ) -> Ran:
        """Run a command in the workspace. Raises :class:`JobFailure` when the job's time is up already."""
        wall_s = min(timeout_s, self.remaining_s)
        if wall_s <= 0:
            raise JobFailure(f"the job's time of {self.job.budget.run_s:.0f} s is used up")
        return await self.tools.run(
            self.workspace.place,
            Call(
                argv=tuple(argv),
                script=script,
                tool=tool,
                cwd=cwd,
                stdin=stdin,
                env=env or {},
                limits=Limits(wall_s=wall_s, output_bytes=output_bytes),
                network=network,
                mounts=mounts,
                quiet=quiet,
            ),
        )

    async def check(
        self, spec: CheckSpec, *, commit: str | None = None, tree: str | None = None, tell: bool = True
    ) -> Checked:
        """Run one check on a fresh checkout of ``commit`` (the base), and tell of its receipt."""
        commit, tree = commit or self.base, tree or self.tree
        files = await self.files()
        async with self._pool.acquire(commit, f"{self.job.id} {spec.name}") as fresh:
            checked = await run_check(
                self.tools,
                self._shelf,
                fresh.place,
                spec,
                commit=commit,
                tree=tree,
                run_by=self.worker_id,
                files=files,
                remaining_s=self.remaining_s,
            )
        if tell:
            self._outbox.event(CheckFinished(evidence=checked.evidence, job_id=self.job.id))
        if commit == self.base:
            self._remember(spec, checked)
        return checked

    async def baseline(self, spec: CheckSpec) -> Checked | None:
        """The same check on the base; from memory if it ran there. None if there is no time for it."""
        known = self.baselines.get((self.base, spec.name))
        if known is not None and known.evidence.environment == self.tools.environment.digest:
            return known
        if not self.settings.baseline or self.remaining_s < 1:
            return None
        return await self.check(spec, tell=False)

    async def propose(
        self,
        *,
        title: str,
        summary: str,
        body: str = "",
        output: Mapping[str, Any] | None = None,
    ) -> JobResult:
        """End a changing job: commit, show, check. See :mod:`pushpals.work.propose`."""
        from pushpals.work.propose import propose

        return await propose(self, title=title, summary=summary, body=body, output=dict(output or {}))

    async def propose_commit(
        self, commit: Sha, tree: Sha, *, title: str, summary: str, output: Mapping[str, Any] | None = None
    ) -> JobResult:
        """End a changing job with a commit that was made from commits, on the base, without the workspace."""
        from pushpals.work.git.judge import ChangeLimits, judge_change
        from pushpals.work.propose import offer, refused

        files = await self.repo.changed_files(self.base, commit)
        budget = self.job.budget
        limits = ChangeLimits(files=budget.changed_files, total_bytes=budget.changed_bytes)
        if refusals := await judge_change(self.repo, files, commit, limits=limits):
            raise refused(refusals)
        return await offer(self, commit, tree, files, title=title, summary=summary, output=dict(output or {}))

    def message(self, title: str, body: str = "") -> str:
        """The message of a commit of this job."""
        from pushpals.work.propose import message_of

        return message_of(self, title, body)

    def _remember(self, spec: CheckSpec, checked: Checked) -> None:
        if checked.evidence.verdict in ("passed", "failed"):
            while len(self.baselines) >= 64:
                self.baselines.pop(next(iter(self.baselines)))
            self.baselines[self.base, spec.name] = checked
