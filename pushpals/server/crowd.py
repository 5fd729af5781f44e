"""All live readers of a session that owe nothing and want everything: one loop of ``send`` for each commit.

A thousand readers are a thousand objects, and looking into each to find its cursor costs more than handing
its socket the bytes. Members of a crowd are all at the same cursor, so that one number stands for all, and
a delivery touches nothing but the socket. Who cannot take a whole chunk at once leaves the crowd with what
it is owed, follows the feed by itself, and comes back when it has caught up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pushpals.hub.feed import Batch, Feed
from pushpals.store.base import StoredEvent

Send = Callable[[bytes], int]


class Member(Protocol):
    """A reader in a crowd."""

    def fell_behind(self, cursor: int, chunk: bytes, sent: int) -> None:
        """Only ``sent`` bytes of ``chunk`` went out, or none and the connection is gone (-1)."""


class Crowd:
    """The readers of one session with one framing."""

    def __init__(
        self,
        feed: Feed,
        session_id: str,
        wrap: Callable[[bytes], bytes],
        encode: Callable[[Sequence[StoredEvent]], bytes],
    ) -> None:
        self._feed = feed
        self._session_id = session_id
        self._wrap = wrap
        self._encode = encode
        self._members: dict[Member, Send] = {}
        self.at = 0
        """The cursor of every member."""

    def __len__(self) -> int:
        return len(self._members)

    def enter(self, member: Member, send: Send, cursor: int) -> bool:
        """Come in, if everybody here is where ``member`` is."""
        if not self._members:
            if not self._feed.join(self._session_id, self, cursor):
                return False
            self.at = cursor
        elif cursor != self.at:
            return False
        self._members[member] = send
        return True

    def leave(self, member: Member) -> None:
        """Go. May be called twice."""
        if self._members.pop(member, None) is not None and not self._members:
            self._feed.leave(self._session_id, self)

    def deliver(self, batch: Batch) -> None:
        """From the feed."""
        if batch.last <= self.at:
            return
        if batch.first == self.at + 1:
            chunk = batch.once(self._wrap, lambda events: self._wrap(self._encode(events)))
        else:
            # Whoever came first had read ahead of the feed.
            chunk = self._wrap(self._encode([event for event in batch.events if event.cursor > self.at]))
        self.at, size = batch.last, len(chunk)
        behind: list[tuple[Member, int]] = []
        for member, send in self._members.items():
            try:
                sent = send(chunk)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                sent = -1
            if sent != size:
                behind.append((member, sent))
        for member, sent in behind:
            self.leave(member)
            member.fell_behind(batch.last, chunk, sent)
