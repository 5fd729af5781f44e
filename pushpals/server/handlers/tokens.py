"""Credentials. Only an operator gets here."""

from __future__ import annotations

from msgspec.structs import replace

from pushpals.hub import tokens
from pushpals.hub.of import Of
from pushpals.protocol.commands import NewToken, Ok, Tokens
from pushpals.protocol.records import Token
from pushpals.server.base import Handler, needs


class TokenList(Handler):
    """``/tokens``"""

    @needs("token.manage")
    async def get(self) -> None:
        found = await self.hub.store.reader.find(Token, limit=1_000)
        self.reply(Tokens(items=[replace(token, digest="") for token in found]))

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
