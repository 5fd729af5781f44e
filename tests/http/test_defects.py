"""The defects of the original that are the hub's to repeat, each a first acceptance test.

The number is that of ``docs/explanation/defects.md``; what only a whole team shows is in
``tests/scenarios/test_defects.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from pushpals.hub.hub import SYSTEM
from pushpals.protocol.events import Log
from pushpals.store.sqlite import open_store as open_sqlite
from pushpals.testing.site import RunningSite as Site

Start = Any
JOB = {"taskId": "t", "kind": "check", "sessionId": "dev"}


async def frames(http: httpx.AsyncClient, last: int, headers: dict[str, str] | None = None) -> list[int]:
    """The cursors that a stream delivers, up to ``last``."""
    seen: list[int] = []
    async with http.stream("GET", "/sessions/dev/events", headers=headers or {}) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("id:"):
                seen.append(int(line.removeprefix("id:")))
                if seen[-1] >= last:
                    return seen
    raise AssertionError(f"the stream ended at {seen[-1:]}")


async def test_defect_01_an_enqueued_job_is_there_after_a_restart(start: Start, tmp_path: Path) -> None:
    first = await start(store=open_sqlite, path=tmp_path / "hub.db")
    await (await first.client()).create_session("dev")
    made = (await (await first.http()).post("/jobs/enqueue", json=JOB)).json()
    await first.service.stop()

    second = await start(store=open_sqlite, path=tmp_path / "hub.db")
    worker = await second.http("worker")
    claimed = (await worker.post("/jobs/claim", json={"workerId": "w1"})).json()["job"]
    assert (claimed["id"], claimed["attempt"]) == (made["jobId"], 1)


async def test_defect_02_a_stream_and_a_message_need_no_new_session_after_a_restart(
    start: Start, tmp_path: Path
) -> None:
    first = await start(store=open_sqlite, path=tmp_path / "hub.db")
    await (await first.client()).create_session("dev")
    await (await first.client()).say("dev", "before")
    await first.service.stop()

    second = await start(store=open_sqlite, path=tmp_path / "hub.db")
    http = await second.http()
    posted = await http.post("/sessions/dev/message", json={"text": "after"})
    assert (posted.status_code, posted.json()["cursor"]) == (200, 2)
    assert await frames(http, 2) == [1, 2]
    unknown = await http.post("/sessions/elsewhere/message", json={"text": "lost?"})
    assert unknown.status_code == 404


@pytest.mark.parametrize("known", [0, 1, 1_000, 2_499])
async def test_defect_03_a_long_replay_has_no_hole_and_last_event_id_resumes_it(
    start: Start, tmp_path: Path, known: int
) -> None:
    site = await start(store=open_sqlite, path=tmp_path / "hub.db")
    await (await site.client()).create_session("dev")

    def fill(tx: Any) -> None:
        for number in range(2_500):
            tx.append("dev", Log(level="info", message=f"{number}"))

    await site.service.store.write(fill, actor=SYSTEM, now=site.hub.clock())
    headers = {"Last-Event-ID": str(known)} if known else {}
    assert await frames(await site.http(), 2_500, headers) == list(range(known + 1, 2_501))


async def test_defect_10_only_the_claimer_ends_a_job_and_only_while_it_holds_it(site: Site) -> None:
    one, other = await site.http("worker"), await site.http(None, await site.token("worker", label="other"))
    job = (await (await site.http()).post("/jobs/enqueue", json=JOB)).json()["jobId"]
    claim = {"workerId": "w1", "leaseS": 30.0}
    assert (await one.post("/jobs/claim", json=claim)).json()["job"]["attempt"] == 1

    for path in ("complete", "fail", "progress"):
        answer = await other.post(
            f"/jobs/{job}/{path}", json={"message": "m"} if path == "fail" else {"attempt": 1}
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "job.unknown"), path

    given_back = {"attempt": 1, "message": "stopped", "errorClass": "lost"}
    assert (await one.post(f"/jobs/{job}/fail", json=given_back)).status_code == 200
    again = (await other.post("/jobs/claim", json={**claim, "workerId": "w2"})).json()["job"]
    assert (again["id"], again["attempt"]) == (job, 2)
    late = await one.post(f"/jobs/{job}/complete", json={"attempt": 2, "summary": "late"})
    assert (late.status_code, late.json()["code"]) == (404, "job.unknown")
    old = await other.post(f"/jobs/{job}/complete", json={"attempt": 1, "summary": "old"})
    assert (old.status_code, old.json()["code"]) == (409, "lease_lost")
    assert (await other.post(f"/jobs/{job}/complete", json={"attempt": 2})).status_code == 200

    history = (await (await site.http()).get("/sessions/dev/history")).json()["items"]
    assert [item["envelope"]["type"] for item in history] == [
        "job_enqueued", "job_claimed", "job_requeued", "job_claimed", "job_completed",
    ]  # fmt: skip


async def test_defect_12_reading_and_writing_need_a_token_and_the_yes_has_a_name(site: Site) -> None:
    nobody = await site.http(None)
    for method, path in (
        ("GET", "/sessions"), ("GET", "/sessions/dev"), ("GET", "/sessions/dev/events"), ("GET", "/sessions/dev/ws"),
        ("GET", "/sessions/dev/history"), ("POST", "/sessions"), ("POST", "/sessions/dev/message"), ("GET", "/jobs"),
    ):  # fmt: skip
        answer = await nobody.request(method, path, json={"text": "x"} if method == "POST" else None)
        assert answer.status_code == 401, path

    person = await site.http(None, await site.token("operator", label="grace"))
    call = {"toolCallId": "c", "tool": "shell", "args": {}, "requiresApproval": True}
    await person.post("/sessions/dev/command", json={"type": "tool_call", "payload": call})
    shown = (await person.get("/approvals/c")).json()
    decide = {"decision": "approve", "actionHash": shown["actionHash"], "device": "phone"}
    assert (await person.post("/approvals/c", json=decide)).status_code == 200
    told = (await person.get("/sessions/dev/history", params={"types": "approval_decided"})).json()["items"]
    (decided,) = [item["envelope"]["payload"] for item in told]
    assert (decided["by"], decided["device"], decided["actionHash"]) == (
        "client:grace", "phone", shown["actionHash"],
    )  # fmt: skip


async def test_defect_13_delegation_is_said_and_answered_in_the_schema_s_own_fields(site: Site) -> None:
    buddy = await site.http("buddy")
    asked = {"requestId": "r", "toAgentId": "local", "input": {"text": "status"}}
    answered = {"requestId": "r", "ok": True, "output": {"text": "clean"}}
    for kind, payload in (("delegate_request", asked), ("delegate_response", answered)):
        answer = await buddy.post("/sessions/dev/command", json={"type": kind, "payload": payload})
        assert answer.status_code == 200, answer.text
    wrong = {"type": "delegate_response", "payload": {"id": "r", "result": {}}}
    assert (await buddy.post("/sessions/dev/command", json=wrong)).status_code == 400
    history = (await buddy.get("/sessions/dev/history")).json()["items"]
    assert [item["envelope"]["payload"] for item in history] == [asked, answered]


async def test_defect_15_a_new_device_gets_the_state_and_goes_on_without_a_gap(site: Site) -> None:
    client = await site.client()
    for number in range(1, 4):
        await client.say("dev", f"message {number}")
    http = await site.http()
    await http.post("/jobs/enqueue", json=JOB)

    device = await site.http("viewer")
    state = (await device.get("/sessions/dev")).json()
    before = (await device.get("/sessions/dev/history", params={"types": "message"})).json()["items"]
    assert [item["envelope"]["payload"]["text"] for item in before] == [f"message {n}" for n in (1, 2, 3)]
    assert [job["status"] for job in state["jobs"]] == ["pending"]
    await client.say("dev", "message 4")
    assert await frames(device, 5, {"Last-Event-ID": str(state["cursor"])}) == [5]
