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
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType

import msgspec

from pushpals.work.executors.base import Place
from pushpals.work.git.changes import GITLINK, ChangedFile
from pushpals.work.git.errors import GitError
from pushpals.work.git.judge import ChangeLimits, judge_change
from pushpals.work.git.names import (
    AgentBranch,
    Sha,
    agent_branch,
    as_sha,
    decode_path,
    encode_path,
    show_path,
    split_nul,
)
from pushpals.work.git.nofollow import empty, lstat_below, open_up, prune
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity
from pushpals.work.git.tree_rules import Refusal, judge_path

_CONFIG = """\
[core]
\trepositoryformatversion = {version}
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
\tworktree = ../repo
[user]
\tname = agent
\temail = agent@localhost
[gc]
\tauto = 0
[maintenance]
\tauto = false
{extensions}"""


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

    def __init__(self, slot: _Slot, cache: BareRepo, base: Sha, owner: str) -> None:
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
        await asyncio.to_thread(shutil.copyfile, self._slot.index, index)
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
        self._free: list[_Slot] = []
        self._slots: dict[int, _Slot] = {}
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

    async def _give_back(self, slot: _Slot) -> None:
        if await slot.clean(self.cache):
            self._free.append(slot)
            return
        # What cannot be put in order is not used again in this process; the next start tries to sweep it.
        await asyncio.to_thread(slot.remove)
        if not slot.path.exists():
            self._slots.pop(slot.number, None)

    def _take(self, base: Sha) -> _Slot:
        if self._free:
            same = [slot for slot in self._free if slot.base == base]
            slot = (same or self._free)[-1]
            self._free.remove(slot)
            return slot
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = 0
        while True:
            if number not in self._slots and (locked := _Slot.lock(self.root, number)):
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
            if slot := _Slot.lock(self.root, number):
                slot.remove()


class _Slot:
    """One numbered place on disk and the lock on it."""

    def __init__(self, root: Path, number: int, fd: int) -> None:
        self.number = number
        self.path = root / f"slot-{number}"
        self.tree = self.path / "repo"
        self.git_dir = self.path / "gitdir"
        self.index = self.path / "index"
        self.base: Sha | None = None
        self.submodules: tuple[bytes, ...] = ()
        self._trash = self.path / "trash"
        self._lock = root / f"slot-{number}.lock"
        self._fd = fd

    @classmethod
    def lock(cls, root: Path, number: int) -> _Slot | None:
        """Own the slot, or None if a live process does."""
        path = root / f"slot-{number}.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The file may have been removed by its last owner between open and lock: then we locked nothing.
            held, there = os.fstat(fd), os.stat(path)
            if (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino):
                return cls(root, number, fd)
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(fd)
        return None

    async def prepare(self, cache: BareRepo, base: Sha, owner: str) -> None:
        """The tree at ``base`` and a new private git directory."""
        if await cache.commit_of(base) is None:
            raise GitError("missing_ref", f"the base {base} is not in the cache")
        if self.base is None:
            await asyncio.to_thread(self._make_empty)
        if self.base != base:
            if self.base is not None and not await self._to_base(cache, base):
                await asyncio.to_thread(self._make_empty)
                self.base = None
            if self.base is None:
                await self._check_out(cache, base)
                await self._verify(cache, base)
            self.base = base
            entries = await cache.tree_entries(base)
            self.submodules = tuple(encode_path(entry.path) for entry in entries if entry.mode == GITLINK)
        await asyncio.to_thread(self._make_git_dir, cache, base, owner)

    async def clean(self, cache: BareRepo) -> bool:
        """Back to the base it had, whatever the job left. False if that cannot be reached."""
        base, self.base = self.base, None
        if base is None:
            return False
        try:
            await asyncio.to_thread(self._remove_git_dir)
            if not await self._to_base(cache, base):
                return False
        except (GitError, OSError):
            return False
        self.base = base
        return True

    def remove(self) -> list[str]:
        """Delete the slot and give up its lock. Returns what could not be deleted."""
        if self._fd < 0:
            return []
        problems = empty(self.path)
        if not self.path.exists():
            self._lock.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1
        return problems

    async def _to_base(self, cache: BareRepo, base: Sha) -> bool:
        entries = await cache.tree_entries(base)
        keep = {encode_path(entry.path): entry.mode for entry in entries}
        await asyncio.to_thread(prune, self.tree, keep, self._trash)
        left = await asyncio.to_thread(empty, self._trash)
        if left:
            return False
        # A changed owner or time makes every file look touched: compare content before writing it again.
        await cache.run(
            ["update-index", "-q", "--refresh"], work_tree=self.tree, index_file=self.index, ok=(0, 1)
        )
        await self._check_out(cache, base)
        await self._verify(cache, base)
        return True

    async def _check_out(self, cache: BareRepo, base: Sha) -> None:
        await cache.run(
            ["read-tree", "--reset", "-u", base], work_tree=self.tree, index_file=self.index, timeout_s=600.0
        )

    async def _verify(self, cache: BareRepo, base: Sha) -> None:
        written = (await cache.run(["write-tree"], index_file=self.index)).line
        dirty = await cache.run(
            ["diff-files", "--quiet", "--ignore-submodules=all"],
            work_tree=self.tree,
            index_file=self.index,
            ok=(0, 1),
        )
        if dirty.code or written != await cache.tree_of(base):
            raise GitError("other", f"the workspace could not be brought to {base}")

    def _make_empty(self) -> None:
        problems = empty(self.path)
        if problems:
            raise OSError(f"{self.path.name} cannot be emptied: {problems[0]}")
        self.path.mkdir(mode=0o700)
        self.tree.mkdir(mode=0o755)

    def _make_git_dir(self, cache: BareRepo, base: Sha, owner: str) -> None:
        objects = self.git_dir / "objects"
        for folder in (
            objects / "info",
            objects / "pack",
            self.git_dir / "refs/heads",
            self.git_dir / "info",
        ):
            folder.mkdir(parents=True)
        borrowed = self.path / "gitobjs"
        borrowed.unlink(missing_ok=True)
        borrowed.symlink_to(cache.objects)
        (objects / "info/alternates").write_text("../../gitobjs\n", encoding="ascii")
        (self.git_dir / "HEAD").write_text("ref: refs/heads/work\n", encoding="ascii")
        (self.git_dir / "refs/heads/work").write_text(f"{base}\n", encoding="ascii")
        (self.git_dir / "info/exclude").write_text("", encoding="ascii")
        wide = cache.object_format == "sha256"
        (self.git_dir / "config").write_text(
            _CONFIG.format(
                version=int(wide), extensions="[extensions]\n\tobjectformat = sha256\n" if wide else ""
            ),
            encoding="ascii",
        )
        shutil.copyfile(self.index, self.git_dir / "index")
        (self.tree / ".git").write_text("gitdir: ../gitdir\n", encoding="ascii")
        (self.path / "owner").write_text(f"{owner}\npid {os.getpid()}\nbase {base}\n", encoding="utf-8")

    def _remove_git_dir(self) -> None:
        self._trash.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.git_dir, self._trash / "gitdir")
        for name in ("look.index", "snapshot.index", "owner"):
            (self.path / name).unlink(missing_ok=True)


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
