"""The way out for granted hosts: the proxy with real sockets, then the whole path out of a real sandbox.

The outside is a server on this machine's loopback that stands at public addresses, so that nothing leaves
the machine and every refusal can be seen as a connection that did not arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from pushpals.work.executors.base import Command, Limits, Place
from pushpals.work.executors.bubblewrap import BubblewrapExecutor
from pushpals.work.executors.destinations import Grant, parse_grant
from pushpals.work.executors.door import PROXY_ENV
from pushpals.work.executors.local import LocalExecutor
from pushpals.work.executors.network import (
    NetworkEvent,
    NetworkLimits,
    Outside,
    Proxy,
    is_own_address,
    resolve_by_system,
)
from pushpals.work.executors.probe import inner_python

PATIENCE_S = 20.0
PUBLIC = "93.184.216.34"


def hello(host: str) -> bytes:
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class World:
    """Names, addresses and one server. Everything that was asked of it is written down."""

    def __init__(self) -> None:
        self.names: dict[str, list[list[str]]] = {"a.test": [[PUBLIC]], "b.test": [[PUBLIC]]}
        self.own: set[str] = set()
        self.asked: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.heard = bytearray()
        self.answer: Callable[[bytes], bytes] = lambda data: b"answer:" + data
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def outside(self) -> Outside:
        return Outside(resolve=self._resolve, dial=self._dial, is_own=self.own.__contains__)

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.names.get(host)
        if not answers:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def _dial(self, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.dialled.append((address, port))
        assert self._server is not None
        return await asyncio.open_connection("127.0.0.1", self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while data := await reader.read(65536):
                self.heard += data
                writer.write(self.answer(data))
                await writer.drain()
                if data.startswith((b"GET", b"HEAD")):
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.start()
    yield made
    await made.stop()


class Client:
    """A command's side of the proxy."""

    def __init__(self, world: World, grants: Sequence[str], limits: NetworkLimits | None = None) -> None:
        self.events: list[NetworkEvent] = []
        parsed = [grant for grant in map(parse_grant, grants) if isinstance(grant, Grant)]
        assert len(parsed) == len(grants)
        self.proxy = Proxy(parsed, self.events.append, limits=limits, outside=world.outside())
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Client:
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        await self.proxy.serve(self._listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()
        await self.proxy.close()
        await self.proxy.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(writer)
        return reader, writer

    async def ask(self, request: bytes) -> bytes:
        """Everything the proxy says until it closes."""
        reader, writer = await self.connect()
        writer.write(request)
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()

    async def tunnel(
        self, target: str, name: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.connect()
        writer.write(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head, head
        writer.write(hello(name or target.split(":")[0]))
        return reader, writer

    def codes(self) -> list[tuple[str, str]]:
        return [(event.kind, event.code) for event in self.events]


async def test_a_granted_tunnel_carries_bytes_both_ways_and_counts_them(world: World) -> None:
    async with Client(world, ["a.test:443"]) as client:
        reader, writer = await client.tunnel("a.test:443")
        first = hello("a.test")
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.readexactly(len(b"answer:") + len(first))).startswith(b"answer:\x16\x03")
            writer.write(b"more")
            assert await reader.readexactly(11) == b"answer:more"
            writer.write_eof()
            assert await reader.read() == b""
    opened, closed = client.events
    assert opened == NetworkEvent(kind="opened", host="a.test", port=443, address=PUBLIC)
    assert closed == NetworkEvent(
        kind="closed",
        host="a.test",
        port=443,
        address=PUBLIC,
        bytes_up=len(first) + 4,
        bytes_down=len(first) + 4 + 14,
    )
    assert (world.asked, world.dialled) == (["a.test"], [(PUBLIC, 443)])


@pytest.mark.parametrize("spelling", ["a.test.", "A.TEST", "A.tEsT."])
async def test_d05_other_spellings_of_a_granted_name_are_the_same_name(world: World, spelling: str) -> None:
    async with Client(world, ["a.test:443"]) as client:
        reader, _ = await client.tunnel(f"{spelling}:443", "a.test")
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.readexactly(7) == b"answer:"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("127.0.0.1:443", "net.denied-address"),
        ("2130706433:443", "net.denied-address"),
        ("0x7f.1:443", "net.denied-address"),
        ("0177.0.0.1:443", "net.denied-address"),
        ("[::1]:443", "net.denied-address"),
        ("[::ffff:7f00:1]:443", "net.denied-address"),
        ("169.254.169.254:80", "net.denied-address"),
        ("localhost:443", "net.denied-address"),
        ("x.localhost:443", "net.denied-address"),
        ("b.test:443", "net.not-granted"),
        ("x.a.test:443", "net.not-granted"),
        ("a.test:80", "net.not-granted"),
        ("a.test:8443", "net.not-granted"),
        ("a.test", "net.bad-port"),
        ("a.test:", "net.bad-port"),
        ("a.test:0443", "net.bad-port"),
        ("user@a.test:443", "net.bad-name"),
        ("a%2etest:443", "net.bad-name"),
    ],
)
async def test_d07_what_is_not_exactly_granted_is_refused_before_anything_is_looked_up(
    world: World, target: str, code: str
) -> None:
    async with Client(world, ["a.test:443"]) as client:
        said = await client.ask(f"CONNECT {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 403 ")
    assert code.encode() in said
    assert client.codes() == [("refused", code)]
    assert (world.asked, world.dialled) == ([], [])


