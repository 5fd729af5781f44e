"""The policy on the way of every command, and the person behind it.

::

    judge ─▶ deny ──▶ CommandRefused, with the codes
        ├──▶ allow ─▶ run
        └──▶ ask ───▶ approval over the exact action ─▶ wait ─▶ look again ─▶ use the yes ─▶ run
                                                          └─ no, silence, something moved ─▶ CommandRefused

What is asked is what runs: the action holds the argument list or script, the directory, the variables, the
programs with their digests, the digest of the whole tree, the capabilities, the sandbox's level, the policy's
version, the job and its attempt. Right before the command starts all of that is looked up again, and the hub
uses the yes only for the very same hash. Nothing of the job runs in between.

A policy that cannot be loaded is no policy: the worker does not start, or the job fails. A question that
nobody can be asked (the serial-pusher's checks have no job) is a refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from pushpals.policy.actions import ExecAction, Level, canonical
from pushpals.policy.argv import ROOT
from pushpals.policy.decide import Decision, decide
from pushpals.policy.plain import Pipeline, plain_form
from pushpals.policy.reasons import REASONS
from pushpals.policy.rules import Policy
from pushpals.protocol.approvals import Approval, ApprovalKind, action_hash
from pushpals.protocol.commands import AskApproval, UseApproval
from pushpals.protocol.errors import Conflict, PushPalsError
from pushpals.protocol.ids import random_id
from pushpals.work.executors.base import Limits, Place
from pushpals.work.kind import JobFailure
from pushpals.work.programs import executables, facts_about
from pushpals.work.tree_digest import TreeTooLarge, tree_digest

WAIT_S = 25.0
"""One request that waits for an answer; then another."""
AGAIN_S = 0.5
"""Between two tries while the hub is away."""


class CommandRefused(JobFailure):
    """The command did not run and will not. ``codes`` are the policy's."""

    def __init__(self, codes: Sequence[str], detail: str = "") -> None:
        self.codes = tuple(codes)
        words = "; ".join(f"{code}: {REASONS.get(code, 'a rule of the policy')}" for code in self.codes)
        super().__init__(
            f"refused by policy: {words}{f' ({detail})' if detail else ''}", error_class="policy"
        )


class Asking(Protocol):
    """The part of the hub that questions go to."""

    async def ask_approval(self, ask: AskApproval, *, key: str | None = None) -> Approval: ...
    async def wait_approval(self, approval_id: str, state: str, wait_s: float) -> Approval: ...
    async def use_approval(
        self, approval_id: str, use: UseApproval, *, key: str | None = None
    ) -> Approval: ...


class JobRef(msgspec.Struct, frozen=True, kw_only=True):
    """For which lease a command runs."""

    session: str = ""
    job: str = ""
    attempt: int = 0
    worker: str = ""
    held: tuple[str, ...] | None = None
    """The capabilities that the job was created with."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be judged: the part of a call that an action is made of."""

    argv: tuple[str, ...] | None
    script: str | None
    cwd: str
    env: tuple[tuple[str, str], ...]
    stdin: bytes
    network: tuple[str, ...]
    """Hosts that the operator's own configuration gives to this command."""
    path: str
    """The PATH that it will have."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A decision about an action, and what running it takes."""

    action: ExecAction
    decision: Decision
    plain: tuple[Pipeline, ...] | None = None

    @property
    def network(self) -> tuple[str, ...]:
        """``host:port`` of everything that a yes lets it reach."""
        return tuple(one.removeprefix("net:") for one in self.action.capabilities if one.startswith("net:"))


