"""One digest over everything that a command can find in its workspace: what an approval is bound to.

The tree and the private git directory, every name, type, permission and content, ignored files too: a build
output that git does not look at can change what runs as well as a source file. Nothing is followed and no git
is asked, since git would obey what it finds. Objects of the private git directory are left out: they are
named
by their content, and a changed reference to them shows.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from pushpals.work.git.nofollow import open_below

MAX_ENTRIES = 500_000
MAX_BYTES = 8 * 1024 * 1024 * 1024
_CHUNK = 1024 * 1024
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class TreeTooLarge(Exception):
    """The tree is larger than anybody would wait for; a yes cannot be bound to it."""


def tree_digest(tree: Path, git_dir: Path | None = None) -> str:
    """64 hex digits. Raises :class:`TreeTooLarge`, and OSError for what cannot be read."""
    digest = hashlib.sha256(b"pushpals.tree.v1\0")
    budget = _Budget()
    _add(digest, tree, frozenset({b".git"}), budget)
    if git_dir is not None and git_dir.is_dir():
        digest.update(b"\0git\0")
        _add(digest, git_dir, frozenset({b"objects", b"index"}), budget)
    return digest.hexdigest()


class _Budget:
    def __init__(self) -> None:
        self.entries = 0
        self.bytes = 0

    def spend(self, size: int) -> None:
        self.entries += 1
        self.bytes += size
        if self.entries > MAX_ENTRIES or self.bytes > MAX_BYTES:
            raise TreeTooLarge(f"the tree has more than {MAX_ENTRIES} entries or {MAX_BYTES >> 30} GiB")


def _add(digest: hashlib._Hash, root: Path, left_out: frozenset[bytes], budget: _Budget) -> None:
    pending = [b""]
    while pending:
        folder = pending.pop()
        below: list[bytes] = []
        with open_below(root, folder) as fd:
            for name in sorted(map(os.fsencode, os.listdir(fd))):
                if not folder and name in left_out:
                    continue
                info = os.stat(name, dir_fd=fd, follow_symlinks=False)
                path = folder + b"/" + name if folder else name
                budget.spend(info.st_size if stat.S_ISREG(info.st_mode) else 0)
                digest.update(b"%d\0%o\0" % (len(path), info.st_mode) + path + b"\0")
                if stat.S_ISREG(info.st_mode):
                    digest.update(_content(name, fd))
                elif stat.S_ISLNK(info.st_mode):
                    digest.update(os.readlink(name, dir_fd=fd))
                elif stat.S_ISDIR(info.st_mode):
                    below.append(path)
        pending += reversed(below)


def _content(name: bytes, fd: int) -> bytes:
    whole = hashlib.sha256()
    with open(os.open(name, _FILE, dir_fd=fd), "rb") as file:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
    return whole.digest()
