"""The audit trail's head, for whoever wants to be its witness."""

from __future__ import annotations

from pushpals.protocol.commands import AuditHead
from pushpals.protocol.errors import NotFound
from pushpals.server.base import Handler, needs


class Head(Handler):
    """``/audit/head``"""

    @needs("session.read")
    async def get(self) -> None:
        notary = self.site.notary
        if not notary.public_key:
            raise NotFound("this hub keeps no checkpoints", code="audit.none")
        session_id = self.text("sessionId")
        head = None
        if session_id is not None:
            head = await self.hub.store.reader.head(self.readable(session_id))
        last = notary.last
        self.reply(
            AuditHead(
                key_id=notary.key_id,
                public_key=notary.public_key,
                checkpoint=last.n if last else 0,
                checkpoint_at=last.at if last else None,
                checkpoint_hash=last.digest if last else None,
                session_id=session_id,
                cursor=head.cursor if head else None,
                digest=head.digest if head else None,
            )
        )
