"""Who is asking: a bearer token becomes a :class:`Token` record, or nobody.

The secret is looked up by the id inside it and compared by digest, in constant time. Looked-up records are
kept for a while; any ``token_changed`` event empties that memory before the write that caused it returns,
so a revoked token is refused from the next request on.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from pushpals.hub.feed import Batch, Feed
from pushpals.hub.tokens import digest, split
from pushpals.protocol.errors import Unauthenticated
from pushpals.protocol.ids import SYSTEM_SESSION
from pushpals.protocol.records import Token
from pushpals.protocol.times import Clock, parse_stamp
from pushpals.store.base import Reader

KEPT = 1_024

HELP = "send `Authorization: Bearer <token>`; `pushpals token new` makes one"


class Auth:
    """Looks tokens up. One per hub."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._known: OrderedDict[str, Token] = OrderedDict()
        self.outside: Callable[[str], Awaitable[Token | None]] | None = None
        """Who else may know a bearer token that is none of ours, e.g. a JupyterHub."""

    def follow(self, feed: Feed) -> None:
        """Hear of tokens that change. Joins at the newest cursor: nothing is known yet."""
        joined = feed.join(SYSTEM_SESSION, self, feed.last(SYSTEM_SESSION))
        assert joined

    def deliver(self, batch: Batch) -> None:
        if any(event.type == "token_changed" for event in batch.events):
            self._known.clear()

    async def token(self, secret: str) -> Token:
        """The token with this secret; raises :class:`Unauthenticated` for every kind of wrong one."""
        parts = split(secret)
        if parts is None and self.outside is not None and (known := await self.outside(secret)) is not None:
            return known
        token = await self.by_id(parts[1]) if parts is not None else None
        if token is None or parts is None or not hmac.compare_digest(token.digest, digest(secret)):
            raise Unauthenticated(f"this token is unknown, expired or revoked; {HELP}", code="token.invalid")
        if token.role != parts[0]:
            raise Unauthenticated(f"this token is unknown, expired or revoked; {HELP}", code="token.invalid")
        return token

    async def by_id(self, token_id: str) -> Token | None:
        """The token, if it works now."""
        token = self._known.get(token_id)
        if token is None:
            token = await self._reader.get(Token, token_id)
            if token is None:
                return None
            self._known[token_id] = token
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        if token.revoked_at is not None:
            return None
        if token.expires_at is not None and parse_stamp(token.expires_at) <= self._clock():
            return None
        return token
