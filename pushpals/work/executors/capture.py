"""What is kept of a stream of unknown length: its head, its tail and its size.

A flood costs at most about one and a half times the cap in memory, however long it runs. The head says
how a command began and the tail how it ended, which is what a reader of a failed build wants; the middle
is counted and named in a marker line, so that nobody takes the kept text for the whole.
"""

from __future__ import annotations


class Capture:
    """Keeps at most ``limit`` bytes of a stream, marker included."""

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 0)
        self._head_limit = self._limit // 2
        self._tail_limit = self._limit - self._head_limit
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def feed(self, chunk: bytes) -> None:
        self.total += len(chunk)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if chunk:
            self._tail += chunk[-self._tail_limit :] if self._tail_limit else b""
            if len(self._tail) > 2 * self._tail_limit:
                del self._tail[: len(self._tail) - self._tail_limit]

    def kept(self) -> bytes:
        """The whole stream if it fits, else head, marker and tail within the cap."""
        if self.total <= self._limit:
            return bytes(self._head + self._tail)
        # The marker's own digits depend on the size it reports; one fixed width avoids a fixpoint.
        marker_size = len(_marker(self.total))
        tail_size = self._tail_limit - marker_size
        if tail_size < 0:
            return bytes(self._head)
        dropped = self.total - len(self._head) - tail_size
        tail = bytes(self._tail[len(self._tail) - tail_size :])
        return bytes(self._head) + _marker(dropped).ljust(marker_size, b"\n") + tail


def _marker(dropped: int) -> bytes:
    return b"\n[%d bytes not kept]\n" % dropped