async def test_d09_a_name_is_resolved_once_and_that_address_is_dialled(world: World) -> None:
    world.names["a.test"] = [[PUBLIC], ["127.0.0.1"]]
    async with Client(world, ["a.test:443"]) as client:
        reader, _ = await client.tunnel("a.test:443")
        async with asyncio.timeout(PATIENCE_S):
            await reader.readexactly(7)
        assert world.asked == ["a.test"]
        assert world.dialled == [(PUBLIC, 443)]
        said = await client.ask(b"CONNECT a.test:443 HTTP/1.1\r\n\r\n")
    assert b"net.denied-address" in said
    assert world.dialled == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["::1"], ["fd00::1"], [PUBLIC, "127.0.0.1"]],
)
async def test_a_granted_name_that_points_inward_is_refused(world: World, addresses: list[str]) -> None:
    world.names["a.test"] = [addresses]
    async with Client(world, ["a.test:443"]) as client:
        said = await client.ask(b"CONNECT a.test:443 HTTP/1.1\r\n\r\n")
    assert b"net.denied-address" in said
    assert world.dialled == []


async def test_a_granted_name_that_points_to_this_very_machine_is_refused(world: World) -> None:
    world.own.add(PUBLIC)
    async with Client(world, ["a.test:443"]) as client:
        said = await client.ask(b"CONNECT a.test:443 HTTP/1.1\r\n\r\n")
    assert b"this machine" in said
    assert world.dialled == []


async def test_a_name_that_does_not_resolve_is_told(world: World) -> None:
    world.names.clear()
    async with Client(world, ["a.test:443"]) as client:
        assert b"net.resolve" in await client.ask(b"CONNECT a.test:443 HTTP/1.1\r\n\r\n")


async def test_d11_no_grant_means_nothing_passes(world: World) -> None:
    async with Client(world, []) as client:
        for request in (b"CONNECT a.test:443 HTTP/1.1\r\n\r\n", b"GET http://a.test/ HTTP/1.1\r\n\r\n"):
            assert b"net.not-granted" in await client.ask(request)
    assert (world.asked, world.dialled) == ([], [])


