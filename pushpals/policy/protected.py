"""The land gate's list: changes that always need a person's yes, because they decide how code is run,
built, fetched or reviewed.

A pattern is a path glob (:mod:`pushpals.policy.globs`; a name without ``/`` is meant at the root unless
written ``**/name``) or a kind of change: ``symlink:GLOB``, ``binary:GLOB``, ``gitlink:GLOB``,
``mode:+x``. Case does not matter, since some file systems do not know it. A rename is judged under both
names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from pushpals.policy.display import is_suspicious
from pushpals.policy.globs import matches
from pushpals.policy.presets import PROTECTED

FileKind = Literal["file", "symlink", "gitlink"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One path a landing changes."""

    path: str
    old_path: str | None = None
    kind: FileKind = "file"
    binary: bool = False
    made_executable: bool = False


class ProtectedChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change that must be asked about, with the patterns it fell under."""

    path: str
    patterns: tuple[str, ...]


def protected_paths(
    changed: Iterable[Change | str], patterns: Sequence[str] = tuple(PROTECTED)
) -> tuple[ProtectedChange, ...]:
    """The protected ones among ``changed``, in order. Strings are plain changed files."""
    found = []
    for item in changed:
        change = Change(path=item) if isinstance(item, str) else item
        hit = [pattern for pattern in patterns if _matches(pattern, change)]
        if is_suspicious(change.path) or "\n" in change.path or "\t" in change.path:
            hit.append("display")
        if hit:
            found.append(ProtectedChange(path=change.path, patterns=tuple(hit)))
    return tuple(found)


def _matches(pattern: str, change: Change) -> bool:
    kind, colon, glob = pattern.partition(":")
    if colon and kind in ("symlink", "gitlink", "binary"):
        is_one = change.binary if kind == "binary" else change.kind == kind
        return is_one and _path_matches("**" if glob == "*" else glob, change)
    if pattern == "mode:+x":
        return change.made_executable
    return _path_matches(pattern, change)


def _path_matches(glob: str, change: Change) -> bool:
    paths = (change.path, change.old_path or change.path)
    return any(matches(glob.lower(), path.lower()) for path in paths)
