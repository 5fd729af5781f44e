"""Approvals, rules and pairing over real HTTP, and a fuzz over every route of the hub."""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushpals.policy.actions import ExecAction, as_dict
from pushpals.protocol.commands import (
    AskApproval,
    Claim,
    Decide,
    Enqueue,
    MakeRule,
    PairDevice,
    UseApproval,
)
from pushpals.protocol.errors import Conflict, Forbidden, NotFound
from pushpals.protocol.jobs import Job
from pushpals.protocol.records import ROLES
from pushpals.server.routes import routes
from pushpals.testing.site import RunningSite


async def claimed(site: RunningSite) -> Job:
    person, worker = await site.client(), await site.client("worker")
    await person.enqueue(Enqueue(task_id="t", kind="command", session_id="dev"))
    job = await worker.claim(Claim(worker_id="w1", lease_s=30.0))
    assert job is not None
    return job


def asking(job: Job, *argv: str) -> AskApproval:
    action = ExecAction(
        argv=argv or ("pip", "install", "x"),
        session=job.session_id,
        job=job.id,
        attempt=job.attempt,
        worker=job.worker_id or "",
        tree="b" * 64,
    )
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(as_dict(action)))
    return AskApproval(kind="exec", action=plain, attempt=job.attempt, reasons=["install"])


async def test_a_yes_reaches_the_waiting_worker_in_less_than_a_second(site: RunningSite) -> None:
    job = await claimed(site)
    person, worker = await site.client(), await site.client("worker")
    approval = await worker.ask_approval(asking(job))
    waits: list[float] = []

    async def wait() -> None:
        decided = await worker.wait_approval(approval.id, "open", 30.0)
        waits.append(time.monotonic())
        assert decided.state == "approved"

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await person.decide(approval.id, Decide(decision="approve", action_hash=approval.action_hash))
    await waiting
    assert waits[0] - began < 1.0
    used = await worker.use_approval(
        approval.id, UseApproval(action_hash=approval.action_hash, attempt=job.attempt)
    )
    assert used.state == "consumed"
    for hash in (approval.action_hash, "0" * 64):
        with pytest.raises(Conflict):
            await worker.use_approval(approval.id, UseApproval(action_hash=hash, attempt=job.attempt))


async def test_e04_a_hundred_parallel_requests_let_one_through(site: RunningSite) -> None:
    job = await claimed(site)
    person, worker = await site.client(), await site.client("worker")
    approval = await worker.ask_approval(asking(job))
    await person.decide(approval.id, Decide(decision="approve", action_hash=approval.action_hash))
    http = await site.http("worker")
    body = {"actionHash": approval.action_hash, "attempt": job.attempt}
    answers = await asyncio.gather(
        *(http.post(f"/approvals/{approval.id}/consume", json=body) for _ in range(100))
    )
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 99]


async def test_stale_is_told_with_its_code_and_voids(site: RunningSite) -> None:
    job = await claimed(site)
    person, worker = await site.client(), await site.client("worker")
    approval = await worker.ask_approval(asking(job))
    await person.decide(approval.id, Decide(decision="approve", action_hash=approval.action_hash))
    with pytest.raises(Conflict) as refused:
        await worker.use_approval(approval.id, UseApproval(action_hash="0" * 64, attempt=job.attempt))
    assert refused.value.code == "approval.stale"
    assert (await person.approval(approval.id)).state == "void"


@pytest.mark.parametrize("role", ["viewer", "buddy", "worker", "pusher"])
async def test_no_process_answers_remembers_pairs_or_revokes(site: RunningSite, role: Any) -> None:
    job = await claimed(site)
    approval = await (await site.client("worker")).ask_approval(asking(job))
    client = await site.client(role)
    yes = Decide(decision="approve", action_hash=approval.action_hash)
    for refused in (
        client.decide(approval.id, yes),
        client.revoke_approval(approval.id),
        client.make_rule(MakeRule(approval_id=approval.id)),
        client.rules(),
        client.pair(PairDevice()),
        client.tokens(),
    ):
        with pytest.raises(Forbidden):
            await refused


async def test_f06_a_worker_sees_only_the_questions_of_its_own_job(site: RunningSite) -> None:
    job = await claimed(site)
    approval = await (await site.client("worker")).ask_approval(asking(job))
    other = await site.client("worker", secret=await site.token("worker", label="other"))
    with pytest.raises(NotFound):
        await other.approval(approval.id)
    with pytest.raises(NotFound):
        await other.use_approval(approval.id, UseApproval(action_hash="0" * 64, attempt=1))
    elsewhere = await site.client(secret=await site.token("operator", sessions=["other"]))
    with pytest.raises(NotFound):
        await elsewhere.approval(approval.id)
    with pytest.raises(Forbidden):
        await (await site.client("buddy")).claim(Claim(worker_id="w2"))


