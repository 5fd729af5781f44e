"""One question, answered by a connection that can do nothing else.

Walls, from the outside in:

- the file is opened ``mode=ro`` and ``query_only``, so nothing can be written, whoever gets further;
- an authorizer allows reading, a list of functions and nothing else: no PRAGMA, ATTACH, transaction or DDL;
- tables are reached only through temporary views with a name that is drawn for this connection. The
  authorizer is told *through which view* a column is read, but a subquery may call itself as it likes, so a
  known name would be no proof: ``WITH v_jobs AS (SELECT digest FROM tokens) ...`` reads tokens "through
  v_jobs". A name of 128 random bits, on a connection that lives for one question, is;
- those views hold the asker's sessions only, and no column that is not needed;
- the time is looked at every thousand steps of SQLite's machine, results are counted in rows and bytes,
  texts, statements and expressions have lengths.

What remains: a statement may sort up to what it can produce in its time, in temporary files.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pushpals.protocol.ids import is_session_id
from pushpals.store.asking import (
    MAX_ANSWER_BYTES,
    MAX_ROWS,
    MAX_SQL_BYTES,
    MAX_TIMEOUT_S,
    MAX_VALUES,
    Answer,
    AskRefused,
    AskStopped,
    Question,
    Value,
)
from pushpals.store.sqlite.views import TABLES, VIEWS, over

STEPS = 1_000
"""Steps of SQLite's machine between two looks at the clock."""

FUNCTIONS = frozenset(
    re.findall(
        r"\S+",
        """
        abs avg ceil ceiling char coalesce concat concat_ws count cume_dist date datetime dense_rank
        first_value floor format glob group_concat hex ifnull iif instr json json_array json_array_length
        json_extract json_group_array json_group_object json_object json_quote json_type json_valid julianday
        lag last_value lead length like ln log log10 log2 lower ltrim max min mod nth_value ntile nullif
        percent_rank pow power printf quote rank replace round row_number rtrim sign sqrt strftime substr
        substring sum time timediff total trim typeof unicode unixepoch upper -> ->>
        """,
    )
)
"""No makers of large blobs, nothing that reads files, nothing that tells of the connection."""

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 2 * 1024 * 1024,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 64 * 1024,
    sqlite3.SQLITE_LIMIT_COLUMN: 300,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 200_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 64,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 500,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: MAX_VALUES,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
"""The longest text is more than the largest event, which is a request's body of 1 MiB."""

_TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})
_SCHEMA = frozenset(
    {"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema", "sqlite_sequence"}
)
_COUNTED = frozenset({"sessions", *TABLES})
_NAMES = ", ".join(VIEWS)

_PROHIBITED = re.compile(r"access to (?:pp_\w+\.)?(?:view \"?)?([^\s]+) is prohibited")


class Asking:
    """One connection for one question. :meth:`stop` may be called from another thread."""

    def __init__(self, path: Path, question: Question, *, clock: Callable[[], float] = time.monotonic):
        self._question = _checked(question)
        self._clock = clock
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._stopped = False

    def run(self) -> Answer:
        """The answer. Raises :class:`AskRefused`, :class:`AskStopped`, or ``sqlite3.Error`` for the file."""
        began = self._clock()
        deadline = began + self._question.timeout_s
        connection = _open(self._path, self._question.sessions)
        self._connection = connection
        try:
            # Nonzero ends the statement. Time goes on while nobody asks, and so does the check.
            connection.set_progress_handler(lambda: self._stopped or self._clock() > deadline, STEPS)
            return self._read(connection, began)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise self._translated(error, deadline) from None
        finally:
            connection.close()

    def stop(self) -> None:
        """End it; ``run`` raises :class:`AskStopped`."""
        # Before the connection exists, the first look at the clock sees the flag.
        self._stopped = True

    def _read(self, connection: sqlite3.Connection, began: float) -> Answer:
        question = self._question
        cursor = connection.execute(question.sql, question.values)
        if cursor.description is None:
            raise AskRefused("this is no question: begin with SELECT, WITH or VALUES")
        columns = [str(name[0]) for name in cursor.description]
        rows: list[list[Value]] = []
        size = 0
        truncated = False
        for row in cursor:
            size += sum(len(one) if isinstance(one, str | bytes) else 8 for one in row)
            if len(rows) >= question.limit or size > MAX_ANSWER_BYTES:
                truncated = True
                break
            rows.append([one.hex() if isinstance(one, bytes) else one for one in row])
        return Answer(
            columns=columns, rows=rows, truncated=truncated, seconds=round(self._clock() - began, 3)
        )

    def _translated(self, error: Exception, deadline: float) -> Exception:
        if isinstance(error, AskRefused):
            return error
        text = str(error)
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            if self._stopped:
                return AskStopped("the question was given up")
            return AskStopped(
                f"stopped after {self._question.timeout_s:g} s; ask for less, or give it a longer --timeout"
            )
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_BUSY,
        ):
            return error
        if match := _PROHIBITED.search(text):
            return AskRefused(f"{match.group(1)} cannot be read here; the views are {_NAMES}")
        if "not authorized" in text:
            return AskRefused(
                f"{text}: only SELECT over the views is allowed, with common functions ({_NAMES})"
            )
        if isinstance(error, sqlite3.Warning) or "one statement" in text:
            return AskRefused("one statement at a time")
        if "no such table" in text:
            return AskRefused(f"{text}; the views are {_NAMES}")
        return AskRefused(text)


