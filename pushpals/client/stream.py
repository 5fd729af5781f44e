"""Reading a server-sent event stream: bytes in, frames out. No I/O.

The grammar is the one of the HTML standard (``\\n``, ``\\r`` and ``\\r\\n`` end lines, a blank line ends a
frame), with two additions of our hub that ride in comments, which every other reader skips: ``: live N``
says that the history up to cursor N was delivered and what follows is live, ``: at N`` is the heartbeat
and says that nothing up to N is outstanding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from pushpals.protocol.jobs import Wire

MAX_FRAME = 16 * 1024 * 1024
"""Bytes of one frame; a body is at most 1 MiB, so anything longer is no stream of ours."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One dispatched event. ``event`` is empty for envelopes."""

    data: bytes
    id: bytes = b""
    event: str = ""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A comment with a meaning: the stream stands at ``cursor``."""

    kind: Literal["live", "at"]
    cursor: int = 0
    cursors: dict[str, int] = {}
    """By session, where the stream is of several."""


class Reset(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """The data of ``event: reset``: the cursor asked for cannot be resumed from.

    ``pruned``: the events after it were deleted by retention. ``future``: there is no such cursor yet.
    ``epoch``: the history was replaced. ``first`` is the oldest event that is kept, ``cursor`` the newest
    when this was sent, and the stream goes on after ``cursor``; take ``GET /sessions/:id`` for the state
    up to there, or ask again with ``after = first - 1`` for all that is left.
    """

    reason: Literal["pruned", "future", "epoch"]
    cursor: int
    first: int
    epoch: str = ""
    session_id: str = ""
    """Which one, where the stream is of several."""


class BrokenStream(Exception):
    """The other side does not speak this protocol."""


class FrameReader:
    """Feed it what arrives; it yields what is complete, in order."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._rest = b""
        self._size = 0
        self._max = max_frame
        self._id = b""
        self._event = ""
        self._data: list[bytes] = []
        self.retry_ms: int | None = None
        """The server's wish for the pause before a reconnect."""

    def feed(self, chunk: bytes) -> Iterator[Frame | Note]:
        text = self._rest + chunk
        # A trailing CR may be the first half of a CRLF; it waits for the next byte.
        lines = text.splitlines(keepends=True) if text else []
        self._rest = b""
        if lines and (not lines[-1].endswith((b"\n", b"\r")) or lines[-1].endswith(b"\r")):
            self._rest = lines.pop()
            if len(self._rest) + self._size > self._max:
                raise BrokenStream(f"a frame of more than {self._max} bytes")
        for line in lines:
            item = self._line(line.rstrip(b"\r\n"))
            if item is not None:
                yield item

    def _line(self, line: bytes) -> Frame | Note | None:
        if not line:
            return self._dispatch()
        if line.startswith(b":"):
            return _note(line)
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._size += len(value)
                if self._size > self._max:
                    raise BrokenStream(f"a frame of more than {self._max} bytes")
                self._data.append(value)
            case b"id":
                self._id = value
            case b"event":
                self._event = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit():
                self.retry_ms = min(int(value), 60_000)
            case _:
                pass
        return None

    def _dispatch(self) -> Frame | None:
        data, event = self._data, self._event
        self._data, self._event, self._size = [], "", 0
        if not data:
            return None
        return Frame(data=b"\n".join(data), id=self._id, event=event)


def _note(line: bytes) -> Note | None:
    words = line[1:].split()
    if len(words) != 2 or words[0] not in (b"live", b"at"):
        return None
    kind: Literal["live", "at"] = "live" if words[0] == b"live" else "at"
    if words[1].isdigit():
        return Note(kind=kind, cursor=int(words[1]))
    cursors = position(words[1])
    return None if cursors is None else Note(kind=kind, cursors=cursors)


def position(text: bytes) -> dict[str, int] | None:
    """``a:120,b:7`` taken apart; ``None`` for what is no such thing."""
    found = {}
    for part in text.decode("utf-8", "replace").split(","):
        name, _, cursor = part.rpartition(":")
        if not (name and cursor.isascii() and cursor.isdigit()):
            return None
        found[name] = int(cursor)
    return found
