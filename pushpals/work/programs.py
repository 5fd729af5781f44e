"""Which file a command's first word is, as the sandbox will find it, and what is in it.

Looked up the way ``execvp`` does it there: along the worker's own ``PATH``, whose folders are shown at the
same paths, and never in the working directory. A program of the tree is opened without following anything.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from posixpath import basename, join, normpath
from typing import BinaryIO

from pushpals.policy.actions import Executable
from pushpals.policy.analysis import Facts
from pushpals.policy.argv import ROOT
from pushpals.work.git.nofollow import open_below

_CHUNK = 1024 * 1024


def facts_about(tree: Path, cwd: str, names: Iterable[str], path: str) -> Facts:
    """What only the machine knows about a command: where its directory and its programs really are."""
    base = os.path.realpath(tree)
    real = os.path.realpath(os.path.join(base, cwd))
    inside = os.path.relpath(real, base)
    cwd_real = ROOT if inside == "." else join(ROOT, inside)
    resolved: dict[str, str] = {}
    for name in names:
        if "/" not in name and (found := _search(name, path)) is not None:
            target = os.path.realpath(found)
            below = os.path.relpath(target, base)
            resolved[name] = join(ROOT, below) if not below.startswith("..") else target
    return Facts(cwd_real=cwd_real, resolved=resolved)


def executables(tree: Path, cwd: str, names: Iterable[str], path: str) -> tuple[Executable, ...]:
    """The programs with their digests; one that is not there has neither path nor digest."""
    return tuple(_executable(tree, cwd, name, path) for name in dict.fromkeys(names))


def _executable(tree: Path, cwd: str, name: str, path: str) -> Executable:
    if "/" in name:
        inside = normpath(join(ROOT, cwd, name))
        if inside.startswith(ROOT + "/"):
            return Executable(name=name, path=inside, sha256=_below(tree, inside.removeprefix(ROOT + "/")))
        return Executable(name=name, path=inside, sha256=_hash(Path(inside)))
    found = _search(name, path)
    if found is None:
        return Executable(name=name, path="")
    target = os.path.realpath(found)
    return Executable(name=name, path=target, sha256=_hash(Path(target)))


def _search(name: str, path: str) -> str | None:
    for folder in path.split(":"):
        candidate = os.path.join(folder, name)
        if folder.startswith("/") and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _digest(file)
    except OSError:
        return ""


def _below(tree: Path, path: str) -> str:
    parent = os.fsencode(path.rpartition("/")[0])
    try:
        with open_below(tree, parent) as fd:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(basename(path), flags, dir_fd=fd), "rb") as file:
                return _digest(file)
    except OSError:
        return ""


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
