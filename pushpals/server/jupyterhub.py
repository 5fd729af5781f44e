"""The hub as a managed service of a JupyterHub: ``python -m pushpals.server.jupyterhub``.

::

    browser ── /services/pushpals/ ── OAuth with JupyterHub ──▶ our cookie, with the role of the person's groups
    kernel  ── Authorization: Bearer $JUPYTERHUB_API_TOKEN ───▶ the role ``notebook``, whatever the groups are

A person needs a group that has a role here (:class:`Groups`); without one nothing is let in. Each person is
a token record of ours, named like them, so what they do stands in the audit trail under their name. Its
secret is thrown away: the only ways in are JupyterHub's. Groups are looked at anew every minute; whoever
lost theirs, or is gone, is logged out everywhere.

A kernel's token is JupyterHub's own. It counts only with the scope to access this service, and it never
becomes more than a notebook: it cannot decide, even when its person can.

The cookie is for our path only, because other people's servers share the origin. That keeps it from them,
but not their pages from ours: with people who do not trust each other, give each a host name of their own
(JupyterHub's ``subdomain_host``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

import httpx
import msgspec
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from msgspec.structs import replace
from tornado.web import Application, RequestHandler, authenticated

from pushpals.hub import tokens
from pushpals.hub.hub import SYSTEM, Hub
from pushpals.hub.of import Of
from pushpals.protocol.commands import NewToken, Ok
from pushpals.protocol.errors import PushPalsError
from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Role, Token
from pushpals.server import door
from pushpals.server.app import Service, make_app, start_service
from pushpals.server.base import COOKIE, needs
from pushpals.server.handlers.page import Page
from pushpals.server.login import ABSOLUTE
from pushpals.server.site import Options, Site
from pushpals.store.sqlite import open_store

REVIEW_S = 60.0
"""How long somebody who lost their groups may still be in, in seconds."""

Way = Literal["browser", "kernel"]

_log = logging.getLogger(__name__)


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """Which groups of JupyterHub may do what here. ``*`` means everybody who may use the service."""

    operators: frozenset[str] = frozenset()
    viewers: frozenset[str] = frozenset()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Groups:
        """``PUSHPALS_OPERATORS`` and ``PUSHPALS_VIEWERS``, names of groups with commas between them."""

        def names(variable: str) -> frozenset[str]:
            return frozenset(filter(None, (name.strip() for name in env.get(variable, "").split(","))))

        return cls(operators=names("PUSHPALS_OPERATORS"), viewers=names("PUSHPALS_VIEWERS"))

    def role(self, groups: frozenset[str], way: Way) -> Role | None:
        """The role of somebody in these groups, or None for nobody of ours."""
        everybody = groups | {"*"}
        if everybody & self.operators:
            return "operator" if way == "browser" else "notebook"
        if everybody & self.viewers:
            return "viewer"
        return None


class _Known(Wire, frozen=True, kw_only=True):
    """Which token record stands for a person who came a certain way."""

    name: str
    way: Way
    role: Role
    token_id: str


class People:
    """JupyterHub's people as token records of ours. ``groups_of`` raises ``LookupError`` for who is gone."""

    def __init__(self, hub: Hub, groups: Groups, path: Path, jupyterhub: JupyterHub):
        self._hub = hub
        self._groups = groups
        self._path = path
        self._jupyterhub = jupyterhub
        self._known: dict[tuple[str, Way], _Known] = {}
        self._turn = asyncio.Lock()
        with contextlib.suppress(OSError, msgspec.DecodeError):
            for one in msgspec.json.decode(path.read_bytes(), type=list[_Known]):
                self._known[one.name, one.way] = one

    async def token(self, name: str, way: Way) -> Token | None:
        """The record that stands for a person who came this way; None when nothing is for them here."""
        async with self._turn:
            return await self._token(name, way)

    async def kernel(self, secret: str) -> Token | None:
        """The record for a bearer token of JupyterHub; None for one that does not count."""
        name = await self._jupyterhub.name_of(secret)
        return await self.token(name, "kernel") if name is not None else None

    async def review(self) -> None:
        """Look at everybody's groups again, and end what is no longer due."""
        for name, way in list(self._known):
            await self.token(name, way)

    async def _token(self, name: str, way: Way) -> Token | None:
        try:
            role = self._groups.role(await self._jupyterhub.groups_of(name), way)
        except LookupError:
            role = None
        known = self._known.get((name, way))
        if known is not None:
            found = await self._hub.store.reader.get(Token, known.token_id)
            if found is not None and found.revoked_at is None and found.role == role:
                return found
            with contextlib.suppress(PushPalsError):
                await self._hub.run(tokens.revoke, Of(id=known.token_id, body=Ok()), actor=SYSTEM)
            del self._known[name, way]
        if role is None:
            await self._save()
            return None
        made = await self._hub.run(tokens.make, NewToken(role=role, label=name[:100]), actor=SYSTEM)
        self._known[name, way] = _Known(name=name, way=way, role=role, token_id=made.token.id)
        await self._save()
        return made.token

    async def _save(self) -> None:
        data = msgspec.json.encode(list(self._known.values()))
        await asyncio.to_thread(self._path.write_bytes, data)


