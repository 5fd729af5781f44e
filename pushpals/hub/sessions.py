"""Sessions, messages and events that people and agents post."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pushpals.hub import approvals, jobs
from pushpals.hub.of import Of, sees, session_of
from pushpals.policy.roles import may_post
from pushpals.protocol.commands import (
    CreateSession,
    EventsPosted,
    Posted,
    PostEvent,
    PostEvents,
    PostMessage,
    SetMark,
)
from pushpals.protocol.errors import BadRequest, Forbidden, TooMany
from pushpals.protocol.events import JobLog, Message, ToolCall
from pushpals.protocol.ids import SYSTEM_SESSION, is_session_id
from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Mark, Session
from pushpals.protocol.times import stamp
from pushpals.protocol.wire import decode_payload, payload_from
from pushpals.store.base import Tx

MAX_SESSIONS = 100_000


class CreatedSession(Wire, frozen=True, kw_only=True, omit_defaults=False):
    session: Session
    new: bool


def create(tx: Tx, ask: CreateSession, now: datetime) -> CreatedSession:
    """Create or join. A missing or blank id asks for a fresh one."""
    wanted = ask.session_id
    if wanted is None or not wanted.strip():
        wanted = tx.new_id("session")
    if not is_session_id(wanted):
        raise BadRequest(
            "a session id is 1 to 64 characters out of a-z, A-Z, 0-9, '.', '_' and '-'", code="session.bad_id"
        )
    if not sees(tx.actor, wanted):
        raise Forbidden("this token is for other sessions", code="session.forbidden")
    known = tx.get(Session, wanted)
    if known is not None:
        return CreatedSession(session=known, new=False)
    if ask.capabilities is not None and tx.actor.role != "operator":
        raise Forbidden("only an operator sets what a session may do", code="session.capabilities")
    session = Session(
        id=wanted,
        created_at=stamp(now),
        label=ask.label,
        capabilities=ask.capabilities,
        epoch=tx.new_id("epoch"),
    )
    tx.put(session)
    return CreatedSession(session=session, new=True)


def message(tx: Tx, ask: Of[PostMessage], now: datetime) -> Posted:
    """A person wrote. Durable, on every stream, and answered at once; what follows is the buddy's."""
    session_of(tx, ask.id)
    _not_system(ask.id)
    if not ask.body.text.strip():
        raise BadRequest("the message is empty", code="message.empty")
    put = tx.append(ask.id, Message(text=ask.body.text, intent=ask.body.intent), to=ask.body.to)
    return Posted(event_id=put.event_id, cursor=put.cursor)


def command(tx: Tx, ask: Of[PostEvent], now: datetime) -> Posted:
    """An event of any type that the actor's role may emit; the payload is checked strictly."""
    session_of(tx, ask.id)
    _not_system(ask.id)
    body = ask.body
    payload = payload_from(body.type, body.payload)
    if not may_post(tx.actor.role, body.type):
        raise Forbidden(
            f"a {tx.actor.role} token may not post {body.type} events", code="event.forbidden", type=body.type
        )
    route: dict[str, Any] = {
        "to": body.to,
        "correlation_id": body.correlation_id,
        "turn_id": body.turn_id,
        "parent_id": body.parent_id,
        "trace_id": body.trace_id,
    }
    if isinstance(payload, JobLog):
        told = jobs.add_line(tx, ask.id, payload)
        return Posted(event_id=told.event_id, cursor=told.cursor)
    if isinstance(payload, ToolCall) and payload.requires_approval:
        approvals.open_for_tool_call(tx, ask.id, payload, now)
    put = tx.append(ask.id, payload, from_=_speaker(tx, body.from_), **route)
    return Posted(event_id=put.event_id, cursor=put.cursor)


def post_events(tx: Tx, ask: Of[PostEvents], now: datetime) -> EventsPosted:
    """Many events in one commit: all of them, next to each other, or none."""
    session_of(tx, ask.id)
    _not_system(ask.id)
    ids, cursor = [], 0
    for item in ask.body.events:
        if not may_post(tx.actor.role, item.type):
            # An unknown type is a bad request, whoever sends it.
            decode_payload(item.type, bytes(item.payload))
            raise Forbidden(
                f"a {tx.actor.role} token may not post {item.type} events", code="event.forbidden",
                type=item.type,
            )  # fmt: skip
        payload = decode_payload(item.type, bytes(item.payload))
        if isinstance(payload, ToolCall) and payload.requires_approval:
            approvals.open_for_tool_call(tx, ask.id, payload, now)
        put = tx.append(
            ask.id,
            payload,
            from_=_speaker(tx, item.from_),
            to=item.to,
            correlation_id=item.correlation_id,
            turn_id=item.turn_id,
            parent_id=item.parent_id,
            trace_id=item.trace_id,
        )
        ids.append(put.event_id)
        cursor = put.cursor
    return EventsPosted(event_ids=ids, cursor=cursor)


def set_mark(tx: Tx, ask: Of[SetMark], now: datetime) -> Mark:
    """Remember how far a reader is. ``id`` is ``<session>/<reader>``; a mark never goes back."""
    session_id, _, reader = ask.id.rpartition("/")
    session = session_of(tx, session_id)
    if not reader or len(reader) > 64:
        raise BadRequest("a reader's name is 1 to 64 characters", code="mark.bad_reader")
    if ask.body.cursor > session.last:
        raise BadRequest("a mark cannot be ahead of the history", code="mark.ahead", last=session.last)
    known = tx.get(Mark, ask.id)
    if known is None and tx.count(Mark, "session_id", session_id=session_id).get(session_id, 0) >= 1_000:
        raise TooMany("this session has 1,000 readers already", code="mark.too_many")
    if known is not None and known.cursor >= ask.body.cursor and not ask.body.data:
        return known
    mark = Mark(
        id=ask.id,
        session_id=session_id,
        reader=reader,
        cursor=max(ask.body.cursor, known.cursor if known else 0),
        updated_at=stamp(now),
        data=ask.body.data,
    )
    tx.put(mark)
    return mark


def _speaker(tx: Tx, claimed: str | None) -> str:
    """Who speaks. An agent may name itself within its role; the role itself is not for the asking."""
    own = tx.actor.name
    if claimed is None:
        return own
    kind = own.partition(":")[0]
    return claimed if claimed.partition(":")[0] == kind and len(claimed) <= 100 else own


def _not_system(session_id: str) -> None:
    if session_id == SYSTEM_SESSION:
        raise Forbidden("the hub's own session is read-only", code="session.read_only")
