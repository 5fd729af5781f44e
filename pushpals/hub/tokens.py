"""Credentials: made, hashed, shown once, revoked.

A secret is ``pp_<role>_<id>_<43 characters>`` with 256 random bits. A fast hash is enough for random keys;
what is stored cannot be turned back into a token.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from msgspec.structs import replace

from pushpals.hub.of import Of
from pushpals.protocol.commands import NewToken, Ok, TokenMade
from pushpals.protocol.errors import Conflict, Forbidden, NotFound, TooMany
from pushpals.protocol.events import TokenChanged
from pushpals.protocol.ids import SYSTEM_SESSION
from pushpals.protocol.records import ROLES, Role, Token
from pushpals.protocol.times import stamp
from pushpals.store.base import Tx

MAX_TOKENS = 5_000
ID_LENGTH = 12


def make(tx: Tx, ask: NewToken, now: datetime) -> TokenMade:
    """A fresh token. Run it without an idempotency key: remembered answers would hold the secret."""
    if sum(tx.count(Token, "role").values()) >= MAX_TOKENS:
        raise TooMany("there are 5,000 tokens; revoke some", code="token.too_many")
    if tx.actor.sessions is not None and not (
        ask.sessions is not None and set(ask.sessions) <= set(tx.actor.sessions)
    ):
        raise Forbidden(
            "your token is for some sessions only; name some of them for the new one", code="token.sessions"
        )
    token_id = tx.new_id("t").replace("-", "")[-ID_LENGTH:]
    secret = f"pp_{ask.role}_{token_id}_{secrets.token_urlsafe(32)}"
    token = Token(
        id=token_id,
        role=ask.role,
        digest=digest(secret),
        created_at=stamp(now),
        label=ask.label,
        sessions=ask.sessions,
        expires_at=stamp(now + timedelta(seconds=ask.ttl_s)) if ask.ttl_s else None,
    )
    tx.put(token)
    tx.append(
        SYSTEM_SESSION,
        TokenChanged(token_id=token_id, role=token.role, change="created", label=token.label or None),
    )
    return TokenMade(token=replace(token, digest=""), secret=secret)


def revoke(tx: Tx, ask: Of[Ok], now: datetime) -> Token:
    """The token stops working at once, open streams included. The last operator's cannot be revoked."""
    token = tx.get(Token, ask.id)
    if token is None:
        raise NotFound(
            f"there is no token {ask.id!r}; `pushpals token list` shows them", code="token.unknown"
        )
    if token.revoked_at is None:
        others = [t for t in tx.scan(Token, role="operator") if t.revoked_at is None and t.id != token.id]
        if token.role == "operator" and not others:
            raise Conflict("this is the last operator's token; make another first", code="token.last")
        token = replace(token, revoked_at=stamp(now))
        tx.put(token)
        tx.append(
            SYSTEM_SESSION,
            TokenChanged(token_id=token.id, role=token.role, change="revoked", label=token.label or None),
        )
    return replace(token, digest="")


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def split(secret: str) -> tuple[Role, str] | None:
    """``(role, id)`` of a well-formed token, or ``None``."""
    parts = secret.split("_", 3)
    if len(parts) != 4 or parts[0] != "pp" or len(parts[3]) != 43:
        return None
    for role in ROLES:
        if parts[1] == role:
            return role, parts[2]
    return None
