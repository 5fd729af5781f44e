"""The server name in the first message of a TLS connection (RFC 8446 section 4.1.2, RFC 6066 section 3).

Reads no more than it needs and trusts no length. The answer is a name, ``None`` for "not all here yet", or a
:class:`NoName` for a message that is not a client hello or names no host or several.
"""

from __future__ import annotations

import msgspec

MAX_BYTES = 64 * 1024
"""Far above any client hello in use; those with post-quantum keys have about 2 KiB."""

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0


class NoName(msgspec.Struct, frozen=True, kw_only=True):
    why: str


def server_name(data: bytes) -> str | NoName | None:
    """What the client says whom it wants to talk to, in the bytes it sent so far."""
    message = b""
    at = 0
    while True:
        if len(data) > MAX_BYTES:
            return NoName(why="the client hello is too long")
        header = data[at : at + 5]
        if header and (header[0] != _HANDSHAKE or (len(header) > 1 and header[1] != 3)):
            return NoName(why="not TLS")
        if len(header) < 5:
            return None
        size = int.from_bytes(header[3:5], "big")
        if not 0 < size <= 16384:
            return NoName(why="not a TLS record")
        message += data[at + 5 : at + 5 + size]
        if message and message[0] != _CLIENT_HELLO:
            return NoName(why="not a client hello")
        if len(message) >= 4:
            wanted = 4 + int.from_bytes(message[1:4], "big")
            if wanted > MAX_BYTES:
                return NoName(why="the client hello is too long")
            if len(message) >= wanted:
                return _name_in(message[4:wanted])
        if at + 5 + size > len(data):
            return None
        at += 5 + size


class _Short(Exception):
    pass


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise _Short
        self._at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> _Reader:
        """A part that is preceded by its length in ``size`` bytes."""
        return _Reader(self.take(self.number(size)))

    def __bool__(self) -> bool:
        return self._at < len(self._data)


def _name_in(body: bytes) -> str | NoName:
    names: list[bytes] = []
    try:
        reader = _Reader(body)
        reader.take(2 + 32)
        reader.block(1)
        reader.block(2)
        reader.block(1)
        extensions = reader.block(2) if reader else _Reader(b"")
        if reader:
            return NoName(why="something follows the client hello")
        while extensions:
            kind = extensions.number(2)
            content = extensions.block(2)
            if kind == _SERVER_NAME:
                entries = content.block(2)
                while entries:
                    if entries.number(1) != _HOST_NAME:
                        return NoName(why="a server name of an unknown kind")
                    entry = entries.block(2)
                    names.append(entry.take(len(entry._data)))
    except _Short:
        return NoName(why="the client hello contradicts itself")
    if len(names) != 1:
        return NoName(why="no server name" if not names else "several server names")
    try:
        return names[0].decode("ascii")
    except UnicodeDecodeError:
        return NoName(why="the server name is not ASCII")
