"""Questions in SQL: what the views say, and that no statement writes, reads secrets or runs away."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from pushpals.store.asking import Answer, AskRefused, AskStopped, Question
from pushpals.store.sqlite import open_store, views
from pushpals.store.sqlite.guard import Asking
from pushpals.store.sqlite.migrate import Migration, known, migrate
from pushpals.testing import seed


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seeded day, with a token's digest and an answer that hold a word to look for."""
    path = tmp_path_factory.mktemp("questions") / "hub.db"
    asyncio.run(seed.write(path))
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO tokens (id, role, doc) VALUES ('t', 'operator', '{\"digest\":\"SECRET\"}')"
        )
        connection.execute(
            "INSERT INTO answers (key, fingerprint, answer, created_at) VALUES ('k', 'f', CAST('SECRET' AS BLOB), 't')"
        )
    connection.close()
    return path


def ask(path: Path, sql: str, **options: Any) -> Answer:
    return Asking(path, Question(sql=sql, **options)).run()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


REFUSED = [
    # writing
    "DELETE FROM v_jobs",
    "DELETE FROM jobs",
    "INSERT INTO sessions (id) VALUES ('x')",
    "UPDATE jobs SET state = 'completed'",
    "REPLACE INTO marks VALUES (1, 'a', 'b', 'c')",
    "DROP TABLE events",
    "DROP VIEW v_jobs",
    "ALTER TABLE jobs RENAME TO gone",
    "CREATE TABLE mine (x)",
    "CREATE TEMP TABLE mine (x)",
    "CREATE TEMP VIEW mine AS SELECT 1",
    "CREATE TEMP TRIGGER mine AFTER INSERT ON jobs BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE mine USING fts5(x)",
    "REINDEX",
    "ANALYZE",
    "VACUUM",
    "VACUUM INTO '/tmp/stolen.db'",
    "ATTACH '/tmp/stolen.db' AS other",
    "DETACH main",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "SAVEPOINT mine",
    "WITH x AS (SELECT 1) DELETE FROM jobs",
    # more than one, or none
    "SELECT 1; DELETE FROM jobs",
    "SELECT 1; SELECT 2",
    "",
    "-- nothing",
    # settings and the schema
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA trusted_schema = ON",
    "PRAGMA database_list",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM pragma_table_info('tokens')",
    "SELECT * FROM sqlite_master",
    "SELECT sql FROM sqlite_schema",
    "SELECT * FROM sqlite_temp_master",
    "SELECT * FROM temp.sqlite_schema",
    "SELECT * FROM dbstat",
    "SELECT * FROM sqlite_dbpage",
    # secrets, by every road
    "SELECT * FROM tokens",
    "SELECT doc FROM main.tokens",
    "SELECT count(*) FROM tokens",
    "SELECT count(*) FROM TOKENS",
    'SELECT count(*) FROM main."Tokens"',
    "SELECT 1 FROM tokens",
    "WITH tokens AS (SELECT 1) SELECT count(*) FROM main.tokens",
    "SELECT exists(SELECT 1 FROM tokens)",
    "SELECT * FROM answers",
    "SELECT (SELECT doc FROM tokens LIMIT 1) FROM v_jobs",
    "SELECT * FROM v_jobs WHERE id IN (SELECT doc FROM tokens)",
    "SELECT * FROM v_jobs JOIN tokens ON 1",
    "SELECT * FROM v_jobs UNION SELECT doc, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 FROM tokens",
    "SELECT 1 ORDER BY (SELECT doc FROM tokens)",
    "SELECT 1 LIMIT (SELECT n FROM tokens)",
    "SELECT id FROM tokens AS v_jobs",
    "SELECT * FROM (SELECT doc FROM tokens) AS v_jobs",
    "WITH v_jobs AS (SELECT doc FROM tokens) SELECT * FROM v_jobs",
    "WITH v_jobs(doc) AS MATERIALIZED (SELECT doc FROM tokens) SELECT * FROM v_jobs",
    "WITH RECURSIVE v_jobs(doc) AS (SELECT doc FROM tokens UNION ALL SELECT doc FROM v_jobs LIMIT 2) SELECT * FROM v_jobs",
    "WITH json_each AS (SELECT doc FROM tokens) SELECT * FROM json_each",
    "EXPLAIN SELECT doc FROM tokens",
    # tables behind the views: more than was meant to be shown
    "SELECT doc FROM jobs",
    "SELECT * FROM main.v_jobs",
    "SELECT epoch FROM sessions",
    # functions
    "SELECT load_extension('/tmp/x.so')",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('/tmp/x', 'y')",
    "SELECT randomblob(1000000000)",
    "SELECT zeroblob(1000000000)",
    "SELECT hex(zeroblob(1000000000))",
    "SELECT sqlite_version()",
    "SELECT sqlite_compileoption_get(1)",
    "SELECT fts3_tokenizer('simple')",
    "SELECT group_concat(payload) FROM (SELECT a.payload FROM v_events a, v_events b, v_events c)",
    # sizes
    "SELECT " + "1+" * 300 + "1",
    "SELECT " + " UNION SELECT ".join(map(str, range(100))),
    "SELECT " + ", ".join(["1"] * 400),
    "SELECT 1 -- " + "x" * 30_000,
    # not SQL
    "DROP",
    "SELECT * FROM nowhere",
    "SELECT :missing",
]  # fmt: skip

