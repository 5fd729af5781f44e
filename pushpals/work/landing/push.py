"""The landing push: one transaction on the remote that moves the target, takes the branches, leaves records.

One ``--atomic`` push with an explicit lease on each ref, all of which really change: the target old → new,
every agent branch head → gone (or → its landed commit), every record ref absent → its commit. So the server
itself compares all of them: main that moved, a head that moved after its approval, or a job that has landed
before refuse the whole push, also if it happens inside the push window.

Write the :class:`Intent` to durable storage before :func:`land`. After a crash at any point :func:`recover`
reads the remote and says what happened; it never judges by the exit code of a second push. A push that a
dead process left running is harmless: its leases hold or they do not.

Fallback (:func:`land_without_atomic`) for a host that has no atomic pushes or refuses our ref namespace: the
target alone is pushed with its lease, which is atomic by itself; a landing is then known by ancestry and its
``Job-Id`` trailer, and the head is read again right before the push. A small window stays in which a
head can move unseen; the outcome says so (``checked_by="reading"``) and the event should too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from pushpals.work.git.errors import GitError, GitErrorKind
from pushpals.work.git.names import AgentBranch, Sha, as_ref, as_sha, landed_ref
from pushpals.work.git.pushes import PushReport, RefUpdate
from pushpals.work.git.remotes import Remote
from pushpals.work.git.repo import BareRepo


class LandingJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a landing. ``branch`` is None if its head was never published as a branch."""

    job: str
    head: Sha
    commit: Sha
    """The commit that lands it: an ancestor of the intent's ``new``, or ``new`` itself."""
    branch: str | None = None
    record_old: Sha | None = None
    """Where the record stands already, if the job landed before, was taken out by hand, and a person asked
    for it again. Without that, a record must not exist."""

    @property
    def record(self) -> str:
        return landed_ref(self.job)


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What a push is going to do, complete enough to finish or judge it after a crash."""

    target: str
    """Full ref name, e.g. ``refs/heads/main``."""
    old: Sha
    new: Sha
    jobs: tuple[LandingJob, ...]
    keep_branches: bool = False
    """Move agent branches to the landed commit instead of deleting them. They are never left unchanged:
    that would lose the server's check of the head."""

    def updates(self) -> list[RefUpdate]:
        updates = [RefUpdate(ref=as_ref(self.target), old=self.old, new=self.new)]
        for job in self.jobs:
            updates.append(RefUpdate(ref=job.record, old=job.record_old, new=job.commit))
            if job.branch is not None:
                after = job.commit if self.keep_branches else None
                updates.append(RefUpdate(ref=as_ref(job.branch), old=job.head, new=after))
        return updates


class Landed(msgspec.Struct, frozen=True, kw_only=True):
    """It is on the remote, read back. ``at`` is where the target stands now: ``new``, or beyond it.

    Not ``recorded``: known by ancestry alone, because the host keeps no record refs. One that hides our
    namespace refuses the record and, atomic or not, moves the rest; a second landing of the job under
    another commit is then for the caller to prevent.
    """

    at: Sha
    recorded: bool = True
    checked_by: Literal["server", "reading"] = "server"


