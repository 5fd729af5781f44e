"""The hub itself."""

from __future__ import annotations

from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import SystemStatus
from pushpals.protocol.errors import Unavailable
from pushpals.protocol.events import PROTOCOL_VERSION
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing, Lane
from pushpals.protocol.records import Repository, Session, Worker
from pushpals.protocol.times import stamp
from pushpals.server import metrics
from pushpals.server.base import Handler, needs
from pushpals.server.readiness import dead, unready


class Health(Handler):
    """``/healthz``: that it lives and which protocol it speaks; nothing else is for everybody."""

    @needs("open")
    async def get(self) -> None:
        if dead(self.site) is not None:
            raise Unavailable("the hub makes no progress; restart it", code="hub.stuck")
        self.reply({"ok": True, "protocolVersion": PROTOCOL_VERSION})


class Ready(Handler):
    """``/readyz``: that requests are of use now."""

    @needs("open")
    async def get(self) -> None:
        why = unready(self.site)
        if why is not None:
            raise Unavailable(why, code="hub.not_ready", retry_after=2.0)
        self.reply({"ok": True})


class Metrics(Handler):
    """``/metrics``"""

    @needs("status.read")
    async def get(self) -> None:
        body = await metrics.text(self.site)
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        self.finish(body)


class OpenApi(Handler):
    """``/openapi.json``"""

    @needs("any")
    async def get(self) -> None:
        # Made when asked for: the table of routes names this very handler.
        from pushpals.server.openapi import document

        self.reply(document(self.hub.version))


class Status(Handler):
    """``/system/status``"""

    @needs("status.read")
    async def get(self) -> None:
        hub, reader = self.hub, self.hub.store.reader
        approvals = await reader.count(Approval, "state", state="open")
        sessions = await reader.count(Session, "created_at")
        self.reply(
            SystemStatus(
                version=hub.version,
                protocol_version=PROTOCOL_VERSION,
                started_at=hub.started_at,
                now=stamp(hub.clock()),
                sessions=sum(sessions.values()),
                events=await reader.total_events(),
                jobs=await reader.count(Job, "state"),
                landings=await reader.count(Landing, "state"),
                approvals_open=sum(approvals.values()),
                workers=await reader.find(Worker, order=("-seen_at", "n"), limit=1_000),
                lanes=await reader.find(Lane),
                repositories=await reader.find(Repository),
                streams=len(self.site.streams),
                data={
                    "streamsDropped": dict(self.site.streams.dropped),
                    "eventsPublished": self.site.feed.published,
                    "writer": hub.store.health(),
                    "ready": unready(self.site) or "yes",
                },
                last_day=await hub.figures.last_day(hub.clock()),
            )
        )
