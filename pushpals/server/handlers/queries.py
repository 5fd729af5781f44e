"""The history, asked in SQL."""

from __future__ import annotations

import asyncio

from pushpals.protocol.commands import Query, Rows
from pushpals.server.base import Handler, needs
from pushpals.server.live import find_session


class _Asking(Handler):
    async def answer(self, session_id: str | None) -> None:
        """Answer, unless the caller leaves first: then its question ends."""
        asked = asyncio.ensure_future(
            self.site.queries.ask(self.body(Query), actor=self.actor, session_id=session_id)
        )
        left = asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait({asked, left}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                rows: Rows = asked.result()
                self.reply(rows)
        finally:
            for task in (asked, left):
                task.cancel()
            await asyncio.gather(asked, left, return_exceptions=True)


class AskAll(_Asking):
    """``/query``: over every session that the token may see."""

    @needs("data.query")
    async def post(self) -> None:
        await self.answer(None)


class AskSession(_Asking):
    """``/sessions/:id/query``: over one session."""

    @needs("data.query")
    async def post(self, session_id: str) -> None:
        session = await find_session(self.site, self.readable(session_id))
        await self.answer(session.id)
