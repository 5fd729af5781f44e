"""Work on a directory that somebody else filled, without following anything in it.

Every step goes from a directory handle to one name below it, and symbolic links are objects, never ways.
Nothing recurses and at most three handles are open: a deep tree costs time, not the process. Names are bytes.

Rejected: ``shutil.rmtree`` and ``git clean``. Both stop at a directory without permissions; the first
recurses, the second looks into nested repositories.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_ROUNDS = 5


@contextlib.contextmanager
def open_below(root: Path, path: bytes = b"") -> Iterator[int]:
    """A handle on a directory below ``root``. Raises OSError if any step is not a real directory."""
    fd = os.open(root, _OPEN)
    try:
        for name in path.split(b"/") if path else ():
            if name in (b"", b".", b".."):
                raise NotADirectoryError(f"not a plain path: {path!r}")
            below = os.open(name, _OPEN, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def lstat_below(root: Path, path: bytes) -> os.stat_result | None:
    """What stands at a path, None if nothing does or a step on the way is no directory."""
    parent, _, name = path.rpartition(b"/")
    try:
        with open_below(root, parent) as fd:
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except (OSError, ValueError):
        return None


Signature = tuple[int, int, int, int, int]
"""Type and permissions, inode, size, time of content, time of change: nanoseconds where the system has them.
The last one cannot be set by a program, so a file whose signature is the same has not been touched."""


def signatures(root: Path, paths: Iterable[bytes]) -> dict[bytes, Signature]:
    """Signatures of the paths that exist below ``root`` as anything but a directory."""
    folders: dict[bytes, list[bytes]] = {}
    for path in paths:
        folder, _, name = path.rpartition(b"/")
        folders.setdefault(folder, []).append(name)
    found: dict[bytes, Signature] = {}
    for folder, names in folders.items():
        with contextlib.suppress(OSError), open_below(root, folder) as fd:
            for name in names:
                with contextlib.suppress(OSError):
                    info = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if not stat.S_ISDIR(info.st_mode):
                        found[folder + b"/" + name if folder else name] = (
                            info.st_mode, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns,
                        )  # fmt: skip
    return found


def open_up(root: Path) -> list[bytes]:
    """Make every directory and file readable for us. Returns the paths where we may not.

    git passes over a directory that it cannot read, so what is below would be silently missing.
    """
    closed: list[bytes] = []
    pending = [b""]
    while pending:
        folder = pending.pop()
        try:
            with open_below(root, folder) as fd:
                for name in _names(fd):
                    path = folder + b"/" + name if folder else name
                    info = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    wanted = 0o700 if stat.S_ISDIR(info.st_mode) else 0o400
                    if not stat.S_ISLNK(info.st_mode) and info.st_mode & wanted != wanted:
                        try:
                            _chmod(name, stat.S_IMODE(info.st_mode) | wanted, fd)
                        except PermissionError:
                            closed.append(path)
                    if stat.S_ISDIR(info.st_mode):
                        pending.append(path)
        except OSError:
            closed.append(folder)
    return closed


def prune(root: Path, keep: Mapping[bytes, str], trash: Path) -> None:
    """Take everything out of ``root`` that is not a leaf in ``keep`` (path → git mode) of the same type.

    What stays gets ordinary permissions and, if we may, our ownership; extra hard links, special bits,
    sockets, pipes and devices go.
    Directories that go are moved to ``trash`` (same file system), for :func:`empty`.
    """
    folders = {path for path, mode in keep.items() if mode == "160000"}
    submodules = frozenset(folders)
    for path in keep:
        while (cut := path.rfind(b"/")) > 0 and (path := path[:cut]) not in folders:
            folders.add(path)
    owner = (os.geteuid(), os.getegid())
    reown = owner[0] == 0
    trash.mkdir(exist_ok=True)
    with open_below(root) as fd:
        if reown:
            os.fchown(fd, *owner)
        os.fchmod(fd, 0o755)
    pending = [b""]
    with open_below(trash) as trash_fd:
        serial = len(os.listdir(trash_fd))
        while pending:
            folder = pending.pop()
            with open_below(root, folder) as fd:
                for name in _names(fd):
                    path = folder + b"/" + name if folder else name
                    info = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if reown and info.st_uid != owner[0]:
                        os.chown(name, *owner, dir_fd=fd, follow_symlinks=False)
                    if not stat.S_ISDIR(info.st_mode):
                        if not _stays(info, keep.get(path)):
                            os.unlink(name, dir_fd=fd)
                        elif stat.S_ISREG(info.st_mode) and (
                            info.st_mode & (_SPECIAL | 0o022) or not info.st_mode & 0o400
                        ):
                            _chmod(name, 0o755 if info.st_mode & 0o100 else 0o644, fd)
                        continue
                    if stat.S_IMODE(info.st_mode) != 0o755:
                        _chmod(name, 0o755, fd)
                    if path in folders and folder not in submodules:
                        pending.append(path)
                    else:
                        serial += 1
                        os.rename(name, b"%d" % serial, src_dir_fd=fd, dst_dir_fd=trash_fd)


def empty(trash: Path) -> list[str]:
    """Delete everything in ``trash``, and it. Returns what could not be deleted, in words."""
    problems: list[str] = []
    try:
        with open_below(trash) as top:
            for _ in range(_ROUNDS):
                problems = _flatten(top)
                if not _names(top):
                    break
        os.rmdir(trash)
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"{trash.name}: {error.strerror}")
    return problems


def _flatten(top: int) -> list[str]:
    # Each folder found is first moved up to the top: however deep the tree was, every path stays short.
    problems: list[str] = []
    pending = _names(top)
    serial = 0
    taken = set(pending)
    while pending:
        name = pending.pop()
        try:
            info = os.stat(name, dir_fd=top, follow_symlinks=False)
            if not stat.S_ISDIR(info.st_mode):
                os.unlink(name, dir_fd=top)
                continue
            _chmod(name, 0o700, top)
            fd = os.open(name, _OPEN, dir_fd=top)
            try:
                for below in _names(fd):
                    if stat.S_ISDIR(os.stat(below, dir_fd=fd, follow_symlinks=False).st_mode):
                        _chmod(below, 0o700, fd)
                        while (fresh := b"d%d" % serial) in taken:
                            serial += 1
                        os.rename(below, fresh, src_dir_fd=fd, dst_dir_fd=top)
                        taken.add(fresh)
                        pending.append(fresh)
                    else:
                        os.unlink(below, dir_fd=fd)
            finally:
                os.close(fd)
            os.rmdir(name, dir_fd=top)
        except OSError as error:
            problems.append(f"{os.fsdecode(name)}: {error.strerror}")
    return problems


def _names(fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(fd)]


def _stays(info: os.stat_result, mode: str | None) -> bool:
    if mode is None or mode == "160000":
        return False
    if mode == "120000":
        return stat.S_ISLNK(info.st_mode)
    # A second name of the same content could be written through from elsewhere.
    return stat.S_ISREG(info.st_mode) and info.st_nlink == 1


def _chmod(name: bytes, mode: int, dir_fd: int) -> None:
    """Set permissions of an entry that is not a link, also if it is one by the time of the call."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, mode, dir_fd=dir_fd, follow_symlinks=False)
        return
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)
