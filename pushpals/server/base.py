"""The edge of every request: who may come in, what is in the body, how an answer looks.

A handler method says which right it needs (:func:`needs`); everything else happens here, in this order:
host, origin and query (:mod:`pushpals.server.door`), identity, right, XSRF, content type, size. A refused
request is read to its end (within a bound) before it is answered, because a socket closed on unread bytes
resets, and the caller would see a network error instead of the reason.

Errors are ``application/problem+json`` bodies (:class:`pushpals.protocol.errors.Problem`) without traces
or paths. Nothing is cached, nothing may be framed or sniffed, and no other origin may read an answer
unless the operator named it.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, TypeVar

from msgspec.structs import replace
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from pushpals.hub.hub import KEY_LENGTH, Hub
from pushpals.policy.roles import Right, may
from pushpals.protocol import wire
from pushpals.protocol.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    PushPalsError,
    TooLarge,
    Unauthenticated,
    problem,
)
from pushpals.protocol.ids import is_session_id
from pushpals.protocol.records import Actor
from pushpals.server import door
from pushpals.server.auth import HELP
from pushpals.server.login import xsrf
from pushpals.server.site import Site

T = TypeVar("T")
P = ParamSpec("P")
H = TypeVar("H", bound="Handler")

Need = Right | Literal["open", "any"]
"""A right, or ``open`` (nobody needs to say who they are), or ``any`` (every valid token)."""

COOKIE = "pushpals"
XSRF_HEADER = "X-XSRF-Token"
API_CSP = "default-src 'none'; frame-ancestors 'none'; sandbox"

_log = logging.getLogger(__name__)


def needs(
    *rights: Need,
) -> Callable[[Callable[Concatenate[H, P], Awaitable[None]]], Callable[Concatenate[H, P], Awaitable[None]]]:
    """Declare what a handler's method needs: one of these rights. Without it, it is not routed."""

    def mark(
        method: Callable[Concatenate[H, P], Awaitable[None]],
    ) -> Callable[Concatenate[H, P], Awaitable[None]]:
        @wraps(method)
        async def guarded(self: H, /, *args: P.args, **kwargs: P.kwargs) -> None:
            with self.site.working():
                try:
                    self.refuse_if_refused()
                    await method(self, *args, **kwargs)
                except PushPalsError as error:
                    self.refuse(error)

        guarded.rights = rights  # type: ignore[attr-defined]
        return guarded

    return mark


