"""Giving a work tree to the uid of the sandbox, when the worker is root.

The worker's own programs (a checkout, a file tool) write as root; the sandboxed command could read that and
not change it. :class:`Owner` hands over what is new before a command runs. It remembers the change time of
every folder it went through, so a tree in which little changed costs one ``stat`` per folder.

It works from descriptors and never follows a link. A file with a second name is left alone: its other
name may be anywhere, and giving that away is not ours to do.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from pathlib import Path

MAX_DEPTH = 256
"""Folders deeper than this stay root's. A tree that deep is an attack on the walk, not a project."""

TICK_NS = 50_000_000
"""Longer than the clock tick of any kernel in use, whose slowest is 10 ms."""

MAX_KNOWN = 200_000
"""Folders remembered at most; beyond that everything is looked at anew."""


class Owner:
    """Keeps trees owned by one uid and gid."""

    def __init__(self, uid: int, gid: int) -> None:
        self.uid = uid
        self.gid = gid
        self._seen: dict[tuple[int, int], tuple[int, list[str]]] = {}
        # A walk goes on in its thread when the call that wanted it was cancelled.
        self._walking = threading.Lock()

    def take(self, root: Path) -> None:
        """Own ``root``, and everything below it if it is a folder.

        Raises:
            OSError: ``root`` cannot be opened. What vanishes during the walk is passed over.
        """
        with self._walking:
            self._take(root)

    def _take(self, root: Path) -> None:
        if not root.is_symlink() and root.is_file():
            self._take_file(root)
            return
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        stack: list[tuple[int, list[str]]] = []
        try:
            stack.append((top, self._own_folder(top)))
            while stack:
                folder, names = stack[-1]
                if not names:
                    os.close(stack.pop()[0])
                    continue
                name = names.pop()
                if len(stack) >= MAX_DEPTH:
                    continue
                with contextlib.suppress(OSError):
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    inner = os.open(name, flags, dir_fd=folder)
                    stack.append((inner, self._own_folder(inner)))
        finally:
            for folder, _ in stack:
                os.close(folder)

    def _take_file(self, path: Path) -> None:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if os.fstat(file).st_nlink == 1:
                os.fchown(file, self.uid, self.gid)
        finally:
            os.close(file)

    def _own_folder(self, folder: int) -> list[str]:
        """Own an open folder and the files in it; returns the names of the folders in it."""
        status = os.fstat(folder)
        key = (status.st_dev, status.st_ino)
        known = self._seen.get(key)
        if known is not None and known[0] == status.st_ctime_ns and status.st_uid == self.uid:
            return list(known[1])
        if (status.st_uid, status.st_gid) != (self.uid, self.gid):
            os.fchown(folder, self.uid, self.gid)
        began = time.clock_gettime_ns(time.CLOCK_REALTIME)
        status = os.fstat(folder)
        folders: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISDIR(found.st_mode):
                    folders.append(entry.name)
                elif (found.st_uid, found.st_gid) != (self.uid, self.gid) and found.st_nlink == 1:
                    with contextlib.suppress(OSError):
                        os.chown(entry.name, self.uid, self.gid, dir_fd=folder, follow_symlinks=False)
        # Change times move in ticks. A change in the tick of this look would not show next time, so a folder
        # counts as known only when its last change is safely older than the look.
        if began - status.st_ctime_ns > TICK_NS:
            if len(self._seen) >= MAX_KNOWN:
                self._seen.clear()
            self._seen[key] = (status.st_ctime_ns, folders)
        return list(folders)
