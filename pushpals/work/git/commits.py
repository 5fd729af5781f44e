"""A commit as data, read from the object itself.

Rejected: ``log --format``. It re-encodes, folds and trims, and a message may hold any separator.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import msgspec

from pushpals.work.git.errors import GitError
from pushpals.work.git.names import Sha, as_sha
from pushpals.work.git.runner import Identity


class CommitInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A commit as written. ``message`` is text that its author chose."""

    sha: Sha
    tree: Sha
    parents: tuple[Sha, ...]
    author: Identity
    committer: Identity
    message: str

    @property
    def subject(self) -> str:
        return self.message.split("\n", 1)[0]


def parse_commit(sha: Sha, raw: bytes) -> CommitInfo:
    """Read a commit object. Raises :class:`GitError` (``invalid_object``) for a malformed one."""
    head, _, message = raw.partition(b"\n\n")
    fields: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        fields.setdefault(key, []).append(value)
    try:
        return CommitInfo(
            sha=sha,
            tree=as_sha(fields[b"tree"][0].decode()),
            parents=tuple(as_sha(p.decode()) for p in fields.get(b"parent", [])),
            author=_identity(fields[b"author"][0]),
            committer=_identity(fields[b"committer"][0]),
            message=message.decode("utf-8", "replace"),
        )
    except (KeyError, ValueError, OverflowError) as error:
        raise GitError("invalid_object", f"commit {sha} is malformed") from error


def _identity(raw: bytes) -> Identity:
    who, _, date = raw.rpartition(b"> ")
    name, _, email = who.partition(b"<")
    seconds, offset = date.split()
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    zone = timezone(timedelta(minutes=-minutes if offset.startswith(b"-") else minutes))
    return Identity(
        name=name.strip().decode("utf-8", "replace"),
        email=email.decode("utf-8", "replace"),
        when=datetime.fromtimestamp(int(seconds), zone),
    )