async def test_d13_a_grant_that_is_taken_back_ends_its_tunnels_and_no_others(world: World) -> None:
    async with Client(world, ["a.test:443", "b.test:443"]) as client:
        taken, _ = await client.tunnel("a.test:443")
        kept, kept_writer = await client.tunnel("b.test:443")
        async with asyncio.timeout(PATIENCE_S):
            for reader, name in ((taken, "a.test"), (kept, "b.test")):
                await reader.readexactly(7 + len(hello(name)))
            client.proxy.revoke(Grant(host="a.test", port=443))
            with contextlib.suppress(ConnectionError):
                assert await taken.read() == b""
            kept_writer.write(b"x")
            assert await kept.readexactly(8) == b"answer:x"
        assert b"net.not-granted" in await client.ask(b"CONNECT a.test:443 HTTP/1.1\r\n\r\n")
    assert ("closed", "net.revoked") in client.codes()


@pytest.mark.parametrize("named", ["b.test", "x.a.test", "evil.example"])
async def test_a_tunnel_for_one_host_cannot_greet_another(world: World, named: str) -> None:
    async with Client(world, ["a.test:443"]) as client:
        reader, _ = await client.tunnel("a.test:443", named)
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
    assert client.codes() == [("refused", "net.sni-mismatch")]
    assert world.dialled == []


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x03\x01\x00\x00"])
async def test_a_tunnel_that_is_not_tls_carries_nothing(world: World, first: bytes) -> None:
    async with Client(world, ["a.test:443"]) as client:
        said = await client.ask(b"CONNECT a.test:443 HTTP/1.1\r\n\r\n" + first)
    assert said == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert client.codes() == [("refused", "net.no-tls")]
    assert (world.dialled, world.heard) == ([], b"")


async def test_plain_http_is_written_anew_and_answered_once(world: World) -> None:
    world.answer = lambda data: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with Client(world, ["a.test:80"]) as client:
        said = await client.ask(
            b"GET http://A.test/x?y=1 HTTP/1.1\r\nHost: evil.example\r\nProxy-Authorization: s\r\n"
            b"Accept: */*\r\nConnection: keep-alive\r\n\r\nGET http://evil.example/ HTTP/1.1\r\n\r\n"
        )
    assert said.endswith(b"\r\n\r\nok")
    assert bytes(world.heard) == (
        b"GET /x?y=1 HTTP/1.1\r\nhost: A.test\r\naccept: */*\r\nconnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    "request_line",
    [
        b"POST http://a.test/ HTTP/1.1\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"GET http://a.test/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        b"GET https://a.test/ HTTP/1.1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET http://user@a.test/ HTTP/1.1\r\n\r\n",
        b"GET http://a.test/#x HTTP/1.1\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nx: a\nb: c\r\n\r\n",
        b"GET http://a.test/ HTTP/2.0\r\n\r\n",
        b"GET  http://a.test/ HTTP/1.1\r\n\r\n",
        b"CONNECT a.test:443\r\n\r\n",
        b"CONNECT a.test\0:443 HTTP/1.1\r\n\r\n",
        b"CONNECT a.test:443 HTTP/1.1 \r\n\r\n",
        b"\x05\x01\x00\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"GET http://a.test/" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"x" * 200_000 + b"\r\n\r\n",
    ],
    ids=lambda request: request[:40].decode("latin-1").encode("unicode_escape").decode(),
)
async def test_a_request_in_doubt_is_refused(world: World, request_line: bytes) -> None:
    async with Client(world, ["a.test:80", "a.test:443"]) as client:
        said = await client.ask(request_line)
    assert said == b"" or said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 "))
    assert [kind for kind, _ in client.codes()] == ["refused"]
    assert (world.asked, world.dialled) == ([], [])


async def test_what_goes_over_the_bound_is_not_sent(world: World) -> None:
    first = len(hello("a.test"))
    async with Client(world, ["a.test:443"], NetworkLimits(bytes_up=first + 10)) as client:
        reader, writer = await client.tunnel("a.test:443")
        async with asyncio.timeout(PATIENCE_S):
            await reader.readexactly(7 + first)
            writer.write(b"0123456789")
            await reader.readexactly(17)
            writer.write(b"x")
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
    assert ("closed", "net.bytes") in client.codes()
    assert bytes(world.heard[-10:]) == b"0123456789"


