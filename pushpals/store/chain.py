"""The hash chain over a session's events.

::

    h(0) = SHA-256("pushpals.chain.v1" NUL session-id NUL epoch)
    h(n) = SHA-256(h(n-1) || length of data, 8 bytes big-endian || data)

``data`` is the envelope exactly as stored and sent. The length keeps two bodies from being read as one,
the genesis keeps a history from being passed off as another session's. A chain by itself shows only that
nothing in the *middle* was changed: whoever can rewrite all of it, or cut its end, is caught by comparing
its head with one that was noted elsewhere.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

FORMAT: Final = b"pushpals.chain.v1"


def genesis(session_id: str, epoch: str) -> bytes:
    """The hash before the first event."""
    return sha256(b"\0".join((FORMAT, session_id.encode(), epoch.encode()))).digest()


def link(previous: bytes, data: bytes) -> bytes:
    """The hash of the next event."""
    return sha256(previous + len(data).to_bytes(8, "big") + data).digest()
