"""One process for each database: an advisory lock on a file beside it, with the holder's pid inside.

The kernel drops the lock with the process, so a crash never leaves one behind. The side file itself stays:
removing it would let two processes lock two different files of the same name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pushpals.store.base import StoreLocked


class ProcessLock:
    def __init__(self, database: Path) -> None:
        """Take the lock; raises :class:`StoreLocked` with the holder's pid if there is one."""
        path = database.with_name(database.name + ".lock")
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreLocked(
                f"{database} is in use by process {holder}; stop that one, or choose another place"
            ) from None
        except OSError:
            os.close(self._fd)
            raise
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
