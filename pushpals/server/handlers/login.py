"""Logging a browser in and out."""

from __future__ import annotations

import msgspec

from pushpals.hub import tokens
from pushpals.protocol.commands import PairDevice
from pushpals.protocol.errors import BadRequest, Unauthenticated
from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Token
from pushpals.server.base import XSRF_HEADER, Handler, needs
from pushpals.server.login import ABSOLUTE, xsrf


class LogIn(Wire, frozen=True, kw_only=True):
    """``POST /login``: a token, or a one-time code that the hub printed."""

    token: str | None = None
    code: str | None = None


class LoggedIn(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """Who is logged in. ``xsrf`` goes back in the header of every write."""

    role: str
    label: str
    xsrf: str | None
    sessions: list[str] | None = None
    xsrf_header: str = msgspec.field(default=XSRF_HEADER, name="xsrfHeader")
    ok: bool = True


class Login(Handler):
    """``/login``"""

    @needs("open")
    async def post(self) -> None:
        self.site.tries.check(self.address)
        body = self.body(LogIn)
        token = await self._who(body)
        old = self.get_cookie(self.cookie_name)
        if old is not None:
            await self.site.logins.close(old)
        cookie = await self.site.logins.open(token.id)
        self.set_login_cookie(cookie, ABSOLUTE.total_seconds())
        self.reply(LoggedIn(role=token.role, label=token.label, xsrf=xsrf(cookie), sessions=token.sessions))

    @needs("any")
    async def get(self) -> None:
        actor = self.actor
        self.reply(
            LoggedIn(
                role=actor.role,
                label=actor.label,
                xsrf=xsrf(self.cookie) if self.cookie else None,
                sessions=actor.sessions,
            )
        )

    async def _who(self, body: LogIn) -> Token:
        if (body.token is None) == (body.code is None):
            raise BadRequest("send a `token` or a `code`", code="login.empty")
        try:
            if body.token is not None:
                return await self.site.auth.token(body.token.strip())
            token = await self._by_code(body.code or "")
            if token is None:
                raise Unauthenticated("this code is wrong, used or too old", code="login.bad_code")
            return token
        except Unauthenticated:
            self.site.tries.failed(self.address)
            raise

    async def _by_code(self, code: str) -> Token | None:
        """The token behind a one-time code: the operator's own, or a fresh one for a paired device."""
        paired = self.site.pairings.take(code)
        if paired is not None:
            ask, by = paired
            made = await self.hub.run(tokens.make, ask, actor=by)
            return await self.site.auth.by_id(made.token.id)
        token_id = self.site.codes.use(code)
        if token_id is None:
            self.site.pairings.missed()
            return None
        return await self.site.auth.by_id(token_id)


class PairingList(Handler):
    """``/pairings``"""

    @needs("token.manage")
    async def post(self) -> None:
        # No idempotency key: a remembered answer would keep the code.
        self.reply(self.site.pairings.new(self.body(PairDevice), self.actor), 201)


class Logout(Handler):
    """``/logout``"""

    @needs("any")
    async def post(self) -> None:
        if self.cookie is not None:
            await self.site.logins.close(self.cookie)
            self.clear_cookie(self.cookie_name, path=self.cookie_path)
        self.reply({"ok": True})
