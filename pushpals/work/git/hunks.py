"""The added lines of a patch, with their line numbers in the new file.

Works on bytes and trusts only hunk headers: a line of content may look like any header. Paths are not
read here; sections of a patch come in the same order as the entries of ``--raw``, which name them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_FILE = b"diff --git "


class AddedText(msgspec.Struct, frozen=True, kw_only=True):
    """What one section of a patch adds. ``lines`` numbers each line of ``text`` in the new file."""

    text: bytes
    lines: tuple[int, ...]

    def file_line(self, line: int) -> int:
        """The line of the new file for a 1-based line of ``text``; 0 (the whole file) stays 0."""
        return self.lines[line - 1] if 0 < line <= len(self.lines) else 0


def added_sections(patch: bytes) -> Iterator[AddedText]:
    """One entry per ``diff --git`` section. Raises ValueError if this is not a whole unified diff."""
    return (section for _, section in headed_sections(patch))


def headed_sections(
    patch: bytes, *, headers: re.Pattern[bytes] | None = None
) -> Iterator[tuple[re.Match[bytes] | None, AddedText]]:
    """Like :func:`added_sections`, for several diffs in one text.

    ``headers`` matches whole lines that stand before the sections they head; each section comes with its own.
    """
    header: re.Match[bytes] | None = None
    lines = patch.split(b"\n")
    if lines and lines[-1] == b"":
        lines.pop()
    at = 0
    while at < len(lines):
        if headers is not None and (headed := headers.fullmatch(lines[at])):
            header = headed
            at += 1
            continue
        if not lines[at].startswith(_FILE):
            raise ValueError("not at the head of a file section")
        at += 1
        text: list[bytes] = []
        numbers: list[int] = []
        while at < len(lines) and not lines[at].startswith(_FILE):
            if headers is not None and headers.fullmatch(lines[at]):
                break
            hunk = _HUNK.match(lines[at])
            at += 1
            if hunk is None:
                continue
            old_left, number, new_left = int(hunk[1] or 1), int(hunk[2]), int(hunk[3] or 1)
            while old_left or new_left:
                if at >= len(lines):
                    raise ValueError("the diff ends inside a hunk")
                sign = lines[at][:1]
                if sign == b"+":
                    text.append(lines[at][1:])
                    numbers.append(number)
                if sign in (b"+", b" "):
                    new_left -= 1
                    number += 1
                if sign in (b"-", b" "):
                    old_left -= 1
                at += 1
        yield header, AddedText(text=b"\n".join(text), lines=tuple(numbers))
