"""Questions to a person, the answers, and their use."""

from __future__ import annotations

from pushpals.hub import decisions, grants
from pushpals.hub.of import Of
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import (
    Approvals,
    AskApproval,
    Decide,
    Decided,
    RevokeApproval,
    UseApproval,
)
from pushpals.protocol.errors import Conflict, NotFound
from pushpals.protocol.jobs import Job
from pushpals.server.base import Handler, needs
from pushpals.server.handlers.lists import counts, filters, following, page


class ApprovalList(Handler):
    """``/approvals``"""

    @needs("approval.read")
    async def get(self) -> None:
        where = filters(self, {"jobId": "job_id", "landingId": "landing_id"}, state="open")
        found = await page(self, Approval, where)
        self.reply(
            Approvals(
                items=found.items, next=following(found), counts=await counts(self, Approval, where, "state")
            )
        )

    @needs("approval.ask")
    async def post(self) -> None:
        asked = await self.hub.run(
            grants.ask, self.body(AskApproval), actor=self.actor, key=self.key, reply=Approval
        )
        self.reply(Decided(approval=asked), 201)


class OneApproval(Handler):
    """``/approvals/:id``. ``?waitS=`` with ``?not=<state>`` waits until the state is another one."""

    @needs("approval.read", "approval.ask")
    async def get(self, approval_id: str) -> None:
        wait_s = self.number("waitS", 0, most=60)
        old = self.text("not")
        until = self.site.monotonic() + min(float(wait_s), self.site.options.wait_s)
        while True:
            ticket = self.site.feed.topics.ticket("approvals")
            approval = await self._find(approval_id)
            left = until - self.site.monotonic()
            if approval.state != old or not await self.news("approvals", ticket, left):
                return self.reply(approval)

    @needs("approval.decide")
    async def post(self, approval_id: str) -> None:
        ask = Of(id=approval_id, body=self.body(Decide))
        decided = await self.hub.run(decisions.decide, ask, actor=self.actor, key=self.key, reply=Approval)
        self.reply(Decided(approval=decided))

    async def _find(self, approval_id: str) -> Approval:
        reader = self.hub.store.reader
        approval = await reader.get(Approval, approval_id)
        if approval is not None and self.sees(approval.session_id):
            if self.actor.role != "worker":
                return approval
            # A worker sees the questions of the job that it holds, and no others.
            job = await reader.get(Job, approval.job_id) if approval.job_id else None
            if job is not None and job.token_id == self.actor.token_id:
                return approval
        raise NotFound(f"there is no approval {approval_id!r}", code="approval.unknown")


class ApprovalUse(Handler):
    """``/approvals/:id/consume``"""

    @needs("approval.ask")
    async def post(self, approval_id: str) -> None:
        ask = Of(id=approval_id, body=self.body(UseApproval))
        used = await self.hub.run(grants.use, ask, actor=self.actor, key=self.key, reply=grants.Used)
        if not used.ok:
            raise Conflict(used.why, code=used.code, state=used.approval.state)
        self.reply(Decided(approval=used.approval))


class ApprovalRevoke(Handler):
    """``/approvals/:id/revoke``"""

    @needs("approval.decide")
    async def post(self, approval_id: str) -> None:
        ask = Of(id=approval_id, body=self.body(RevokeApproval))
        gone = await self.hub.run(grants.revoke, ask, actor=self.actor, key=self.key, reply=Approval)
        self.reply(Decided(approval=gone))
