"""Pairing: a one-time code that gives one device a token of its own.

An operator asks for a code; whoever types it (or scans it) first, within ten minutes, gets a login with a
fresh token of the role, sessions and lifetime that the operator chose. The token is listed under the device's
name and revoked like any other, and its secret exists nowhere: the device holds a login's cookie.

Codes live in memory: a restart of the hub voids them. After ten wrong tries every open code is void.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from datetime import datetime, timedelta

import msgspec

from pushpals.protocol.commands import NewToken, PairDevice, Pairing
from pushpals.protocol.errors import Forbidden
from pushpals.protocol.records import Actor
from pushpals.protocol.times import Clock, stamp

CODE_LIFE = timedelta(minutes=10)
CODE_TRIES = 10
MAX_CODES = 100
_ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
CODE_LENGTH = 12
"""Of 30 letters: 58 bits, guessed ten times at most."""


class _Open(msgspec.Struct, frozen=True, kw_only=True):
    token: NewToken
    by: Actor
    until: datetime


class Pairings:
    """The open codes of one hub."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._wrong = 0

    def new(self, ask: PairDevice, by: Actor) -> Pairing:
        """A fresh code. The device gets no more sessions than whoever asks has."""
        sessions = ask.sessions if ask.sessions is not None else by.sessions
        if by.sessions is not None and not set(sessions or ()) <= set(by.sessions):
            raise Forbidden("a device cannot see sessions that you do not see", code="pairing.sessions")
        letters = "".join(secrets.choice(_ALPHABET) for _ in range(CODE_LENGTH))
        code = f"{letters[:4]}-{letters[4:8]}-{letters[8:]}"
        until = self._clock() + CODE_LIFE
        token = NewToken(role=ask.role, label=ask.label, sessions=sessions, ttl_s=ask.ttl_s)
        self._open[_digest(code)] = _Open(token=token, by=by, until=until)
        while len(self._open) > MAX_CODES:
            self._open.popitem(last=False)
        self._wrong = 0
        return Pairing(code=code, expires_at=stamp(until), role=ask.role, label=ask.label)

    def take(self, code: str) -> tuple[NewToken, Actor] | None:
        """What the code stands for and who made it, once."""
        found = self._open.pop(_digest(code), None)
        if found is None or found.until <= self._clock():
            return None
        return found.token, found.by

    def missed(self) -> None:
        """Somebody tried a code that there is not."""
        self._wrong += 1
        if self._wrong >= CODE_TRIES:
            self._open.clear()


def _digest(code: str) -> str:
    plain = "".join(code.upper().split()).replace("-", "")
    return hashlib.sha256(plain.encode()).hexdigest()
