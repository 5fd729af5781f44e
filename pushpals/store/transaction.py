"""What all engines' transactions have in common: who, when, and how an event is made.

An engine adds the records, the answers, and where a session's chain ends (``_end``, ``_extend``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from pushpals.protocol.errors import NotFound
from pushpals.protocol.events import Event, Payload
from pushpals.protocol.ids import Ids
from pushpals.protocol.records import Actor
from pushpals.protocol.times import stamp
from pushpals.protocol.wire import envelope_bytes
from pushpals.store.base import Appended, Head, StoredEvent
from pushpals.store.chain import link


class End(NamedTuple):
    """The end of a session's history. ``row`` is the session's number in the engine."""

    row: int
    last: int
    head: bytes


class Transaction(ABC):
    def __init__(self, *, actor: Actor, now: datetime, new_id: Ids) -> None:
        self.actor = actor
        self.now = now
        self.new_id = new_id
        self._stamp: str | None = None

    @property
    def stamp(self) -> str:
        """``now`` as it is written, made once."""
        if self._stamp is None:
            self._stamp = stamp(self.now)
        return self._stamp

    def append(
        self,
        session_id: str,
        payload: Payload,
        *,
        from_: str | None = None,
        to: str | None = None,
        correlation_id: str | None = None,
        turn_id: str | None = None,
        parent_id: str | None = None,
        trace_id: str | None = None,
    ) -> Appended:
        return self._append(
            Event(
                cursor=0,
                id=self.new_id("evt"),
                ts=self.stamp,
                session_id=session_id,
                payload=payload,
                trace_id=trace_id,
                from_=self.actor.name if from_ is None else from_,
                to=to,
                correlation_id=correlation_id,
                parent_id=parent_id,
                turn_id=turn_id,
            )
        )

    def adopt(self, session_id: str, event: Event) -> Appended:
        return self._append(replace(event, session_id=session_id))

    def _append(self, event: Event) -> Appended:
        end = self._end(event.session_id)
        if end is None:
            raise NotFound(f"there is no session {event.session_id!r}", code="session.unknown")
        cursor = end.last + 1
        data = envelope_bytes(event)
        self._extend(
            End(end.row, cursor, link(end.head, data)),
            StoredEvent(session_id=event.session_id, cursor=cursor, type=event.payload.TYPE, data=data),
        )
        return Appended(cursor=cursor, event_id=event.id)

    def head(self, session_id: str) -> Head | None:
        end = self._end(session_id)
        return None if end is None else Head(cursor=end.last, digest=end.head.hex())

    @abstractmethod
    def _end(self, session_id: str) -> End | None:
        """Where the session's history ends, appended events included."""
        ...

    @abstractmethod
    def _extend(self, end: End, event: StoredEvent) -> None:
        """Make ``event`` the end of its session's history."""
        ...
