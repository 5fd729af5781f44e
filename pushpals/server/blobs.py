"""Artifacts as files, named by what is in them: ``artifacts/ab/cdef…``.

A blob is written under a temporary name, flushed to the disk, and only then given its name, so a name
that exists is whole. A name is 64 hex digits and nothing else; nothing a caller sends becomes a path.
All methods block; handlers call them in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from pushpals.protocol.errors import BadRequest, NotFound, StorageFull, TooLarge
from pushpals.protocol.ids import is_sha256


class Blobs:
    """The directory of blobs."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes

    def clear_temporary(self) -> None:
        """Remove what an interrupted upload left behind. Call it once, before serving."""
        for path in (self._root / "tmp").glob("*"):
            path.unlink(missing_ok=True)

    def upload(self, sha256: str) -> Upload:
        """Begin to receive a blob."""
        target = self._path(sha256)
        with _disk():
            (self._root / "tmp").mkdir(parents=True, exist_ok=True)
            return Upload(self._root / "tmp" / secrets.token_hex(16), target, sha256, self._max_bytes)

    def size(self, sha256: str) -> int:
        """Bytes; raises :class:`NotFound` when there is no such blob."""
        try:
            return self._path(sha256).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"there is no artifact {sha256}", code="artifact.unknown") from None

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self._path(sha256).open("rb")
        except FileNotFoundError:
            raise NotFound(f"there is no artifact {sha256}", code="artifact.unknown") from None

    def _path(self, sha256: str) -> Path:
        if not is_sha256(sha256):
            raise BadRequest("an artifact is named by its lower-case hex SHA-256", code="artifact.bad_name")
        return self._root / sha256[:2] / sha256[2:]


class Upload:
    """One blob on its way in. Ends with :meth:`finish` or :meth:`abandon`."""

    def __init__(self, temporary: Path, target: Path, sha256: str, max_bytes: int) -> None:
        self._temporary = temporary
        self._target = target
        self._sha256 = sha256
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._file = temporary.open("xb")
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._max_bytes:
            raise TooLarge(f"an artifact may have {self._max_bytes} bytes", code="artifact.too_large")
        self._hash.update(data)
        with _disk():
            self._file.write(data)

    def finish(self) -> int:
        """Give the blob its name; returns its size. Raises :class:`BadRequest` if it is another blob."""
        if self._hash.hexdigest() != self._sha256:
            self.abandon()
            raise BadRequest(
                f"these bytes have the digest {self._hash.hexdigest()}", code="artifact.digest_differs"
            )
        with _disk():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._target.parent.mkdir(exist_ok=True)
            self._temporary.replace(self._target)
            directory = os.open(self._target.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        return self.size

    def abandon(self) -> None:
        """Forget what was received. May be called twice, and after :meth:`finish`."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _disk():  # type: ignore[no-untyped-def]
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("the hub's disk is full; make room and send it again") from None
        raise
