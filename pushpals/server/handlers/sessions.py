"""Sessions: create, look, post, remember how far one read."""

from __future__ import annotations

from typing import Any

import msgspec

from pushpals.hub import forks, retention, sessions
from pushpals.hub.hub import SYSTEM
from pushpals.hub.jobs import Tick
from pushpals.hub.of import Of
from pushpals.hub.snapshot import snapshot
from pushpals.hub.upkeep import index
from pushpals.protocol.commands import (
    CreateSession,
    Entry,
    EventsPosted,
    ForkSession,
    Found,
    History,
    Posted,
    PostEvent,
    PostEvents,
    PostMessage,
    Pruned,
    PruneSession,
    SessionCreated,
    Sessions,
    SetMark,
    TicketMade,
)
from pushpals.protocol.errors import BadRequest, NotFound
from pushpals.protocol.events import PROTOCOL_VERSION
from pushpals.protocol.records import Mark, Session
from pushpals.server.base import Handler, needs
from pushpals.server.handlers.lists import MAX_PAGE, counts, following, page
from pushpals.server.live import find_session
from pushpals.server.sse import MAX_SESSIONS, EventStream, ManyStream
from pushpals.server.tickets import LIFE_S

INDEX_ROUNDS = 20
"""How much a search takes in before it looks, in thousands of events; upkeep does the rest."""


class SessionList(Handler):
    """``/sessions``"""

    @needs("session.create")
    async def post(self) -> None:
        made = await self.hub.run(
            sessions.create,
            self.body(CreateSession),
            actor=self.actor,
            key=self.key,
            reply=sessions.CreatedSession,
        )
        reply = SessionCreated(
            session_id=made.session.id, protocol_version=PROTOCOL_VERSION, cursor=made.session.last
        )
        self.reply(reply, 201 if made.new else 200)

    @needs("session.read")
    async def get(self) -> None:
        only = self.actor.sessions
        if only is None and self.actor.role in ("worker", "pusher"):
            only = []
        where: dict[str, Any] = {} if only is None else {"id": tuple(only)}
        found = await page(self, Session, where)
        total = await counts(self, Session, where, "created_at")
        self.reply(
            Sessions(
                items=found.items,
                next=following(found),
                total=None if total is None else sum(total.values()),
            )
        )


class OneSession(Handler):
    """``/sessions/:id``"""

    @needs("session.read")
    async def get(self, session_id: str) -> None:
        self.reply(await snapshot(self.hub.store.reader, self.readable(session_id)))


class SessionEvents(Handler):
    """``/sessions/:id/events``: the stream, as server-sent events."""

    TICKETS = True

    @needs("session.read")
    async def get(self, session_id: str) -> None:
        session = await find_session(self.site, self.readable(session_id))
        stream = EventStream(
            self.site,
            session,
            self.actor.token_id,
            self.types(),
            http_1_1=self.request.version != "HTTP/1.0",
        )
        head = await self.hub.store.reader.head(session.id)
        if head is not None:
            # A device that keeps it is a witness: see `pushpals audit verify --witness`.
            self.set_header("X-Audit-Head", f"{head.cursor}:{head.digest}")
        after, epoch = self._resume(), self.text("epoch")
        self.clear_header("Content-Type")
        headers = list(self._headers.get_all())
        self.site.streams.add(stream)
        try:
            stream.attach(self.detach(), headers)
            await stream.run(session, after, epoch)
        finally:
            stream.end("failed")

    @needs("event.post")
    async def post(self, session_id: str) -> None:
        ask = Of(id=self.session(session_id), body=self.body(PostEvents))
        self.site.rates.take(self.actor.token_id, len(ask.body.events))
        self.reply(
            await self.hub.run(sessions.post_events, ask, actor=self.actor, key=self.key, reply=EventsPosted)
        )

    def _resume(self) -> int:
        """``Last-Event-ID`` wins over ``?after``: a browser keeps the URL and moves the header."""
        last = self.request.headers.get("Last-Event-ID", "").strip()
        if last.isascii() and last.isdigit() and len(last) <= 16:
            return int(last)
        return self.number("after", 0)


class ManyEvents(Handler):
    """``/events``: the streams of several sessions in one connection."""

    @needs("session.read")
    async def get(self) -> None:
        names = list(dict.fromkeys((self.text("session") or "").split(",")))
        if len(names) > MAX_SESSIONS or not all(names):
            raise BadRequest(
                f"`session` names 1 to {MAX_SESSIONS} sessions: ?session=a,b", code="stream.sessions"
            )
        found = [await find_session(self.site, self.readable(name)) for name in names]
        stream = ManyStream(
            self.site, found, self.actor.token_id, self.types(), http_1_1=self.request.version != "HTTP/1.0"
        )
        position = self.request.headers.get("Last-Event-ID", "").strip() or self.text("after") or ""
        after = {name: number(value) for name, value in vector(position).items()}
        epochs = vector(self.text("epoch") or "")
        self.clear_header("Content-Type")
        headers = list(self._headers.get_all())
        self.site.streams.add(stream)
        try:
            stream.attach(self.detach(), headers)
            await stream.run(after, epochs)
        finally:
            stream.end("failed")


