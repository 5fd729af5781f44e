"""The hub itself."""

from __future__ import annotations

from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import SystemStatus
from pushpals.protocol.events import PROTOCOL_VERSION
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing, Lane
from pushpals.protocol.records import Repository, Session, Worker
from pushpals.protocol.times import stamp
from pushpals.server.base import Handler, needs


class Health(Handler):
    """``/healthz``: that it lives and which protocol it speaks; nothing else is for everybody."""

    @needs("open")
    async def get(self) -> None:
        self.reply({"ok": True, "protocolVersion": PROTOCOL_VERSION})


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
                },
            )
        )
