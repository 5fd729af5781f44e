"""The Jupyter server extension: the hub of this person, under Jupyter's own origin.

::

    GET  <base>/pushpals/hub          which hub, or a sentence why there is none
    *    <base>/pushpals/api/<path>   that request to the hub, with the person's token

It is no general proxy: it reaches one hub, which the server's configuration, its environment or the running
``pushpals up`` names and no request can, and there only the addresses of :mod:`pushpals.client.passing`.

Who may use it is Jupyter's to say: login, XSRF and origin checks as for every API of the server, and its
authorizer, asked about the resource ``pushpals``. The hub's token stays in this process. One that came by
``PUSHPALS_TOKEN`` is taken out of the environment, because kernels inherit that; they get a notebook token,
which decides nothing.

What that does not keep out: a script that runs in the Jupyter page, such as an output that a cell displays,
acts as the person there. ``PushPals.decisions = False`` leaves looking and talking here and moves approvals
to the hub's own page, which is another origin.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.extension.handler import ExtensionHandlerMixin
from tornado import web
from tornado.iostream import StreamClosedError
from traitlets import Bool, Unicode

from pushpals.client import HubClient
from pushpals.client.discovery import Found, NothingFound, find
from pushpals.client.hub import trust
from pushpals.client.passing import ANSWERED, ASKED, BODY_BYTES, allowed, decides, query_of
from pushpals.config import ConfigError
from pushpals.protocol.commands import NewToken
from pushpals.protocol.errors import Problem, PushPalsError
from pushpals.protocol.jobs import Wire

CONNECT_S = 5.0
ANSWER_S = 75.0
"""Longer than the hub's longest wait (60 s), and than three heartbeats of a stream."""
KERNEL_TOKEN_S = 12 * 3600.0


