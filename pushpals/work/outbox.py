"""What a job has to tell, waiting to be sent: bounded, in order, in batches that fit one request.

A command can print faster than a hub can store. Nothing here blocks the command and nothing grows without
bound: past :data:`QUEUE_LINES` or :data:`QUEUE_BYTES` the newest lines push out the ones before them, and a
line in their place says how many. So the head and the tail of an output arrive, which is what a reader
wants, and the whole is an artifact. Events are never dropped.

Order is kept: the hub appends a batch's events before its lines, so a batch ends where an event follows a
line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

import msgspec

from pushpals.policy.redact import redact_plain
from pushpals.protocol.commands import EventIn, LogLine
from pushpals.protocol.events import Payload
from pushpals.work.executors.base import Stream

QUEUE_LINES = 4_000
QUEUE_BYTES = 4 * 1024 * 1024
TAIL_LINES = 500
TAIL_BYTES = 512 * 1024
BATCH_LINES = 1_000
BATCH_BYTES = 256 * 1024
BATCH_EVENTS = 200
SOON_LINES = 200
"""So many waiting lines, or :data:`BATCH_BYTES`, are sent at once; fewer may wait for more."""
MAX_LINE = 16 * 1024
"""Characters of one line; the rest is counted."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one request carries."""

    events: list[EventIn] = []
    lines: list[LogLine] = []

    def __bool__(self) -> bool:
        return bool(self.events or self.lines)


class Outbox:
    """One job's queue. Writers call ``event`` and ``line`` on the event loop; one sender calls ``take``."""

    def __init__(self, hide: Callable[[str], str] | None = None) -> None:
        """``hide`` is the door for events: every text of theirs goes through it."""
        self.hide = hide
        self._queue: deque[EventIn | LogLine] = deque()
        self._lines = 0
        self._bytes = 0
        self._tail: deque[LogLine] = deque()
        self._tail_bytes = 0
        self._dropped = 0
        self.dropped = 0
        """Lines not sent, over the whole job."""
        self._something = asyncio.Event()
        self._plenty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue) + len(self._tail)

    def event(self, payload: Payload) -> None:
        self._settle_tail()
        plain = msgspec.to_builtins(payload)
        if self.hide is not None:
            plain = redact_plain(plain, self.hide)
        self._queue.append(EventIn(type=payload.TYPE, payload=plain))
        self._something.set()

    def line(self, stream: Stream, text: str) -> None:
        if len(text) > MAX_LINE:
            text = f"{text[:MAX_LINE]} [{len(text) - MAX_LINE} more characters]"
        line = LogLine(stream=stream, line=text)
        if self._tail or self._lines >= QUEUE_LINES or self._bytes + len(text) > QUEUE_BYTES:
            self._tail.append(line)
            self._tail_bytes += len(text)
            while len(self._tail) > TAIL_LINES or self._tail_bytes > TAIL_BYTES:
                self._tail_bytes -= len(self._tail.popleft().line)
                self._dropped += 1
                self.dropped += 1
        else:
            self._append(line)
        self._something.set()
        if self._lines >= SOON_LINES or self._bytes >= BATCH_BYTES:
            self._plenty.set()

    def take(self) -> Batch:
        """The next batch, oldest first; an empty one when nothing waits."""
        if self._lines < QUEUE_LINES // 2:
            self._settle_tail()
        events: list[EventIn] = []
        lines: list[LogLine] = []
        size = 0
        while self._queue:
            item = self._queue[0]
            weight = len(msgspec.json.encode(item.payload)) if isinstance(item, EventIn) else len(item.line)
            if (events or lines) and size + weight > BATCH_BYTES:
                break
            if isinstance(item, EventIn):
                if lines or len(events) >= BATCH_EVENTS:
                    break
                events.append(item)
            else:
                if len(lines) >= BATCH_LINES:
                    break
                lines.append(item)
                self._lines -= 1
                self._bytes -= weight
            size += weight
            self._queue.popleft()
        if not len(self):
            self._something.clear()
        if self._lines < SOON_LINES and self._bytes < BATCH_BYTES:
            self._plenty.clear()
        return Batch(events=events, lines=lines)

    async def wait(self, timeout_s: float, gather_s: float) -> bool:
        """Until something waits, and then ``gather_s`` longer unless there is plenty. False: it timed out."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._something.wait()
        except TimeoutError:
            return False
        if not self._plenty.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(gather_s):
                    await self._plenty.wait()
        return True

    def _append(self, line: LogLine) -> None:
        self._queue.append(line)
        self._lines += 1
        self._bytes += len(line.line)

    def _settle_tail(self) -> None:
        """The tail follows its head, with a line between them that says what is missing."""
        if self._dropped:
            note = f"[{self._dropped} lines are not shown here: they came faster than they could be stored]"
            self._append(LogLine(stream=self._tail[0].stream if self._tail else "stdout", line=note))
            self._dropped = 0
        for line in self._tail:
            self._append(line)
        self._tail.clear()
        self._tail_bytes = 0
