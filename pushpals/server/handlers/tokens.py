"""Credentials. Only an operator gets here."""

from __future__ import annotations

from msgspec.structs import replace

from pushpals.hub import tokens
from pushpals.hub.of import Of
from pushpals.protocol.commands import NewToken, Ok, Tokens
from pushpals.protocol.records import Token
from pushpals.server.base import Handler, needs
from pushpals.server.handlers.lists import MAX_PAGE, counts, following, page


class TokenList(Handler):
    """``/tokens``"""

    @needs("token.manage")
    async def get(self) -> None:
        role = self.text("role")
        where = {"role": role} if role else {}
        found = await page(self, Token, where, default=MAX_PAGE)
        self.reply(
            Tokens(
                items=[replace(token, digest="") for token in found.items],
                next=following(found),
                counts=await counts(self, Token, where, "role"),
            )
        )

    @needs("token.manage")
    async def post(self) -> None:
        # No idempotency key: a remembered answer would keep the secret.
        self.reply(await self.hub.run(tokens.make, self.body(NewToken), actor=self.actor), 201)


class TokenRevoke(Handler):
    """``/tokens/:id/revoke``"""

    @needs("token.manage")
    async def post(self, token_id: str) -> None:
        ask = Of(id=token_id, body=self.body(Ok))
        self.reply(await self.hub.run(tokens.revoke, ask, actor=self.actor, key=self.key, reply=Token))
