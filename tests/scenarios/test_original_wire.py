"""Clients written for the original, from its published wire alone, against the real team.

Nothing of Push Pals takes part on their side: bare HTTP, bare JSON, and the schema of the 28 event types
written down here a second time. Two things differ from the original on purpose. Every request carries a
token (theirs did where they had one), and a yes names the hash of what it says yes to; a bare yes is answered
with what to send.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import httpx
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from pushpals.hub import tokens
from pushpals.hub.hub import SYSTEM
from pushpals.protocol.commands import NewToken
from pushpals.protocol.records import Role
from pushpals.testing.town import Town

Check = Callable[[Any], bool]
Fields = dict[str, Check]

# --- the schema, from the table of protocol 0.1.0 -----------------------------------------------------


def text(value: Any) -> bool:
    return isinstance(value, str)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def percent(value: Any) -> bool:
    return number(value) and 0 <= value <= 100


def table(value: Any) -> bool:
    return isinstance(value, dict)


def anything(value: Any) -> bool:
    return True


def one_of(*words: str) -> Check:
    return lambda value: value in words


def many(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def record(required: Fields, optional: Fields | None = None) -> Check:
    return lambda value: isinstance(value, dict) and not wrong(value, required, optional or {})


artifacts = many(record({"kind": text}, {"uri": text, "text": text}))
state = one_of("idle", "busy", "error")
suggestion = record({"id": text, "title": text, "detail": text, "effort": one_of("S", "M", "L")})

PAYLOADS: dict[str, tuple[Fields, Fields]] = {
    "message": ({"text": text}, {"intent": text}),
    "assistant_message": ({"text": text}, {}),
    "log": ({"level": one_of("debug", "info", "warn", "error"), "message": text}, {}),
    "error": ({"message": text}, {"detail": text}),
    "done": ({"ok": flag}, {}),
    "task_created": (
        {"taskId": text, "title": text, "description": text, "createdBy": text},
        {"priority": text, "tags": many(text)},
    ),
    "task_started": ({"taskId": text}, {}),
    "task_progress": ({"taskId": text, "message": text}, {"percent": percent}),
    "task_completed": ({"taskId": text, "summary": text}, {"artifacts": artifacts}),
    "task_failed": ({"taskId": text, "message": text}, {"detail": text}),
    "tool_call": ({"toolCallId": text, "tool": text, "args": table}, {"taskId": text, "requiresApproval": flag}),
    "tool_result": (
        {"toolCallId": text, "ok": flag},
        {"taskId": text, "stdout": text, "stderr": text, "exitCode": whole, "artifacts": artifacts},
    ),
    "job_enqueued": ({"jobId": text, "taskId": text, "kind": text, "params": table}, {}),
    "job_claimed": ({"jobId": text, "workerId": text}, {}),
    "job_completed": ({"jobId": text}, {"summary": text, "artifacts": artifacts}),
    "job_failed": ({"jobId": text, "message": text}, {"detail": text}),
    "job_log": ({"jobId": text, "stream": one_of("stdout", "stderr"), "seq": whole, "line": text}, {}),
    "approval_required": (
        {"approvalId": text, "action": one_of("git.commit", "git.push", "other"), "summary": text, "details": table},
        {},
    ),
    "approved": ({"approvalId": text}, {}),
    "denied": ({"approvalId": text}, {}),
    "agent_status": ({"agentId": text, "status": state}, {"message": text}),
    "status": (
        {"agentId": text, "state": one_of("idle", "busy", "error", "shutting_down")},
        {"uptimeMs": whole, "detail": text},
    ),
    "scan_result": (
        {"summary": text, "filesRead": many(text), "gitStatusPorcelain": text, "gitDiff": text}, {},
    ),
    "suggestions": ({"items": many(suggestion)}, {}),
    "diff_ready": ({"unifiedDiff": text, "diffStat": text, "branch": text}, {}),
    "committed": ({"branch": text, "commitHash": text, "message": text}, {}),
    "delegate_request": ({"requestId": text, "toAgentId": text, "input": anything}, {}),
    "delegate_response": ({"requestId": text, "ok": flag}, {"output": anything, "error": text}),
}  # fmt: skip


def moment(value: Any) -> bool:
    return text(value) and datetime.fromisoformat(value).tzinfo is not None


ENVELOPE: tuple[Fields, Fields] = (
    {
        "protocolVersion": one_of("0.1.0"), "id": text, "ts": moment, "sessionId": text,
        "type": one_of(*PAYLOADS), "payload": table,
    },
    {"traceId": text, "from": text, "to": text, "correlationId": text, "parentId": text, "turnId": text},
)  # fmt: skip


def wrong(value: dict[str, Any], required: Fields, optional: Fields) -> list[str]:
    """What of ``value`` the schema does not allow: missing, foreign, or of another type. No extras."""
    known = required | optional
    return (
        [f"{name} is missing" for name in required if name not in value]
        + [f"{name} is foreign" for name in value if name not in known]
        + [f"{name} is {item!r}" for name, item in value.items() if name in known and not known[name](item)]
    )


def faults(envelope: dict[str, Any]) -> list[str]:
    found = wrong(envelope, *ENVELOPE)
    return found or wrong(envelope["payload"], *PAYLOADS[envelope["type"]])


# --- the clients -----------------------------------------------------------------------------------------


class Original:
    """What a client of the original does: bearer token, JSON bodies, SSE frames with id and data only."""

    def __init__(self, town: Town, token: str) -> None:
        self.url = town.service.url
        self.token = token
        self.http = httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False
        )

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(path, json=body)

    async def read(
        self, after: int, last: int, types: str = ",".join(PAYLOADS)
    ) -> list[tuple[int, dict[str, Any]]]:
        """The frames behind ``after`` up to cursor ``last``."""
        found: list[tuple[int, dict[str, Any]]] = []
        query = {"after": after, **({"types": types} if types else {})}
        async with self.http.stream("GET", "/sessions/dev/events", params=query) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            cursor = ""
            async for line in response.aiter_lines():
                assert not line.startswith("event:")
                if line.startswith("id:"):
                    cursor = line.removeprefix("id:").strip()
                elif line.startswith("data:"):
                    found.append((int(cursor), json.loads(line.removeprefix("data:"))))
                # The original's clients know nothing of "nothing more up to here"; the test has to.
                if (found and found[-1][0] >= last) or (
                    line.startswith(": live") and int(line.split()[-1]) >= last
                ):
                    return found
        raise AssertionError("the stream ended")


Make = Callable[..., Awaitable[Original]]


@pytest.fixture
async def original(town: Town) -> AsyncIterator[Make]:
    """Make clients with a token of their own."""
    async with AsyncExitStack() as stack:

        async def make(role: Role = "operator") -> Original:
            made = await town.service.hub.run(
                tokens.make, NewToken(role=role, label="original"), actor=SYSTEM
            )
            client = Original(town, made.secret)
            await stack.enter_async_context(client.http)
            return client

        yield make


async def last_cursor(town: Town) -> int:
    return (await town.person.snapshot("dev")).cursor


# --- stories ---------------------------------------------------------------------------------------------


async def test_an_original_client_goes_the_whole_way_and_every_event_is_valid(
    town: Town, original: Make
) -> None:
    client = await original()
    joined = await client.post("/sessions", {"sessionId": "dev"})
    assert joined.status_code == 200
    assert joined.json().items() >= {"sessionId": "dev", "protocolVersion": "0.1.0"}.items()

    for request in (
        "what is failing?",
        "run: echo hello",
        "apply this patch\n```diff\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n```",
    ):
        said = await client.post("/sessions/dev/message", {"text": request, "intent": "chat"})
        assert (said.status_code, said.json()["ok"]) == (200, True)
        await town.read()
        await town.work()

    await client.post("/sessions/dev/message", {"text": "fix the lint"})
    await town.read()
    await town.work()
    frames = await client.read(0, await last_cursor(town))
    asked = [envelope["payload"] for _, envelope in frames if envelope["type"] == "approval_required"]
    assert len(asked) == 1

    bare = await client.post(f"/approvals/{asked[0]['approvalId']}", {"decision": "approve"})
    assert (bare.status_code, bare.json()["code"]) == (409, "approval.hash_required")
    yes = {"decision": "approve", "actionHash": asked[0]["details"]["actionHash"]}
    assert (await client.post(f"/approvals/{asked[0]['approvalId']}", yes)).status_code == 200
    await town.read()
    await town.land()

    frames = await client.read(0, await last_cursor(town))
    assert {cursor: found for cursor, envelope in frames if (found := faults(envelope))} == {}
    cursors = [cursor for cursor, _ in frames]
    assert cursors == sorted(set(cursors))
    assert {envelope["type"] for _, envelope in frames} >= {
        "message", "assistant_message", "task_created", "task_started", "task_progress", "task_completed",
        "task_failed", "tool_call", "tool_result", "job_enqueued", "job_claimed", "job_completed", "job_failed",
        "job_log", "approval_required", "approved", "scan_result", "diff_ready", "committed",
    }  # fmt: skip
    assert "import os" not in town.main["parcels/labels.py"]
    assert (await client.read(cursors[4], await last_cursor(town)))[0][0] == cursors[5]


async def test_an_original_client_denies_without_a_hash(town: Town, original: Make) -> None:
    client = await original()
    before = town.main
    await client.post("/sessions/dev/message", {"text": "fix the lint"})
    await town.read()
    await town.work()
    approval = await town.open_approval()
    answer = await client.post(f"/approvals/{approval.id}", {"decision": "deny"})
    assert answer.status_code == 200
    await town.read()
    await town.land()
    assert town.main == before
    frames = await client.read(0, await last_cursor(town))
    assert [faults(envelope) for _, envelope in frames if faults(envelope)] == []
    assert "denied" in {envelope["type"] for _, envelope in frames}


async def test_an_original_worker_polls_logs_and_completes(town: Town, original: Make) -> None:
    worker = await original("worker")
    assert (await worker.post("/jobs/claim", {"workerId": "old-1"})).status_code == 404
    await town.say("run the tests")
    claimed = await worker.post("/jobs/claim", {"workerId": "old-1"})
    job = claimed.json()["job"]
    assert (claimed.status_code, job["kind"], job["status"], job["workerId"]) == (
        200,
        "check",
        "claimed",
        "old-1",
    )

    for seq, line in enumerate(["collected 8 items", "8 passed"], start=1):
        told = {"jobId": job["id"], "stream": "stdout", "seq": seq, "line": line}
        answer = await worker.post(
            f"/sessions/{job['sessionId']}/command",
            {"type": "job_log", "payload": told, "from": "worker:old-1"},
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["eventId"]
    done = {"summary": "8 passed", "artifacts": [{"kind": "log", "text": "8 passed"}]}
    answer = await worker.post(f"/jobs/{job['id']}/complete", done)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    await town.read()

    frames = await (await original()).read(0, await last_cursor(town))
    assert [faults(envelope) for _, envelope in frames if faults(envelope)] == []
    lines = [envelope["payload"] for _, envelope in frames if envelope["type"] == "job_log"]
    assert [(line["seq"], line["line"]) for line in lines] == [(1, "collected 8 items"), (2, "8 passed")]
    assert frames[-1][1]["type"] == "task_completed"
    assert "8 passed" in (await town.said())[-1]
    assert (await worker.post(f"/jobs/{job['id']}/fail", {"message": "late"})).status_code == 409


async def test_an_original_worker_fails_a_job_and_the_task_ends(town: Town, original: Make) -> None:
    worker = await original("worker")
    await town.say("run the tests")
    job = (await worker.post("/jobs/claim", {"workerId": "old-1"})).json()["job"]
    assert (
        await worker.post(f"/jobs/{job['id']}/fail", {"message": "2 failed", "detail": "..."})
    ).status_code == 200
    await town.read()
    assert [event.type for event in await town.events("task_failed")] == ["task_failed"]


async def test_a_websocket_frame_is_the_envelope_beside_its_cursor(town: Town, original: Make) -> None:
    client = await original()
    await town.say("help")
    request = HTTPRequest(
        f"{client.url.replace('http', 'ws', 1)}/sessions/dev/ws?after=0&types={','.join(PAYLOADS)}",
        headers={"Authorization": f"Bearer {client.token}"},
    )
    connection = await websocket_connect(request)
    frames = []
    while len(frames) < 2:
        data = await connection.read_message()
        assert isinstance(data, str)
        frame = json.loads(data)
        if "envelope" in frame:
            assert set(frame) == {"envelope", "cursor"}
            assert faults(frame["envelope"]) == []
            frames.append(frame)
    connection.close()
    assert [frame["cursor"] for frame in frames] == [1, 2]
    assert [frame["envelope"]["type"] for frame in frames] == ["message", "assistant_message"]


SAMPLES: dict[str, dict[str, Any]] = {
    "log": {"level": "warn", "message": "m"},
    "error": {"message": "m", "detail": "d"},
    "done": {"ok": True},
    "assistant_message": {"text": "t"},
    "task_created": {"taskId": "t", "title": "t", "description": "d", "createdBy": "client", "priority": "high", "tags": ["a"]},
    "task_started": {"taskId": "t"},
    "task_progress": {"taskId": "t", "message": "m", "percent": 12.5},
    "task_completed": {"taskId": "t", "summary": "s", "artifacts": [{"kind": "log", "uri": "file:x", "text": "y"}]},
    "task_failed": {"taskId": "t", "message": "m", "detail": "d"},
    "tool_call": {"toolCallId": "c", "tool": "git.status", "args": {"a": [1]}, "taskId": "t", "requiresApproval": False},
    "tool_result": {"toolCallId": "c", "ok": False, "taskId": "t", "stdout": "", "stderr": "e", "exitCode": 1, "artifacts": []},
    "agent_status": {"agentId": "a", "status": "busy", "message": "m"},
    "status": {"agentId": "a", "state": "shutting_down", "uptimeMs": 12, "detail": "d"},
    "scan_result": {"summary": "s", "filesRead": ["a"], "gitStatusPorcelain": "", "gitDiff": ""},
    "suggestions": {"items": [{"id": "1", "title": "t", "detail": "d", "effort": "S"}]},
    "diff_ready": {"unifiedDiff": "d", "diffStat": "s", "branch": "b"},
    "delegate_request": {"requestId": "r", "toAgentId": "nobody", "input": {"x": None}},
    "delegate_response": {"requestId": "r", "ok": True, "output": [1], "error": "e"},
}  # fmt: skip


async def test_what_agents_of_the_original_post_comes_back_valid_and_nothing_more(
    town: Town, original: Make
) -> None:
    client = await original()
    for cursor, (kind, payload) in enumerate(SAMPLES.items(), start=1):
        body = {
            "type": kind, "payload": payload, "from": "client", "to": "agent:x", "correlationId": "c",
            "turnId": "t", "parentId": "p",
        }  # fmt: skip
        answer = await client.post("/sessions/dev/command", body)
        assert answer.status_code == 200, answer.text
        (frame,) = await client.read(cursor - 1, cursor)
        assert faults(frame[1]) == []
        assert (frame[0], frame[1]["id"], frame[1]["type"]) == (cursor, answer.json()["eventId"], kind)
        assert frame[1]["payload"] == {name: value for name, value in payload.items() if value is not None}

        more = await client.post("/sessions/dev/command", {**body, "payload": {**payload, "extra": 1}})
        assert more.status_code == 400, kind
        assert more.json()["errors"]


RESERVED: dict[str, dict[str, Any]] = {
    "approved": {"approvalId": "a"},
    "denied": {"approvalId": "a"},
    "approval_required": {"approvalId": "a", "action": "other", "summary": "s", "details": {}},
    "job_enqueued": {"jobId": "j", "taskId": "t", "kind": "k", "params": {}},
    "job_claimed": {"jobId": "j", "workerId": "w"},
    "job_completed": {"jobId": "j"},
    "job_failed": {"jobId": "j", "message": "m"},
    "job_log": {"jobId": "j", "stream": "stdout", "seq": 1, "line": "l"},
    "committed": {"branch": "b", "commitHash": "c", "message": "m"},
}


async def test_what_only_the_hub_or_the_holder_of_a_lease_may_tell_is_refused(
    town: Town, original: Make
) -> None:
    client = await original()
    for kind, payload in RESERVED.items():
        assert wrong(payload, *PAYLOADS[kind]) == []
        answer = await client.post("/sessions/dev/command", {"type": kind, "payload": payload})
        assert (answer.status_code, answer.json()["code"]) == (403, "event.forbidden"), kind
    assert await last_cursor(town) == 0


def test_every_one_of_the_28_types_is_looked_at() -> None:
    assert len(PAYLOADS) == 28
    assert set(SAMPLES) | set(RESERVED) | {"message"} == set(PAYLOADS)