async def test_what_comes_over_the_bound_ends_the_connection(world: World) -> None:
    world.answer = lambda data: b"x" * 100_000
    async with Client(world, ["a.test:443"], NetworkLimits(bytes_down=50_000)) as client:
        reader, _ = await client.tunnel("a.test:443")
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                assert len(await reader.read()) <= 50_000
    assert ("closed", "net.bytes") in client.codes()


async def test_connections_beyond_the_bound_are_refused(world: World) -> None:
    async with Client(world, ["a.test:443"], NetworkLimits(connections=2)) as client:
        for _ in range(2):
            reader, _ = await client.tunnel("a.test:443")
            async with asyncio.timeout(PATIENCE_S):
                await reader.readexactly(7)
        assert b"net.too-many" in await client.ask(b"CONNECT a.test:443 HTTP/1.1\r\n\r\n")


async def test_a_client_that_says_nothing_is_let_go(world: World) -> None:
    async with Client(world, ["a.test:443"], NetworkLimits(request_s=0.05)) as client:
        assert b"net.bad-request" in await client.ask(b"CONNECT a.te")
        said = await client.ask(b"CONNECT a.test:443 HTTP/1.1\r\n\r\n\x16\x03")
        assert said.endswith(b"established\r\n\r\n")
    assert client.codes() == [("refused", "net.bad-request"), ("refused", "net.no-tls")]


async def test_a_silent_tunnel_is_closed(world: World) -> None:
    world.answer = lambda data: b""
    async with Client(world, ["a.test:443"], NetworkLimits(idle_s=0.05)) as client:
        reader, _ = await client.tunnel("a.test:443")
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
    assert ("closed", "net.idle") in client.codes()


def test_this_machine_knows_its_own_addresses() -> None:
    assert is_own_address("127.0.0.1")
    assert not is_own_address("192.0.2.77")


async def test_the_system_resolves_names_to_addresses() -> None:
    assert "127.0.0.1" in await resolve_by_system("localhost", 80)


INSIDE = """
import socket, sys
def talk(target, first):
    with socket.create_connection(("127.0.0.1", 3128), timeout=10) as link:
        link.sendall(b"CONNECT " + target.encode() + b" HTTP/1.1\\r\\n\\r\\n")
        said = link.recv(4096)
        if b" 200 " not in said:
            return said.splitlines()[-1].decode()
        link.sendall(first)
        return link.recv(6).decode()
first = bytes.fromhex(sys.argv[1])
print(talk("a.test:443", first))
print(talk("b.test:443", first))
print(talk("127.0.0.1:443", first))
for action in (lambda: socket.create_connection(("93.184.216.34", 443), timeout=5),
               lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=5),
               lambda: socket.getaddrinfo("a.test", 443)):
    try:
        action()
        print("out")
    except OSError as problem:
        print(type(problem).__name__)
"""


async def test_a_granted_host_is_the_only_thing_a_sandboxed_command_reaches(
    sandboxed_machine: None, world: World, place: Place
) -> None:
    heard: list[tuple[Command, NetworkEvent]] = []
    executor = BubblewrapExecutor(
        on_network=lambda command, event: heard.append((command, event)), outside=world.outside()
    )
    python, toolchain = inner_python()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = Command(
            argv=(
                python,
                "-I",
                "-c",
                textwrap.dedent(INSIDE),
                hello("a.test").hex(),
                str(listener.getsockname()[1]),
            ),
            env={"PATH": "/usr/bin:/bin"},
            limits=Limits(wall_s=PATIENCE_S),
            network=("a.test:443",),
        )
        outcome = await executor.run(Place(tree=place.tree, toolchain=toolchain), command)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    await executor.close()
    lines = outcome.stdout.decode().splitlines()
    assert lines[0] == "answer", (lines, outcome.stderr)
    assert lines[1].startswith("net.not-granted")
    assert lines[2].startswith("net.denied-address")
    assert lines[3:] == ["OSError", "ConnectionRefusedError", "gaierror"]
    assert world.dialled == [(PUBLIC, 443)]
    assert all(owner is command for owner, _ in heard)
    assert [(event.kind, event.code) for _, event in heard][:1] == [("opened", "")]
    assert ("refused", "net.not-granted") in [(event.kind, event.code) for _, event in heard]


