"""The one way out of a sandbox that has a network grant: a proxy on the host, for one command.

The command sees an HTTP proxy on its own loopback and nothing else. The proxy takes ``CONNECT host:port`` for
TLS and ``GET`` or ``HEAD`` with a full ``http://`` address, and lets through what
:mod:`pushpals.work.executors.destinations` allows: a granted name and port, resolved once, by the host, to
public addresses only, and connected to that very address. Inside a tunnel the client hello must name the
same host. Connections and bytes are bounded, and every decision is told with the bytes it came to.

What it cannot see, since it does not look into TLS: what is asked of a granted host. A host that serves
several names from one address can be asked for another of them inside the tunnel, and any host one may
read from may also be told things. Grant few hosts, per job.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal

import msgspec

from pushpals.work.executors.client_hello import NoName, server_name
from pushpals.work.executors.destinations import (
    Grant,
    Refused,
    judge,
    judge_addresses,
    parse_name,
)
from pushpals.work.executors.proxy_request import Request, parse_request

CHUNK_BYTES = 64 * 1024

LINGER_S = 1.0
"""How long a refused client may go on talking before the line is cut."""

CROWD = 4
"""This many times the allowed connections, and the next one is not even told why it is refused."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a name. Raises OSError when there are none."""

Dial = Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""A connection to an address. Raises OSError."""

IsOwn = Callable[[str], bool]
"""Whether an address belongs to this machine."""


class NetworkLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one command's traffic."""

    connections: int = 32
    bytes_up: int = 64 * 1024 * 1024
    bytes_down: int = 2 * 1024 * 1024 * 1024
    request_bytes: int = 16 * 1024
    request_s: float = 15.0
    connect_s: float = 15.0
    idle_s: float = 120.0


class NetworkEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One decision about one connection. ``code`` and ``why`` say why it was refused or cut, if it was."""

    kind: Literal["opened", "closed", "refused"]
    host: str
    port: int
    code: str = ""
    why: str = ""
    address: str = ""
    bytes_up: int = 0
    bytes_down: int = 0


OnNetwork = Callable[[NetworkEvent], None]


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def dial_directly(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(address, port, limit=CHUNK_BYTES)


def is_own_address(address: str) -> bool:
    """Asks the kernel which source it would use: for an address of this machine it is the same one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return str(probe.getsockname()[0]) == address
    except OSError:
        return False


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """The world as the proxy reaches it. Tests give it another one."""

    resolve: Resolve = resolve_by_system
    dial: Dial = dial_directly
    is_own: IsOwn = is_own_address


