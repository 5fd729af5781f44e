"""Logging a browser in and out."""

from __future__ import annotations

import msgspec

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
        self.set_cookie(
            self.cookie_name,
            cookie,
            path="/",
            max_age=int(ABSOLUTE.total_seconds()),
            httponly=True,
            samesite="Strict",
            secure=self.scheme == "https",
        )
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
            token_id = self.site.codes.use(body.code or "")
            token = await self.site.auth.by_id(token_id) if token_id else None
            if token is None:
                raise Unauthenticated("this code is wrong, used or too old", code="login.bad_code")
            return token
        except Unauthenticated:
            self.site.tries.failed(self.address)
            raise


class Logout(Handler):
    """``/logout``"""

    @needs("any")
    async def post(self) -> None:
        if self.cookie is not None:
            await self.site.logins.close(self.cookie)
            self.clear_cookie(self.cookie_name, path="/")
        self.reply({"ok": True})
