"""Questions to a person, and the answers."""

from __future__ import annotations

from typing import Any

from pushpals.hub import decisions
from pushpals.hub.of import Of
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import Approvals, Decide, Decided
from pushpals.protocol.errors import NotFound
from pushpals.server.base import Handler, needs


class ApprovalList(Handler):
    """``/approvals``"""

    @needs("approval.read")
    async def get(self) -> None:
        where: dict[str, Any] = {}
        state = self.get_query_argument("state", "open")
        if state:
            where["state"] = tuple(state.split(","))
        session_id = self.text("sessionId")
        if session_id is not None:
            where["session_id"] = self.session(session_id)
        elif self.actor.sessions is not None:
            where["session_id"] = tuple(self.actor.sessions)
        limit, skip = self.number("limit", 100, least=1, most=1_000), self.number("after", 0)
        found = await self.hub.store.reader.find(Approval, order=("-n",), limit=limit, skip=skip, **where)
        self.reply(Approvals(items=found, next=str(skip + limit) if len(found) == limit else None))


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
