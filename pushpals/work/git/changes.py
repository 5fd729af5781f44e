"""What changed between two trees, as data: names as bytes came, modes, counts.

Names are never read from a patch text: git quotes them there, and a name may hold a newline. The parser
reads ``--raw --numstat -z`` output, where fields are separated by NUL and nothing is quoted.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pushpals.work.git.names import Sha, decode_path, split_nul

ChangeStatus = Literal["added", "modified", "deleted", "renamed", "copied", "type_changed"]

SYMLINK = "120000"
GITLINK = "160000"
DIRECTORY = "040000"
ABSENT = "000000"

_STATUS: dict[str, ChangeStatus] = {
    "A": "added",
    "M": "modified",
    "D": "deleted",
    "R": "renamed",
    "C": "copied",
    "T": "type_changed",
}

DIFF_OPTIONS = (
    "-r",
    "-M",
    "-l1000",
    "--no-ext-diff",
    "--no-textconv",
    "--ignore-submodules=none",
    "--no-relative",
)
"""One set of options for every diff, so that what is judged, shown and counted is the same change."""


class ChangedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One changed path. ``added`` and ``deleted`` are lines, None for binary content.

    Modes are git's six octal digits, ``000000`` where the side does not exist.
    """

    path: str
    status: ChangeStatus
    old_path: str | None = None
    old_mode: str
    new_mode: str
    old_sha: Sha
    new_sha: Sha
    added: int | None
    deleted: int | None

    @property
    def binary(self) -> bool:
        return self.added is None

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that this change touches: both sides of a rename, the new side of a copy."""
        if self.status == "renamed" and self.old_path is not None:
            return (self.old_path, self.path)
        return (self.path,)


class DiffText(msgspec.Struct, frozen=True, kw_only=True):
    """A unified diff as bytes. ``truncated``: it was longer than the limit and ends anywhere."""

    text: bytes
    truncated: bool


class TreeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One leaf of a tree. ``size`` is in bytes; None if not asked for, or for a submodule pointer."""

    path: str
    mode: str
    sha: Sha
    size: int | None = None


def parse_changes(raw: bytes) -> tuple[ChangedFile, ...]:
    """Read ``--raw --numstat -z --no-abbrev``. Raises ValueError if it is anything else."""
    fields = iter(split_nul(raw))
    pending: dict[bytes, tuple[list[str], bytes | None]] = {}
    counts: dict[bytes, tuple[int | None, int | None]] = {}
    for field in fields:
        if field.startswith(b":"):
            head = field[1:].decode("ascii").split(" ")
            if len(head) != 5:
                raise ValueError("not a raw diff line")
            first = next(fields)
            if head[4][0] in "RC":
                pending[next(fields)] = (head, first)
            else:
                pending[first] = (head, None)
        else:
            added, deleted, path = field.split(b"\t", 2)
            if not path:
                next(fields)
                path = next(fields)
            counts[path] = (_count(added), _count(deleted))
    return tuple(_changed(path, *entry, counts.get(path, (0, 0))) for path, entry in pending.items())


def parse_tree(raw: bytes) -> tuple[TreeEntry, ...]:
    """Read ``ls-tree -r -z``, with or without ``--long``."""
    entries = []
    for field in split_nul(raw):
        head, _, path = field.partition(b"\t")
        mode, _, sha, *size = head.decode("ascii").split()
        entries.append(
            TreeEntry(
                path=decode_path(path),
                mode=mode,
                sha=Sha(sha),
                size=int(size[0]) if size and size[0] != "-" else None,
            )
        )
    return tuple(entries)


def _count(text: bytes) -> int | None:
    return None if text == b"-" else int(text)


def _changed(
    path: bytes, head: list[str], old: bytes | None, counts: tuple[int | None, int | None]
) -> ChangedFile:
    old_mode, new_mode, old_sha, new_sha, status = head
    return ChangedFile(
        path=decode_path(path),
        status=_STATUS[status[0]],
        old_path=None if old is None else decode_path(old),
        old_mode=old_mode,
        new_mode=new_mode,
        old_sha=Sha(old_sha),
        new_sha=Sha(new_sha),
        added=counts[0],
        deleted=counts[1],
    )