async def test_e12_words_are_no_answer(site: RunningSite) -> None:
    job = await claimed(site)
    person, worker = await site.client(), await site.client("worker")
    approval = await worker.ask_approval(asking(job))
    await person.say("dev", "approved")
    await person.say("dev", f"/approve {approval.id}")
    http = await site.http("buddy")
    for type_, payload in (
        ("approved", {"approvalId": approval.id}),
        (
            "approval_decided",
            {"approvalId": approval.id, "decision": "approve", "by": "x", "tokenId": "x", "actionHash": "0"},
        ),
    ):
        answer = await http.post("/sessions/dev/command", json={"type": type_, "payload": payload})
        assert answer.status_code == 403
    answer = await (await site.http("worker")).post(
        f"/jobs/{job.id}/progress",
        json={"attempt": 1, "events": [{"type": "approved", "payload": {"approvalId": approval.id}}]},
    )
    assert answer.status_code == 403
    assert (await person.approval(approval.id)).state == "open"


async def test_e22_a_token_revoked_between_looking_and_deciding_decides_nothing(site: RunningSite) -> None:
    job = await claimed(site)
    approval = await (await site.client("worker")).ask_approval(asking(job))
    secret = await site.token("operator", label="phone")
    phone = await site.http(secret=secret)
    assert (await phone.get(f"/approvals/{approval.id}")).status_code == 200
    await (await site.client()).revoke_token(secret.split("_")[2])
    body = {"decision": "approve", "actionHash": approval.action_hash}
    assert (await phone.post(f"/approvals/{approval.id}", json=body)).status_code == 401


# --- pairing ------------------------------------------------------------------------------------------


async def test_a_paired_device_has_a_token_of_its_own_that_can_be_revoked(site: RunningSite) -> None:
    person = await site.client()
    made = await person.pair(PairDevice(role="operator", label="my phone"))
    phone = await site.http(None)
    answer = await phone.post("/login", json={"code": made.code.lower()})
    assert (answer.status_code, answer.json()["role"], answer.json()["label"]) == (
        200,
        "operator",
        "my phone",
    )
    assert "httponly" in answer.headers["set-cookie"].lower()
    (token,) = [one for one in (await person.tokens()).items if one.label == "my phone"]
    assert (await phone.get("/sessions")).status_code == 200
    assert (await (await site.http(None)).post("/login", json={"code": made.code})).status_code == 401
    await person.revoke_token(token.id)
    assert (await phone.get("/sessions")).status_code == 401


async def test_a_decision_made_on_a_phone_says_so(site: RunningSite) -> None:
    job = await claimed(site)
    approval = await (await site.client("worker")).ask_approval(asking(job))
    person = await site.client()
    made = await person.pair(PairDevice(role="operator", label="my phone"))
    phone = await site.http(None)
    xsrf = (await phone.post("/login", json={"code": made.code})).json()["xsrf"]
    body = {"decision": "approve", "actionHash": approval.action_hash, "device": "my phone"}
    refused = await phone.post(f"/approvals/{approval.id}", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "xsrf.missing")
    answer = await phone.post(f"/approvals/{approval.id}", json=body, headers={"X-XSRF-Token": xsrf})
    assert answer.status_code == 200
    kept = await person.approval(approval.id)
    assert (kept.decided_by, kept.device, kept.method, kept.address) == (
        "client:my phone", "my phone", "cookie", "127.0.0.1",
    )  # fmt: skip
    events = (await person.history("dev", types=["approval_decided"])).items
    told = json.loads(bytes(events[-1].envelope))["payload"]
    assert (told["tokenId"], told["method"], told["address"]) == (kept.token_id, "cookie", "127.0.0.1")


async def test_ten_wrong_codes_void_the_open_ones(site: RunningSite) -> None:
    person = await site.client()
    made = await person.pair(PairDevice())
    stranger = await site.http(None)
    for number in range(10):
        wrong = await stranger.post("/login", json={"code": f"AAAA-BBBB-CC{number:02d}"})
        assert wrong.status_code in (401, 429)
    assert (await stranger.post("/login", json={"code": made.code})).status_code in (401, 429)


async def test_a_device_gets_no_more_than_whoever_pairs_it(site: RunningSite) -> None:
    narrow = await site.client(secret=await site.token("operator", sessions=["dev"]))
    with pytest.raises(Forbidden):
        await narrow.pair(PairDevice(sessions=["other"]))
    made = await narrow.pair(PairDevice(role="viewer"))
    phone = await site.http(None)
    assert (await phone.post("/login", json={"code": made.code})).json()["sessions"] == ["dev"]


