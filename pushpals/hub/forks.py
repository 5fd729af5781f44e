"""A new session that begins where another one stood: the same conversation up to a cursor, then its own.

What was said and planned is taken over, with its ids, times and speakers. Jobs, approvals and landings are
not: they belong to the session in which a person asked for them, and must not happen twice. Every reader of
the old session has read the new one up to the fork, so that nobody answers an old message again.
"""

from __future__ import annotations

from datetime import datetime

from pushpals.hub import sessions
from pushpals.hub.of import Of, session_of
from pushpals.protocol.commands import CreateSession, ForkSession
from pushpals.protocol.errors import BadRequest, Conflict, NotFound, TooLarge
from pushpals.protocol.events import Event
from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Mark, Session
from pushpals.protocol.times import stamp
from pushpals.protocol.wire import read_event
from pushpals.store.base import Reader, Tx

CONVERSATION: tuple[str, ...] = (
    "message", "assistant_message", "error", "task_created", "task_started", "task_progress",
    "task_completed", "task_failed", "plan_made", "suggestions", "scan_result", "diff_ready",
)  # fmt: skip
"""Event types that a fork takes over."""

MAX_EVENTS = 5_000
"""Events that one fork takes over: they go into one commit."""


class Fork(Wire, frozen=True, kw_only=True):
    """A fork with what it takes over, as it was read. What is committed does not change, so reading it
    before the transaction is as good as within it."""

    ask: ForkSession
    events: list[Event]


async def gather(reader: Reader, session_id: str, ask: ForkSession) -> Of[Fork]:
    """Read what the fork takes over."""
    session = await reader.get(Session, session_id)
    if session is None:
        raise NotFound(f"there is no session {session_id!r}", code="session.unknown")
    if ask.cursor > session.last:
        raise BadRequest("this cursor is ahead of the history", code="fork.ahead", last=session.last)
    if 0 < ask.cursor < session.first - 1:
        raise Conflict("the history up to this cursor is not kept", code="fork.pruned", first=session.first)
    stored = await reader.events(session_id, limit=MAX_EVENTS + 1, types=CONVERSATION)
    stored = [event for event in stored if event.cursor <= ask.cursor]
    if len(stored) > MAX_EVENTS:
        raise TooLarge(f"a fork takes over at most {MAX_EVENTS} events", code="fork.too_large")
    return Of(id=session_id, body=Fork(ask=ask, events=[read_event(e.data, e.cursor) for e in stored]))


def fork(tx: Tx, ask: Of[Fork], now: datetime) -> sessions.CreatedSession:
    """Make the new session. Its id must be new, too."""
    session_of(tx, ask.id)
    wanted = ask.body.ask
    label = wanted.label or f"{ask.id} from {wanted.cursor}"
    made = sessions.create(tx, CreateSession(session_id=wanted.session_id, label=label), now)
    if not made.new:
        raise Conflict(f"there is a session {made.session.id!r} already; name another", code="session.exists")
    new = made.session.id
    last = 0
    for event in ask.body.events:
        last = tx.adopt(new, event).cursor
    for mark in tx.find(Mark, session_id=ask.id):
        tx.put(
            Mark(id=f"{new}/{mark.reader}", session_id=new, reader=mark.reader, cursor=last,
                 updated_at=stamp(now))
        )  # fmt: skip
    session = tx.get(Session, new)
    assert session is not None
    return sessions.CreatedSession(session=session, new=True)
