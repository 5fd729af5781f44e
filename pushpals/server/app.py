"""Putting the hub on a port, and taking it off again.

``make_routes`` mounts the hub in somebody else's application; ``make_app`` and ``start_service`` make one
of our own. ``serve`` is the whole process: it runs until SIGTERM or SIGINT and then drains: no new
connections, waiting requests are answered, streams end cleanly, queued writes are committed.

A port on anything but loopback is refused without TLS of our own or a named TLS proxy in front.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import ssl
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

import pushpals
from pushpals.hub import tokens
from pushpals.hub.feed import Feed
from pushpals.hub.hub import SYSTEM, Hub
from pushpals.hub.retention import Retention
from pushpals.hub.upkeep import Upkeep
from pushpals.protocol.commands import NewToken, TokenMade
from pushpals.protocol.ids import Ids, random_id
from pushpals.protocol.records import Token
from pushpals.protocol.times import Clock, utc_now
from pushpals.server.base import Missing, quiet_log
from pushpals.server.routes import TABLE, pattern
from pushpals.server.site import Options, Site
from pushpals.store.base import OpenStore, Store

PORT = 3001

BACKLOG = 4_096
"""Connections that may wait to be accepted: a crowd that lost its hub comes back at once."""

SWITCH_S = 0.0002
"""How long a thread may keep the interpreter from the others, in seconds.

Each ``send`` gives it away, and with Python's 5 ms a busy writer would keep it for that long each time:
measured with ten printing jobs, a message reached 200 readers after 60 ms instead of 8, and half as many
lines a second were stored."""


class PublicWithoutTls(Exception):
    """The address would be reachable from other machines, and tokens would travel in the clear."""


def make_routes(prefix: str, site: Site) -> list[tuple[str, type[Any], dict[str, Any]]]:
    """Tornado rules for the whole hub below ``prefix`` (``""`` or ``/something``).

    Whoever mounts them runs ``site.streams.run`` (heartbeats) and, at the end, ``site.stop``.
    """
    rules: list[tuple[str, type[Any], dict[str, Any]]] = [
        (prefix + pattern(path), handler, {"site": site}) for path, handler in TABLE
    ]
    return [*rules, (prefix + "/.*", Missing, {"site": site})]


Rules = list[tuple[str, type[Any], dict[str, Any]]]


def make_app(site: Site, more: Callable[[Site], Rules] = lambda site: [], **settings: Any) -> Application:
    """An application of our own; ``more`` are rules that go before the hub's."""
    return Application(
        [*more(site), *make_routes(site.prefix, site)],
        default_handler_class=Missing,
        default_handler_args={"site": site},
        log_function=quiet_log,
        **settings,
    )


class Service:
    """A running hub: store, upkeep, streams and port. Made by :func:`start_service`."""

    def __init__(
        self,
        site: Site,
        store: Store,
        server: HTTPServer,
        url: str,
        port: int,
        retention: Retention | None = None,
    ) -> None:
        self.site = site
        self.hub = site.hub
        self.feed = site.feed
        self.store = store
        self.url = url
        self.port = port
        self.upkeep = Upkeep(site.hub, retention)
        self._server = server
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    def start(self, *, upkeep: bool = True) -> None:
        """Begin the work that nobody asks for."""
        self._tasks.append(asyncio.create_task(self.site.streams.run(self._stopping), name="streams"))
        self._tasks.append(asyncio.create_task(self.site.notary.run(self._stopping), name="notary"))
        if upkeep:
            self.site.upkeep = self.upkeep
            self._tasks.append(asyncio.create_task(self.upkeep.run(self._stopping), name="upkeep"))

    async def stop(self) -> None:
        """Drain and close. May be called twice."""
        if self._stopped:
            return
        self._stopped = True
        self._server.stop()
        self._stopping.set()
        await self.site.stop()
        with contextlib.suppress(TimeoutError):
            # Requests in flight are answered; connections that only idle are closed with the rest.
            async with asyncio.timeout(self.site.options.drain_s):
                await self.site.idle()
        await self._server.close_all_connections()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.store.close()


