"""Questions to a person, and the answers."""

from __future__ import annotations

from pushpals.hub import decisions
from pushpals.hub.of import Of
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import Approvals, Decide, Decided
from pushpals.protocol.errors import NotFound
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


class OneApproval(Handler):
    """``/approvals/:id``"""

    @needs("approval.read")
    async def get(self, approval_id: str) -> None:
        approval = await self.hub.store.reader.get(Approval, approval_id)
        if approval is None or not self.sees(approval.session_id):
            raise NotFound(f"there is no approval {approval_id!r}", code="approval.unknown")
        self.reply(approval)

    @needs("approval.decide")
    async def post(self, approval_id: str) -> None:
        ask = Of(id=approval_id, body=self.body(Decide))
        decided = await self.hub.run(decisions.decide, ask, actor=self.actor, key=self.key, reply=Approval)
        self.reply(Decided(approval=decided))
