"""A lock between processes: the kernel's, on an open file.

It ends with the process that holds it, however that ends. Rejected: pid files, which outlive a crash and
mean nothing once the pid is used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

_POLL_S = 0.02


class RepositoryBusy(Exception):
    """Another process owns this repository; stop it first, or use another data directory."""


@contextlib.asynccontextmanager
async def file_lock(path: Path, *, wait_s: float) -> AsyncIterator[None]:
    """Hold the lock on ``path``. Raises :class:`RepositoryBusy` if it is not free within ``wait_s``."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        waited = 0.0
        while not _try(fd):
            if waited >= wait_s:
                raise RepositoryBusy(f"{path.parent} is in use by another process")
            await asyncio.sleep(_POLL_S)
            waited += _POLL_S
        yield
    finally:
        os.close(fd)


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
