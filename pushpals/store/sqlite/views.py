"""The analysis schema: documented views over the tables, kept apart from them.

Tables change by migration; views say the same before and after. They are no migration of their own: they
are dropped before migrations run and made anew from ``views.sql`` afterwards, so a migration never meets a
view that names what it changes, and a file never holds views of another version than its tables.

For a question the same texts are put over tables that were cut down first (:mod:`.guard`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from importlib import resources

from pushpals.store.asking import View

VERSION = 1
"""Of the names and meanings of views and columns. It grows when one is renamed or removed."""

TABLES: dict[str, str] = {
    # An event that retention took the body of keeps its place.
    "events": "SELECT s.id AS session_id, e.seq, e.type,"
    " CASE WHEN length(e.data) = 0 THEN '{}' ELSE CAST(e.data AS TEXT) END AS data"
    " FROM main.events AS e JOIN main.sessions AS s ON s.n = e.session",
    "jobs": "SELECT id, session_id, task_id, kind, state, worker_id, created_at, updated_at, doc"
    " FROM main.jobs",
    "attempts": "SELECT id, job_id, worker_id, started_at, doc FROM main.attempts",
    "approvals": "SELECT id, session_id, state, expires_at, job_id, landing_id, created_at, doc"
    " FROM main.approvals",
    "landings": "SELECT id, session_id, lane, state, job_id, head, branch, created_at, updated_at, doc"
    " FROM main.landings",
}
"""What a view may name, with the columns it may read. Attempts have no session; they are joined to jobs."""

_VIEW = re.compile(r"^-- view: (\w+)\n-- (.+)\n", re.MULTILINE)
_COLUMN = re.compile(r"\bAS (\w+),? -- (.+)$", re.MULTILINE)
_TABLE = re.compile(r"\{(\w+)\}")


def parse(text: str) -> dict[str, View]:
    """The views of a file, by name."""
    found: dict[str, View] = {}
    _, *parts = _VIEW.split(text)
    for name, about, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        sql = re.sub(r" -- .+$", "", body, flags=re.MULTILINE).strip().removesuffix(";")
        found[name] = View(name=name, about=about, columns=dict(_COLUMN.findall(body)), sql=sql)
    return found


VIEWS: dict[str, View] = parse(resources.files(__package__).joinpath("views.sql").read_text("utf-8"))


def over(view: View, table: Callable[[str], str]) -> str:
    """The view's statement, with each of its tables as ``table`` says it."""
    return _TABLE.sub(lambda match: table(match.group(1)), view.sql)


def drop(connection: sqlite3.Connection) -> None:
    """Take our views out, before tables change."""
    for name in _present(connection):
        connection.execute(f'DROP VIEW "{name}"')


def apply(connection: sqlite3.Connection) -> None:
    """Put our views in, as this version has them. Does nothing when they are there."""
    wanted = {
        name: f"CREATE VIEW {name} AS\n{over(view, lambda table: f'({TABLES[table]})').replace('main.', '')}"
        for name, view in VIEWS.items()
    }
    if _present(connection) != wanted:
        drop(connection)
        for statement in wanted.values():
            connection.execute(statement)


def _present(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'view' AND name GLOB 'v_*' ORDER BY name"
    )
    return dict(rows.fetchall())