class JupyterHub:
    """What we ask JupyterHub, with the service's own token."""

    def __init__(self, env: Mapping[str, str]):
        self.auth = HubOAuth.instance()
        self._http = httpx.AsyncClient(
            base_url=env["JUPYTERHUB_API_URL"],
            headers={"Authorization": f"token {env['JUPYTERHUB_API_TOKEN']}"},
            trust_env=False,
            timeout=10.0,
        )

    async def groups_of(self, name: str) -> frozenset[str]:
        """A person's groups now. Raises ``LookupError`` when JupyterHub knows nobody of that name."""
        answer = await self._http.get(f"/users/{name}")
        if answer.status_code == 404:
            raise LookupError(name)
        answer.raise_for_status()
        return frozenset(answer.json().get("groups", []))

    async def name_of(self, secret: str) -> str | None:
        """Whose token this is, if it may be used for this service; None otherwise."""
        model = await self.auth.user_for_token(secret, sync=False)
        if model is None or model.get("kind") != "user":
            return None
        if not self.auth.check_scopes(self.auth.access_scopes, model):
            return None
        return cast(str, model["name"])

    async def close(self) -> None:
        await self._http.aclose()


class Enter(HubOAuthenticated, RequestHandler):  # type: ignore[misc]
    """``/jupyterhub/enter``: JupyterHub says who it is, and they get the cookie of the hub's own pages."""

    def initialize(self, site: Site, people: People) -> None:
        self.site, self.people = site, people

    @authenticated
    async def get(self) -> None:
        token = await self.people.token(self.get_current_user()["name"], "browser")
        if token is None:
            self.set_status(403)
            self.finish("None of your groups has a role in Push Pals; ask whoever runs this JupyterHub.")
            return
        cookie = await self.site.logins.open(token.id)
        https = (
            door.scheme_of(self.site.options, self.request.remote_ip or "", self.request.headers) == "https"
        )
        self.set_cookie(
            f"__Secure-{COOKIE}" if https else COOKIE,
            cookie,
            path=f"{self.site.prefix}/",
            max_age=int(ABSOLUTE.total_seconds()),
            httponly=True,
            samesite="Lax",
            secure=https,
        )
        self.redirect(f"{self.site.prefix}/")


class Front(Page):
    """``/``: whoever is not logged in goes to JupyterHub first."""

    @needs("open")
    async def get(self) -> None:
        cookie = self.get_cookie(self.cookie_name)
        if cookie is None or await self.site.logins.find(cookie) is None:
            self.redirect(f"{self.site.prefix}/jupyterhub/enter")
            return
        await super().get()


async def start(env: Mapping[str, str], data: Path) -> tuple[Service, People, JupyterHub]:
    """Start the service as JupyterHub's environment says. The caller stops it."""
    prefix = env["JUPYTERHUB_SERVICE_PREFIX"].rstrip("/")
    address = urlsplit(env["JUPYTERHUB_SERVICE_URL"])
    jupyterhub = JupyterHub(env)
    made: list[People] = []

    def application(site: Site) -> Application:
        people = People(site.hub, Groups.from_env(env), data / "jupyterhub.json", jupyterhub)
        made.append(people)
        site.auth.outside = people.kernel
        return make_app(
            site,
            lambda site: [
                (f"{prefix}/", Front, {"site": site}),
                (f"{prefix}/jupyterhub/enter", Enter, {"site": site, "people": people}),
                (f"{prefix}/oauth_callback", HubOAuthCallbackHandler, {}),
            ],
            cookie_secret=secrets.token_bytes(32),
        )

    def behind_the_proxy(options: Options) -> Options:
        # JupyterHub's proxy looks at the host name; the port itself is reached on this machine only.
        return replace(options, hosts=None, proxies=frozenset({"127.0.0.1", "::1"}))

    service = await start_service(
        open_store,
        data / "hub.db",
        data_dir=data,
        host=address.hostname or "127.0.0.1",
        port=address.port or 0,
        prefix=prefix,
        configure=behind_the_proxy,
        application=application,
    )
    return service, made[0], jupyterhub


async def run(env: Mapping[str, str], data: Path) -> None:
    """Serve until SIGTERM or SIGINT, and look at people's groups every minute."""
    await asyncio.to_thread(data.mkdir, parents=True, exist_ok=True, mode=0o700)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    service, people, jupyterhub = await start(env, data)
    try:
        await _leave_tokens(service.hub, data / "tokens")
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REVIEW_S):
                    await stop.wait()
            try:
                await people.review()
            except httpx.HTTPError as error:
                _log.warning("JupyterHub does not answer, so nobody's groups were looked at: %s", error)
    finally:
        await service.stop()
        await jupyterhub.close()


async def _leave_tokens(hub: Hub, folder: Path) -> None:
    """A token for each part that runs elsewhere, readable by the service's account only."""
    roles: tuple[Role, ...] = ("buddy", "worker", "pusher")
    for role in roles:
        file = folder / role
        if await asyncio.to_thread(file.exists):
            continue
        made = await hub.run(tokens.make, NewToken(role=role, label=role), actor=SYSTEM)
        await asyncio.to_thread(_write_private, file, made.secret)


def _write_private(file: Path, text: str) -> None:
    file.parent.mkdir(mode=0o700, exist_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)


def main() -> None:
    """``PUSHPALS_DATA_DIR`` says where the hub's data lies; everything else comes from JupyterHub."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    data = os.environ.get("PUSHPALS_DATA_DIR")
    if not data or "JUPYTERHUB_SERVICE_PREFIX" not in os.environ:
        sys.exit("JupyterHub starts this; see docs/howto/jupyterhub.md. PUSHPALS_DATA_DIR must be set.")
    asyncio.run(run(os.environ, Path(data).expanduser()))


if __name__ == "__main__":
    main()