async def test_a_command_with_a_grant_keeps_every_other_promise(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    command = Command(
        argv=("sh", "-c", "env | sort; ls /proc/$$/fd; kill -SEGV $$"),
        env={"PATH": "/usr/bin:/bin", "NO_PROXY": "mine"},
        limits=Limits(wall_s=PATIENCE_S),
        network=("a.test:443",),
    )
    outcome = await sandbox.run(place, command)
    lines = outcome.stdout.decode().splitlines()
    assert "https_proxy=http://127.0.0.1:3128" in lines
    assert "NO_PROXY=mine" in lines
    given = {*command.env, *PROXY_ENV, "PWD"}
    assert {line.split("=")[0] for line in lines if "=" in line} == given
    assert {line for line in lines if line.isdigit()} <= {"0", "1", "2", "10"}
    assert outcome.signal == 11
    missing = await sandbox.run(
        place, Command(argv=("no-such-program",), env=command.env, network=command.network)
    )
    assert missing.error == "no such program: no-such-program"


async def test_a_proxy_variable_without_a_grant_leads_nowhere(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    command = Command(
        argv=("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/3128"),
        env={"PATH": "/usr/bin:/bin", "https_proxy": "http://127.0.0.1:3128"},
    )
    assert not (await sandbox.run(place, command)).ok


@pytest.mark.parametrize("grant", ["127.0.0.1:443", "*:443", "a.test", "localhost:80"])
async def test_a_grant_that_is_none_is_a_value(sandbox: BubblewrapExecutor, place: Place, grant: str) -> None:
    outcome = await sandbox.run(place, Command(argv=("true",), network=(grant,)))
    assert outcome.error is not None
    assert outcome.error.startswith("net.")


async def test_a_grant_taken_back_reaches_the_running_command(
    sandboxed_machine: None, world: World, place: Place
) -> None:
    executor = BubblewrapExecutor(outside=world.outside())
    python, toolchain = inner_python()
    code = """
    import socket, sys
    link = socket.create_connection(("127.0.0.1", 3128), timeout=10)
    link.sendall(b"CONNECT a.test:443 HTTP/1.1\\r\\n\\r\\n")
    link.recv(4096)
    link.sendall(bytes.fromhex(sys.argv[1]))
    link.recv(4)
    print("ready", flush=True)
    while link.recv(4096):
        pass
    print("cut")
    """
    seen: list[bytes] = []

    def heard(stream: str, chunk: bytes) -> None:
        seen.append(chunk)
        if b"ready" in chunk:
            executor.revoke("a.test:443")

    command = Command(
        argv=(python, "-I", "-c", textwrap.dedent(code), hello("a.test").hex()),
        env={"PATH": "/usr/bin:/bin"},
        limits=Limits(wall_s=PATIENCE_S),
        network=("a.test:443",),
    )
    outcome = await executor.run(Place(tree=place.tree, toolchain=toolchain), command, heard)
    await executor.close()
    assert (outcome.timed_out, outcome.stdout) == (False, b"ready\ncut\n"), outcome.stderr


async def test_without_a_sandbox_a_grant_changes_nothing(place: Place) -> None:
    executor = LocalExecutor()
    outcome = await executor.run(
        place, Command(argv=("env",), env={"PATH": "/usr/bin:/bin"}, network=("a.test:443",))
    )
    assert outcome.stdout == b"PATH=/usr/bin:/bin\n"
    await executor.close()
