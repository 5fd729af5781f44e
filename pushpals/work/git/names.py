"""Names that cross the border to git: object ids, refs, branches of agents, paths.

git itself accepts branches such as ``-x`` or ``--output=f`` and names with newlines, so nothing reaches
a command line that has not passed here. Object ids and full ref names are text; paths are ``str``
decoded with surrogateescape, so that every byte of a name survives the round trip.
"""

from __future__ import annotations

import re
from typing import NewType

import msgspec

Sha = NewType("Sha", str)
"""A full object id: 40 or 64 lower-case hex digits."""

BRANCHES = "refs/heads/"
LANDED = "refs/pushpals/landed/"
"""Record refs: one per landed job, at the commit that main was moved to."""

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# A stricter cut than check-ref-format: no leading dash, no braces, no backslash, nothing outside ASCII.
_REF = re.compile(r"refs(?:/[A-Za-z0-9_][A-Za-z0-9._+#@=-]*)+")


class InvalidName(ValueError):
    """A name that must not reach git; the message says which and why."""


class AgentBranch(msgspec.Struct, frozen=True, kw_only=True):
    """The branch of one job: ``agent/<worker>/<job>``."""

    worker: str
    job: str

    @property
    def short(self) -> str:
        return f"agent/{self.worker}/{self.job}"

    @property
    def ref(self) -> str:
        return f"{BRANCHES}{self.short}"


def agent_branch(worker: str, job: str) -> AgentBranch:
    """The branch for a worker's job. Raises :class:`InvalidName` if either part is no plain word."""
    for part in (worker, job):
        if not _SEGMENT.fullmatch(part):
            raise InvalidName(f"not usable in a branch name: {part!r}")
    return AgentBranch(worker=worker, job=job)


def parse_agent_branch(name: str) -> AgentBranch | None:
    """Read ``agent/w/j`` or its full ref name; None for every other branch, however close."""
    parts = name.removeprefix(BRANCHES).split("/")
    if len(parts) != 3 or parts[0] != "agent":
        return None
    try:
        return agent_branch(parts[1], parts[2])
    except InvalidName:
        return None


def is_sha(text: str) -> bool:
    return _SHA.fullmatch(text) is not None


def as_sha(text: str) -> Sha:
    """The text as an object id. Raises :class:`InvalidName`: abbreviations and revisions are not ids."""
    if not is_sha(text):
        raise InvalidName(f"not a full object id: {text[:80]!r}")
    return Sha(text)


def as_ref(text: str) -> str:
    """The text as a full ref name. Raises :class:`InvalidName`."""
    if (
        len(text) > 255
        or not _REF.fullmatch(text)
        or ".." in text
        or "@{" in text
        or any(part.endswith((".lock", ".")) for part in text.split("/"))
    ):
        raise InvalidName(f"not a full ref name: {text[:80]!r}")
    return text


def branch_ref(name: str) -> str:
    """``main`` → ``refs/heads/main``; a full name stays. Raises :class:`InvalidName`."""
    return as_ref(name if name.startswith("refs/") else BRANCHES + name)


def landed_ref(job: str) -> str:
    """The record ref of a job. Raises :class:`InvalidName`."""
    if not _SEGMENT.fullmatch(job):
        raise InvalidName(f"not usable in a ref name: {job!r}")
    return LANDED + job


def zero(like: str) -> str:
    """The all-zero id of the same hash length: "this ref does not exist"."""
    return "0" * len(like)


def decode_path(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def encode_path(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def split_nul(raw: bytes) -> list[bytes]:
    """The fields of ``-z`` output. Never split on lines: a name may contain one."""
    return raw.removesuffix(b"\0").split(b"\0") if raw else []


def show_path(path: str) -> str:
    """A path as people may see it: everything that could deceive is escaped, the rest stays readable."""
    shown = []
    for char in path:
        if "\udc80" <= char <= "\udcff":
            shown.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif char == "\\":
            shown.append("\\\\")
        elif char.isprintable():
            shown.append(char)
        else:
            shown.append(char.encode("unicode_escape").decode("ascii"))
    return "".join(shown)