@stream_request_body
class Handler(RequestHandler):
    """The base of all handlers."""

    BODY: ClassVar[tuple[str, ...]] = ("application/json",)
    LANDING_PAGE: ClassVar[bool] = False
    TICKETS: ClassVar[bool] = False
    """Whether a ticket opens this, too."""

    def initialize(self, site: Site) -> None:
        self.site = site
        self.address = ""
        self.scheme = "http"
        self.cookie: str | None = None
        self.gone = asyncio.Event()
        self._actor: Actor | None = None
        self._refusal: PushPalsError | None = None
        self._body = bytearray()
        self._read = 0

    # --- coming in ----------------------------------------------------------------------------------

    async def prepare(self) -> None:
        for name, value in self._cors(self.site):
            self.set_header(name, value)
        try:
            self._come_in()
            await self._identify()
            self._check_body()
            await self.begin_body()
        except PushPalsError as error:
            self._refusal = error
            if self._announced() > self.body_limit() + self.site.options.drain_bytes:
                self.refuse(error)

    def _come_in(self) -> None:
        options, headers = self.site.options, self.request.headers
        peer = self.request.remote_ip or ""
        self.address = door.address_of(options, peer, headers)
        self.scheme = door.scheme_of(options, peer, headers)
        door.check(
            options,
            scheme=self.scheme,
            host=self.request.host,
            query=self.request.query,
            headers=headers,
            landing_page=self.LANDING_PAGE,
        )

    async def _identify(self) -> None:
        method = getattr(self, (self.request.method or "").lower(), None)
        rights: tuple[Need, ...] = getattr(method, "rights", ())
        if not rights or "open" in rights:
            return
        token = None
        header = self.request.headers.get("Authorization")
        if header is not None:
            kind, _, secret = header.partition(" ")
            if kind.lower() != "bearer":
                raise Unauthenticated(f"only bearer tokens are taken here; {HELP}", code="token.missing")
            token = await self.site.auth.token(secret.strip())
        elif (cookie := self.get_cookie(self.cookie_name)) is not None:
            token_id = await self.site.logins.find(cookie)
            token = await self.site.auth.by_id(token_id) if token_id else None
            if token is None:
                raise Unauthenticated("this login has ended; log in again", code="login.ended")
            self.cookie = cookie
        elif self.TICKETS and (ticket := self.get_query_argument("ticket", "")):
            token = await self.site.auth.by_id(
                self.site.tickets.use(ticket, self.path_args[0] or "", self.address)
            )
        if token is None:
            raise Unauthenticated(f"who are you? {HELP}", code="token.missing")
        method = "cookie" if self.cookie is not None else "bearer"
        self._actor = replace(token.actor, address=self.address, method=method)
        if not any(right == "any" or may(token.role, right) for right in rights):  # type: ignore[arg-type]
            raise Forbidden(
                f"a {token.role} token has no right to {' or '.join(rights)}", code="right.missing"
            )
        if self.cookie is not None and self.request.method not in door.SAFE:
            sent = self.request.headers.get(XSRF_HEADER, "")
            if not hmac.compare_digest(sent.encode(), xsrf(self.cookie).encode()):
                raise Forbidden(f"a request by cookie needs {XSRF_HEADER}", code="xsrf.missing")

    def _check_body(self) -> None:
        headers = self.request.headers
        if self.request.method in door.SAFE:
            return
        kind = headers.get("Content-Type")
        has_body = self._announced() > 0 or "Transfer-Encoding" in headers
        if (kind is not None or has_body) and (kind or "").split(";")[0].strip().lower() not in self.BODY:
            raise door.WrongType(f"send the body as {' or '.join(self.BODY)}")
        if "Content-Encoding" in headers:
            raise door.WrongType("compressed bodies are not taken", code="body.encoded")
        if self._announced() > self.body_limit():
            raise self._too_large()

    def _announced(self) -> int:
        length = self.request.headers.get("Content-Length", "0")
        return int(length) if length.isdigit() else 0

    def body_limit(self) -> int:
        return self.site.options.body_bytes

    def _too_large(self) -> TooLarge:
        return TooLarge(f"a body may have {self.body_limit()} bytes", code="body.too_large")

    async def begin_body(self) -> None:
        """Called when the request is let in, before its body arrives."""

    async def take(self, chunk: bytes) -> None:
        """A piece of the body of a request that was let in."""
        self._body += chunk

    async def data_received(self, chunk: bytes) -> None:
        self._read += len(chunk)
        if self._refusal is None:
            if self._read <= self.body_limit():
                try:
                    await self.take(chunk)
                except PushPalsError as error:
                    self._refusal = error
                return
            self._refusal = self._too_large()
            self._body.clear()
        if self._read > self.body_limit() + self.site.options.drain_bytes and not self._finished:
            self.refuse(self._refusal)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.gone.set()

    def refuse_if_refused(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    # --- what methods use ---------------------------------------------------------------------------

    @property
    def hub(self) -> Hub:
        return self.site.hub

    @property
    def actor(self) -> Actor:
        assert self._actor is not None, "an open method has no actor"
        return self._actor

    @property
    def key(self) -> str | None:
        """The idempotency key, if the caller sent one."""
        key = self.request.headers.get("Idempotency-Key")
        if key is not None and not (0 < len(key) <= KEY_LENGTH and key.isprintable()):
            raise BadRequest(
                f"an idempotency key is 1 to {KEY_LENGTH} printable characters", code="key.invalid"
            )
        return key

    def body(self, kind: type[T]) -> T:
        """The body, decoded; an empty one counts as ``{}``."""
        return wire.decode(bytes(self._body) or b"{}", kind)

    def session(self, raw: str) -> str:
        """A session id from the path: well formed, and not hidden from this token."""
        if not is_session_id(raw):
            raise BadRequest(
                "a session id is 1 to 64 characters out of a-z, A-Z, 0-9, '.', '_' and '-'",
                code="session.bad_id",
            )
        if not self.sees(raw):
            raise NotFound(
                f"there is no session {raw!r}; create it with POST /sessions", code="session.unknown"
            )
        return raw

    def readable(self, raw: str) -> str:
        """A session whose history this token may read.

        A worker or a pusher needs none to do its work, so it reads only those its token names.
        """
        session_id = self.session(raw)
        if self.actor.role in ("worker", "pusher") and self.actor.sessions is None:
            raise NotFound(
                f"there is no session {session_id!r} for a {self.actor.role} token that does not name it",
                code="session.unknown",
            )
        return session_id

    def sees(self, session_id: str) -> bool:
        return self.actor.sessions is None or session_id in self.actor.sessions

    def number(self, name: str, default: int, *, least: int = 0, most: int = 2**53) -> int:
        """A whole number from the query."""
        text = self.get_query_argument(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 16 and least <= int(text) <= most):
            raise BadRequest(
                f"`{name}` must be a whole number from {least} to {most}", code="query.bad_number"
            )
        return int(text)

    def text(self, name: str) -> str | None:
        """A text from the query; an empty one counts as none."""
        return self.get_query_argument(name, "", strip=False)[:1_000] or None

    def types(self) -> tuple[str, ...] | None:
        """``?types=a,b``."""
        names = self.text("types")
        return tuple(sorted({n for n in names.split(",") if n})) if names else None

    async def news(self, topic: str, ticket: int, timeout_s: float) -> bool:
        """Wait for news of a topic; ``False`` when the time is up, the caller left, or the hub stops."""
        if self.site.stopping or self.gone.is_set() or timeout_s <= 0:
            return False
        changed = asyncio.ensure_future(self.site.feed.topics.changed(topic, ticket, timeout_s))
        left = asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait({changed, left}, return_when=asyncio.FIRST_COMPLETED)
            return changed.done() and changed.result() and not self.gone.is_set() and not self.site.stopping
        finally:
            for task in (changed, left):
                task.cancel()

    # --- going out ----------------------------------------------------------------------------------

    @property
    def cookie_name(self) -> str:
        if self.scheme != "https":
            return COOKIE
        return f"__Secure-{COOKIE}" if self.site.prefix else f"__Host-{COOKIE}"

    @property
    def cookie_path(self) -> str:
        """Below a prefix the origin is shared with others, whom the cookie does not concern."""
        return f"{self.site.prefix}/"

    def set_login_cookie(self, cookie: str, max_age_s: float) -> None:
        self.set_cookie(
            self.cookie_name,
            cookie,
            path=self.cookie_path,
            max_age=int(max_age_s),
            httponly=True,
            samesite="Strict",
            secure=self.scheme == "https",
        )

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Content-Security-Policy", API_CSP)
        site: Site | None = getattr(self, "site", None)
        for name, value in self._cors(site):
            self.set_header(name, value)

    def _cors(self, site: Site | None) -> list[tuple[str, str]]:
        """Headers for an origin that the operator named, word for word; none for anybody else."""
        origin = self.request.headers.get("Origin")
        if site is None or not site.options.origins:
            return []
        if origin is None or origin not in site.options.origins:
            return [("Vary", "Origin")]
        return [
            ("Vary", "Origin"),
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", "Retry-After, X-Session-Epoch"),
            ("Cross-Origin-Resource-Policy", "cross-origin"),
        ]

    def reply(self, value: Any, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(wire.encode(value))

    def refuse(self, error: PushPalsError) -> None:
        """Answer with an error. Does nothing when an answer is on its way already."""
        if self._finished or self._headers_written:
            return
        self.clear()
        self.set_status(error.status)
        self.set_header("Content-Type", "application/problem+json")
        if error.retry_after is not None:
            self.set_header("Retry-After", str(max(1, round(error.retry_after))))
        if error.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        self.finish(wire.encode(problem(error)))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """What Tornado raises, in our words; a fault of ours says no more than that it is one."""
        cause = kwargs.get("exc_info", (None, None, None))[1]
        match status_code:
            case 404:
                error: PushPalsError = NotFound("there is nothing at this address", code="route.unknown")
            case 405:
                error = _NotAllowed("this address does not take that method")
            case 400:
                error = BadRequest("this request cannot be read", code="request.malformed")
            case _ if isinstance(cause, HTTPError) and 400 <= status_code < 500:
                error = BadRequest("this request cannot be served", code="request.refused")
            case _:
                error = PushPalsError("something broke inside the hub; its log says what")
        self.refuse(error)

    def compute_etag(self) -> None:
        return None

    def check_xsrf_cookie(self) -> None:
        """Ours is a header (see ``_identify``); an outer application's cookie check must not interfere."""

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, HTTPError):
            _log.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb))

    @needs("open")
    async def options(self, *_: str) -> None:
        """A preflight: answered for named origins only."""
        if self.request.headers.get("Origin") in self.site.options.origins:
            self.set_header("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT")
            self.set_header(
                "Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID"
            )
            self.set_header("Access-Control-Max-Age", "600")
        self.set_status(204)
        self.finish()


class Missing(Handler):
    """Every address that is not in the table."""

    @needs("open")
    async def get(self, *_: str) -> None:
        raise NotFound("there is nothing at this address", code="route.unknown")

    head = post = put = delete = patch = get


class _NotAllowed(PushPalsError):
    status, code = 405, "method.not_allowed"


def quiet_log(handler: RequestHandler) -> None:
    """The access log: never a query string, which may hold what should not be kept."""
    request: HTTPServerRequest = handler.request
    site: Site | None = getattr(handler, "site", None)
    if site is not None:
        route = type(handler).__doc__ or ""
        address = route.partition("``")[2].partition("``")[0] or type(handler).__name__
        site.requests.note(f"{request.method} {address}", handler.get_status(), request.request_time())
    level = logging.WARNING if handler.get_status() >= 500 else logging.DEBUG
    _log.log(
        level,
        "%d %s %s %s %.1fms",
        handler.get_status(),
        request.method,
        request.path,
        request.remote_ip,
        1000 * request.request_time(),
    )


__all__ = ["API_CSP", "Application", "Handler", "Missing", "Need", "needs", "quiet_log"]
