"""Which names, links and modes a tree may bring: pure rules, one refusal per finding.

The same rules judge what leaves a workspace and what wants to land. Rejected: relying on git's own
fsck for this. It refuses ``.git`` in disguise, but lets escaping links, control characters and twins pass.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

import msgspec

from pushpals.work.git.names import encode_path, show_path

MODES = frozenset({"100644", "100755", "120000", "160000"})

_MAX_PATH_BYTES = 1024
_MAX_NAME_BYTES = 255
# Code points that HFS+ ignores when it compares names; ".g\u200cit" is ".git" there.
_IGNORED = frozenset(
    map(chr, (*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF))
)
_DIRECTION = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a tree is not accepted. ``path`` is escaped for display, ``detail`` is for people."""

    code: str
    path: str
    detail: str


def is_dotgit(name: str) -> bool:
    """True if some file system takes this name for ``.git``."""
    # NTFS: "\\" separates, ":" opens a stream, trailing dots and spaces vanish, "git~1" is its short name.
    for piece in name.split("\\"):
        plain = "".join(c for c in piece if c not in _IGNORED).split(":", 1)[0].rstrip(" .").casefold()
        if plain in (".git", "git~1"):
            return True
    return False


def judge_path(path: str) -> Refusal | None:
    """The first reason against a path's name, or None."""

    def refuse(code: str, detail: str) -> Refusal:
        return Refusal(code=code, path=show_path(path), detail=detail)

    raw = encode_path(path)
    names = path.split("/")
    if any(is_dotgit(name) for name in names):
        return refuse("tree.dotgit", "a name that some file system takes for .git")
    if any(name in ("", ".", "..") for name in names):
        return refuse("tree.path", "not a plain relative path")
    if any("\udc80" <= c <= "\udcff" for c in path):
        return refuse("tree.encoding", "the name is not valid UTF-8")
    if any(unicodedata.category(c) == "Cc" for c in path):
        return refuse("tree.control", "the name holds control characters")
    if any(c in _DIRECTION or c in _IGNORED for c in path):
        return refuse("tree.direction", "the name holds invisible or direction-changing characters")
    if len(raw) > _MAX_PATH_BYTES or any(len(encode_path(name)) > _MAX_NAME_BYTES for name in names):
        return refuse("tree.long", "the name is too long to exist everywhere")
    return None


def judge_link(path: str, target: bytes) -> Refusal | None:
    """A symbolic link must stay inside the tree: relative, and never above its root on the way.

    Judged by text alone. A link through another link can still lead elsewhere, so each is judged, and
    nothing of ours follows any.
    """
    detail = ""
    if not target or b"\0" in target or b"\n" in target:
        detail = "the link has no usable target"
    elif target.startswith(b"/"):
        detail = "the link is absolute"
    elif b"\\" in target or target[1:2] == b":":
        detail = "the link is absolute on some systems"
    else:
        depth = path.count("/")
        for part in target.split(b"/"):
            if part == b"..":
                depth -= 1
            elif part not in (b"", b"."):
                depth += 1
            if depth < 0:
                detail = "the link leaves the tree"
                break
        if not detail and any(
            is_dotgit(part.decode("utf-8", "surrogateescape")) for part in target.split(b"/")
        ):
            detail = "the link points into a git directory"
    return Refusal(code="tree.link", path=show_path(path), detail=detail) if detail else None


def judge_twins(paths: Iterable[str]) -> list[Refusal]:
    """Paths that are one file on a file system that folds case or Unicode form.

    Directories count too: ``A/x`` and ``a/y`` collide.
    """
    seen: dict[str, str] = {}
    refused: dict[str, Refusal] = {}
    for path in paths:
        for folded, prefix in fold_path(path):
            other = seen.setdefault(folded, prefix)
            if other != prefix:
                refused.setdefault(
                    folded,
                    Refusal(
                        code="tree.twin",
                        path=show_path(prefix),
                        detail=f"the same name as {show_path(other)} where case or Unicode form is not kept",
                    ),
                )
    return list(refused.values())


def fold_path(path: str) -> Iterator[tuple[str, str]]:
    """Each folder of a path and the path: as a file system that folds names sees it, and as written."""
    prefix = ""
    for name in path.split("/"):
        prefix = f"{prefix}/{name}" if prefix else name
        if prefix.isascii():
            yield prefix.casefold(), prefix
        else:
            yield unicodedata.normalize("NFC", unicodedata.normalize("NFC", prefix).casefold()), prefix
