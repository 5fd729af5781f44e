"""A command about one thing that a path names."""

from __future__ import annotations

from typing import Generic, TypeVar

from pushpals.protocol.errors import NotFound
from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Actor, Session
from pushpals.store.base import Tx

B = TypeVar("B")


class Of(Wire, Generic[B], frozen=True, kw_only=True):
    """``body`` applied to the thing called ``id``."""

    id: str
    body: B


def sees(actor: Actor, session_id: str) -> bool:
    return actor.sessions is None or session_id in actor.sessions


def session_of(tx: Tx, session_id: str) -> Session:
    """The session, if it exists and the actor may see it. Both failures look the same from outside."""
    session = tx.get(Session, session_id) if sees(tx.actor, session_id) else None
    if session is None:
        raise NotFound(
            f"there is no session {session_id!r}; create it with POST /sessions", code="session.unknown"
        )
    return session
