"""The worker: claims a job, does it in a workspace and a sandbox of its own, and reports.

One job at a time. For each attempt::

    claim ─▶ base commit into the cache ─▶ workspace ─▶ kind.run ─▶ complete or fail
                └─ beside it: output, events and heartbeats every third of the lease ─┘

What ends an attempt early, and what happens then:

==============  ==============================================================================
lease lost      everything is stopped and thrown away; nothing more is said about the attempt
cancelled       the process tree is ended at once; ``fail`` names what was stopped
time is up      the same, and the job fails with what it was doing
stop (SIGTERM)  no new claim; the job may finish for ``grace_s``, then it is given back
hub away        the job goes on; reports wait, after a stop for ``last_word_s`` at most
killed          the next start ends the processes and removes the trees; the lease runs out
==============  ==============================================================================

The worker's credentials are a worker's: it reads the upstream, it never pushes. A change leaves it as a git
bundle in the artifact store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pushpals
from pushpals.client import Backoff
from pushpals.policy.redact import Secret
from pushpals.policy.rules import PolicyError, load_repository_policy
from pushpals.protocol.commands import Claim, Complete, Fail, ProbeTold, RegisterWorker
from pushpals.protocol.errors import LeaseLost, NotFound, PushPalsError, StorageFull
from pushpals.protocol.events import Log, NetworkUsed
from pushpals.protocol.ids import Ids, random_id
from pushpals.protocol.jobs import Job, JobResult
from pushpals.protocol.records import WorkerState
from pushpals.protocol.times import Clock, utc_now
from pushpals.roles.base import Role, RoleEnded
from pushpals.roles.endings import (
    HubShelf,
    cancelled,
    completed,
    failed,
    given_back,
    hidden,
    is_expected,
)
from pushpals.roles.patience import Patience
from pushpals.roles.reporting import Reporting
from pushpals.roles.worker_options import WorkerHub, WorkerOptions, new_worker_id
from pushpals.work.checks import CONFIG
from pushpals.work.commit_files import files_at
from pushpals.work.context import JobContext
from pushpals.work.environment import Environment, build_environment
from pushpals.work.executors import proctree
from pushpals.work.executors.base import Command, Executor, ExecutorUnavailable, ProbeReport
from pushpals.work.executors.choose import EXIT_NO_SANDBOX, choose_executor
from pushpals.work.executors.network import NetworkEvent
from pushpals.work.git.names import branch_ref
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Git
from pushpals.work.guard import Guard, JobRef
from pushpals.work.kind import JobFailure, JobKind, check_params, kind_names
from pushpals.work.outbox import Outbox
from pushpals.work.run_check import Checked
from pushpals.work.tools import Tools
from pushpals.work.workspace import WorkspacePool

REGISTER_S = 30.0


class Worker(Role):
    """One worker process' loop."""

    name = "worker"

    def __init__(
        self,
        hub: WorkerHub,
        options: WorkerOptions,
        *,
        executor: Executor | None = None,
        worker_id: str | None = None,
        kinds: Mapping[str, JobKind] | None = None,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        new_id: Ids = random_id,
        backoff: Backoff | None = None,
    ) -> None:
        """``kinds`` are known besides those that are registered; ``executor`` is chosen unless given."""
        super().__init__(backoff=backoff)
        self._kinds = dict(kinds or {})
        self.id = worker_id or new_worker_id(options.label, new_id)
        self.options = options
        self._hub = hub
        self._given = executor
        self._executor: Executor | None = None
        self._probed: ProbeReport | None = None
        self._clock = clock
        self._monotonic = monotonic
        self._new_id = new_id
        self._environment: Environment | None = options.environment
        self._baselines: dict[tuple[str, str], Checked] = {}
        self._cleanup = contextlib.AsyncExitStack()
        self._pool: WorkspacePool | None = None
        self._job: Job | None = None
        self._outbox: Outbox | None = None
        self._done = 0
        self._hurry = asyncio.Event()
        values = dict(options.secrets)
        for agent in options.settings.agents.values():
            values |= agent.env
        self._secrets = tuple(Secret(name=name, value=value) for name, value in values.items())

    # -- life -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Sweep what the dead left, find a sandbox, open the cache, say hello."""
        root = self.options.state_dir
        await asyncio.to_thread(root.mkdir, parents=True, exist_ok=True, mode=0o700)
        if self._executor is None:
            await self._choose(root / "running")
        if self._pool is None:
            await asyncio.to_thread(_sweep_scratch, root / "scratch")
            cache = await BareRepo.init(root / "cache.git", git=await Git.find())
            self._pool = await self._cleanup.enter_async_context(WorkspacePool(root / "trees", cache))
        if self._environment is None:
            self._environment = await asyncio.to_thread(build_environment)
        await self._register("idle", probed=True)

    async def _choose(self, record_dir: Path) -> None:
        if self._given is not None:
            self._executor, self._probed = self._given, await self._given.probe()
            return
        required = self.options.policy.sandbox.required == "full"
        try:
            self._executor, self._probed = await choose_executor(
                allow_unsandboxed=self.options.allow_unsandboxed and not required,
                slot=self.options.slot,
                bwrap=self.options.bwrap,
                record_dir=record_dir,
                on_network=self._on_network,
            )
        except ExecutorUnavailable as error:
            with contextlib.suppress(PushPalsError):
                await self._hub.register_worker(
                    self.id, self._card("gone", sandbox="none", reason=str(error))
                )
            raise RoleEnded(str(error), exit_code=EXIT_NO_SANDBOX) from error
        self._cleanup.push_async_callback(self._executor.close)

    async def close(self) -> None:
        """Remove every tree and process, and say goodbye if the hub is there."""
        if self._pool is not None:
            with contextlib.suppress(PushPalsError):
                await self._register("gone")
        await self._cleanup.aclose()
        await asyncio.to_thread(shutil.rmtree, self._scratch_root(), True)

    def beside(self) -> list[Callable[[], Awaitable[None]]]:
        return [self._stay_registered]

    def stop(self) -> None:
        """Drain: no new job; the current one gets ``grace_s``. A second call gives it back at once."""
        if self.stopping.is_set():
            self._hurry.set()
        super().stop()

    async def step(self) -> None:
        """Wait for one job, and do it."""
        began = self._monotonic()
        job = await self._claim()
        if job is not None:
            await self.do(job)
            await self._try_the_sandbox_again()
        elif self._monotonic() - began < 1.0:
            # The hub answered at once: this worker is paused or draining there.
            await self.pause(min(2.0, self.options.claim_wait_s))

    async def _claim(self) -> Job | None:
        """The next job. A stop ends the wait; a job that comes all the same is done or given back."""
        asking = asyncio.create_task(
            self._hub.claim(
                Claim(
                    worker_id=self.id,
                    kinds=list(self.options.kinds) if self.options.kinds is not None else None,
                    capabilities=list(self.options.capabilities),
                    lease_s=self.options.lease_s,
                    wait_s=self.options.claim_wait_s,
                )
            ),
            name=f"{self.id}-claim",
        )
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                # A request that is cut may have claimed already: an answer under way gets a moment to arrive.
                with contextlib.suppress(PushPalsError):
                    await self._register("draining")
                await asyncio.wait({asking}, timeout=0.5)
            if asking.done():
                return asking.result()
            return None
        finally:
            for task in (asking, stopping):
                task.cancel()
            await asyncio.gather(asking, stopping, return_exceptions=True)

    # -- one attempt ------------------------------------------------------------------------------------

    async def do(self, job: Job) -> None:
        """Do one claimed job to its end. Returns when the hub knows, or does not want to."""
        assert self._executor is not None
        self._job = job
        self._outbox = outbox = Outbox()
        reporting = Reporting(self._hub, job, outbox, sandbox=self._executor.level)
        patience = Patience()
        tools = self._tools(job, outbox, patience)
        outbox.hide = tools.hide
        work = asyncio.create_task(
            self._attempt(job, outbox, tools, reporting, patience), name=f"{job.id}-work"
        )
        sending = asyncio.create_task(reporting.run(), name=f"{job.id}-reports")
        leaving = asyncio.create_task(self._grace_over(), name=f"{job.id}-grace")
        try:
            # `sending` ends by itself only when the lease is lost, or by an error that must not go unseen.
            waiting: set[asyncio.Future[Any]] = {work, reporting.verdict, leaving, sending}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            stopped = list(tools.running)
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
            if sending.done() and (broken := sending.exception()) is not None:
                raise broken
            await self._end(job, work, reporting, stopped, tools.hide)
        finally:
            for task in (work, sending, leaving):
                task.cancel()
            await asyncio.gather(work, sending, leaving, return_exceptions=True)
            await asyncio.to_thread(shutil.rmtree, self._scratch(job), True)
            self._job = self._outbox = None

    async def _end(
        self,
        job: Job,
        work: asyncio.Task[JobResult],
        reporting: Reporting,
        stopped: list[str],
        hide: Callable[[str], str],
    ) -> None:
        verdict = reporting.verdict.result() if reporting.verdict.done() else None
        if verdict == "lost":
            self.log.warning("%s: attempt %d lost its lease and was discarded", job.id, job.attempt)
            return
        last: Complete | Fail
        if work.cancelled():
            last = cancelled(job, stopped) if verdict == "cancel" else given_back(job, stopped)
        elif (error := work.exception()) is not None:
            last = hidden(failed(job, error), hide)
            self.log.info("%s: %s", job.id, last.message, exc_info=None if is_expected(error) else error)
        else:
            last = hidden(completed(job, work.result()), hide)
        report = asyncio.create_task(self._report(job, reporting, last), name=f"{job.id}-end")
        giving_up = asyncio.create_task(self._last_word_over(), name=f"{job.id}-last-word")
        try:
            await asyncio.wait({report, giving_up}, return_when=asyncio.FIRST_COMPLETED)
            if report.done():
                report.result()
            else:
                self.log.warning("%s: left to its lease; the hub is away", job.id)
        finally:
            for task in (report, giving_up):
                task.cancel()
            await asyncio.gather(report, giving_up, return_exceptions=True)

    async def _report(self, job: Job, reporting: Reporting, last: Complete | Fail) -> None:
        """The last word about an attempt: after everything else, until it is heard or not wanted."""
        failures = 0
        while True:
            try:
                await reporting.flush()
                if reporting.verdict.done() and reporting.verdict.result() == "lost":
                    return
                key = f"{job.id}/{job.attempt}/{type(last).__name__.lower()}"
                if isinstance(last, Complete):
                    await self._hub.complete(job.id, last, key=key)
                else:
                    await self._hub.fail(job.id, last, key=key)
                return
            except (LeaseLost, NotFound) as error:
                self.log.warning("%s: %s", job.id, error.message)
                return
            except PushPalsError as error:
                if not error.retryable and not isinstance(error, StorageFull):
                    if isinstance(last, Fail):
                        self.log.error("%s: the hub refused the end of it: %s", job.id, error.message)
                        return
                    last = Fail(message=f"the hub refused the result: {error.message}", attempt=job.attempt)
                    continue
                failures += 1
                if self._hurry.is_set():
                    self.log.warning("%s: left to its lease; the hub is away", job.id)
                    return
                if failures == 1:
                    self.log.warning("%s: waiting for the hub to report the end of it", job.id)
                await self._wait_or_hurry(self._backoff.wait_s(failures, error.retry_after))

    async def _attempt(
        self, job: Job, outbox: Outbox, tools: Tools, reporting: Reporting, patience: Patience
    ) -> JobResult:
        assert self._pool is not None
        kind, args = check_params(job, self._kinds)
        scratch = self._scratch(job)
        await asyncio.to_thread(scratch.mkdir, parents=True, exist_ok=True, mode=0o700)
        base = await self._base(job)
        reporting.based(base)
        tree = await self._pool.cache.tree_of(base)
        await self._tighten(tools, outbox, base)
        most_s = tools.guard.policy.limits.job_wall_s or job.budget.run_s
        limit = asyncio.timeout(min(job.budget.run_s, most_s) + job.budget.final_s)
        patience.limit, patience.tools = limit, tools
        try:
            async with limit, self._pool.acquire(base, f"{self.id} {job.id}/{job.attempt}") as workspace:
                ctx = JobContext(
                    job=job,
                    worker_id=self.id,
                    base=base,
                    tree=tree or "",
                    workspace=workspace,
                    pool=self._pool,
                    tools=tools,
                    outbox=outbox,
                    shelf=HubShelf(self._hub, job),
                    scratch=scratch,
                    settings=self.options.settings,
                    clock=self._clock,
                    monotonic=self._monotonic,
                    baselines=self._baselines,
                )
                return await kind.run(ctx, args)
        except TimeoutError:
            if not limit.expired():
                raise
            raise JobFailure(f"it ran longer than its budget of {job.budget.run_s:.0f} s") from None

    async def _base(self, job: Job) -> str:
        """The commit to work on, with its objects in the cache."""
        assert self._pool is not None
        cache, remote = self._pool.cache, self.options.upstream
        target = branch_ref(job.target or self.options.branch)
        if job.base is not None:
            pinned = f"refs/pushpals/bases/{job.base}"
            if await cache.commit_of(job.base) is None and not await cache.fetch_sha(
                remote, job.base, pinned, fallback=target
            ):
                raise JobFailure(
                    f"the base {job.base[:12]} is not in the repository any more; ask again for its new head",
                    error_class="conflict",
                )
            return job.base
        head = (await cache.ls_remote(remote, [target])).get(target)
        if head is None:
            name = target.removeprefix("refs/heads/")
            raise JobFailure(f"the repository has no branch {name}; commit something to it first")
        if await cache.commit_of(head) is None:
            await cache.fetch_sha(remote, head, f"refs/pushpals/bases/{head}", fallback=target)
        return head

    async def _tighten(self, tools: Tools, outbox: Outbox, base: str) -> None:
        """What the repository adds to the policy, as it stands at the base: the change itself has no say."""
        assert self._pool is not None
        text = (await files_at(self._pool.cache, base)).texts.get(CONFIG)
        if text is None:
            return
        try:
            policy = load_repository_policy(self.options.policy, text)
        except PolicyError as error:
            raise JobFailure(
                f"the policy in {CONFIG} at the base cannot be used, so nothing runs: {error}",
                error_class="policy",
            ) from None
        for widening in policy.widenings:
            what = tools.redact(widening.what)
            outbox.event(
                Log(
                    level="warn",
                    message=f"policy.widening-ignored: {CONFIG} sets {what}; it may only tighten",
                )
            )
        tools.guard.policy = policy

    def _tools(self, job: Job, outbox: Outbox, patience: Patience) -> Tools:
        assert self._executor is not None
        assert self._environment is not None
        guard = Guard(
            self.options.policy,
            level=self._executor.level,
            job=JobRef(
                session=job.session_id,
                job=job.id,
                attempt=job.attempt,
                worker=self.id,
                held=None if job.capabilities is None else tuple(job.capabilities),
            ),
            asking=self._hub,
            trusts_machine=self.options.machine_is_the_sandbox,
            waiting=patience,
        )
        return Tools(
            executor=self._executor,
            guard=guard,
            environment=self._environment,
            outbox=outbox,
            shelf=HubShelf(self._hub, job),
            home=self._scratch(job),
            new_id=self._new_id,
            task_id=job.task_id,
            secrets=self._secrets,
        )

    # -- small parts ------------------------------------------------------------------------------------

    async def _grace_over(self) -> None:
        await self.stopping.wait()
        await self._wait_or_hurry(self.options.grace_s)

    async def _last_word_over(self) -> None:
        await self.stopping.wait()
        await asyncio.sleep(self.options.last_word_s)

    async def _wait_or_hurry(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _stay_registered(self) -> None:
        await asyncio.sleep(REGISTER_S)
        await self._register("busy" if self._job is not None else "idle")

    async def _try_the_sandbox_again(self) -> None:
        """Every so many jobs: a sandbox that has stopped holding ends the worker, not only the next job."""
        self._done += 1
        if self._executor is None or self._done % self.options.reprobe_jobs:
            return
        before = self._executor.level
        self._probed = await self._executor.probe()
        await self._register("idle", probed=True)
        if before == "full" and self._probed.level != "full":
            raise RoleEnded(
                f"the sandbox does not hold any more: {self._probed.reason}; {self._probed.remedy}",
                exit_code=EXIT_NO_SANDBOX,
            )

    def _on_network(self, command: Command, event: NetworkEvent) -> None:
        if self._job is None or self._outbox is None:
            return
        self._outbox.event(
            NetworkUsed(
                job_id=self._job.id,
                decision=event.kind,
                host=event.host,
                port=event.port,
                code=event.code or None,
                address=event.address or None,
                bytes_up=event.bytes_up,
                bytes_down=event.bytes_down,
            )
        )

    async def _register(self, state: WorkerState, *, probed: bool = False) -> None:
        report = self._probed
        told = None
        if report is not None and probed:
            told = ProbeTold(
                executor=report.executor,
                level=report.level,
                reason=report.reason[:2_000],
                held=[probe.name for probe in report.probes if probe.held],
                broke=[probe.name for probe in report.probes if not probe.held],
            )
        await self._hub.register_worker(
            self.id,
            self._card(
                state,
                sandbox=report.level if report else "none",
                reason=f"{report.reason}; {report.remedy}".strip("; ") if report else "",
                probe=told,
            ),
        )

    def _card(
        self, state: WorkerState, *, sandbox: str, reason: str, probe: ProbeTold | None = None
    ) -> RegisterWorker:
        return RegisterWorker(
            kinds=list(self.options.kinds)
            if self.options.kinds is not None
            else sorted({*kind_names(), *self._kinds}),
            capabilities=list(self.options.capabilities),
            sandbox=sandbox,
            sandbox_reason=reason[:2_000],
            version=pushpals.__version__,
            host=platform.node(),
            pid=os.getpid(),
            state=state,
            probe=probe,
        )

    def _scratch_root(self) -> Path:
        stat = proctree.stat_of(os.getpid())
        return self.options.state_dir / "scratch" / f"{os.getpid()}-{stat.start if stat else 0}-{self.id}"

    def _scratch(self, job: Job) -> Path:
        return self._scratch_root() / f"{job.id}-{job.attempt}"


def _sweep_scratch(root: Path) -> None:
    """Remove the scratch folders of processes that are gone."""
    if not root.is_dir():
        return
    for folder in root.iterdir():
        pid, _, rest = folder.name.partition("-")
        start = rest.partition("-")[0]
        stat = proctree.stat_of(int(pid)) if pid.isdigit() else None
        if stat is None or stat.dead or str(stat.start) != start:
            shutil.rmtree(folder, ignore_errors=True)


__all__ = ["Worker", "WorkerOptions", "new_worker_id"]
