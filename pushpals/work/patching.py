"""Unified diffs as people paste them: found in a message, and explained when they do not apply.

Pure text. Applying is git's work (``kinds/patch.py``).
"""

from __future__ import annotations

import re

import msgspec

MAX_PATCH_BYTES = 8 * 1024 * 1024

_START = re.compile(r"^(diff --git |--- \S|From [0-9a-f]{40} |Index: )", re.M)
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", re.M)


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """One place that git could not find. ``hunk`` is its text from the patch, shortened."""

    path: str
    line: int
    hunk: str = ""


def extract(text: str) -> str | None:
    """The diff in a pasted text: fences, quotes and words around it taken away. None if there is none."""
    text = text.replace("\r\n", "\n")
    if fence := re.search(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", text, re.S | re.M):
        inside = fence[2]
        if _HUNK.search(inside) or _START.search(inside):
            text = inside
    if indented := re.search(r"^([ \t]+)(?:diff --git |--- \S)", text, re.M):
        margin = indented[1]
        text = "\n".join(line.removeprefix(margin) for line in text.split("\n"))
    start = _START.search(text)
    if start is None:
        return None
    diff = text[start.start() :]
    if not _HUNK.search(diff) and not re.search(
        r"^(GIT binary patch|rename from |new file mode |deleted file mode |old mode )", diff, re.M
    ):
        return None
    return _mend_blank_context(diff.rstrip("\n")) + "\n"


def strip_level(diff: str) -> int:
    """How many leading folders of a path are not the tree's: 1 for ``a/`` and ``b/``, else 0."""
    if re.search(r"^diff --git ", diff, re.M):
        return 1
    old = re.search(r"^--- (\S+)", diff, re.M)
    new = re.search(r"^\+\+\+ (\S+)", diff, re.M)
    marked = [m[1] for m in (old, new) if m is not None and m[1] != "/dev/null"]
    return (
        1 if marked and all(path.startswith(("a/", "b/", "i/", "w/", "c/", "o/")) for path in marked) else 0
    )


def touched(diff: str) -> list[str]:
    """The paths that a diff names, for its title."""
    found = re.findall(r"^(?:\+\+\+|---) (?:[abiwco]/)?([^\t\n]+)", diff, re.M)
    return list(dict.fromkeys(path for path in found if path != "/dev/null"))


def subject(text: str) -> str | None:
    """The subject of a mailed patch (``git format-patch``), without its tag."""
    found = re.search(r"^Subject: (.+)$", text, re.M)
    return re.sub(r"^\[[^\]]*\]\s*", "", found[1]).strip() or None if found else None


def rejections(stderr: str, diff: str) -> list[Rejected]:
    """The hunks that git named as failed, with their text."""
    found: list[Rejected] = []
    for path, line in re.findall(r"^error: patch failed: (.+):(\d+)$", stderr, re.M):
        found.append(Rejected(path=path, line=int(line), hunk=_hunk_at(diff, path, int(line))))
    for path in re.findall(
        r"^error: (.+): (?:No such file or directory|does not exist in index)$", stderr, re.M
    ):
        if all(one.path != path for one in found):
            found.append(Rejected(path=path, line=0, hunk="the file does not exist on the base"))
    for path in re.findall(r"^error: (.+): already exists in (?:index|working directory)$", stderr, re.M):
        if all(one.path != path for one in found):
            found.append(Rejected(path=path, line=0, hunk="the file exists already"))
    return found


def _hunk_at(diff: str, path: str, line: int) -> str:
    """The hunk of ``path`` that starts at ``line`` of the old file."""
    current = ""
    lines = diff.split("\n")
    for number, text in enumerate(lines):
        if text.startswith(("--- ", "+++ ")) and "/dev/null" not in text:
            current = text[4:].split("\t")[0]
        if (header := _HUNK.match(text)) and int(header[1]) == line and current.endswith(path):
            body = [text]
            for following in lines[number + 1 :]:
                if not following.startswith((" ", "+", "-", "\\")) or following.startswith("diff --git "):
                    break
                body.append(following)
                if len(body) > 40:
                    body.append("…")
                    break
            return "\n".join(body)
    return ""


def _mend_blank_context(diff: str) -> str:
    """Editors and chat boxes strip the one space of an empty context line; inside a hunk it is put back."""
    out: list[str] = []
    left_old = left_new = 0
    for line in diff.split("\n"):
        if header := _HUNK.match(line):
            left_old, left_new = int(header[2] or 1), int(header[4] or 1)
        elif left_old > 0 or left_new > 0:
            if line == "":
                line = " "
            if line[0] in " -":
                left_old -= 1
            if line[0] in " +":
                left_new -= 1
        out.append(line)
    return "\n".join(out)
