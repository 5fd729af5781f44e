"""The schema and its history.

``migrations/0001_name.sql`` and so on, each run once, in one transaction with the line in ``migrations``
that says so. A file that has run elsewhere is never edited again: its digest is kept and compared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib import resources
from typing import Final, NamedTuple

from pushpals.store.base import StoreUnreadable
from pushpals.store.sqlite import views

APPLICATION_ID: Final = 0x50504C53
"""``PPLS`` in the header of every database of ours."""


class Migration(NamedTuple):
    version: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


def known() -> tuple[Migration, ...]:
    """The migrations that come with this version, in order."""
    files = sorted(
        (file.name, file.read_text("utf-8"))
        for file in resources.files(__package__).joinpath("migrations").iterdir()
        if file.name.endswith(".sql")
    )
    return tuple(Migration(int(name[:4]), name[5:-4], text) for name, text in files)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] | None = None) -> list[int]:
    """Bring a database up to date and say which versions ran.

    Raises :class:`StoreUnreadable` for a database that is not ours, newer than we are, or was made by other
    migrations than ours; such a database is left as it was.
    """
    migrations = known() if migrations is None else migrations
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = _done(connection)
        _recognise(done, migrations)
        ran = [migration for migration in migrations if migration.version not in done]
        if ran:
            views.drop(connection)
        for migration in ran:
            for statement in statements(migration.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO migrations (version, name, digest, applied_at)"
                " VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
                (migration.version, migration.name, migration.digest),
            )
        views.apply(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return [migration.version for migration in ran]


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one; ``executescript`` would commit what is open."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if any(line.strip() and not line.startswith("--") for line in pending.splitlines()):
        raise ValueError(f"the script ends within a statement: {pending.strip()[:80]!r}")


def _done(connection: sqlite3.Connection) -> dict[int, str]:
    """Digest by version of what has run; prepares an empty database."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if application == 0 and not tables:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(
            "CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL,"
            " digest TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT"
        )
        return {}
    if application != APPLICATION_ID or "migrations" not in tables:
        raise StoreUnreadable("this database belongs to another program; choose another place")
    return dict(connection.execute("SELECT version, digest FROM migrations"))


def _recognise(done: dict[int, str], migrations: Sequence[Migration]) -> None:
    ours = {migration.version: migration.digest for migration in migrations}
    newest, latest = max(done, default=0), max(ours)
    if newest > latest:
        raise StoreUnreadable(
            f"this database is of version {newest}, and this program knows versions up to {latest};"
            " use the newer program that made it"
        )
    for version, digest in done.items():
        if ours.get(version) != digest:
            raise StoreUnreadable(
                f"version {version} of this database was made by a different migration than ours;"
                " use the program that made it"
            )
