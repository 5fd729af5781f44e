"""Who may come in: hosts, origins, tokens, cookies, bodies. Rows of the threat model, one test each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pushpals.hub import tokens
from pushpals.hub.hub import SYSTEM
from pushpals.hub.of import Of
from pushpals.protocol.commands import Ok
from pushpals.server import Options, ensure_operator, start_service
from pushpals.server.app import PublicWithoutTls
from pushpals.server.door import address_of, scheme_of
from pushpals.store.memory import open_store
from pushpals.store.sqlite import open_store as open_sqlite
from pushpals.testing.clock import ManualClock
from pushpals.testing.raw import connect, request, status
from pushpals.testing.site import RunningSite

Start = Any


# --- names and origins ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost", "127.0.0.1", "localhost.evil:{port}", "x:{port}"]
)
async def test_a_host_name_that_is_not_ours_is_421(site: RunningSite, host: str) -> None:
    http = await site.http()
    answer = await http.get("/sessions", headers={"Host": host.format(port=site.service.port)})
    assert (answer.status_code, answer.json()["code"]) == (421, "host.unknown")


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
async def test_our_own_names_are_answered(site: RunningSite, host: str) -> None:
    http = await site.http()
    answer = await http.get("/sessions", headers={"Host": host.format(port=site.service.port)})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil", "null", "http://localhost.evil", "http://127.0.0.1:1", "https://127.0.0.1:{port}"],
)
async def test_another_origin_is_403_even_with_a_good_token(site: RunningSite, origin: str) -> None:
    http = await site.http()
    headers = {"Origin": origin.format(port=site.service.port)}
    for answer in (
        await http.get("/sessions", headers=headers),
        await http.post("/sessions/dev/message", json={"text": "hello"}, headers=headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "origin.refused")
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_our_own_origin_is_let_in_and_cross_site_requests_without_one_are_not(
    site: RunningSite,
) -> None:
    http = await site.http()
    assert (await http.get("/sessions", headers={"Origin": site.url})).status_code == 200
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert (await http.get("/sessions", headers=cross)).json()["code"] == "origin.cross_site"
    assert (await http.get("/", headers=cross)).status_code == 200, "other sites may link to the page"


async def test_an_origin_that_the_operator_named_may_use_a_bearer_token(start: Start) -> None:
    site = await start(origins=["http://localhost:8888"])
    http, named = await site.http(), {"Origin": "http://localhost:8888"}
    answer = await http.get("/sessions", headers=named)
    asked = await http.options("/sessions", headers={**named, "Access-Control-Request-Method": "POST"})
    other = await http.options("/sessions", headers={"Origin": "http://localhost:9999"})

    assert answer.headers["access-control-allow-origin"] == "http://localhost:8888"
    assert "access-control-allow-credentials" not in answer.headers
    assert asked.status_code == 204
    assert "Idempotency-Key" in asked.headers["access-control-allow-headers"]
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers


async def test_forwarded_headers_of_an_untrusted_peer_are_ignored(site: RunningSite) -> None:
    http = await site.http()
    call = {"toolCallId": "call", "tool": "shell", "args": {}, "requiresApproval": True}
    await http.post("/sessions/dev/command", json={"type": "tool_call", "payload": call})
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Real-Ip": "6.6.6.6", "X-Forwarded-Host": "evil"}
    answer = await http.post("/approvals/call", json={"decision": "deny"}, headers=forged)
    assert answer.json()["approval"]["address"] == "127.0.0.1"


def test_forwarded_headers_count_as_far_as_named_proxies_wrote_them() -> None:
    options = Options(data_dir=Path(), proxies=frozenset({"10.0.0.1", "10.0.0.2"}))
    chain = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9, 10.0.0.2", "X-Forwarded-Proto": "https"}
    assert address_of(options, "10.0.0.1", chain) == "9.9.9.9"
    assert address_of(options, "8.8.8.8", chain) == "8.8.8.8"
    assert address_of(options, "10.0.0.1", {}) == "10.0.0.1"
    assert scheme_of(options, "10.0.0.1", chain) == "https"
    assert scheme_of(options, "8.8.8.8", chain) == "http"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "some.name"])
async def test_a_public_address_without_tls_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(PublicWithoutTls, match="TLS"):
        await start_service(open_store, None, data_dir=tmp_path, host=host, port=0)


# --- tokens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["token={secret}", "access_token={secret}", "x={secret}", "token=anything"])
async def test_a_token_in_a_query_is_401_and_not_logged(site: RunningSite, query: str, caplog: Any) -> None:
    caplog.set_level("DEBUG", logger="pushpals.server")
    http = await site.http()
    answer = await http.get("/sessions?" + query.format(secret=site.secrets["operator"]))
    assert (answer.status_code, answer.json()["code"]) == (401, "token.in_url")
    assert site.secrets["operator"] not in caplog.text


def spoil(secret: str) -> list[str]:
    pp, role, token_id, key = secret.split("_", 3)
    return [
        secret[:-1] + ("a" if secret[-1] != "a" else "b"),
        secret[:-1],
        secret + "a",
        f"{pp}_operator_{token_id}_{key}" if role != "operator" else f"{pp}_viewer_{token_id}_{key}",
        f"{pp}_{role}_unknown_{key}",
        "nonsense",
        "_",
        f"{pp}___",
    ]


@pytest.mark.parametrize("which", range(8))
async def test_a_token_that_is_almost_right_is_401(site: RunningSite, which: int) -> None:
    http = await site.http(None)
    header = {"Authorization": f"Bearer {spoil(site.secrets['viewer'])[which]}"}
    answer = await http.get("/sessions", headers=header)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert site.secrets["viewer"] not in answer.text


async def test_other_schemes_than_bearer_are_401(site: RunningSite) -> None:
    http = await site.http(None)
    assert (await http.get("/sessions", headers={"Authorization": "Basic b3A6b3A="})).status_code == 401


async def test_a_revoked_token_is_refused_from_the_next_request_on(site: RunningSite) -> None:
    secret = await site.token("viewer")
    http = await site.http(secret=secret)
    assert (await http.get("/sessions")).status_code == 200
    await site.hub.run(tokens.revoke, Of(id=secret.split("_")[2], body=Ok()), actor=SYSTEM)
    assert (await http.get("/sessions")).status_code == 401


async def test_a_token_ends_when_its_time_is_up(start: Start) -> None:
    clock = ManualClock()
    site = await start(clock=clock, upkeep=False)
    http = await site.http(secret=await site.token("viewer", ttl_s=60))
    assert (await http.get("/sessions")).status_code == 200
    clock.advance(61)
    assert (await http.get("/sessions")).status_code == 401


def everything_below(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


async def test_no_usable_token_is_in_the_database(start: Start, tmp_path: Path) -> None:
    site = await start(store=open_sqlite, path=tmp_path / "hub.db")
    client = await site.client("operator")
    await client.create_session("dev")
    http = await site.http()
    made = (await http.post("/tokens", json={"role": "viewer"}, headers={"Idempotency-Key": "k"})).json()
    login = await http.post("/login", json={"token": site.secrets["operator"]})
    await site.service.stop()
    kept = everything_below(tmp_path)
    for secret in (*site.secrets.values(), made["secret"], "a_b_c_" + login.cookies["pushpals"]):
        assert secret.split("_", 3)[-1].encode() not in kept


async def test_a_token_for_one_session_sees_no_other(site: RunningSite) -> None:
    operator = await site.http()
    await operator.post("/sessions", json={"sessionId": "secret"})
    await operator.post("/sessions/secret/message", json={"text": "hidden"})
    job = (
        await operator.post("/jobs/enqueue", json={"taskId": "t", "kind": "check", "sessionId": "secret"})
    ).json()["jobId"]
    call = {"toolCallId": "call", "tool": "shell", "args": {}, "requiresApproval": True}
    await operator.post("/sessions/secret/command", json={"type": "tool_call", "payload": call})
    client = await site.client()
    blob = await client.put_artifact(b"hidden", kind="file", session_id="secret")

    http = await site.http(secret=await site.token("operator", sessions=["dev"]))
    for method, path, body in (
        ("GET", "/sessions/secret", None),
        ("GET", "/sessions/secret/events", None),
        ("GET", "/sessions/secret/ws", None),
        ("GET", "/sessions/secret/history", None),
        ("POST", "/sessions/secret/message", {"text": "hello"}),
        ("POST", "/sessions/secret/command", {"type": "log", "payload": {"level": "info", "message": "m"}}),
        ("GET", "/sessions/secret/marks/me", None),
        ("PUT", "/sessions/secret/marks/me", {"cursor": 1}),
        ("GET", f"/jobs/{job}", None),
        ("GET", "/jobs?sessionId=secret", None),
        ("POST", f"/jobs/{job}/cancel", {}),
        ("POST", "/jobs/enqueue", {"taskId": "t", "kind": "check", "sessionId": "secret"}),
        ("GET", "/approvals/call", None),
        ("GET", "/approvals?sessionId=secret", None),
        ("POST", "/approvals/call", {"decision": "deny"}),
        ("GET", f"/artifacts/{blob.sha256}", None),
        ("GET", "/sessions/_hub/history", None),
    ):
        answer = await http.request(method, path, json=body)
        assert answer.status_code == 404, (method, path, answer.text)
        assert "hidden" not in answer.text
    assert [item["id"] for item in (await http.get("/sessions")).json()["items"]] == ["dev"]
    for path in ("/jobs", "/approvals", "/landings"):
        assert (await http.get(path)).json()["items"] == []


@pytest.mark.parametrize("role", ["worker", "pusher"])
async def test_a_worker_reads_no_session_that_its_token_does_not_name(site: RunningSite, role: Any) -> None:
    http = await site.http(role)
    for path in ("/sessions/dev", "/sessions/dev/history", "/sessions/dev/events", "/sessions/dev/ws"):
        assert (await http.get(path)).status_code == 404, path
    assert (await http.get("/sessions")).json()["items"] == []
    named = await site.http(secret=await site.token(role, sessions=["dev"]))
    assert (await named.get("/sessions/dev/history")).status_code == 200


# --- logging in -------------------------------------------------------------------------------------


async def test_a_page_logs_in_reads_writes_with_its_header_and_logs_out(site: RunningSite) -> None:
    http = await site.http(None)
    login = await http.post("/login", json={"token": site.secrets["operator"]})
    cookie = login.headers["set-cookie"]
    header = {login.json()["xsrfHeader"]: login.json()["xsrf"]}

    assert (login.status_code, login.json()["role"]) == (200, "operator")
    assert {"httponly", "samesite=strict", "path=/"} <= {p.strip().lower() for p in cookie.split(";")}
    assert site.secrets["operator"] not in cookie
    assert (await http.get("/sessions")).status_code == 200
    assert (await http.get("/login")).json()["xsrf"] == login.json()["xsrf"]
    said = await http.post("/sessions/dev/message", json={"text": "hello"}, headers=header)
    assert said.status_code == 200
    assert (await http.post("/logout", headers=header)).status_code == 200
    http.cookies.set("pushpals", cookie.split("=", 1)[1].split(";")[0])
    assert (await http.get("/sessions")).json()["code"] == "login.ended"


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, b'{"text":"x"}', {415}),
        ({"Content-Type": "text/plain"}, b'{"text":"x"}', {403, 415}),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"text=x", {403, 415}),
        ({"Content-Type": "application/json"}, b'{"text":"x"}', {403}),
        ({"Content-Type": "application/json", "X-XSRF-Token": "wrong"}, b'{"text":"x"}', {403}),
    ],
)
async def test_a_write_by_cookie_alone_is_refused(
    site: RunningSite, headers: dict[str, str], body: bytes, expected: set[int]
) -> None:
    http = await site.http(None)
    await http.post("/login", json={"token": site.secrets["operator"]})
    answer = await http.post("/sessions/dev/message", content=body, headers=headers)
    assert answer.status_code in expected | {403}
    assert (await (await site.client()).history("dev")).last == 0


async def test_logging_in_again_ends_the_login_before(site: RunningSite) -> None:
    http = await site.http(None)
    first = await http.post("/login", json={"token": site.secrets["operator"]})
    await http.post("/login", json={"token": site.secrets["operator"]})
    other = await site.http(None)
    other.cookies.set("pushpals", first.cookies["pushpals"])
    assert (await other.get("/sessions")).status_code == 401


async def test_a_login_survives_a_restart_and_dies_with_its_token(start: Start, tmp_path: Path) -> None:
    site = await start(store=open_sqlite, path=tmp_path / "hub.db")
    http = await site.http(None)
    cookie = (await http.post("/login", json={"token": site.secrets["viewer"]})).cookies["pushpals"]
    await site.service.stop()

    site_again = await start(store=open_sqlite, path=tmp_path / "hub.db")
    http = await site_again.http(None)
    http.cookies.set("pushpals", cookie)
    assert (await http.get("/sessions")).status_code == 200
    token_id = site.secrets["viewer"].split("_")[2]
    await site_again.hub.run(tokens.revoke, Of(id=token_id, body=Ok()), actor=SYSTEM)
    assert (await http.get("/sessions")).status_code == 401


async def test_a_code_logs_in_once(site: RunningSite) -> None:
    code = site.service.site.codes.new(site.secrets["operator"].split("_")[2])
    http, other = await site.http(None), await site.http(None)
    assert (await http.post("/login", json={"code": code.lower()})).json()["role"] == "operator"
    assert (await other.post("/login", json={"code": code})).json()["code"] == "login.bad_code"


async def test_a_code_is_good_for_ten_minutes(start: Start) -> None:
    clock = ManualClock()
    site = await start(clock=clock, upkeep=False)
    code = site.service.site.codes.new(site.secrets["operator"].split("_")[2])
    clock.advance(601)
    http = await site.http(None)
    assert (await http.post("/login", json={"code": code})).status_code == 401


async def test_the_eleventh_failed_login_in_a_minute_waits(site: RunningSite) -> None:
    http = await site.http(None)
    for _ in range(10):
        assert (await http.post("/login", json={"token": "pp_operator_x_" + "a" * 43})).status_code == 401
    answer = await http.post("/login", json={"token": site.secrets["operator"]})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60


async def test_ten_wrong_codes_void_the_open_ones(site: RunningSite) -> None:
    codes = site.service.site.codes
    code = codes.new(site.secrets["operator"].split("_")[2])
    for _ in range(10):
        assert codes.use("AAAA-AAAA-AAAA") is None
    assert codes.use(code) is None


async def test_the_first_operator_is_made_once(tmp_path: Path) -> None:
    service = await start_service(open_store, None, data_dir=tmp_path, port=0)
    first, second = await ensure_operator(service.hub), await ensure_operator(service.hub)
    await service.stop()
    assert first is not None
    assert first.secret.startswith("pp_operator_")
    assert second is None


# --- bodies -----------------------------------------------------------------------------------------

BIG = 1024 * 1024 + 1


async def test_a_body_over_the_limit_is_413_and_readable(site: RunningSite) -> None:
    http = await site.http()
    text = json.dumps({"text": "x" * BIG}).encode()
    headers = {"Content-Type": "application/json"}

    async def pieces() -> Any:
        for start in range(0, len(text), 65536):
            yield text[start : start + 65536]

    whole = await http.post("/sessions/dev/message", content=text, headers=headers)
    chunked = await http.post("/sessions/dev/message", content=pieces(), headers=headers)
    for answer in (whole, chunked):
        assert (answer.status_code, answer.json()["code"]) == (413, "body.too_large")
    assert (await http.get("/sessions/dev/history")).json()["last"] == 0


async def test_an_absurd_length_is_refused_before_it_is_sent(site: RunningSite) -> None:
    host, token = urlsplit(site.url).netloc, site.secrets["operator"]
    async with connect(site.url) as wire:
        extra = "Content-Length: 99999999999\r\nContent-Type: application/json\r\n"
        await wire.send(request("POST", "/sessions", host=host, token=token, extra=extra))
        answer = await wire.rest()
    assert status(answer) == 413
    assert b'"code":"body.too_large"' in answer


@pytest.mark.parametrize(
    "extra",
    [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 2, 3\r\n",
        "Content-Length: two\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
    ],
)
async def test_a_length_that_could_be_read_in_two_ways_is_refused(site: RunningSite, extra: str) -> None:
    host, token = urlsplit(site.url).netloc, site.secrets["operator"]
    async with connect(site.url) as wire:
        extra += "Content-Type: application/json\r\n"
        await wire.send(request("POST", "/sessions", host=host, token=token, extra=extra) + b"{}")
        assert status(await wire.rest()) in (400, 413)


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "", "a"]
)
async def test_a_body_that_is_not_json_is_415(site: RunningSite, kind: str) -> None:
    http = await site.http()
    body = b"--x\r\n" * 1_000
    answer = await http.post("/sessions/dev/message", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 415


async def test_a_compressed_body_is_415(site: RunningSite) -> None:
    http = await site.http()
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert (await http.post("/sessions", content=b"{}", headers=headers)).status_code == 415


@pytest.mark.parametrize(
    "body", [b"{", b"nonsense", b"\xff\xfe", b'{"text":' + b"[" * 10_000, b'{"a":' * 40 + b"1" + b"}" * 40]
)
async def test_a_body_that_is_no_json_we_read_is_400(site: RunningSite, body: bytes) -> None:
    http = await site.http()
    headers = {"Content-Type": "application/json"}
    answer = await http.post("/sessions/dev/message", content=body, headers=headers)
    assert answer.status_code == 400


async def test_brackets_in_a_text_are_text(site: RunningSite) -> None:
    text = 'print("[[[[")\\" ' * 20
    client = await site.client()
    assert (await client.say("dev", text)).cursor == 1


async def test_a_header_over_the_limit_closes_the_connection(site: RunningSite) -> None:
    async with connect(site.url) as wire:
        host = urlsplit(site.url).netloc
        await wire.send(request("GET", "/healthz", host=host, extra=f"X-Long: {'x' * 70_000}\r\n"))
        answer = await wire.rest()
    assert not answer or status(answer) in (400, 431)


# --- answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/healthz", "/sessions", "/nothing", "/", "/sessions/a%00/events", "/page/x"]
)
async def test_every_answer_carries_the_headers_that_keep_a_browser_in_check(
    site: RunningSite, path: str
) -> None:
    answer = await (await site.http()).get(path)
    csp = answer.headers["content-security-policy"]
    assert "default-src 'none'" in csp
    assert "frame-ancestors 'none'" in csp
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control")]
