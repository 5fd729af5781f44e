"""Sessions: create, look, post, remember how far one read."""

from __future__ import annotations

import msgspec

from pushpals.hub import sessions
from pushpals.hub.of import Of
from pushpals.hub.snapshot import snapshot
from pushpals.protocol.commands import (
    CreateSession,
    Entry,
    EventsPosted,
    History,
    Posted,
    PostEvent,
    PostEvents,
    PostMessage,
    SessionCreated,
    Sessions,
    SetMark,
)
from pushpals.protocol.errors import NotFound
from pushpals.protocol.events import PROTOCOL_VERSION
from pushpals.protocol.records import Mark, Session
from pushpals.server.base import Handler, needs
from pushpals.server.live import find_session
from pushpals.server.sse import EventStream

MAX_PAGE = 1_000


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
        limit, skip = self.number("limit", 100, least=1, most=MAX_PAGE), self.number("after", 0)
        reader, only = self.hub.store.reader, self.actor.sessions
        if only is None and self.actor.role in ("worker", "pusher"):
            only = []
        if only is None:
            found = await reader.find(Session, order=("-created_at", "n"), limit=limit, skip=skip)
            following = str(skip + limit) if len(found) == limit else None
        else:
            named = [await reader.get(Session, name) for name in only[skip : skip + limit]]
            found = [session for session in named if session is not None]
            following = str(skip + limit) if len(only) > skip + limit else None
        self.reply(Sessions(items=found, next=following))


class OneSession(Handler):
    """``/sessions/:id``"""

    @needs("session.read")
    async def get(self, session_id: str) -> None:
        self.reply(await snapshot(self.hub.store.reader, self.readable(session_id)))


class SessionEvents(Handler):
    """``/sessions/:id/events``: the stream, as server-sent events."""

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


def _reader(name: str) -> str:
    # The hub takes a mark's id apart at its last slash.
    return "" if "/" in name else name
