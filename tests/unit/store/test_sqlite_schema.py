"""The schema keeps its own rules, and every statement finds its way by an index."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushpals.protocol.approvals import Approval
from pushpals.protocol.jobs import Attempt, Job, Wire
from pushpals.protocol.landings import UNFINISHED, Landing
from pushpals.protocol.records import Mark, Session, StoredArtifact, Worker
from pushpals.store.base import RECORDS, Before
from pushpals.store.sqlite import finding
from pushpals.store.sqlite.connecting import open_database
from pushpals.store.sqlite.queries import QUERIES, parse
from pushpals.testing.contracts.store import one_of_each

T = "2026-01-31T12:00:00.000Z"
OPEN = ("blocked", "scheduled", "pending", "claimed")
ENDED = ("landed", "noop", "conflict", "rejected", "stale", "cancelled", "failed")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "hub.db", synchronous="full", busy_s=5)
    yield connection
    connection.close()


def plan(connection: sqlite3.Connection, sql: str, values: tuple[object, ...]) -> str:
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
    return "; ".join(row[3] for row in rows)


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_named_query_fits_the_schema(connection: sqlite3.Connection, name: str) -> None:
    query = QUERIES[name]
    connection.execute(f"EXPLAIN {query.sql}", (None,) * query.sql.count("?")).fetchall()
    assert query.about.endswith(".")


def test_every_record_has_its_table_and_columns(connection: sqlite3.Connection) -> None:
    for kind, table in RECORDS.items():
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
        extra = ["last", "first", "epoch", "head"] if kind is Session else []
        assert columns == {"n", table.key, *table.columns, *extra, "doc"}
        if kind is not Session:
            connection.execute(f"EXPLAIN {finding.put(kind)}", (None,) * (len(table.columns) + 2))
        connection.execute(f"EXPLAIN {finding.delete(kind)}", ("x",))
        connection.execute(f"EXPLAIN {finding.get(kind)}", ("x",))


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("end_of_session", "SEARCH sessions USING INDEX sqlite_autoindex_sessions_1 (id=?)"),
        ("move_end", "SEARCH sessions USING INTEGER PRIMARY KEY (rowid=?)"),
        ("newest_number", "SEARCH events USING COVERING INDEX sqlite_autoindex_events_1"),
        ("events_after", "SEARCH e USING PRIMARY KEY (session=? AND seq>?)"),
        ("events_after_of", "SEARCH e USING PRIMARY KEY (session=? AND seq>?)"),
        ("events_before", "SEARCH e USING PRIMARY KEY (session=? AND seq>? AND seq<?)"),
        ("chain_after", "SEARCH events USING PRIMARY KEY (session=? AND seq>? AND seq<?)"),
        ("recall", "SEARCH answers USING INDEX sqlite_autoindex_answers_1 (key=?)"),
        ("forget", "SEARCH answers USING INDEX sqlite_autoindex_answers_1 (key=?)"),
        ("search", "SEARCH e USING INDEX sqlite_autoindex_events_1 (n=? AND session=? AND seq<?)"),
        ("bodies_before", "SEARCH events USING PRIMARY KEY (session=? AND seq>? AND seq<?)"),
        ("events_to_search", "SEARCH events USING INDEX sqlite_autoindex_events_1 (n>? AND n<?)"),
        ("prune_answers", "SEARCH answers USING INTEGER PRIMARY KEY (rowid=?)"),
    ],
)
def test_hot_queries_go_by_an_index(connection: sqlite3.Connection, name: str, index: str) -> None:
    query = QUERIES[name]
    found = plan(connection, query.sql, (None,) * query.sql.count("?"))
    assert index in found
    assert "TEMP B-TREE" not in found.replace("USE TEMP B-TREE FOR IN-OPERATOR", "")


@pytest.mark.parametrize(
    ("kind", "order", "where", "index", "sorts"),
    [
        (Job, ("due", "n"), {"state": "pending"}, "jobs_turns", False),
        (Job, ("due", "n"), {"state": "pending", "kind": ("fix", "look")}, "jobs_turns", False),
        (Job, ("-due",), {"state": "pending", "session_id": "s"}, "jobs_flows", False),
        (Job, ("-updated_at",), {"state": ("completed", "failed", "cancelled")}, "jobs_ended", False),
        (Job, ("created_at",), {"state": "pending"}, "jobs_waiting", False),
        (Job, ("lease_until",), {"state": "claimed", "lease_until": Before(T)}, "jobs_leases", False),
        (Job, ("n",), {"state": "claimed", "worker_id": "w"}, "jobs_held", False),
        (Job, ("run_at",), {"state": "scheduled", "run_at": Before(T)}, "jobs_scheduled", False),
        (Job, ("n",), {"session_id": "s", "state": "blocked"}, "jobs_blocked", False),
        (Job, ("n",), {"session_id": "s", "state": OPEN}, "jobs_open", True),
        (Job, ("-updated_at",), {"state": "failed"}, "jobs_failed", False),
        (Job, ("n",), {"task_id": "t"}, "jobs_by_task", False),
        (
            Job, ("-updated_at",), {"session_id": "s", "state": ("completed", "failed", "cancelled")},
            "jobs_by_session", False,
        ),
        (Attempt, ("n",), {"job_id": "j"}, "attempts_by_job", False),
        (
            Approval, ("expires_at",), {"state": ("open", "approved"), "expires_at": Before(T)},
            "approvals_expiring", False,
        ),
        (Approval, ("n",), {"session_id": "s", "state": "open"}, "approvals_by_session", False),
        (Approval, ("n",), {"state": "open"}, "approvals_open", False),
        (Approval, ("n",), {"landing_id": "l"}, "approvals_by_landing", False),
        (Approval, ("n",), {"job_id": "j"}, "approvals_by_job", False),
        (Landing, ("-rank", "n"), {"lane": "l", "state": UNFINISHED}, "landings_queue", False),
        (Landing, ("n",), {"lane": "l", "branch": "b", "state": UNFINISHED}, "landings_by_branch", False),
        (Landing, ("n",), {"session_id": "s", "state": UNFINISHED}, "landings_unfinished", False),
        (Landing, ("-updated_at",), {"session_id": "s", "state": ENDED}, "landings_by_session", False),
        (Landing, ("-updated_at",), {"state": ENDED}, "landings_ended", False),
        (Landing, ("n",), {"head": "h"}, "landings_by_head", False),
        (Landing, ("n",), {"job_id": "j"}, "landings_by_job", False),
        (Worker, ("n",), {"state": ("idle", "busy"), "seen_at": Before(T)}, "workers_by_state", True),
        (Mark, ("n",), {"session_id": "s"}, "marks_by_session", False),
        (StoredArtifact, ("n",), {"job_id": "j"}, "artifacts_by_job", False),
    ],
)  # fmt: skip
def test_what_the_hub_asks_for_goes_by_an_index(
    connection: sqlite3.Connection,
    kind: type[Wire],
    order: tuple[str, ...],
    where: dict[str, object],
    index: str,
    sorts: bool,
) -> None:
    found = plan(connection, *finding.select(kind, order, where, 10))
    assert re.search(rf"INDEX {index}\b", found)
    assert ("USE TEMP B-TREE FOR ORDER BY" in found) == sorts


def test_counting_states_reads_an_index_only(connection: sqlite3.Connection) -> None:
    assert "COVERING INDEX jobs_by_session" in plan(connection, *finding.count(Job, "state", {}))
    where = {"session_id": "s", "state": OPEN}
    assert "COVERING INDEX jobs_open" in plan(connection, *finding.count(Job, "state", where))


@pytest.fixture
def history(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute(
        "INSERT INTO sessions (id, created_at, last, epoch, head, doc) VALUES ('s', 't', 2, 'e', ?, '{}')",
        (bytes(32),),
    )
    for seq in (1, 2):
        connection.execute(QUERIES["append_event"].sql, (1, seq, seq, "log", b"{}", bytes(32)))
    return connection


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = x'00' WHERE seq = 1",
        "UPDATE events SET seq = 7 WHERE seq = 2",
        "DELETE FROM events",
        "DELETE FROM events WHERE seq = 2",
        "INSERT OR REPLACE INTO events SELECT session, seq, n, 'done', data, h FROM events WHERE seq = 1",
        "INSERT INTO events SELECT session, seq, 9, type, data, h FROM events WHERE seq = 1",
        "INSERT INTO events SELECT session, seq, n, type, data, h FROM events WHERE seq = 1"
        " ON CONFLICT DO UPDATE SET type = 'done'",
        "INSERT INTO events SELECT session, 3, n, type, data, h FROM events WHERE seq = 1",
        "INSERT INTO events SELECT session, 0, 9, type, data, h FROM events WHERE seq = 1",
        "INSERT INTO events SELECT 77, 1, 9, type, data, h FROM events WHERE seq = 1",
        "INSERT INTO events SELECT session, 3, 9, type, data, x'00' FROM events WHERE seq = 1",
        "DELETE FROM sessions",
        "UPDATE events SET data = x'' WHERE seq = 1",
        "UPDATE sessions SET first = 4",
        "UPDATE sessions SET first = 0",
        "UPDATE sessions SET last = -1",
    ],
)
def test_history_cannot_be_changed(history: sqlite3.Connection, statement: str) -> None:
    before = history.execute("SELECT * FROM events").fetchall()
    with pytest.raises(sqlite3.IntegrityError):
        history.execute(statement)
    assert history.execute("SELECT * FROM events").fetchall() == before


def test_the_door_lets_only_bodies_go_that_were_given_up(history: sqlite3.Connection) -> None:
    history.execute("UPDATE sessions SET first = 2")
    with pytest.raises(sqlite3.IntegrityError):
        history.execute("UPDATE events SET data = x'', h = zeroblob(32), type = 'x' WHERE seq = 1")
    with pytest.raises(sqlite3.IntegrityError):
        history.execute("DELETE FROM events WHERE seq = 1")
    with pytest.raises(sqlite3.IntegrityError):
        history.execute("UPDATE events SET data = x'' WHERE seq = 2")
    with pytest.raises(sqlite3.IntegrityError):
        history.execute("UPDATE sessions SET first = 1")

    history.execute("UPDATE events SET data = x'' WHERE seq = 1")

    assert history.execute("SELECT seq, data FROM events ORDER BY seq").fetchall() == [(1, b""), (2, b"{}")]


@pytest.mark.parametrize("table", ["jobs", "approvals", "landings", "workers"])
def test_states_are_those_of_the_vocabulary(connection: sqlite3.Connection, table: str) -> None:
    (record,) = (each for each in one_of_each() if RECORDS[type(each)].name == table)
    columns = RECORDS[type(record)].columns
    values = dict.fromkeys(columns, "x") | {"rank": 1, "due": 1, "state": "asleep"}
    with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
        connection.execute(finding.put(type(record)), ("id", *(values[name] for name in columns), "{}"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: a\n-- A.\nSELECT 1;\n-- name: a\n-- B.\nSELECT 2;\n", "two queries are named a"),
        ("-- name: a\nSELECT 1;\n", "query a needs a sentence"),
        ("-- name: a\n-- A.\n", "query a needs a sentence and a statement"),
    ],
)
def test_a_query_without_name_or_sentence_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text)