class SessionTickets(Handler):
    """``/sessions/:id/tickets``"""

    @needs("session.read")
    async def post(self, session_id: str) -> None:
        session = await find_session(self.site, self.readable(session_id))
        ticket = self.site.tickets.new(session.id, self.actor.token_id, self.address)
        self.reply(TicketMade(ticket=ticket, expires_in_s=LIFE_S), 201)


class SessionSearch(Handler):
    """``/sessions/:id/search``"""

    @needs("session.read")
    async def get(self, session_id: str) -> None:
        session = await find_session(self.site, self.readable(session_id))
        query = self.text("q")
        if query is None:
            raise BadRequest("say what to look for: ?q=words", code="search.empty")
        limit = self.number("limit", 50, least=1, most=MAX_PAGE)
        before = self.number("before", 0) or None
        for _ in range(INDEX_ROUNDS):
            if not await self.hub.run(index, Tick(), actor=SYSTEM):
                break
        found = await self.hub.store.reader.search(
            session.id, query, before=before, limit=limit, types=self.types()
        )
        self.reply(
            Found(
                items=[Entry(cursor=e.cursor, envelope=msgspec.Raw(e.data)) for e in found],
                next=found[-1].cursor if len(found) == limit else None,
            )
        )


class SessionFork(Handler):
    """``/sessions/:id/fork``"""

    @needs("session.create")
    async def post(self, session_id: str) -> None:
        ask = self.body(ForkSession)
        gathered = await forks.gather(self.hub.store.reader, self.readable(session_id), ask)
        made = await self.hub.run(
            forks.fork, gathered, actor=self.actor, key=self.key, reply=sessions.CreatedSession
        )
        reply = SessionCreated(
            session_id=made.session.id, protocol_version=PROTOCOL_VERSION, cursor=made.session.last
        )
        self.reply(reply, 201)


class SessionPrune(Handler):
    """``/sessions/:id/prune``"""

    @needs("session.prune")
    async def post(self, session_id: str) -> None:
        ask = Of(id=self.session(session_id), body=self.body(PruneSession))
        erased = 0
        while True:
            done = await self.hub.run(retention.prune, ask, actor=self.actor)
            erased += done.erased
            if not done.erased:
                break
        self.reply(Pruned(session=done.session, erased=erased))


class SessionHistory(Handler):
    """``/sessions/:id/history``: a page of the past."""

    @needs("session.read")
    async def get(self, session_id: str) -> None:
        session = await find_session(self.site, self.readable(session_id))
        after = self.number("after", 0)
        limit = self.number("limit", 500, least=1, most=MAX_PAGE)
        events = await self.hub.store.reader.events(session.id, after=after, limit=limit, types=self.types())
        self.reply(
            History(
                items=[Entry(cursor=e.cursor, envelope=msgspec.Raw(e.data)) for e in events],
                next=events[-1].cursor if len(events) == limit else None,
                last=max(session.last, events[-1].cursor if events else 0),
            )
        )


class SessionMessage(Handler):
    """``/sessions/:id/message``"""

    @needs("message.post")
    async def post(self, session_id: str) -> None:
        ask = Of(id=self.session(session_id), body=self.body(PostMessage))
        self.site.rates.take(self.actor.token_id)
        self.reply(await self.hub.run(sessions.message, ask, actor=self.actor, key=self.key, reply=Posted))


class SessionCommand(Handler):
    """``/sessions/:id/command``"""

    @needs("event.post")
    async def post(self, session_id: str) -> None:
        ask = Of(id=self.session(session_id), body=self.body(PostEvent))
        self.site.rates.take(self.actor.token_id)
        self.reply(await self.hub.run(sessions.command, ask, actor=self.actor, key=self.key, reply=Posted))


class SessionMark(Handler):
    """``/sessions/:id/marks/:reader``"""

    @needs("session.read")
    async def get(self, session_id: str, reader: str) -> None:
        session = await find_session(self.site, self.session(session_id))
        mark = await self.hub.store.reader.get(Mark, f"{session.id}/{reader}")
        if mark is None:
            raise NotFound(f"{reader!r} has not read this session", code="mark.unknown")
        self.reply(mark)

    @needs("mark.set")
    async def put(self, session_id: str, reader: str) -> None:
        ask = Of(id=f"{self.session(session_id)}/{_reader(reader)}", body=self.body(SetMark))
        self.reply(await self.hub.run(sessions.set_mark, ask, actor=self.actor, key=self.key, reply=Mark))


def vector(text: str) -> dict[str, str]:
    """``a:120,b:7`` taken apart; what is no such pair is refused."""
    pairs = [part.rpartition(":") for part in text.split(",") if part]
    if not all(name and value for name, _, value in pairs):
        raise BadRequest("a position is `session:cursor,session:cursor`", code="query.bad_position")
    return {name: value for name, _, value in pairs}


def number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise BadRequest("a position is `session:cursor,session:cursor`", code="query.bad_position")
    return int(text)


def _reader(name: str) -> str:
    # The hub takes a mark's id apart at its last slash.
    return "" if "/" in name else name
