"""The queue in front of the writer, bounded by number and by weight."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from threading import Condition
from typing import Any, NamedTuple

from pushpals.protocol.records import Actor
from pushpals.store.base import StoreBusy, StoreClosed, Tx

GROUP = 500
"""The most writes in one commit."""

GROUP_WEIGHT = 4 * 1024 * 1024
"""The most bytes in one commit, by weight; a single heavier write goes alone."""


class Write(NamedTuple):
    work: Callable[[Tx], Any]
    actor: Actor
    now: datetime
    weight: int
    future: asyncio.Future[Any]


class WaitingWrites:
    """Filled on the event loop, emptied on the writer's thread."""

    def __init__(self, *, max_waiting: int, max_weight: int) -> None:
        self._max_waiting = max_waiting
        self._max_weight = max_weight
        self._writes: deque[Write] = deque()
        self._weight = 0
        self._closed = False
        self._changed = Condition()

    def __len__(self) -> int:
        return len(self._writes)

    def offer(self, write: Write) -> None:
        """Queue a write; raises :class:`StoreBusy` or :class:`StoreClosed` at once."""
        with self._changed:
            if self._closed:
                raise StoreClosed("the store is closed")
            if len(self._writes) >= self._max_waiting or self._weight + write.weight > self._max_weight:
                raise StoreBusy("too many writes are waiting; try again in a moment")
            self._writes.append(write)
            self._weight += write.weight
            self._changed.notify()

    def take(self) -> list[Write]:
        """Wait for writes and take the next group; an empty one means that no more will come."""
        with self._changed:
            while not self._writes and not self._closed:
                self._changed.wait()
            group: list[Write] = []
            weight = 0
            while self._writes and len(group) < GROUP:
                if group and weight + self._writes[0].weight > GROUP_WEIGHT:
                    break
                write = self._writes.popleft()
                weight += write.weight
                group.append(write)
            self._weight -= weight
            return group

    def close(self) -> None:
        """Refuse new writes; those that wait are still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
