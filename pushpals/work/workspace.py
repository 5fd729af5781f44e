"""Workspaces: a tree per job, reused, and turned into a commit by the host's git only.

One slot on disk::

    slot-3/repo      the tree; its ``.git`` file points to the private git directory
    slot-3/gitdir    private, made for each job, thrown away: what the agent does to git ends here
    slot-3/gitobjs   → the cache's objects, borrowed through relative alternates
    slot-3/index     the host's own index, never seen by the job

All pointers between them are relative, so the same files work on the host and in a sandbox that shows
them as ``/repo``, ``/gitdir`` and ``/gitobjs``.

Promised: the only thing that comes out of a job is its file tree, read by host git with its own git
directory and index, so nothing written to ``.git``, config, hooks or attributes is ever obeyed; no path
in a tree is followed; a tree handed out is byte for byte its base; the kernel's lock on a slot ends with
its process, and what a dead owner left is swept at the next start; after :meth:`WorkspacePool.close`
nothing is left. Not promised: protection from a job that is still running while its tree is read; the
executor ends it first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType

import msgspec

from pushpals.work.executors.base import Place
from pushpals.work.git.changes import ChangedFile
from pushpals.work.git.errors import GitError
from pushpals.work.git.judge import ChangeLimits, judge_change
from pushpals.work.git.names import (
    AgentBranch,
    Sha,
    agent_branch,
    as_sha,
    decode_path,
    show_path,
    split_nul,
)
from pushpals.work.git.nofollow import lstat_below, open_up
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity
from pushpals.work.git.tree_rules import Refusal, judge_path
from pushpals.work.slot import Slot


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The tree of a workspace at one moment. ``commit`` is None if nothing differs from ``parent``."""

    parent: Sha
    tree: Sha
    commit: Sha | None
    files: tuple[ChangedFile, ...]


class SnapshotRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The tree is not one that we take, by rule; there is at least one reason."""

    refusals: tuple[Refusal, ...]


class PoolClosed(Exception):
    """The pool is closed, or was never opened; take workspaces inside ``async with pool``."""


class Workspace:
    """One tree at one base, for one owner, until its ``acquire`` block ends."""

    def __init__(self, slot: Slot, cache: BareRepo, base: Sha, owner: str) -> None:
        self._slot = slot
        self._cache = cache
        self.base = base
        self.owner = owner

    @property
    def place(self) -> Place:
        """Where an executor runs commands of this job."""
        return Place(tree=self._slot.tree, git_dir=self._slot.git_dir, objects=self._cache.objects)

    async def tracked_changes(self) -> tuple[str, ...]:
        """Paths of the base that are changed or gone in the tree. Files that a check adds do not count."""
        index = await self._fresh_index("look.index")
        result = await self._cache.run(
            ["diff-files", "--name-only", "-z", "--ignore-submodules=all"],
            work_tree=self._slot.tree,
            index_file=index,
        )
        return tuple(decode_path(path) for path in split_nul(result.stdout))

    async def snapshot(
        self,
        *,
        message: str,
        author: Identity,
        committer: Identity | None = None,
        parent: Sha | None = None,
        limits: ChangeLimits | None = None,
    ) -> Snapshot | SnapshotRefused:
        """Commit the tree as it is, on ``parent`` (the base). Ignored files stay out. No ref moves."""
        limits = limits or ChangeLimits()
        parent = parent or self.base
        if refusals := await asyncio.to_thread(self._embedded_in_submodules):
            return SnapshotRefused(refusals=refusals)
        # Root reads everything; anybody else must be let in first.
        if os.geteuid() != 0 and (closed := await asyncio.to_thread(open_up, self._slot.tree)):
            path = show_path(decode_path(closed[0]))
            detail = f"{len(closed)} paths cannot be read"
            return SnapshotRefused(refusals=(Refusal(code="tree.unreadable", path=path, detail=detail),))
        index = await self._fresh_index("snapshot.index")
        tree = self._slot.tree
        listed = await self._cache.run(
            ["ls-files", "-z", "--others", "--modified", "--exclude-standard"],
            work_tree=tree,
            index_file=index,
        )
        paths = sorted(set(split_nul(listed.stdout)))
        if refusals := await asyncio.to_thread(_judge_before_reading, tree, paths, limits):
            return SnapshotRefused(refusals=refusals)
        try:
            await self._cache.run(
                ["add", "--all", "--", "."], work_tree=tree, index_file=index, timeout_s=600.0
            )
        except GitError as error:
            if error.kind != "other":
                raise
            detail = str(error)[:500]
            return SnapshotRefused(refusals=(Refusal(code="tree.unstorable", path="", detail=detail),))
        written = as_sha((await self._cache.run(["write-tree"], index_file=index)).line)
        files = await self._cache.changed_files(parent, written)
        if written == await self._cache.tree_of(parent):
            return Snapshot(parent=parent, tree=written, commit=None, files=())
        if refused := await judge_change(self._cache, files, written, limits=limits):
            return SnapshotRefused(refusals=refused)
        commit = await self._cache.commit_tree(
            written, [parent], message, author=author, committer=committer or author
        )
        return Snapshot(parent=parent, tree=written, commit=commit, files=files)

    async def branch(
        self, commit: Sha, *, worker: str, job: str, replace: bool = False
    ) -> AgentBranch | None:
        """Name a commit ``agent/<worker>/<job>`` in the cache. None if the name is taken by another one.

        ``replace`` is for a job that is done again after a crash: the worker alone writes its branches.
        """
        branch = agent_branch(worker, job)
        held = await self._cache.resolve(branch.ref)
        if held == commit:
            return branch
        if held is not None and not replace:
            return None
        return branch if await self._cache.update_ref(branch.ref, commit, held) else None

    async def _fresh_index(self, name: str) -> Path:
        index = self._slot.path / name
        # With its time: git takes an entry as old as its index for doubtful and compares content. A copy that
        # looks younger would hide a change made in the same tick of the clock as the checkout.
        await asyncio.to_thread(shutil.copy2, self._slot.index, index)
        await self._slot.doubt_touched(self._cache, index)
        # Exit code 1 says that something differs, which is what a job is for.
        await self._cache.run(
            ["update-index", "-q", "--refresh"], work_tree=self._slot.tree, index_file=index, ok=(0, 1)
        )
        return index

    def _embedded_in_submodules(self) -> tuple[Refusal, ...]:
        # git asks the repository inside a submodule whether it is dirty, and so would run its config.
        return tuple(
            Refusal(
                code="tree.embedded", path=show_path(decode_path(path)), detail="a repository inside the tree"
            )
            for path in self._slot.submodules
            if lstat_below(self._slot.tree, path + b"/.git") is not None
        )


class WorkspacePool:
    """Trees under ``root``, borrowed objects from ``cache``. At most ``size`` at a time; others wait."""

    def __init__(self, root: Path, cache: BareRepo, *, size: int = 8) -> None:
        self.root = root.absolute()
        self.cache = cache
        self._free: list[Slot] = []
        self._slots: dict[int, Slot] = {}
        self._room = asyncio.Semaphore(size)
        self._returning: set[asyncio.Task[None]] = set()
        self._open = False

    async def __aenter__(self) -> WorkspacePool:
        await asyncio.to_thread(self._sweep)
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @contextlib.asynccontextmanager
    async def acquire(self, base_sha: str, owner: str) -> AsyncIterator[Workspace]:
        """A clean tree at ``base_sha``, whose objects must be in the cache. ``owner`` is for people."""
        base = as_sha(base_sha)
        if not self._open:
            raise PoolClosed("no workspace: the pool is not open")
        async with self._room:
            slot = await asyncio.to_thread(self._take, base)
            try:
                await slot.prepare(self.cache, base, owner)
                yield Workspace(slot, self.cache, base, owner)
            finally:
                # The tree is put in order even if the job was cancelled; close() waits for it.
                returning = asyncio.create_task(self._give_back(slot), name=f"workspace-return-{slot.number}")
                self._returning.add(returning)
                returning.add_done_callback(self._returning.discard)
                await asyncio.shield(returning)

    async def close(self) -> tuple[str, ...]:
        """Remove every tree. Returns what could not be removed, in words. May be called twice."""
        self._open = False
        while self._returning:
            await asyncio.gather(*self._returning, return_exceptions=True)
        problems: list[str] = []
        for slot in list(self._slots.values()):
            problems += await asyncio.to_thread(slot.remove)
            self._slots.pop(slot.number, None)
        self._free.clear()
        with contextlib.suppress(OSError):
            self.root.rmdir()
        return tuple(problems)

    async def _give_back(self, slot: Slot) -> None:
        if await slot.clean(self.cache):
            self._free.append(slot)
            return
        # What cannot be put in order is not used again in this process; the next start tries to sweep it.
        await asyncio.to_thread(slot.remove)
        if not slot.path.exists():
            self._slots.pop(slot.number, None)

    def _take(self, base: Sha) -> Slot:
        if self._free:
            same = [slot for slot in self._free if slot.base == base]
            slot = (same or self._free)[-1]
            self._free.remove(slot)
            return slot
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = 0
        while True:
            if number not in self._slots and (locked := Slot.lock(self.root, number)):
                self._slots[number] = locked
                return locked
            number += 1

    def _sweep(self) -> None:
        """Remove what dead owners left; slots of live processes are locked, and stay."""
        if not self.root.is_dir():
            return
        numbers = {
            int(digits)
            for entry in self.root.iterdir()
            if (digits := entry.name.removeprefix("slot-").removesuffix(".lock")).isdigit()
        }
        for number in numbers:
            if slot := Slot.lock(self.root, number):
                slot.remove()


def _judge_before_reading(tree: Path, paths: list[bytes], limits: ChangeLimits) -> tuple[Refusal, ...]:
    """Names and sizes, before any content is read or stored."""
    if len(paths) > limits.files:
        detail = f"{len(paths)} files, at most {limits.files} are taken"
        return (Refusal(code="change.files", path="", detail=detail),)
    refusals: list[Refusal] = []
    total = 0
    for raw in paths:
        path = decode_path(raw)
        if raw.endswith(b"/"):
            # git lists a folder with a slash only if it is a repository of its own.
            refusals.append(
                Refusal(code="tree.embedded", path=show_path(path), detail="a repository inside the tree")
            )
            continue
        if refusal := judge_path(path):
            refusals.append(refusal)
        info = lstat_below(tree, raw)
        size = info.st_size if info is not None else 0
        total += size
        if size > limits.file_bytes:
            detail = f"{size} bytes, at most {limits.file_bytes} are taken"
            refusals.append(Refusal(code="change.file_bytes", path=show_path(path), detail=detail))
    if total > limits.total_bytes:
        detail = f"{total} bytes, at most {limits.total_bytes} are taken"
        refusals.append(Refusal(code="change.total_bytes", path="", detail=detail))
    return tuple(refusals[: limits.refusals])
