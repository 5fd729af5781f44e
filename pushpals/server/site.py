"""What every handler shares, and the bounds of the whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pushpals.hub.audit import Notary
from pushpals.hub.feed import Feed
from pushpals.hub.hub import Hub
from pushpals.hub.pairing import Pairings
from pushpals.hub.queries import Queries
from pushpals.hub.upkeep import Upkeep
from pushpals.server.auth import Auth
from pushpals.server.blobs import Blobs
from pushpals.server.login import Codes, Logins, Tries
from pushpals.server.metrics import Requests
from pushpals.server.rates import Rates
from pushpals.server.tickets import Tickets

if TYPE_CHECKING:
    from pushpals.server.live import Streams


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the hub is reached and how much of it one caller may take. Times in seconds, sizes in bytes."""

    data_dir: Path
    """Holds ``artifacts/``, ``audit/`` and ``logins.json``."""
    hosts: frozenset[str] | None = None
    """The ``Host`` values (with port) that mean this hub; ``None`` leaves the check to an outer server."""
    origins: frozenset[str] = frozenset()
    """Other origins whose pages may use this hub with a bearer token. Exact; there is no wildcard."""
    proxies: frozenset[str] = frozenset()
    """Addresses of TLS proxies in front: only their ``X-Forwarded-*`` headers are believed."""
    tls: bool = False
    body_bytes: int = 1024 * 1024
    drain_bytes: int = 8 * 1024 * 1024
    """How much of a refused body is read and thrown away, so that the answer arrives instead of a reset."""
    artifact_bytes: int = 64 * 1024 * 1024
    streams: int = 2_000
    streams_per_token: int = 64
    backlog_bytes: int = 1024 * 1024
    """Unsent bytes of one stream; beyond it the reader is dropped and comes back with its cursor."""
    stall_s: float = 60.0
    beat_s: float = 15.0
    recheck_s: float = 30.0
    replays: int = 32
    """History pages read at once; further streams wait their turn."""
    page_bytes: int = 256 * 1024
    wait_s: float = 60.0
    """The longest a request is held open."""
    events_per_s: float = 1_000.0
    """Events that one token may post a second, on average; what jobs report does not count."""
    events_burst: float = 10_000.0
    """And how many at once after a silence."""
    drain_s: float = 5.0
    """The longest a stop takes before connections are cut."""


class Site:
    """One hub as seen by its handlers."""

    def __init__(
        self,
        hub: Hub,
        feed: Feed,
        options: Options,
        *,
        prefix: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        from pushpals.server.live import Streams

        self.hub = hub
        self.feed = feed
        self.options = options
        self.prefix = prefix
        self.monotonic = monotonic
        self.auth = Auth(hub.store.reader, hub.clock)
        self.auth.follow(feed)
        self.logins = Logins(options.data_dir / "logins.json", hub.clock)
        self.codes = Codes(hub.clock)
        self.tries = Tries(monotonic)
        self.tickets = Tickets(monotonic)
        self.requests = Requests()
        self.upkeep: Upkeep | None = None
        """Set where upkeep runs, for probes to look at."""
        self.rates = Rates(options.events_per_s, options.events_burst, monotonic)
        self.pairings = Pairings(hub.clock)
        self.notary = Notary(options.data_dir / "audit", hub.store.reader, feed, hub.clock)
        self.queries = Queries(hub)
        self.blobs = Blobs(options.data_dir / "artifacts", options.artifact_bytes)
        self.streams: Streams = Streams(self)
        self.stopping = False
        self._working = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around the answering of one request."""
        self._working += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._working -= 1
            if self._working == 0:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until no request is being answered."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Answer who waits, end every stream with a clean end. May be called twice."""
        self.stopping = True
        self.feed.topics.notify_all()
        await self.streams.close()
