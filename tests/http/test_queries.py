"""The history asked in SQL through the hub: rights, bounds, the record, and callers that leave."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from pushpals.client import HubClient
from pushpals.protocol.commands import Query
from pushpals.protocol.errors import BadRequest, Conflict, Forbidden, NotFound
from pushpals.protocol.events import DataQueried
from pushpals.protocol.ids import SYSTEM_SESSION
from pushpals.protocol.wire import read_event
from pushpals.store.sqlite import open_store
from pushpals.testing import seed
from pushpals.testing.bench import OPERATOR
from pushpals.testing.site import RunningSite

Start = Any
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


@pytest.fixture
async def site(start: Start, tmp_path: Path) -> RunningSite:
    await seed.write(tmp_path / "hub.db")
    return await start(store=open_store, path=tmp_path / "hub.db", upkeep=False)


async def record(client: HubClient) -> list[DataQueried]:
    page = await client.history(SYSTEM_SESSION, types=["data_queried"])
    return [read_event(bytes(entry.envelope), entry.cursor).payload for entry in page.items]  # type: ignore[misc]


async def test_a_notebook_asks_and_the_hub_records_who_asked_what(site: RunningSite) -> None:
    notebook = await site.client("notebook")
    sql = "SELECT id FROM v_jobs WHERE state = :state"
    rows = await notebook.query_session("ops", sql, values={"state": "pending"})
    assert (rows.columns, rows.rows, rows.truncated) == (["id"], [["job-7"]], False)
    with pytest.raises(BadRequest) as refused:
        await notebook.query("SELECT * FROM tokens")
    assert refused.value.code == "query.refused"
    with pytest.raises(BadRequest) as stopped:
        await notebook.query(ENDLESS, timeout_s=0.1)
    assert stopped.value.code == "query.stopped"

    first, second, third = await record(await site.client())
    assert (first.by, first.statement, first.outcome, first.seen, first.rows) == (
        "client:notebook", sql, "answered", ["ops"], 1,
    )  # fmt: skip
    assert (second.outcome, second.seen) == ("refused", None)
    assert "tokens.n cannot be read" in (second.reason or "")
    assert third.outcome == "stopped"


async def test_a_secret_in_a_statement_is_not_kept(site: RunningSite) -> None:
    client = await site.client()
    await client.query(f"SELECT '{site.secrets['operator']}'")
    (asked,) = await record(client)
    assert site.secrets["operator"] not in asked.statement
    assert "[REDACTED" in asked.statement


async def test_a_token_for_some_sessions_sees_those(site: RunningSite) -> None:
    client = await site.client(secret=await site.token("notebook", sessions=["mine"]))
    await client.create_session("mine")
    await client.say("mine", "hello")
    assert (await client.query("SELECT DISTINCT session_id FROM v_events")).rows == [["mine"]]
    assert (await client.query_session("mine", "SELECT text FROM v_messages")).rows == [["hello"]]
    with pytest.raises(NotFound):
        await client.query_session("ops", "SELECT 1")


async def test_a_notebook_writes_messages_and_decides_nothing(site: RunningSite) -> None:
    notebook = await site.client("notebook")
    await notebook.say("ops", "what is new?")
    (open_one,) = (await notebook.approvals(session_id="ops")).items
    http = await site.http("notebook")
    for body in ({"decision": "approve", "actionHash": open_one.action_hash}, {"decision": "deny"}):
        answer = await http.post(f"/approvals/{open_one.id}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "right.missing")
    for path, body in [
        ("/tokens", {"role": "operator"}),
        ("/landings/landing-4/cancel", {}),
        ("/lanes/mode", {"lane": "shop:main", "mode": "open"}),
        ("/sessions/ops/command", {"type": "approved", "payload": {"approvalId": open_one.id}}),
        ("/jobs/enqueue", {"taskId": "t", "kind": "command"}),
    ]:
        assert (await http.post(path, json=body)).status_code == 403
    with pytest.raises(Forbidden):
        await notebook.tokens()


@pytest.mark.parametrize(
    "body",
    [
        {"sql": ""},
        {"sql": "SELECT 1", "limit": 0},
        {"sql": "SELECT 1", "limit": 10_001},
        {"sql": "SELECT 1", "timeoutS": 31},
        {"sql": "SELECT 1", "timeoutS": -1},
        {"sql": "SELECT 1", "values": {"a": [1]}},
        {"sql": "SELECT :a", "values": {}},
        {"sql": "x" * 30_000},
        {},
    ],
)
async def test_what_makes_no_sense_is_a_bad_request(site: RunningSite, body: dict[str, Any]) -> None:
    http = await site.http("viewer")
    assert (await http.post("/query", json=body)).status_code == 400


async def test_a_caller_that_leaves_ends_its_question(site: RunningSite) -> None:
    http, client = await site.http("viewer"), await site.client()
    with pytest.raises(httpx.ReadTimeout):
        await http.post("/query", json={"sql": ENDLESS, "timeoutS": 30}, timeout=0.3)
    async with asyncio.timeout(20), aclosing(client.follow(SYSTEM_SESSION, types=["data_queried"])) as events:
        event = await anext(events)
    assert (event.payload.outcome, event.payload.reason) == ("stopped", "the asker left")  # type: ignore[attr-defined]


async def test_a_crowd_is_told_to_come_back(site: RunningSite) -> None:
    queries = site.service.site.queries
    endless = Query(sql=ENDLESS, timeout_s=30.0)
    crowd = [asyncio.create_task(queries.ask(endless, actor=OPERATOR)) for _ in range(10)]
    await asyncio.sleep(0)
    http = await site.http()
    busy = await http.post("/query", json={"sql": "SELECT 1"})
    assert (busy.status_code, busy.json()["code"]) == (429, "query.busy")
    assert busy.headers["Retry-After"] == "1"
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert (await (await site.client()).query("SELECT 1")).rows == [[1]]


async def test_a_hub_without_sql_says_so(start: Start) -> None:
    site = await start()
    client = await site.client()
    with pytest.raises(Conflict) as error:
        await client.query("SELECT 1")
    assert error.value.code == "query.unsupported"