class Guard:
    """Stands before the executor of one job. ``policy`` may be replaced by a tighter one at any time."""

    def __init__(
        self,
        policy: Policy,
        *,
        level: Level,
        job: JobRef | None = None,
        asking: Asking | None = None,
        trusts_machine: bool = False,
        waiting: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """``trusts_machine``: whoever started this says that the machine itself is the sandbox, so that
        commands
        are judged as in one. ``waiting`` is held while a person is waited for: that time is not the job's."""
        self.policy = policy
        self.level = level
        self._job = job or JobRef()
        self._asking = asking
        self._trusts_machine = trusts_machine
        self._waiting = waiting

    async def judge(self, place: Place, asked: Asked) -> Judged:
        """The decision. Raises nothing for what a command is; an unreadable one is denied."""
        names = _names(asked)
        facts = await asyncio.to_thread(facts_about, place.tree, asked.cwd, names, asked.path)
        action = ExecAction(
            argv=asked.argv,
            script=asked.script,
            cwd=ROOT if asked.cwd == "." else f"{ROOT}/{asked.cwd}",
            env=asked.env,
            stdin_sha256=hashlib.sha256(asked.stdin).hexdigest() if asked.stdin else "",
            sandbox=self.level,
            policy_version=self.policy.version,
            session=self._job.session,
            job=self._job.job,
            attempt=self._job.attempt,
            worker=self._job.worker,
        )
        granted = tuple(f"net:{host}" for host in asked.network)
        held = None if self._job.held is None else (*self._job.held, *granted)
        judged_at: Level = "full" if self._trusts_machine else self.level
        decision = decide(self.policy, action, judged_at, facts=facts, held=held, grants=granted)
        if self.policy.sandbox.required == "full" and self.level != "full":
            decision = replace(decision, decision="deny", reasons=("sandbox.required",))
        capabilities = list(decision.capabilities) + list(granted)
        if "pkg.install" in capabilities:
            capabilities += [f"net:{host}" for host in self.policy.index_hosts]
        action = replace(action, capabilities=tuple(dict.fromkeys(capabilities)))
        plain = decision.plain if asked.script is not None else None
        return Judged(action=action, decision=decision, plain=plain)

    async def admit(self, place: Place, asked: Asked, judged: Judged) -> Approval | None:
        """Return when the command may run, now: with the approval if one was needed. Raises
        CommandRefused."""
        match judged.decision.decision:
            case "deny":
                raise CommandRefused(judged.decision.reasons)
            case "allow":
                return None
            case "ask":
                return await self._ask(place, asked, judged)

    @contextlib.asynccontextmanager
    async def watched(self, approval: Approval | None, revoke: Callable[[], None]) -> AsyncIterator[None]:
        """While the command runs: ``revoke`` is called when the yes is taken back."""
        if approval is None or self._asking is None or not _reaches_out(approval):
            yield
            return
        watching = asyncio.create_task(self._watch(approval, revoke), name=f"watch {approval.id}")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def bounded(self, limits: Limits) -> Limits:
        """``limits`` within the policy's."""
        most = self.policy.limits
        return replace(
            limits,
            wall_s=_least(limits.wall_s, most.wall_s),
            cpu_s=_least(limits.cpu_s, most.cpu_s),
            # Without a sandbox the kernel counts every process of the user, not the command's alone.
            processes=_least(limits.processes, most.nproc) if self.level != "none" else limits.processes,
            open_files=_least(limits.open_files, most.nofile),
            file_bytes=_least(limits.file_bytes, most.fsize_mb << 20),
            memory_bytes=_least(limits.memory_bytes, most.mem_mb << 20),
            tmp_bytes=_least(limits.tmp_bytes, most.tmp_mb << 20),
            output_bytes=_least(limits.output_bytes, most.output_kb << 10),
        )

    async def _ask(self, place: Place, asked: Asked, judged: Judged) -> Approval:
        if self._asking is None:
            raise CommandRefused(("approval.nobody", *judged.decision.reasons))
        with self._waiting():
            action = await self._exact(place, asked, judged.action)
            approval = await self._asking.ask_approval(
                AskApproval(
                    kind=_kind(action, judged.decision),
                    action=msgspec.json.decode(canonical(action)),
                    attempt=self._job.attempt,
                    reasons=list(judged.decision.reasons),
                    ttl_s=self.policy.approvals.exec_ttl_s,
                    max_pending=self.policy.approvals.max_pending_per_job,
                )
            )
            while approval.state == "open":
                try:
                    approval = await self._asking.wait_approval(approval.id, "open", WAIT_S)
                except PushPalsError as error:
                    if not error.retryable:
                        raise
                    await asyncio.sleep(error.retry_after or AGAIN_S)
            if approval.state != "approved":
                why = f": {approval.reason}" if approval.reason else ""
                raise CommandRefused((f"approval.{approval.state}",), f"{approval.id}{why}")
            again = await self._exact(place, asked, judged.action)
        try:
            # The key is new each time: only this very request can be answered with this use.
            return await self._asking.use_approval(
                approval.id,
                UseApproval(
                    action_hash=action_hash(msgspec.json.decode(canonical(again))),
                    attempt=self._job.attempt,
                ),
                key=random_id("use"),
            )
        except Conflict as error:
            if error.code == "lease_lost":
                raise
            raise CommandRefused((error.code,), error.message) from error

    async def _exact(self, place: Place, asked: Asked, action: ExecAction) -> ExecAction:
        """The action with what is true at this moment: its programs and the tree."""
        try:
            found = await asyncio.to_thread(executables, place.tree, asked.cwd, _names(asked), asked.path)
            tree = await asyncio.to_thread(tree_digest, place.tree, place.git_dir)
        except (TreeTooLarge, OSError) as error:
            raise CommandRefused(("approval.stale",), f"the tree cannot be pinned down: {error}") from None
        return replace(action, executables=found, tree=tree)

    async def _watch(self, approval: Approval, revoke: Callable[[], None]) -> None:
        assert self._asking is not None
        state: str = approval.state
        while state in ("approved", "consumed"):
            try:
                state = (await self._asking.wait_approval(approval.id, state, WAIT_S)).state
            except PushPalsError as error:
                if not error.retryable:
                    break
                await asyncio.sleep(AGAIN_S)
        revoke()


def described(judged: Judged, network: Sequence[str]) -> dict[str, Any]:
    """What a tool call's event says about its decision."""
    said: dict[str, Any] = {
        "decision": judged.decision.decision,
        "policy": judged.decision.policy_version[:16],
    }
    if judged.decision.decision != "allow":
        said["reasons"] = list(judged.decision.reasons)
    if judged.action.env:
        said["env"] = [name for name, _ in judged.action.env]
    if network:
        said["network"] = list(network)
    return said


def redacted_env(env: Mapping[str, str], hide: Callable[[str], str]) -> tuple[tuple[str, str], ...]:
    """The variables of an action. A secret's value is not part of what anybody looks at."""
    return tuple(sorted((name, hide(value)) for name, value in env.items()))


def _names(asked: Asked) -> tuple[str, ...]:
    """The programs that are named in so many words."""
    if asked.argv is not None:
        return asked.argv[:1]
    pipelines = plain_form(asked.script or "") or ()
    found = [step.argv[0] for pipeline in pipelines for step in pipeline.steps if step.argv[0] != "cd"]
    return tuple(dict.fromkeys(found)) or ("/bin/bash",)


def _kind(action: ExecAction, decision: Decision) -> ApprovalKind:
    if "host.unsandboxed" in action.capabilities:
        return "unsandboxed"
    return "net" if "net" in decision.reasons else "exec"


def _reaches_out(approval: Approval) -> bool:
    return any(capability.startswith("net:") for capability in approval.capabilities)


def _least(given: Any, most: Any) -> Any:
    """The smaller bound, where zero is no bound."""
    return min(given or most, most or given)
