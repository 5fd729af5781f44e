"""From a filter to SQL. Names come from the table of records, values are always bound.

States are the exception: the planner uses a partial index only if it can read the state in the
statement. They are written out where they are plain words, sorted as the indices have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import msgspec

from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Session
from pushpals.store import codec
from pushpals.store.base import Before, Table

MANY = 32
"""From this many values on, a list goes over as one JSON array: one statement for all lengths."""

_WORD = re.compile(r"[a-z_]+")


class Statement(NamedTuple):
    sql: str
    values: tuple[Any, ...]


def select(
    kind: type[Wire], order: Sequence[str], where: Mapping[str, Any], limit: int = -1, skip: int = 0
) -> Statement:
    """The documents that pass, each with its key, (sessions) the ends of its history, and its number."""
    table = codec.check_filter(kind, order, where)
    conditions, values = _conditions(where)
    last = "last, first" if kind is Session else "NULL, NULL"
    return Statement(_select(table, last, conditions, codec.total_order(order)), (*values, limit, skip))


def count(kind: type[Wire], by: str, where: Mapping[str, Any]) -> Statement:
    table = codec.check_filter(kind, (by,), where)
    conditions, values = _conditions(where)
    return Statement(_count(table, by, conditions), values)


@cache
def get(kind: type[Wire]) -> str:
    table = codec.table(kind)
    last = "last, first" if kind is Session else "NULL, NULL"
    return f"SELECT doc, {last} FROM {table.name} WHERE {table.key} = ?"


@cache
def put(kind: type[Wire]) -> str:
    table = codec.table(kind)
    names = (table.key, *table.columns, "doc")
    changes = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT ({table.key}) DO UPDATE SET {changes}"
    )


@cache
def delete(kind: type[Wire]) -> str:
    table = codec.table(kind)
    return f"DELETE FROM {table.name} WHERE {table.key} = ?"


@lru_cache(maxsize=512)
def _select(table: Table, last: str, conditions: tuple[str, ...], order: tuple[str, ...]) -> str:
    by = ", ".join(f"{name[1:]} DESC" if name.startswith("-") else name for name in order)
    return (
        f"SELECT doc, {table.key}, {last}, n FROM {table.name}{_where(conditions)} "
        f"ORDER BY {by} LIMIT ? OFFSET ?"
    )


@lru_cache(maxsize=512)
def _count(table: Table, by: str, conditions: tuple[str, ...]) -> str:
    return f"SELECT {by}, count(*) FROM {table.name}{_where(conditions)} GROUP BY {by}"


def _where(conditions: tuple[str, ...]) -> str:
    return " WHERE " + " AND ".join(conditions) if conditions else ""


def _conditions(where: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    conditions: list[str] = []
    values: list[Any] = []
    for name, wanted in where.items():
        match wanted:
            case None:
                conditions.append(f"{name} IS NULL")
            case Before():
                conditions.append(f"{name} < ?")
                values.append(wanted.value)
            case tuple():
                condition, bound = _any_of(name, wanted)
                conditions.append(condition)
                values += bound
            case str() if name == "state" and _WORD.fullmatch(wanted):
                conditions.append(f"{name} = '{wanted}'")
            case _:
                conditions.append(f"{name} = ?")
                values.append(wanted)
    return tuple(conditions), tuple(values)


def _any_of(name: str, wanted: tuple[Any, ...]) -> tuple[str, list[Any]]:
    some = [value for value in wanted if value is not None]
    if not some:
        return (f"{name} IS NULL" if wanted else "0"), []
    bound: list[Any] = some
    if name == "state" and all(_WORD.fullmatch(value) for value in some):
        listed, bound = ", ".join(f"'{value}'" for value in sorted(some)), []
    elif len(some) < MANY:
        listed = ", ".join("?" * len(some))
    else:
        listed, bound = "SELECT value FROM json_each(?)", [msgspec.json.encode(some).decode()]
    condition = f"{name} IN ({listed})"
    return (f"({condition} OR {name} IS NULL)" if len(some) < len(wanted) else condition), bound