class Connection(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """``GET /pushpals/hub``. ``why`` is a sentence for people where ``ok`` is false."""

    ok: bool
    session: str
    decisions: bool
    origin: str | None = None
    url: str | None = None
    fingerprint: str | None = None
    """The same for the same hub; a widget compares it with what its kernel found."""
    role: str | None = None
    label: str | None = None
    why: str | None = None


class PushPals(ExtensionApp):
    """Traits are set in ``jupyter_server_config``, e.g. ``c.PushPals.hub_url = "http://127.0.0.1:3001"``."""

    name = "pushpals"
    load_other_extensions = True
    description = "Push Pals in JupyterLab and notebooks."

    hub_url = Unicode("", help="The hub. Default: PUSHPALS_URL, else the `pushpals up` that runs here.").tag(
        config=True
    )
    token_file = Unicode(
        "", help="A file with the person's token. Default: PUSHPALS_TOKEN, else as above."
    ).tag(config=True)
    decisions = Bool(True, help="Whether approvals can be decided in Jupyter.").tag(config=True)
    open_console = Bool(False, help="Open the console when JupyterLab is opened.").tag(config=True)

    def initialize_settings(self) -> None:
        self._environment = dict(os.environ)
        self._http: httpx.AsyncClient | None = None
        keep_from_kernels(os.environ)
        self.settings["pushpals"] = self
        if self.open_console:
            self.settings.setdefault("page_config_data", {})["pushpalsOpen"] = "true"

    def initialize_handlers(self) -> None:
        self.handlers.extend([(r"/pushpals/hub", HubHandler, {}), (r"/pushpals/api/(.*)", ProxyHandler, {})])

    async def _start_jupyter_server_extension(self, _serverapp: Any) -> None:
        await self.give_kernels_a_token()

    async def stop_extension(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    def hub(self) -> Found:
        """The hub as of now; raises :class:`NothingFound` or ``ConfigError``."""
        token = None
        if self.token_file:
            try:
                token = Path(self.token_file).expanduser().read_text("ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise NothingFound(f"PushPals.token_file cannot be read: {error}") from None
        return find(
            "operator", env=self._environment, start=self.start_folder, url=self.hub_url or None, token=token
        )

    @property
    def start_folder(self) -> Path:
        return Path(getattr(self.serverapp, "root_dir", "") or ".")

    @property
    def http(self) -> httpx.AsyncClient:
        """One pool for all. It follows no redirect: an answer may not lead it anywhere else."""
        if self._http is None:
            self._http = httpx.AsyncClient(
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=200, max_keepalive_connections=10),
                follow_redirects=False,
                trust_env=False,
                verify=trust("https:"),
            )
        return self._http

    async def give_kernels_a_token(self) -> None:
        """Where the person's token came by the environment, kernels get one of their own by the same way."""
        if not self._environment.get("PUSHPALS_TOKEN") or "PUSHPALS_TOKEN" in os.environ:
            return
        with contextlib.suppress(NothingFound, ConfigError, PushPalsError, httpx.HTTPError, TimeoutError):
            found = self.hub()
            async with asyncio.timeout(CONNECT_S), HubClient(found.url, found.token) as hub:
                made = await hub.new_token(NewToken(role="notebook", label="kernel", ttl_s=KERNEL_TOKEN_S))
            os.environ["PUSHPALS_URL"] = found.url
            os.environ["PUSHPALS_TOKEN"] = made.secret


def keep_from_kernels(environment: MutableMapping[str, str]) -> None:
    """Take a token that may decide out of what kernels inherit. A notebook's may stay."""
    if not environment.get("PUSHPALS_TOKEN", "pp_notebook_").startswith("pp_notebook_"):
        del environment["PUSHPALS_TOKEN"]


class _Handler(ExtensionHandlerMixin, APIHandler):
    auth_resource = "pushpals"
    SUPPORTED_METHODS = ("GET", "POST", "PUT", "OPTIONS")

    @property
    def app(self) -> PushPals:
        app = self.settings["pushpals"]
        assert isinstance(app, PushPals)
        return app

    def refuse(self, status: int, code: str, sentence: str) -> None:
        """Answer as the hub would, so that every reader of its answers understands it."""
        self.set_status(status)
        self.finish(msgspec.json.encode(Problem(error=sentence, code=code, errors=[sentence])))


class HubHandler(_Handler):
    """``/pushpals/hub``"""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.finish(msgspec.json.encode(await self._look()))

    async def _look(self) -> Connection:
        decisions = self.app.decisions
        try:
            found = self.app.hub()
        except (NothingFound, ConfigError) as error:
            return Connection(ok=False, session="dev", decisions=decisions, why=str(error))
        seen = Connection(
            ok=False,
            session=found.session_id,
            decisions=decisions,
            origin=found.origin,
            url=found.url,
            fingerprint=found.fingerprint,
        )
        if found.token is None:
            return msgspec.structs.replace(
                seen, why=f"{found.origin} names a hub, but no token for it; set PUSHPALS_TOKEN"
            )
        try:
            answer = await self.app.http.get(
                f"{found.url}/login", headers={"Authorization": f"Bearer {found.token}"}, timeout=CONNECT_S
            )
            who = answer.json()
        except (httpx.HTTPError, ValueError):
            return msgspec.structs.replace(seen, why=away(found))
        if answer.status_code != 200:
            why = f"the hub refuses this server's token: {who.get('error', answer.status_code)}"
            return msgspec.structs.replace(seen, why=why)
        return msgspec.structs.replace(seen, ok=True, role=who.get("role"), label=who.get("label"))


class ProxyHandler(_Handler):
    """``/pushpals/api/...``"""

    _track_activity = False  # a stream left open must not keep an idle server from its end
    _copying: asyncio.Task[None] | None = None

    @web.authenticated
    @authorized
    async def get(self, path: str) -> None:
        await self._pass_on("GET", path)

    @web.authenticated
    @authorized
    async def post(self, path: str) -> None:
        await self._pass_on("POST", path)

    @web.authenticated
    @authorized
    async def put(self, path: str) -> None:
        await self._pass_on("PUT", path)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._copying is not None:
            self._copying.cancel()

    async def _pass_on(self, method: str, path: str) -> None:
        address = allowed(method, path)
        if address is None:
            self.refuse(
                403, "proxy.not_allowed", f"{method} /{path} is not passed on to the hub from Jupyter"
            )
            return
        if not self.app.decisions and decides(method, address):
            self.refuse(
                403, "proxy.no_decisions", "approvals are not decided in this Jupyter; use the hub's own page"
            )
            return
        if len(self.request.body) > BODY_BYTES:
            self.refuse(413, "body.too_large", f"a body may have {BODY_BYTES} bytes")
            return
        try:
            found = self.app.hub()
        except (NothingFound, ConfigError) as error:
            self.refuse(502, "proxy.no_hub", str(error))
            return
        self._copying = asyncio.create_task(self._copy(found, method, address), name=f"pushpals {address}")
        with contextlib.suppress(asyncio.CancelledError):
            await self._copying

    async def _copy(self, found: Found, method: str, address: str) -> None:
        headers = {name: self.request.headers[name] for name in ASKED if name in self.request.headers}
        headers |= {"Accept-Encoding": "identity", "User-Agent": "pushpals-jupyter"}
        if found.token:
            headers["Authorization"] = f"Bearer {found.token}"
        query = query_of(self.request.query)
        url = f"{found.url}/{address}" + (f"?{query}" if query else "")
        try:
            async with self.app.http.stream(
                method, url, headers=headers, content=self.request.body if method != "GET" else None
            ) as answer:
                if answer.status_code == 401:
                    # A 401 would tell the page that its own login to Jupyter has ended.
                    self.refuse(502, "proxy.token", "the hub refuses the token of this Jupyter server")
                    return
                self.set_status(answer.status_code)
                for name in ANSWERED:
                    if name in answer.headers:
                        self.set_header(name, answer.headers[name])
                await self.flush()
                async for chunk in answer.aiter_raw():
                    self.write(chunk)
                    await self.flush()
            self.finish(set_content_type=answer.headers.get("Content-Type", "application/json"))
        except StreamClosedError:
            return
        except httpx.HTTPError:
            if not self._headers_written:
                self.clear()
                self.refuse(502, "proxy.away", away(found))
                return
            # The status is out: only a cut tells the reader that this is not the end.
            if self.request.connection is not None:
                self.request.connection.stream.close()  # type: ignore[attr-defined]


def away(found: Found) -> str:
    return f"the hub at {found.url} does not answer; if it should run here, start it with: pushpals up"
