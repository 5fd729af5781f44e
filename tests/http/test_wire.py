"""The original wire, status by status: a client written for the original works against this hub."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from pushpals.store.sqlite import open_store as open_sqlite
from pushpals.testing.raw import connect, request, status
from pushpals.testing.site import RunningSite as Site

Start = Any

BAD_IDS = ["a b", "a/b", "é", "a" * 65, "a\n", "a\0", "dev%", 7, ["dev"], {"id": "dev"}]
GOOD_IDS = ["a" * 64, ".", "..", "-", "_", "a..b", "DEV", "0"]


async def test_health_is_open_and_says_only_that_it_lives(site: Site) -> None:
    http = await site.http(None)
    answer = await http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "protocolVersion": "0.1.0"})


async def test_a_session_is_created_once_and_joined_after_that(site: Site) -> None:
    http = await site.http()
    first = await http.post("/sessions", json={"sessionId": "fresh"})
    second = await http.post("/sessions", json={"sessionId": "fresh"})

    assert first.status_code == 201
    assert second.status_code == 200
    assert first.json() == second.json() == {"sessionId": "fresh", "protocolVersion": "0.1.0", "cursor": 0}


@pytest.mark.parametrize("body", [{}, {"sessionId": ""}, {"sessionId": "  "}, {"sessionId": None}])
async def test_no_session_id_asks_for_a_new_one(site: Site, body: dict[str, Any]) -> None:
    http = await site.http()
    one, two = await http.post("/sessions", json=body), await http.post("/sessions", json=body)

    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json()["sessionId"] != two.json()["sessionId"]


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_a_bad_session_id_is_400_and_never_404(site: Site, bad: Any) -> None:
    http = await site.http()
    answer = await http.post("/sessions", json={"sessionId": bad})

    assert answer.status_code == 400
    assert answer.json()["ok"] is False
    assert answer.json()["errors"]


@pytest.mark.parametrize("good", GOOD_IDS)
async def test_every_id_of_the_alphabet_is_taken_and_becomes_no_path(
    site: Site, tmp_path: Any, good: str
) -> None:
    http = await site.http()
    before = sorted(path.name for path in tmp_path.rglob("*"))

    assert (await http.post("/sessions", json={"sessionId": good})).status_code == 201
    client = await site.client()
    assert (await client.say(good, "hello")).cursor == 1
    assert (await client.snapshot(good)).session.id == good
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("raw", ["a%0Ab", "a%2Fb", "a%00b", "a%20b", "%C3%A9", "%FF", "a%25", "", "x" * 65])
@pytest.mark.parametrize("tail", ["/events", "/message", "/command", "/history", "/ws", ""])
async def test_a_bad_session_id_in_a_path_is_400(site: Site, raw: str, tail: str) -> None:
    method = "POST" if tail in ("/message", "/command") else "GET"
    host = urlsplit(site.url).netloc
    async with connect(site.url) as wire:
        await wire.send(
            request(
                method,
                f"/sessions/{raw}{tail}",
                host=host,
                token=site.secrets["operator"],
                body=b"{}" if method == "POST" else b"",
                extra="Connection: close\r\n",
            )
        )
        assert status(await wire.rest()) == 400


async def test_two_dots_in_a_path_are_a_session_and_not_a_way_up(site: Site) -> None:
    host = urlsplit(site.url).netloc
    async with connect(site.url) as wire:
        await wire.send(
            request(
                "GET",
                "/sessions/../history",
                host=host,
                token=site.secrets["operator"],
                extra="Connection: close\r\n",
            )
        )
        answer = await wire.rest()
    assert status(answer) == 404
    assert b"session.unknown" in answer


async def test_a_message_is_answered_ok_with_its_place_in_the_history(site: Site) -> None:
    http = await site.http()
    answer = await http.post("/sessions/dev/message", json={"text": "hello", "intent": "chat"})

    assert answer.status_code == 200
    assert answer.json()["ok"] is True
    assert answer.json()["cursor"] == 1


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/sessions/nowhere/message", {"text": "hello"}, 404),
        ("/sessions/dev/message", {}, 400),
        ("/sessions/dev/message", {"text": ""}, 400),
        ("/sessions/dev/message", {"text": "   "}, 400),
        ("/sessions/dev/message", {"text": 7}, 400),
        ("/sessions/dev/message", ["text"], 400),
        ("/sessions/nowhere/command", {"type": "log", "payload": {"level": "info", "message": "m"}}, 404),
        ("/sessions/dev/command", {"type": "log"}, 400),
        ("/sessions/dev/command", {"type": "log", "payload": {"level": "loud", "message": "m"}}, 400),
        ("/sessions/dev/command", {"type": "nonsense", "payload": {}}, 400),
        ("/sessions/dev/command", {"type": "log", "payload": {"level": "info", "message": "m", "x": 1}}, 400),
        ("/sessions/dev/command", {"type": "approved", "payload": {"approvalId": "a"}}, 403),
        ("/jobs/enqueue", {"kind": "check"}, 400),
        ("/jobs/enqueue", {"taskId": "t", "kind": "check", "sessionId": "a b"}, 400),
        ("/jobs/enqueue", {"taskId": "t", "kind": "check", "sessionId": "nowhere"}, 404),
        ("/approvals/unknown", {"decision": "approve"}, 400),
        ("/approvals/unknown", {"decision": "maybe"}, 400),
        ("/nothing/here", {}, 404),
    ],
)
async def test_what_is_wrong_with_a_post_is_said(site: Site, path: str, body: Any, expected: int) -> None:
    http = await site.http()
    answer = await http.post(path, json=body)

    assert answer.status_code == expected
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["ok"] is False
    assert problem["error"]
    assert problem["errors"] == [problem["error"]]
    assert "Traceback" not in answer.text
    assert "/pushpals/" not in answer.text


async def test_a_command_answers_with_its_event_id(site: Site) -> None:
    http = await site.http()
    body = {"type": "log", "payload": {"level": "info", "message": "m"}, "correlationId": "c", "turnId": "t"}
    answer = await http.post("/sessions/dev/command", json=body)
    history = await http.get("/sessions/dev/history")

    assert answer.status_code == 200
    assert answer.json()["ok"] is True
    envelope = history.json()["items"][0]["envelope"]
    assert envelope["id"] == answer.json()["eventId"]
    assert (envelope["correlationId"], envelope["turnId"]) == ("c", "t")


async def test_a_job_goes_from_enqueue_to_claim_to_complete_as_in_the_original(site: Site) -> None:
    operator, worker = await site.http(), await site.http("worker")
    empty = await worker.post("/jobs/claim", json={"workerId": "w1"})
    made = await operator.post("/jobs/enqueue", json={"taskId": "t", "kind": "check", "params": {"a": 1}})
    claimed = await worker.post("/jobs/claim", json={"workerId": "w1"})
    done = await worker.post(f"/jobs/{made.json()['jobId']}/complete", json={"summary": "fine"})
    again = await worker.post(f"/jobs/{made.json()['jobId']}/fail", json={"message": "no"})

    assert empty.status_code == 404
    assert made.status_code == 201
    assert set(made.json()) == {"ok", "jobId"}
    assert made.json()["ok"] is True
    assert claimed.status_code == 200
    job = claimed.json()["job"]
    assert (job["id"], job["taskId"], job["kind"], job["params"], job["status"]) == (
        made.json()["jobId"], "t", "check", {"a": 1}, "claimed",
    )  # fmt: skip
    assert (done.status_code, done.json()) == (200, {"ok": True})
    assert again.status_code == 409


async def test_an_approval_is_asked_before_its_tool_call_and_needs_the_hash(site: Site) -> None:
    http = await site.http()
    body = {
        "type": "tool_call",
        "payload": {
            "toolCallId": "call-1",
            "tool": "shell",
            "args": {"argv": ["ls"]},
            "requiresApproval": True,
        },
    }
    await http.post("/sessions/dev/command", json=body)
    history = (await http.get("/sessions/dev/history")).json()["items"]
    assert [item["envelope"]["type"] for item in history] == ["approval_required", "tool_call"]

    blind = await http.post("/approvals/call-1", json={"decision": "approve"})
    wrong = await http.post("/approvals/call-1", json={"decision": "approve", "actionHash": "0" * 64})
    assert (blind.status_code, blind.json()["code"]) == (409, "approval.hash_required")
    assert wrong.status_code == 409

    shown = (await http.get(blind.json()["detail"]["look"])).json()
    assert shown["actionHash"] == blind.json()["detail"]["actionHash"]
    yes = await http.post(
        "/approvals/call-1", json={"decision": "approve", "actionHash": shown["actionHash"]}
    )
    late = await http.post("/approvals/call-1", json={"decision": "deny"})
    assert (yes.status_code, yes.json()["ok"]) == (200, True)
    assert yes.json()["approval"]["state"] == "approved"
    assert yes.json()["approval"]["address"] == "127.0.0.1"
    assert late.status_code == 409


async def test_a_denial_may_come_without_a_hash(site: Site) -> None:
    http = await site.http()
    call = {"toolCallId": "call-2", "tool": "shell", "args": {}, "requiresApproval": True}
    await http.post("/sessions/dev/command", json={"type": "tool_call", "payload": call})

    answer = await http.post("/approvals/call-2", json={"decision": "deny", "reason": "no"})

    assert (answer.status_code, answer.json()["approval"]["state"]) == (200, "denied")


async def test_two_clients_with_one_key_get_one_event_and_one_answer(site: Site) -> None:
    http, other = await site.http(), await site.http()
    headers = {"Idempotency-Key": "once"}
    one, two = await asyncio.gather(
        http.post("/sessions/dev/message", json={"text": "hello"}, headers=headers),
        other.post("/sessions/dev/message", json={"text": "hello"}, headers=headers),
    )
    differs = await http.post("/sessions/dev/message", json={"text": "other"}, headers=headers)
    history = (await http.get("/sessions/dev/history")).json()

    assert (one.status_code, two.status_code) == (200, 200)
    assert one.json() == two.json()
    assert (differs.status_code, differs.json()["code"]) == (409, "key_reused")
    assert history["last"] == 1


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_a_key_that_is_none_is_400(site: Site, key: str) -> None:
    http = await site.http()
    answer = await http.post(
        "/sessions/dev/message", json={"text": "hello"}, headers={"Idempotency-Key": key}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "key.invalid")


async def test_jobs_sessions_and_messages_survive_a_restart(start: Start, tmp_path: Any) -> None:
    """Defects 1 and 2 of the original: a job queue in memory, and streams that forget their sessions."""
    first = await start(store=open_sqlite, path=tmp_path / "hub.db")
    client = await first.client()
    await client.create_session("kept")
    await client.say("kept", "before")
    http = await first.http()
    job = (
        await http.post("/jobs/enqueue", json={"taskId": "t", "kind": "check", "sessionId": "kept"})
    ).json()
    await first.service.stop()

    second = await start(store=open_sqlite, path=tmp_path / "hub.db")
    client, worker = await second.client(), await second.http("worker")
    history = await client.history("kept")
    claimed = await worker.post("/jobs/claim", json={"workerId": "w1"})

    assert [item.cursor for item in history.items] == [1, 2]
    assert claimed.json()["job"]["id"] == job["jobId"]
    async with (await second.http()).stream("GET", "/sessions/kept/events") as stream:
        assert stream.status_code == 200


async def test_reading_and_writing_need_a_token(site: Site) -> None:
    """Defect 12 of the original."""
    http = await site.http(None)
    for method, path in (
        ("GET", "/sessions/dev/events"),
        ("GET", "/sessions/dev/ws"),
        ("POST", "/sessions/dev/message"),
        ("POST", "/sessions"),
    ):
        answer = await http.request(method, path, json={"text": "hello"} if method == "POST" else None)
        assert (answer.status_code, answer.json()["code"]) == (401, "token.missing"), path


async def test_methods_an_address_does_not_take_are_405(site: Site) -> None:
    http = await site.http()
    for method, path in (
        ("DELETE", "/sessions"),
        ("PUT", "/jobs"),
        ("GET", "/jobs/claim"),
        ("BREW", "/jobs"),
    ):
        answer = await http.request(method, path)
        assert answer.status_code in (404, 405), path
        assert answer.json()["ok"] is False
