"""The merge queue: landings and lanes."""

from __future__ import annotations

from msgspec.structs import replace

from pushpals.hub import landings, lanes, leasing
from pushpals.hub.of import Of
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import (
    CancelJob,
    LandingReply,
    Landings,
    Lanes,
    LeaseLane,
    Moved,
    MoveLanding,
    MoveLandings,
    NoteLanding,
    Ok,
    SetLaneMode,
    SubmitLanding,
)
from pushpals.protocol.errors import NotFound
from pushpals.protocol.landings import Landing, Lane
from pushpals.server.base import Handler, needs
from pushpals.server.handlers.lists import counts, filters, following, page


class LandingList(Handler):
    """``/landings``"""

    @needs("landing.submit")
    async def post(self) -> None:
        body = self.body(SubmitLanding)
        self.session(body.session_id)
        done = await self.hub.run(landings.submit, body, actor=self.actor, key=self.key, reply=LandingReply)
        self.reply(done, 201)

    @needs("landing.read")
    async def get(self) -> None:
        where = filters(self, {"lane": "lane", "jobId": "job_id", "branch": "branch", "head": "head"})
        found = await page(self, Landing, where)
        self.reply(
            Landings(
                items=found.items, next=following(found), counts=await counts(self, Landing, where, "state")
            )
        )


class OneLanding(Handler):
    """``/landings/:id``"""

    @needs("landing.read")
    async def get(self, landing_id: str) -> None:
        reader = self.hub.store.reader
        landing = await reader.get(Landing, landing_id)
        if landing is None or not self.sees(landing.session_id):
            raise NotFound(f"there is no landing {landing_id!r}", code="landing.unknown")
        approval = await reader.get(Approval, landing.approval_id) if landing.approval_id else None
        self.reply(LandingReply(landing=landing, approval=approval))


class LandingMove(Handler):
    """``/landings/:id/move``"""

    @needs("landing.work")
    async def post(self, landing_id: str) -> None:
        ask = Of(id=landing_id, body=self.body(MoveLanding))
        self.reply(await self.hub.run(landings.move, ask, actor=self.actor, key=self.key, reply=Landing))


class LandingNote(Handler):
    """``/landings/:id/note``"""

    @needs("landing.work")
    async def post(self, landing_id: str) -> None:
        ask = Of(id=landing_id, body=self.body(NoteLanding))
        self.reply(await self.hub.run(landings.note, ask, actor=self.actor, key=self.key, reply=Landing))


class LandingCancel(Handler):
    """``/landings/:id/cancel``"""

    @needs("landing.manage")
    async def post(self, landing_id: str) -> None:
        ask = Of(id=landing_id, body=self.body(CancelJob))
        self.reply(await self.hub.run(landings.cancel, ask, actor=self.actor, key=self.key, reply=Landing))


class LandingRetry(Handler):
    """``/landings/:id/retry``"""

    @needs("landing.manage")
    async def post(self, landing_id: str) -> None:
        ask = Of(id=landing_id, body=self.body(Ok))
        done = await self.hub.run(landings.retry, ask, actor=self.actor, key=self.key, reply=LandingReply)
        self.reply(done, 201)


class LaneList(Handler):
    """``/lanes``"""

    @needs("landing.read")
    async def get(self) -> None:
        self.reply(Lanes(items=await self.hub.store.reader.find(Lane)))


class LaneLease(Handler):
    """``/lanes/lease``: holds the request until the lane's work differs from ``seen``."""

    @needs("lane.lease")
    async def post(self) -> None:
        ask = self.body(LeaseLane)
        # A wait may not outlive the lease it is meant to keep.
        wait_s = min(ask.wait_s, self.site.options.wait_s, ask.lease_s / 2)
        until = self.site.monotonic() + wait_s
        while True:
            ticket = self.site.feed.topics.ticket("lanes")
            work = await leasing.lease_lane(self.hub, ask, actor=self.actor)
            if work.version != ask.seen:
                return self.reply(work)
            if not await self.news("lanes", ticket, until - self.site.monotonic()):
                return self.reply(work)
            ask = replace(ask, fence=work.lane.fence, head=None, facts={})


class LaneMoves(Handler):
    """``/lanes/moves``: several steps in one transaction."""

    @needs("landing.work")
    async def post(self) -> None:
        body = self.body(MoveLandings)
        self.reply(await self.hub.run(landings.move_all, body, actor=self.actor, key=self.key, reply=Moved))


class LaneModeOf(Handler):
    """``/lanes/mode``: a person's switch; the holder may say that main is red, and that it is not."""

    @needs("lane.manage", "lane.lease")
    async def post(self) -> None:
        body = self.body(SetLaneMode)
        self.reply(await self.hub.run(lanes.set_mode, body, actor=self.actor, key=self.key, reply=Lane))
