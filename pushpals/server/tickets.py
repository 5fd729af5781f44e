"""Tickets: how a browser's EventSource, which cannot send a header, opens a stream without a secret in a URL.

256 random bits, good for 30 s, one use, and bound to the session, the token (and so its role) and the
address that asked for it. Only digests are kept, in memory: a restart voids them. The access log has no
query strings, so a ticket is in no log; and one that is found later opens nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from pushpals.protocol.errors import Unauthenticated

LIFE_S = 30.0
MOST = 10_000
"""Tickets open at once; the oldest gives way."""


class _Ticket(NamedTuple):
    session_id: str
    token_id: str
    address: str
    until: float


class Tickets:
    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self._open: OrderedDict[str, _Ticket] = OrderedDict()

    def new(self, session_id: str, token_id: str, address: str) -> str:
        """A ticket for one stream of this session."""
        secret = secrets.token_urlsafe(32)
        self._open[_digest(secret)] = _Ticket(session_id, token_id, address, self._now() + LIFE_S)
        while len(self._open) > MOST:
            self._open.popitem(last=False)
        return secret

    def use(self, secret: str, session_id: str, address: str) -> str:
        """The token id behind a ticket, once. A ticket that is shown in the wrong place is used up, too."""
        ticket = self._open.pop(_digest(secret), None)
        if (
            ticket is None
            or ticket.until <= self._now()
            or ticket.session_id != session_id
            or ticket.address != address
        ):
            raise Unauthenticated(
                "this ticket is used, too old, or for another session; ask for a new one",
                code="ticket.invalid",
            )
        return ticket.token_id


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