class NotPushed(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing has happened on the remote and nothing is in the way: push (again)."""


class MainMoved(msgspec.Struct, frozen=True, kw_only=True):
    """The target is elsewhere and does not contain the landing: compose anew. No fault of the branch."""

    at: Sha | None


class HeadMoved(msgspec.Struct, frozen=True, kw_only=True):
    """A branch is not at its approved head any more: that approval is void. ``at`` None: it is gone."""

    job: str
    at: Sha | None


class RecordExists(msgspec.Struct, frozen=True, kw_only=True):
    """The job has landed before, as another commit. Nothing moved."""

    job: str
    at: Sha


class Rewound(msgspec.Struct, frozen=True, kw_only=True):
    """The records are there and the target does not contain the landing: somebody took it out by hand,
    or the host died between two refs of the transaction. Which of them, an operator has to say."""

    at: Sha | None


class RemoteRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The remote said no in its own words. ``rule`` and ``auth`` need an operator; ``locked`` may pass;
    ``no_atomic`` is answered by the fallback, if the policy allows it."""

    kind: Literal["rule", "auth", "locked", "no_atomic"]
    text: str
    refs: tuple[str, ...] = ()


class Unreachable(msgspec.Struct, frozen=True, kw_only=True):
    """It is not known whether the push arrived. Ask :func:`recover` later; never assume."""

    kind: GitErrorKind
    text: str


Outcome = Landed | MainMoved | HeadMoved | RecordExists | Rewound | RemoteRefused | Unreachable
Recovery = Landed | NotPushed | MainMoved | HeadMoved | RecordExists | Rewound | Unreachable


async def land(repo: BareRepo, remote: Remote, intent: Intent, *, timeout_s: float = 300.0) -> Outcome:
    """Push the intent and say what came of it, from the remote's own state.

    Raises ValueError if the intent would not move the target forward, or a job's commit is not in it.
    """
    await _check(repo, intent)
    try:
        report = await repo.push(remote, intent.updates(), timeout_s=timeout_s)
    except GitError as error:
        if "does not support --atomic" in str(error):
            return RemoteRefused(kind="no_atomic", text=str(error))
        if error.kind == "auth":
            return RemoteRefused(kind="auth", text=str(error))
        # The connection may have died after the remote had done its work.
        found = await recover(repo, remote, intent)
        return Unreachable(kind=error.kind, text=str(error)) if isinstance(found, NotPushed) else found
    found = await recover(repo, remote, intent)
    if isinstance(found, NotPushed):
        return _refusal(report)
    return found


async def recover(repo: BareRepo, remote: Remote, intent: Intent) -> Recovery:
    """What became of an intent, read from the remote. Safe to ask at any time, any number of times."""
    try:
        found = await _look(repo, remote, intent)
        # Refs are listed one by one, so a list taken while a transaction commits shows both of its sides.
        return found if isinstance(found, Landed | NotPushed) else await _look(repo, remote, intent)
    except GitError as error:
        return Unreachable(kind=error.kind, text=str(error))


async def _look(repo: BareRepo, remote: Remote, intent: Intent) -> Recovery:
    refs = await repo.ls_remote(remote, [update.ref for update in intent.updates()])
    at = refs.get(intent.target)
    records = {job.job: refs.get(job.record) for job in intent.jobs}
    recorded = bool(intent.jobs) and all(records[job.job] == job.commit for job in intent.jobs)
    if at is not None and at != intent.old and await _contains(repo, remote, intent, at):
        return Landed(at=at, recorded=recorded)
    if recorded:
        return Rewound(at=at)
    for job in intent.jobs:
        if (record := records[job.job]) is not None and record != job.record_old:
            return RecordExists(job=job.job, at=record)
    if at != intent.old:
        return MainMoved(at=at)
    return _head_moved(intent, refs) or NotPushed()


async def land_without_atomic(
    repo: BareRepo, remote: Remote, intent: Intent, *, timeout_s: float = 300.0
) -> Outcome:
    """The documented fallback: target alone, heads read right before, branches deleted after."""
    await _check(repo, intent)
    before = await recover(repo, remote, intent)
    if not isinstance(before, NotPushed):
        return msgspec.structs.replace(before, checked_by="reading") if isinstance(before, Landed) else before
    target = RefUpdate(ref=intent.target, old=intent.old, new=intent.new)
    try:
        report = await repo.push(remote, [target], atomic=False, timeout_s=timeout_s)
    except GitError as error:
        if error.kind == "auth":
            return RemoteRefused(kind="auth", text=str(error))
        report = None
    try:
        at = (await repo.ls_remote(remote, [intent.target])).get(intent.target)
        if at is not None and at != intent.old and await _contains(repo, remote, intent, at):
            for job in intent.jobs:
                if job.branch is not None and not intent.keep_branches:
                    await withdraw_branch(repo, remote, job.branch, job.head)
            return Landed(at=at, recorded=False, checked_by="reading")
    except GitError as error:
        return Unreachable(kind=error.kind, text=str(error))
    if at != intent.old:
        return MainMoved(at=at)
    if report is None:
        return Unreachable(kind="network", text="the push failed and the target has not moved")
    return _refusal(report)


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The branch is on the remote at ``at``."""

    at: Sha


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The branch stands somewhere else on the remote; it was not touched."""

    at: Sha | None


async def publish_branch(
    repo: BareRepo, remote: Remote, branch: AgentBranch, commit: str, *, old: str | None = None
) -> Published | Taken | RemoteRefused | Unreachable:
    """Show a job's commit on the remote as its agent branch. Creates it, or moves it from ``old``."""
    sha = as_sha(commit)
    update = RefUpdate(ref=branch.ref, old=None if old is None else as_sha(old), new=sha)
    try:
        at = (await repo.ls_remote(remote, [branch.ref])).get(branch.ref)
        if at == sha:
            return Published(at=sha)
        if at != update.old:
            return Taken(at=at)
        # One ref is atomic by itself, also where the host knows no atomic pushes.
        report = await repo.push(remote, [update], atomic=False)
        if report.accepted:
            return Published(at=sha)
        at = (await repo.ls_remote(remote, [branch.ref])).get(branch.ref)
        if at == sha:
            return Published(at=sha)
        return Taken(at=at) if report.verdict(branch.ref) == "stale" else _refusal(report)
    except GitError as error:
        if error.kind == "auth":
            return RemoteRefused(kind="auth", text=str(error))
        return Unreachable(kind=error.kind, text=str(error))


async def publish_branches(
    repo: BareRepo, remote: Remote, wanted: Mapping[AgentBranch, str]
) -> dict[AgentBranch, Published | Taken | RemoteRefused | Unreachable]:
    """:func:`publish_branch` for several new branches: one look, one push, and one look where it matters."""
    if len(wanted) == 1:
        ((branch, commit),) = wanted.items()
        return {branch: await publish_branch(repo, remote, branch, commit)}
    shas = {branch: as_sha(commit) for branch, commit in wanted.items()}
    try:
        there = await repo.ls_remote(remote, [branch.ref for branch in shas]) if shas else {}
        absent = [branch for branch in shas if branch.ref not in there]
        if absent:
            updates = [RefUpdate(ref=branch.ref, old=None, new=shas[branch]) for branch in absent]
            report = await repo.push(remote, updates, atomic=False)
            there |= {ref.ref: update.new for ref, update in zip(report.refs, updates, strict=True)
                      if ref.verdict == "moved" and update.new is not None}  # fmt: skip
    except GitError as error:
        if error.kind == "auth":
            return dict.fromkeys(shas, RemoteRefused(kind="auth", text=str(error)))
        return dict.fromkeys(shas, Unreachable(kind=error.kind, text=str(error)))
    found: dict[AgentBranch, Published | Taken | RemoteRefused | Unreachable] = {}
    for branch, sha in shas.items():
        if (at := there.get(branch.ref)) == sha:
            found[branch] = Published(at=sha)
        elif at is not None:
            found[branch] = Taken(at=at)
        else:
            # Refused: the single way says why, in the remote's own words.
            found[branch] = await publish_branch(repo, remote, branch, sha)
    return found


async def withdraw_branch(repo: BareRepo, remote: Remote, branch: str, head: str) -> bool:
    """Delete a branch if it still is at ``head``. True if it is gone, whoever deleted it."""
    ref, old = as_ref(branch), as_sha(head)
    at = (await repo.ls_remote(remote, [ref])).get(ref)
    if at == old:
        await repo.push(remote, [RefUpdate(ref=ref, old=old, new=None)], atomic=False)
        at = (await repo.ls_remote(remote, [ref])).get(ref)
    return at is None


async def _check(repo: BareRepo, intent: Intent) -> None:
    if intent.old == intent.new or not await repo.is_ancestor(intent.old, intent.new):
        raise ValueError(f"{intent.new} does not move {intent.target} forward from {intent.old}")
    result = await repo.run(["rev-list", intent.new, f"^{intent.old}"], read_only=True)
    new = set(result.stdout.decode("ascii").split())
    for job in intent.jobs:
        if job.commit not in new:
            raise ValueError(f"the commit of job {job.job} is not part of this landing")


async def _contains(repo: BareRepo, remote: Remote, intent: Intent, at: Sha) -> bool:
    if await repo.commit_of(at) is None:
        await repo.fetch(remote, [intent.target])
    # The target may have moved again since it was listed; what was fetched then contains what was listed,
    # unless it was rewound in between, and then the answer is for the next look.
    return await repo.commit_of(at) is not None and await repo.is_ancestor(intent.new, at)


def _head_moved(intent: Intent, refs: Mapping[str, Sha]) -> HeadMoved | None:
    for job in intent.jobs:
        if job.branch is not None and (at := refs.get(job.branch)) != job.head:
            return HeadMoved(job=job.job, at=at)
    return None


def _refusal(report: PushReport) -> RemoteRefused:
    """Why a push was refused although the remote stands as expected."""
    ruled = [ref for ref in report.refs if ref.verdict == "rule"]
    said = report.remote_text or "; ".join(dict.fromkeys(ref.text for ref in ruled or report.refs))
    if ruled:
        return RemoteRefused(kind="rule", text=said, refs=tuple(ref.ref for ref in ruled))
    return RemoteRefused(kind="locked", text=said)
