"""Under a prefix, in somebody else's application, and over TLS."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from pushpals.client import HubClient
from pushpals.server import make_routes
from pushpals.testing.site import RunningSite

Start = Any


async def first_events(client: HubClient, count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(20), aclosing(client.follow("dev")) as events:
        async for event in events:
            found.append(event.cursor)
            if len(found) == count:
                break
    return found


async def test_a_hub_under_a_prefix_is_the_same_hub(start: Start) -> None:
    site: RunningSite = await start(prefix="/pals")
    client = await site.client()
    await client.create_session("dev")
    await client.say("dev", "hello")

    assert site.url.endswith("/pals")
    assert await first_events(client, 1) == [1]
    http = await site.http(None)
    assert (await http.get("/")).status_code == 200
    root = site.url.removesuffix("/pals")
    async with httpx.AsyncClient(trust_env=False) as outside:
        assert (await outside.get(f"{root}/healthz")).status_code == 404


async def test_the_hub_lives_beside_the_routes_of_another_application(site: RunningSite) -> None:
    class Theirs(RequestHandler):
        def get(self) -> None:
            self.write("theirs")

    shared = site.service.site
    mounted = type(shared)(
        shared.hub, shared.feed, replace(shared.options, hosts=None, data_dir=shared.options.data_dir / "b"),
        prefix="/pals",
    )  # fmt: skip
    outer = Application([*make_routes("/pals", mounted), ("/theirs", Theirs)], xsrf_cookies=True)
    server = HTTPServer(outer)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    async with HubClient(f"{url}/pals", site.secrets["operator"]) as client:
        await client.say("dev", "from the other door")
        assert await first_events(client, 1) == [1]
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{url}/theirs")).text == "theirs"
            evil = await http.get(f"{url}/pals/sessions", headers={"Origin": "http://evil"})
            assert evil.status_code == 403
    await mounted.stop()
    server.stop()
    await server.close_all_connections()


@pytest.fixture
async def certificate(tmp_path: Path) -> tuple[Path, Path]:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    made = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", str(key), "-out", str(chain), stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await made.wait() == 0
    return chain, key


async def test_over_tls_streams_flow_and_the_cookie_is_bound_to_the_host(
    start: Start, certificate: tuple[Path, Path]
) -> None:
    site: RunningSite = await start(certificate=certificate)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    assert site.url.startswith("https://")
    client = await site.client(verify=trusting)
    await client.create_session("dev")
    following = asyncio.create_task(first_events(client, 4))
    for number in range(4):
        await client.say("dev", f"{number}" + "x" * 50_000)
    assert await following == [1, 2, 3, 4]

    async with httpx.AsyncClient(base_url=site.url, verify=trusting, trust_env=False) as http:
        login = await http.post("/login", json={"token": site.secrets["operator"]})
        cookie = login.headers["set-cookie"]
        assert cookie.startswith("__Host-pushpals=")
        assert "; secure" in cookie.lower()
        assert (await http.get("/sessions")).status_code == 200
    await client.close()
