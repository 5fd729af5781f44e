"""A browser's way in: a token or a one-time code is exchanged for a cookie.

The cookie is 256 random bits; only its digest is kept, in a small file, so that a restart logs nobody out
and a logout is final. A login names the token it came from: when that is revoked, the login is dead. The
XSRF token is derived from the cookie, so the page can ask for it and another site cannot.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec

from pushpals.protocol.errors import TooMany
from pushpals.protocol.jobs import Wire
from pushpals.protocol.times import Clock, parse_stamp, stamp

IDLE = timedelta(days=3)
ABSOLUTE = timedelta(days=30)
MAX_LOGINS = 500
CODE_LIFE = timedelta(minutes=10)
CODE_TRIES = 10
_CODE_ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"


class Login(Wire, frozen=True, kw_only=True):
    digest: str
    token_id: str
    created_at: str
    seen_at: str


class Logins:
    """The open logins, newest last. The oldest gives way when there are too many."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._saving = asyncio.Lock()
        self._open: OrderedDict[str, Login] = OrderedDict((x.digest, x) for x in _load(path))

    async def open(self, token_id: str) -> str:
        """A fresh cookie value for the holder of a token."""
        secret = secrets.token_urlsafe(32)
        now = stamp(self._clock())
        login = Login(digest=_digest(secret), token_id=token_id, created_at=now, seen_at=now)
        self._open[login.digest] = login
        while len(self._open) > MAX_LOGINS:
            self._open.popitem(last=False)
        await self._save()
        return secret

    async def find(self, secret: str) -> str | None:
        """The token id behind a cookie, if its login is still open."""
        login = self._open.get(_digest(secret))
        if login is None:
            return None
        now = self._clock()
        if now - parse_stamp(login.created_at) > ABSOLUTE or now - parse_stamp(login.seen_at) > IDLE:
            del self._open[login.digest]
            await self._save()
            return None
        if now - parse_stamp(login.seen_at) > timedelta(hours=1):
            self._open[login.digest] = msgspec.structs.replace(login, seen_at=stamp(now))
            await self._save()
        return login.token_id

    async def close(self, secret: str) -> None:
        """Log out. An unknown cookie is out already."""
        if self._open.pop(_digest(secret), None) is not None:
            await self._save()

    async def _save(self) -> None:
        if self._path is None:
            return
        async with self._saving:
            data = msgspec.json.encode(list(self._open.values()))
            await asyncio.to_thread(_replace, self._path, data)


class Codes:
    """One-time codes that stand for a token: ten minutes, one use, and few wrong tries for all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, tuple[str, str]] = {}
        self._wrong = 0

    def new(self, token_id: str) -> str:
        """A code to type into the login page, e.g. ``K7QD-2MXW-94HT``."""
        letters = "".join(secrets.choice(_CODE_ALPHABET) for _ in range(12))
        code = f"{letters[:4]}-{letters[4:8]}-{letters[8:]}"
        if len(self._open) >= 100:
            del self._open[next(iter(self._open))]
        self._open[_digest(_plain(code))] = (token_id, stamp(self._clock() + CODE_LIFE))
        self._wrong = 0
        return code

    def use(self, code: str) -> str | None:
        """The token id, once. After ten wrong tries every open code is void."""
        found = self._open.pop(_digest(_plain(code)), None)
        if found is None:
            self._wrong += 1
            if self._wrong >= CODE_TRIES:
                self._open.clear()
            return None
        token_id, until = found
        return token_id if parse_stamp(until) > self._clock() else None


class Tries:
    """At most ``limit`` failed logins a minute from one address."""

    def __init__(self, monotonic: Callable[[], float], limit: int = 10, window_s: float = 60.0) -> None:
        self._monotonic = monotonic
        self._limit = limit
        self._window_s = window_s
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises :class:`TooMany` when this address has to wait."""
        failed = self._recent(address)
        if len(failed) >= self._limit:
            wait = max(1.0, failed[0] + self._window_s - self._monotonic())
            raise TooMany(
                "too many failed logins from this address; wait a minute",
                code="login.too_many",
                retry_after=float(round(wait)),
            )

    def failed(self, address: str) -> None:
        failed = self._recent(address)
        failed.append(self._monotonic())
        self._failed[address] = failed
        while len(self._failed) > 10_000:
            self._failed.popitem(last=False)

    def _recent(self, address: str) -> deque[float]:
        failed = self._failed.get(address, deque())
        while failed and failed[0] <= self._monotonic() - self._window_s:
            failed.popleft()
        return failed


def xsrf(cookie: str) -> str:
    """The value that unsafe requests by cookie must send back in ``X-XSRF-Token``."""
    return hmac.new(cookie.encode(), b"pushpals.xsrf.v1", "sha256").hexdigest()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _plain(code: str) -> str:
    return "".join(code.upper().split()).replace("-", "")


def _load(path: Path | None) -> list[Login]:
    if path is None:
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Login])
    except (FileNotFoundError, msgspec.DecodeError):
        return []


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
