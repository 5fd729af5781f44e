"""Questions in SQL: what may be asked of a store whose facts SQL can reach, and the bounds.

A question sees the documented views (``docs/reference/sql.md``) of the sessions it names, and nothing
else: no table, no token, no remembered answer. It cannot write, and it ends: in time, in rows and in bytes.
"""

from __future__ import annotations

import msgspec

Value = str | int | float | bool | None
"""What may be bound, and what comes back. A blob comes back as hex text."""

MAX_ROWS = 10_000
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_SQL_BYTES = 20_000
MAX_TIMEOUT_S = 30.0
MAX_VALUES = 100


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """``sessions`` are those whose facts may be seen; ``None`` means all. ``limit`` in rows."""

    sql: str
    values: dict[str, Value] = {}
    sessions: tuple[str, ...] | None = None
    limit: int = 1_000
    timeout_s: float = 5.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """``truncated`` says that there were more rows, or bytes, than were asked for."""

    columns: list[str]
    rows: list[list[Value]]
    truncated: bool
    seconds: float


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A documented view: its columns with a sentence each."""

    name: str
    about: str
    columns: dict[str, str]
    sql: str


class AskRefused(Exception):
    """The question is not one that may be asked, or no SQL at all; the message says what to do."""


class AskStopped(Exception):
    """The question took longer than it may, or its asker left."""


class AskUnsupported(Exception):
    """This store keeps nothing that SQL could reach."""
