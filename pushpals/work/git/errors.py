"""What can go wrong in a git call, sorted into the classes that callers act on.

A merge conflict, a stale lease and a refused push are outcomes and come back as values. ``GitError`` is
for the rest: the call could not do what it is there for. ``kind`` decides the reaction (retry, hold,
ask an operator), the text is for people and may hold words chosen by a remote.
"""

from __future__ import annotations

import re
from typing import Literal

GitErrorKind = Literal[
    "missing_ref",
    "rejected_stale",
    "rejected_rule",
    "rejected_atomic",
    "auth",
    "network",
    "disk_full",
    "timeout",
    "locked",
    "too_large",
    "refused_transport",
    "invalid_object",
    "too_old",
    "other",
]

TRANSIENT: frozenset[GitErrorKind] = frozenset({"network", "timeout", "locked", "rejected_atomic"})
"""Kinds that may pass by themselves; everything else needs a person or a different call."""

# First match wins: a full disk also breaks the connection, and a refused login also "cannot read from
# the remote", so the cause stands before its symptom. Texts are git's own under LC_ALL=C.
_CAUSES: tuple[tuple[GitErrorKind, re.Pattern[bytes]], ...] = (
    ("disk_full", re.compile(rb"No space left on device|Disk quota exceeded|disk full", re.I)),
    ("refused_transport", re.compile(rb"transport '[^']*' not allowed")),
    (
        "auth",
        re.compile(
            rb"Authentication failed|Permission denied[ ,(]+(publickey|password|keyboard|gssapi|please|to )"
            rb"|could not read (Username|Password)"
            rb"|terminal prompts disabled|returned error: 40[13]|Host key verification failed"
            rb"|[Aa]ccess denied|detected dubious ownership|Invalid username or password"
        ),
    ),
    (
        "invalid_object",
        re.compile(
            rb"fsck error|error in (tree|commit|tag|blob) [0-9a-f]+|is corrupt"
            rb"|object of unexpected type|pack has bad|inflate returned|SHA1 COLLISION|bad tree object"
            rb"|did not receive expected object|Broken pack|broken link|fsck_objects|invalid object"
            rb"|pack signature mismatch"
        ),
    ),
    ("too_large", re.compile(rb"pack exceeds maximum allowed size")),
    (
        "missing_ref",
        re.compile(
            rb"couldn't find remote ref|not our ref|unknown revision|bad revision|Needed a single revision"
            rb"|(?i:not a valid (object|commit) name)|not a valid SHA1|ambiguous argument|unable to resolve"
            rb"|does not point to a valid object|bad object"
        ),
    ),
    ("locked", re.compile(rb"\.lock': File exists|[Uu]nable to create '[^']*\.lock'|cannot lock ref")),
    (
        "network",
        re.compile(
            rb"Could not resolve host|unable to access|Could not read from remote repository"
            rb"|Connection (refused|timed out|reset|closed)|Network is unreachable|No route to host"
            rb"|does not appear to be a git repository|remote end hung up|early EOF|unexpected disconnect"
            rb"|RPC failed|repository '[^']*' (does not exist|not found)|No such file or directory",
        ),
    ),
)

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SHOWN = 4000


class GitError(Exception):
    """A git call failed; ``kind`` says what to do about it, the message says what git said."""

    def __init__(self, kind: GitErrorKind, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.kind: GitErrorKind = kind
        self.code = code

    @property
    def transient(self) -> bool:
        return self.kind in TRANSIENT


def classify(stderr: bytes) -> GitErrorKind:
    """The class of a failed call by what git wrote. ``other`` when nothing is recognised."""
    for kind, pattern in _CAUSES:
        if pattern.search(stderr):
            return kind
    return "other"


def printable(text: bytes, *, limit: int = _SHOWN) -> str:
    """Text from git or a remote, safe to store and show: decoded, no control or direction marks, bounded."""
    shown = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text[: limit * 4].decode("utf-8", "replace"))
    shown = shown.strip()
    return shown if len(shown) <= limit else shown[:limit] + "…"
