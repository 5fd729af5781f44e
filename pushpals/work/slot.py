"""One numbered place on disk where a job has its tree, and the kernel's lock that says who owns it.

The layout and what it promises stand in ``workspace.py``. A slot is handed from job to job by one process;
its tree is brought back to a base by host git and verified, or given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from pushpals.work.git.changes import GITLINK, TreeEntry
from pushpals.work.git.errors import GitError
from pushpals.work.git.names import Sha, encode_path
from pushpals.work.git.nofollow import Signature, empty, prune, signatures
from pushpals.work.git.repo import BareRepo

_CLOCK_STEP_S = 0.002
_CLOCK_STEPS = 1100

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


class Slot:
    """One numbered place on disk and the lock on it."""

    def __init__(self, root: Path, number: int, fd: int) -> None:
        self.number = number
        self.path = root / f"slot-{number}"
        self.tree = self.path / "repo"
        self.git_dir = self.path / "gitdir"
        self.index = self.path / "index"
        self.base: Sha | None = None
        self.submodules: tuple[bytes, ...] = ()
        self._entries: dict[bytes, TreeEntry] = {}
        self._handed_out: dict[bytes, Signature] = {}
        self._trash = self.path / "trash"
        self._lock = root / f"slot-{number}.lock"
        self._fd = fd

    @classmethod
    def lock(cls, root: Path, number: int) -> Slot | None:
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
            self._entries = {
                encode_path(entry.path): entry for entry in await cache.tree_entries(base, sizes=False)
            }
            self.submodules = tuple(path for path, entry in self._entries.items() if entry.mode == GITLINK)
        await asyncio.to_thread(self._make_git_dir, cache, base, owner)
        self._handed_out = await asyncio.to_thread(signatures, self.tree, self._files())
        await self._let_the_clock_move_on()

    async def doubt_touched(self, cache: BareRepo, index: Path) -> None:
        """Make git compare by content, in ``index``, every file that was touched since it was handed out.

        git as it is usually built compares times by the second, so it can miss a change that keeps the size,
        and a job that sets the time back can hide one from the next reset of the tree.
        """
        now = await asyncio.to_thread(signatures, self.tree, self._files())
        touched = [path for path in self._files() if now.get(path) != self._handed_out.get(path)]
        if touched:
            rows = (
                f"{self._entries[path].mode} {self._entries[path].sha}\t".encode() + path for path in touched
            )
            await cache.run(
                ["update-index", "-z", "--index-info"],
                stdin=b"".join(row + b"\0" for row in rows),
                index_file=index,
            )

    def _files(self) -> list[bytes]:
        return [path for path, entry in self._entries.items() if entry.mode != GITLINK]

    async def _let_the_clock_move_on(self) -> None:
        # What a job changes from now on must get a later time than what was just looked at. Most file
        # systems take some milliseconds for that, the coarsest in use two seconds.
        newest = max((signature[-1] for signature in self._handed_out.values()), default=0)
        probe = self.path / "clock"
        for _ in range(_CLOCK_STEPS):
            await asyncio.to_thread(probe.write_bytes, b"")
            if (await asyncio.to_thread(probe.stat)).st_ctime_ns > newest:
                return
            await asyncio.sleep(_CLOCK_STEP_S)

    async def clean(self, cache: BareRepo) -> bool:
        """Back to the base it had, whatever the job left. False if that cannot be reached."""
        base, self.base = self.base, None
        if base is None:
            return False
        try:
            await asyncio.to_thread(self._remove_git_dir)
            await self.doubt_touched(cache, self.index)
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
        entries = await cache.tree_entries(base, sizes=False)
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
        shutil.copy2(self.index, self.git_dir / "index")
        (self.tree / ".git").write_text("gitdir: ../gitdir\n", encoding="ascii")
        (self.path / "owner").write_text(f"{owner}\npid {os.getpid()}\nbase {base}\n", encoding="utf-8")

    def _remove_git_dir(self) -> None:
        self._trash.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.git_dir, self._trash / "gitdir")
        for name in ("look.index", "snapshot.index", "owner"):
            (self.path / name).unlink(missing_ok=True)