ENDLESS = [
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT x FROM c WHERE x = 2",
    "SELECT count(*) FROM v_events a, v_events b, v_events c, v_events d",
    "SELECT max(a.payload || b.payload) FROM v_events a, v_events b, v_events c WHERE c.payload LIKE '%z%q%'",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
    " SELECT replace(hex(x), '0', payload) FROM c, v_events ORDER BY 1 DESC",
]


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: sql[:60])
def test_refused_with_a_reason_and_nothing_moved(database: Path, sql: str) -> None:
    before = digest(database)
    with pytest.raises(AskRefused) as refused:
        ask(database, sql)
    assert "SECRET" not in str(refused.value)
    assert len(str(refused.value)) > 8
    assert digest(database) == before
    assert not Path("/tmp/stolen.db").exists()


@pytest.mark.parametrize("sql", ENDLESS, ids=lambda sql: sql[:60])
def test_what_would_never_end_is_stopped(database: Path, sql: str) -> None:
    with pytest.raises(AskStopped, match=r"stopped after 0\.2 s"):
        ask(database, sql, timeout_s=0.2)


def test_a_flood_of_rows_or_bytes_is_cut_and_says_so(database: Path) -> None:
    numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT {} FROM c"
    cut = ask(database, numbers.format("x"), limit=3)
    assert (cut.rows, cut.truncated) == ([[1], [2], [3]], True)
    wide = ask(database, numbers.format("printf('%1000000d', x)"), limit=10_000, timeout_s=20)
    assert wide.truncated
    assert len(wide.rows) == 8


def test_somebody_else_can_stop_it(database: Path) -> None:
    asking = Asking(database, Question(sql=ENDLESS[0], timeout_s=30))
    timer = threading.Timer(0.05, asking.stop)
    timer.start()
    with pytest.raises(AskStopped, match="given up"):
        asking.run()
    timer.join()


def test_a_question_sees_its_sessions_only(database: Path) -> None:
    everything = ask(database, "SELECT DISTINCT session_id FROM v_events ORDER BY 1")
    assert everything.rows == [["_hub"], ["ops"]]
    for name in views.VIEWS:
        assert ask(database, f"SELECT * FROM {name}", sessions=()).rows == []
        assert ask(database, f"SELECT * FROM {name}", sessions=("other",)).rows == []
        assert ask(database, f"SELECT count(*) FROM {name}", sessions=("other",)).rows == [[0]]
        assert ask(database, f"SELECT count(*) FROM {name}").rows != [[0]]
        if "session_id" in views.VIEWS[name].columns:
            seen = ask(database, f"SELECT DISTINCT session_id FROM {name}", sessions=("ops",)).rows
            assert seen == [["ops"]]
    for table in ("jobs", "events", "sessions", "attempts", "approvals", "landings"):
        with pytest.raises(AskRefused):
            ask(database, f"SELECT count(*) FROM {table}", sessions=("other",))
    assert ask(database, "SELECT 1 FROM v_jobs", sessions=("ops') OR ('1'='1",)).rows == []