class _Cut(Exception):
    """A connection ends by a decision."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.why)
        self.refused = refused


class Proxy:
    """Serves one command's connections until closed. Owns every task and socket it makes."""

    def __init__(
        self,
        grants: Sequence[Grant],
        on_network: OnNetwork,
        *,
        limits: NetworkLimits | None = None,
        outside: Outside | None = None,
    ) -> None:
        self._grants = set(grants)
        self._tell = on_network
        self._limits = limits or NetworkLimits()
        self._outside = outside or Outside()
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._closed = False
        self._up = 0
        self._down = 0

    async def serve(self, listener: socket.socket) -> None:
        """Accept on ``listener``, which the proxy then owns."""
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=CHUNK_BYTES)

    def revoke(self, grant: Grant) -> None:
        """Take a grant back: nothing new is let through, and what is open by it ends now."""
        self._grants.discard(grant)
        for link in list(self._links):
            if link.request is not None and judge(link.request.host, link.request.port, self._grants):
                link.cut(Refused(code="net.revoked", why=f"the grant {grant} was taken back"))

    async def close(self) -> None:
        """End every connection and tell its bytes. May be called twice."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        links = list(self._links)
        for link in links:
            link.cut(Refused(code="net.ended", why="the command ended"))
        if links:
            await asyncio.wait({link.task for link in links})

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        link = _Link(task, reader, writer)
        if self._closed or len(self._links) >= CROWD * self._limits.connections:
            link.shut()
            return
        self._links.add(link)
        try:
            await self._handle(link)
        except _Cut as cut:
            await self._end(link, cut.refused)
        except asyncio.CancelledError:
            # Only cut() cancels, and a reason is there then; the loop's own end has nobody to tell.
            if link.reason is None:
                raise
            await self._end(link, link.reason)
        except (OSError, asyncio.IncompleteReadError):
            await self._end(link, Refused(code="net.broken", why="the connection broke"))
        else:
            await self._end(link, None)
        finally:
            self._links.discard(link)
            link.shut()

    async def _handle(self, link: _Link) -> None:
        limits = self._limits
        if len(self._links) > limits.connections:
            raise _Cut(Refused(code="net.too-many", why=f"more than {limits.connections} connections"))
        async with _within(limits.request_s, "net.bad-request", "no request arrived in time"):
            request = link.request = await self._read_request(link.reader)
        refused = judge(request.host, request.port, self._grants)
        if refused is not None:
            raise _Cut(refused)
        address = await self._choose_address(request)
        early = b""
        if request.forward is None:
            link.writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            link.answered = True
            async with _within(limits.request_s, "net.no-tls", "no client hello arrived in time"):
                early = await self._read_hello(link, request)
        async with _within(limits.connect_s, "net.unreachable", f"{request.host} did not answer in time"):
            try:
                far_reader, far_writer = await self._outside.dial(address, request.port)
            except OSError as problem:
                raise _Cut(Refused(code="net.unreachable", why=f"{request.host}: {problem}")) from problem
        link.far = far_writer
        link.address = address
        self._tell(NetworkEvent(kind="opened", host=request.host, port=request.port, address=address))
        link.opened = True
        link.answered = True
        await self._send_up(link, request.forward if request.forward is not None else early)
        down = asyncio.ensure_future(self._pump_down(link, far_reader))
        pumps = [down]
        if request.forward is None:
            pumps.append(asyncio.ensure_future(self._pump_up(link)))
        # Plain HTTP is one request; whatever a client sends after it is not looked at.
        try:
            # The far side's end is the end: a client that only half-closes still gets its answer.
            waiting = set(pumps)
            while not down.done():
                done, waiting = await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
                for pump in done:
                    pump.result()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _read_request(self, reader: asyncio.StreamReader) -> Request:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as problem:
            raise _Cut(Refused(code="net.bad-request", why="the request is too long")) from problem
        if len(head) > self._limits.request_bytes:
            raise _Cut(Refused(code="net.bad-request", why="the request is too long"))
        request = parse_request(head)
        if isinstance(request, Refused):
            raise _Cut(request)
        return request

    async def _choose_address(self, request: Request) -> str:
        async with _within(self._limits.connect_s, "net.resolve", f"{request.host} did not resolve in time"):
            try:
                found = await self._outside.resolve(request.host, request.port)
            except (OSError, UnicodeError) as problem:
                raise _Cut(Refused(code="net.resolve", why=f"{request.host}: {problem}")) from problem
        address = judge_addresses(request.host, found)
        if isinstance(address, Refused):
            raise _Cut(address)
        if self._outside.is_own(str(address)):
            raise _Cut(
                Refused(code="net.denied-address", why=f"{request.host} is at {address}, this machine")
            )
        return str(address)

    async def _read_hello(self, link: _Link, request: Request) -> bytes:
        seen = b""
        while True:
            said = server_name(seen)
            if isinstance(said, NoName):
                raise _Cut(Refused(code="net.no-tls", why=said.why))
            if said is not None:
                if parse_name(said) != request.host:
                    why = f"the tunnel is for {request.host}, its client hello for {said!r}"
                    raise _Cut(Refused(code="net.sni-mismatch", why=why))
                return seen
            chunk = await link.reader.read(CHUNK_BYTES)
            if not chunk:
                raise _Cut(Refused(code="net.no-tls", why="the client left before its client hello"))
            seen += chunk

    async def _pump_up(self, link: _Link) -> None:
        while chunk := await self._read(link, link.reader):
            await self._send_up(link, chunk)
        assert link.far is not None
        if link.far.can_write_eof():
            link.far.write_eof()

    async def _pump_down(self, link: _Link, far: asyncio.StreamReader) -> None:
        while chunk := await self._read(link, far):
            self._down += len(chunk)
            link.bytes_down += len(chunk)
            if self._down > self._limits.bytes_down:
                raise _Cut(
                    Refused(code="net.bytes", why=f"more than {self._limits.bytes_down} bytes received")
                )
            link.writer.write(chunk)
            await link.writer.drain()

    async def _send_up(self, link: _Link, chunk: bytes) -> None:
        # Counted before it is sent: what goes over the bound does not leave.
        if self._up + len(chunk) > self._limits.bytes_up:
            raise _Cut(Refused(code="net.bytes", why=f"more than {self._limits.bytes_up} bytes sent"))
        self._up += len(chunk)
        link.bytes_up += len(chunk)
        assert link.far is not None
        link.far.write(chunk)
        await link.far.drain()

    async def _read(self, link: _Link, reader: asyncio.StreamReader) -> bytes:
        # A download is silent in one direction for as long as it takes; idle is silence in both.
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_s):
                    chunk = await reader.read(CHUNK_BYTES)
            except TimeoutError:
                if loop.time() - link.moved_at < self._limits.idle_s:
                    continue
                raise _Cut(Refused(code="net.idle", why="nothing was said for too long")) from None
            link.moved_at = loop.time()
            return chunk

    async def _end(self, link: _Link, refused: Refused | None) -> None:
        host, port = (link.request.host, link.request.port) if link.request is not None else ("", 0)
        code, why = (refused.code, refused.why) if refused is not None else ("", "")
        event = NetworkEvent(
            kind="closed" if link.opened else "refused",
            host=host,
            port=port,
            code=code,
            why=why,
            address=link.address,
            bytes_up=link.bytes_up,
            bytes_down=link.bytes_down,
        )
        if refused is not None and not link.answered:
            link.answered = True
            body = f"{refused.code}: {refused.why}\n".encode("ascii", "backslashreplace")
            status = b"400 Bad Request" if refused.code == "net.bad-request" else b"403 Forbidden"
            head = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n" % (status, len(body))
            link.writer.write(head + b"Connection: close\r\n\r\n" + body)
            self._tell(event)
            await _linger(link)
        else:
            self._tell(event)


async def _linger(link: _Link) -> None:
    """Let the client read the refusal: closing with bytes of its own unread would throw that away."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(LINGER_S):
            await link.writer.drain()
            link.writer.write_eof()
            while await link.reader.read(CHUNK_BYTES):
                pass


@contextlib.asynccontextmanager
async def _within(seconds: float, code: str, why: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as problem:
        raise _Cut(Refused(code=code, why=why)) from problem


class _Link:
    """One connection of the command."""

    def __init__(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.task = task
        self.reader = reader
        self.writer = writer
        self.far: asyncio.StreamWriter | None = None
        self.request: Request | None = None
        self.reason: Refused | None = None
        self.address = ""
        self.opened = False
        self.answered = False
        self.bytes_up = 0
        self.bytes_down = 0
        self.moved_at = 0.0

    def cut(self, reason: Refused) -> None:
        if self.reason is None:
            self.reason = reason
            self.task.cancel()

    def shut(self) -> None:
        self.writer.close()
        if self.far is not None:
            self.far.close()
