"""Names of things: session ids from people, opaque ids from the hub.

A session id is what a person typed; it is compared byte for byte and never becomes a path. Every other
id is ``<prefix>-<26 base-32 characters>`` with 130 random bits, so that knowing one says nothing about
another. Business code takes an :data:`Ids` as an argument; only ``random_id`` draws randomness.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

Ids = Callable[[str], str]
"""``new_id("job")`` gives the next job id."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))
"""A digit for each byte: 256 is a multiple of 32, so all digits are equally likely."""
_SESSION_ID = re.compile(r"[a-zA-Z0-9._-]{1,64}")
_WORKER_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")

SYSTEM_SESSION = "_hub"
"""The session that holds what belongs to no conversation: tokens, workers, queue switches."""


def random_id(prefix: str) -> str:
    """A fresh id, e.g. ``job-5x0g…``."""
    return f"{prefix}-{secrets.token_bytes(26).translate(_DIGITS).decode()}"


def is_session_id(text: object) -> bool:
    """True for 1 to 64 characters out of ``a-z A-Z 0-9 . _ -``; ``.`` and ``..`` are valid."""
    return isinstance(text, str) and _SESSION_ID.fullmatch(text) is not None


def is_worker_id(text: object) -> bool:
    """True for what may stand in a branch name as ``agent/<worker>/…``."""
    return (
        isinstance(text, str)
        and _WORKER_ID.fullmatch(text) is not None
        and ".." not in text
        and not text.endswith((".", ".lock"))
    )


def is_commit(text: object) -> bool:
    """True for a full git object id, SHA-1 or SHA-256, in lower-case hex."""
    return isinstance(text, str) and _SHA.fullmatch(text) is not None


def is_sha256(text: object) -> bool:
    """True for a lower-case hex SHA-256 digest."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None