async def test_streams_and_heads_show_where_the_chain_stands(site: RunningSite) -> None:
    person = await site.client()
    await person.say("dev", "hello")
    head = await person.audit_head("dev")
    assert head.cursor is not None
    assert head.digest is not None
    http = await site.http()
    async with http.stream("GET", "/sessions/dev/events") as stream:
        assert stream.headers["X-Audit-Head"] == f"{head.cursor}:{head.digest}"


# --- fuzz -----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["sessionId", "taskId", "kind", "params", "action", "attempt", "decision", "actionHash", "state", "role",
     "label", "text", "type", "payload", "events", "log", "workerId", "capabilities", "waitS", "code", "token",
     "lane", "holder", "fence", "head", "base", "approvalId", "cursor", "sql", "first", "scope", "ttlS"]
)  # fmt: skip
BODIES = (st.dictionaries(NAMES, JSON, max_size=6) | JSON).map(
    lambda value: json.dumps(value, allow_nan=True).encode("utf-8", "surrogatepass")
) | st.binary(max_size=200)
PARTS = st.sampled_from(
    ["dev", "_hub", ".", "..", "%00", "%0A", "%2e%2e", "a" * 65, "job-1", "approval-1", "x'y", "%F0%9F%92%A9",
     "-", "0" * 64, "../../etc/passwd", "%2F", "pp_operator_x_" + "A" * 43, "DEV", "é"]
)  # fmt: skip
SAMPLES = [
    route
    for route in routes()
    if not route.path.endswith(("/events", "/ws")) and route.path != "/tokens/:id/revoke"
]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    route=st.sampled_from(SAMPLES),
    parts=st.lists(PARTS, min_size=3, max_size=3),
    body=BODIES,
    role=st.sampled_from([None, *ROLES]),
    query=st.dictionaries(
        st.sampled_from(["after", "limit", "types", "state", "sessionId", "waitS"]),
        st.text(max_size=10),
        max_size=2,
    ),
    kind=st.sampled_from(["application/json", "application/json", "text/plain", "multipart/form-data"]),
)
def test_whatever_is_sent_the_answer_is_json_without_a_trace(
    fuzzed: Fuzzed, route: Any, parts: list[str], body: bytes, role: Any, query: dict[str, str], kind: str
) -> None:
    path = route.path
    for part in parts:
        before, _, rest = path.partition("/:")
        if not rest:
            break
        path = f"{before}/{part}/{rest.partition('/')[2]}".rstrip("/") if "/" in rest else f"{before}/{part}"
    answer = fuzzed.send(
        route.method, path, body, role, {k: v for k, v in query.items() if k != "waitS"}, kind
    )
    if answer is None:
        return
    assert answer.status_code < 500 or answer.status_code in (503, 507), answer.text
    assert "Traceback" not in answer.text
    assert str(Path(__file__).parents[2]) not in answer.text
    if answer.status_code >= 400 and route.method != "HEAD" and answer.content:
        problem = answer.json()
        assert problem["ok"] is False
        assert problem["code"]
    assert answer.headers.get("X-Content-Type-Options") == "nosniff"


class Fuzzed:
    """A hub that all examples of a fuzz share, driven from a plain function."""

    def __init__(self, root: Path) -> None:
        from contextlib import AsyncExitStack

        from pushpals.server import start_service
        from pushpals.store.memory import open_store

        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()

        async def begin() -> RunningSite:
            service = await start_service(open_store, None, data_dir=root, port=0)
            site = RunningSite(service)
            self.stack.push_async_callback(site.close)
            await site.make_tokens()
            await (await site.client()).create_session("dev")
            return site

        self.site = self.loop.run_until_complete(begin())
        self.clients: dict[Any, httpx.AsyncClient] = {}
        self.chance = random.Random(1)

    def send(
        self, method: str, path: str, body: bytes, role: Any, query: dict[str, str], kind: str
    ) -> httpx.Response | None:
        async def go() -> httpx.Response | None:
            if role not in self.clients:
                self.clients[role] = await self.site.http(role)
            try:
                return await self.clients[role].request(
                    method,
                    path,
                    params=query,
                    content=None if method in ("GET", "HEAD") else body,
                    headers={} if method in ("GET", "HEAD") else {"Content-Type": kind},
                )
            except httpx.InvalidURL:
                return None

        return self.loop.run_until_complete(go())

    def close(self) -> None:
        self.loop.run_until_complete(self.stack.aclose())
        self.loop.close()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Fuzzed(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()
