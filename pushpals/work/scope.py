"""Whether a change stays where it was asked to stay.

A job's ``paths`` are globs over whole paths: ``*`` and ``?`` stay within one name, ``**`` crosses folders,
and a pattern that names a folder means everything below it. No pattern means the whole tree. Both sides of
a rename count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache


def outside(paths: Iterable[str], globs: Sequence[str]) -> list[str]:
    """The paths that no glob allows, in order; none when there are no globs."""
    if not globs:
        return []
    return [path for path in paths if not any(matches(path, glob) for glob in globs)]


def matches(path: str, glob: str) -> bool:
    """``src/**/*.py``, ``docs``, ``docs/``, ``*.md`` (at the root only) and so on."""
    return _compiled(glob.strip().removeprefix("./")).fullmatch(path) is not None


@lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    if glob in ("", ".", "/", "**"):
        return re.compile(".*", re.S)
    parts: list[str] = []
    at = 0
    body = glob.strip("/")
    while at < len(body):
        if body.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif body.startswith("**", at):
            parts.append(".*")
            at += 2
        elif body[at] == "*":
            parts.append("[^/]*")
            at += 1
        elif body[at] == "?":
            parts.append("[^/]")
            at += 1
        else:
            parts.append(re.escape(body[at]))
            at += 1
    return re.compile("".join(parts) + "(?:/.*)?", re.S)