@pytest.mark.parametrize(
    ("sql", "values", "rows"),
    [
        ("SELECT state, count(*) FROM v_jobs GROUP BY 1 ORDER BY 1", {}, [["completed", 5], ["failed", 1], ["pending", 1]]),
        ("SELECT job_id, outcome FROM v_attempts WHERE error_class = :why", {"why": "lost"}, [["job-6", "requeued"]]),
        ("SELECT id, state, reason FROM v_approvals WHERE state = 'denied'", {}, [["approval-3", "denied", "we keep the long one"]]),
        ("SELECT id, landed_commit FROM v_landings WHERE state = 'landed'", {}, [["landing-1", "3" * 40], ["landing-2", "5" * 40]]),
        ("SELECT name, failed, failures FROM v_checks WHERE verdict <> 'passed'", {}, [["pytest", 1, '["tests/test_docs.py::test_the_example_runs"]']]),
        ("SELECT argv, exit_code, seconds FROM v_commands WHERE NOT ok ORDER BY cursor", {}, [['["python","-m","pytest"]', 1, 4.5], ['["mypy"]', 1, 0.1]]),
        ("SELECT round(sum(worked_s)) FROM v_costs WHERE kind = 'fix'", {}, [[46.0]]),
        ("SELECT role, count(*) FROM v_messages GROUP BY 1", {}, [["buddy", 8], ["person", 8]]),
        ("SELECT value FROM v_jobs, json_each('[1, 2]') LIMIT 2", {}, [[1], [2]]),
        ("SELECT text FROM v_messages WHERE text = :text", {"text": "fix the lint"}, [["fix the lint"]]),
        ("SELECT :text", {"text": "'; DROP TABLE jobs; --"}, [["'; DROP TABLE jobs; --"]]),
        ("VALUES (1, NULL, 'x')", {}, [[1, None, "x"]]),
    ],
)  # fmt: skip
def test_the_views_answer(database: Path, sql: str, values: dict[str, Any], rows: list[list[Any]]) -> None:
    assert ask(database, sql, values=values).rows == rows


def test_every_view_gives_its_documented_columns(database: Path) -> None:
    for name, view in views.VIEWS.items():
        answer = ask(database, f"SELECT * FROM {name}")
        assert answer.columns == list(view.columns)
        assert answer.rows, name
        assert all(about.endswith(".") for about in (view.about, *view.columns.values()))


def test_a_question_is_answered_while_the_hub_writes_and_after_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"

    async def while_open() -> None:
        store = await open_store(path, on_commit=lambda events: None, new_id=lambda prefix: prefix)
        assert (await store.ask(Question(sql="SELECT count(*) FROM v_events"))).rows == [[0]]
        endless = asyncio.create_task(store.ask(Question(sql=ENDLESS[0], timeout_s=30)))
        await asyncio.sleep(0.01)
        endless.cancel()
        more = [asyncio.create_task(store.ask(Question(sql=ENDLESS[0], timeout_s=30))) for _ in range(3)]
        await asyncio.sleep(0.01)
        await store.close()
        results = await asyncio.gather(*more, return_exceptions=True)
        assert all(isinstance(result, AskStopped | asyncio.CancelledError) for result in results), results

    asyncio.run(while_open())
    assert ask(path, "SELECT count(*) FROM v_jobs").rows == [[0]]


def shown(connection: sqlite3.Connection) -> dict[str, list[str]]:
    return {
        name: [column[0] for column in connection.execute(f"SELECT * FROM {name}").description]
        for name in views.VIEWS
    }


def test_the_file_holds_the_views_for_other_programs(database: Path) -> None:
    connection = sqlite3.connect(database)
    assert shown(connection) == {name: list(view.columns) for name, view in views.VIEWS.items()}
    assert connection.execute("SELECT count(*) FROM v_jobs WHERE session_id = 'ops'").fetchone() == (7,)
    connection.close()


def test_views_survive_a_migration_that_rebuilds_their_tables() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    before = shown(connection)
    next_one = len(known()) + 1
    rebuilt = Migration(
        next_one,
        "rebuild",
        "ALTER TABLE approvals RENAME TO old_approvals;\n"
        "CREATE TABLE approvals AS SELECT * FROM old_approvals;\n"
        "DROP TABLE old_approvals;\n"
        "ALTER TABLE jobs RENAME COLUMN doc TO document;\n"
        "ALTER TABLE jobs RENAME COLUMN document TO doc;\n",
    )
    assert migrate(connection, [*known(), rebuilt]) == [next_one]
    assert shown(connection) == before
    connection.close()


def test_views_of_an_older_version_are_replaced() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    connection.execute("DROP VIEW v_jobs")
    connection.execute("CREATE VIEW v_jobs AS SELECT 1 AS old")
    connection.execute("CREATE VIEW v_gone AS SELECT 1 AS old")
    connection.execute("CREATE VIEW mine AS SELECT 1 AS theirs")
    assert migrate(connection) == []
    assert shown(connection)["v_jobs"][0] == "id"
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'view'")}
    assert names == {*views.VIEWS, "mine"}
    connection.close()