async def start_service(
    open_store: OpenStore,
    path: Path | None,
    *,
    data_dir: Path,
    host: str = "127.0.0.1",
    port: int = PORT,
    host_names: Iterable[str] = (),
    origins: Iterable[str] = (),
    behind: Iterable[str] = (),
    certificate: tuple[Path, Path] | None = None,
    prefix: str = "",
    clock: Clock = utc_now,
    new_id: Ids = random_id,
    upkeep: bool = True,
    retention: Retention | None = None,
    configure: Callable[[Options], Options] = lambda options: options,
    application: Callable[[Site], Application] = make_app,
) -> Service:
    """Open the store and serve it. ``port`` 0 takes any free one; ``certificate`` is (chain, key) in PEM.

    ``host_names`` are further names by which people reach it; ``behind`` are the addresses of TLS proxies.
    Raises :class:`PublicWithoutTls`, ``OSError`` for a port in use, and what the store raises.
    """
    sys.setswitchinterval(min(SWITCH_S, sys.getswitchinterval()))
    behind = frozenset(behind)
    if not _is_loopback(host) and certificate is None and not behind:
        raise PublicWithoutTls(
            f"{host} can be reached from other machines; give a certificate, or name the TLS proxy in front "
            "(--behind-tls-proxy), or stay on 127.0.0.1"
        )
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        await asyncio.to_thread(context.load_cert_chain, *certificate)
    sockets = bind_sockets(port, host, backlog=BACKLOG)
    port = sockets[0].getsockname()[1]
    scheme = "https" if context else "http"
    options = configure(
        Options(
            data_dir=data_dir,
            hosts=_host_values(host, port, host_names),
            origins=frozenset(origins),
            proxies=behind,
            tls=context is not None,
        )
    )
    store = None
    try:
        feed = Feed()
        store = await open_store(path, on_commit=feed.publish, new_id=new_id)
        hub = Hub(store, clock=clock, version=pushpals.__version__)
        await hub.start()
        site = Site(hub, feed, options, prefix=prefix)
        await site.notary.open()
        await asyncio.to_thread(site.blobs.clear_temporary)
    except BaseException:
        for one in sockets:
            one.close()
        if store is not None:
            await store.close()
        raise
    server = HTTPServer(
        application(site),
        ssl_options=context,
        max_header_size=64 * 1024,
        # Bodies are bounded where they are read, with a readable answer.
        max_body_size=1 << 40,
        idle_connection_timeout=300,
        body_timeout=300,
    )
    server.add_sockets(sockets)
    shown = f"[{host}]" if ":" in host else host
    service = Service(site, store, server, f"{scheme}://{shown}:{port}{prefix}", port, retention)
    service.start(upkeep=upkeep)
    return service


async def serve(
    open_store: OpenStore,
    path: Path | None,
    *,
    data_dir: Path,
    ready: Callable[[Service], None] = lambda service: None,
    **options: Any,
) -> None:
    """Serve until SIGTERM or SIGINT. ``ready`` is called once the port answers."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    service = await start_service(open_store, path, data_dir=data_dir, **options)
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    try:
        ready(service)
        await stop.wait()
    finally:
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(name)
        await service.stop()


async def ensure_operator(hub: Hub) -> TokenMade | None:
    """The first operator's token, if there is none yet. Its secret is shown by whoever asked, once."""
    known = await hub.store.reader.find(Token, role="operator")
    if any(token.revoked_at is None for token in known):
        return None
    return await hub.run(tokens.make, NewToken(role="operator", label="first operator"), actor=SYSTEM)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_values(host: str, port: int, names: Iterable[str]) -> frozenset[str]:
    """The exact ``Host`` headers that mean us. A name given with a port is taken as it is."""
    values = set()
    own = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host}
    for name in own:
        values.add(f"{name}:{port}")
    for name in names:
        values |= {name, f"{name}:{port}"}
    if port in (80, 443):
        values |= {value.rpartition(":")[0] for value in values}
    return frozenset(value.lower() for value in values)