def _open(path: Path, sessions: tuple[str, ...] | None) -> sqlite3.Connection:
    nonce = f"pp_{secrets.token_hex(16)}"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=2.0,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cache_size = -16384")
        for table, sql in TABLES.items():
            connection.execute(f"CREATE TEMP VIEW {nonce}_{table} AS {sql}{_only(table, sessions)}")
        for name, view in VIEWS.items():
            sql = over(view, lambda table: f"temp.{nonce}_{table}")
            connection.execute(f"CREATE TEMP VIEW {name} AS {sql}")
        named = connection.execute("SELECT name FROM sqlite_schema").fetchall()
        tables = frozenset(name.lower() for (name,) in named) | _SCHEMA
        # Under the authorizer its first use would ask for leave to write to the schema.
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')").fetchall()
        connection.execute("PRAGMA query_only = ON")
        for what, most in _LIMITS.items():
            connection.setlimit(what, most)
        connection.set_authorizer(_authorizer(nonce, tables, everything=sessions is None))
    except BaseException:
        connection.close()
        raise
    return connection


def _only(table: str, sessions: tuple[str, ...] | None) -> str:
    """The condition that leaves only these sessions. Ids cannot hold a quote; a view cannot be bound."""
    if sessions is None or table == "attempts":
        return ""
    # The empty one keeps the condition a condition when no session is left.
    named = ", ".join(f"'{one}'" for one in ("", *filter(is_session_id, sessions)))
    column = "s.id" if table == "events" else "session_id"
    return f" WHERE {column} IN ({named})"


def _authorizer(nonce: str, tables: frozenset[str], *, everything: bool) -> Callable[..., int]:
    prefix = f"{nonce}_"

    def allow(action: int, one: Any, two: Any, database: Any, through: Any) -> int:
        match action:
            case sqlite3.SQLITE_SELECT | sqlite3.SQLITE_RECURSIVE:
                return sqlite3.SQLITE_OK
            case sqlite3.SQLITE_FUNCTION:
                return sqlite3.SQLITE_OK if str(two).lower() in FUNCTIONS else sqlite3.SQLITE_DENY
            case sqlite3.SQLITE_READ if database == "temp":
                ours = one in VIEWS or str(one).startswith(prefix)
                return sqlite3.SQLITE_OK if ours else sqlite3.SQLITE_DENY
            case sqlite3.SQLITE_READ if two == "":
                # Something of which only the rows count, as in count(*). Through which view it was named is
                # lost by now: a table may be counted by whoever sees all of it. Without a database it is
                # what the statement named itself, and that must not be a table.
                name = str(one).lower()
                ours = everything and name in _COUNTED if database == "main" else name not in tables
                return sqlite3.SQLITE_OK if ours else sqlite3.SQLITE_DENY
            case sqlite3.SQLITE_READ:
                ours = one in _TABLE_FUNCTIONS or (through is not None and str(through).startswith(prefix))
                return sqlite3.SQLITE_OK if ours else sqlite3.SQLITE_DENY
            case _:
                return sqlite3.SQLITE_DENY

    return allow


def _checked(question: Question) -> Question:
    if len(question.sql.encode()) > MAX_SQL_BYTES:
        raise AskRefused(f"a question may have {MAX_SQL_BYTES:,} bytes")
    if not 1 <= question.limit <= MAX_ROWS:
        raise AskRefused(f"the limit is 1 to {MAX_ROWS:,} rows")
    if not 0 < question.timeout_s <= MAX_TIMEOUT_S:
        raise AskRefused(f"the timeout is up to {MAX_TIMEOUT_S:g} s")
    if len(question.values) > MAX_VALUES:
        raise AskRefused(f"a question may bind {MAX_VALUES} values")
    return question
