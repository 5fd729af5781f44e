"""Records as JSON and columns, shared by all engines so that they agree to the byte.

What comes out of a store is decoded from JSON every time: a record that was read never shares a list or a
dict with the one that was put.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec

from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Session
from pushpals.store.base import MAX_FIND, RECORDS, Before, Table, column

R = TypeVar("R", bound=Wire)

MAX_INTEGER = 2**63 - 1
"""The largest integer an engine takes as a column value."""

_encode = msgspec.json.Encoder().encode
_decoders = {kind: msgspec.json.Decoder(kind) for kind in RECORDS}


def table(kind: type[Wire]) -> Table:
    """How a record type is kept; raises ``TypeError`` for what is no record."""
    try:
        return RECORDS[kind]
    except KeyError:
        raise TypeError(f"{kind.__name__} is not a record") from None


def key(record: Wire) -> str:
    return cast(str, getattr(record, table(type(record)).key))


def columns(record: Wire) -> tuple[Any, ...]:
    """The values of a record's columns, in the order of its table."""
    return tuple(column(record, name) for name in table(type(record)).columns)


def encode(record: Wire) -> bytes:
    return _encode(record)


def decode(kind: type[R], doc: bytes | str, last: int | None = None, first: int | None = None) -> R:
    """A record from its JSON. ``last`` and ``first`` are the ends of the history of a session."""
    record = _decoders[kind].decode(doc)
    if last is not None:
        record = msgspec.structs.replace(cast(Session, record), last=last, first=first or 1)
    return cast(R, record)


def check_filter(kind: type[Wire], order: Iterable[str], where: Mapping[str, Any]) -> Table:
    """The table, if the filter names only its columns and its key; raises ``ValueError`` otherwise."""
    found = table(kind)
    known = {*found.columns, found.key, "n"}
    for name in where:
        if name not in known:
            raise ValueError(f"{found.name} are not found by {name!r}; columns: {', '.join(sorted(known))}")
    for name in order:
        if name.removeprefix("-") not in known:
            raise ValueError(f"{found.name} are not ordered by {name!r}")
    return found


def total_order(order: Sequence[str]) -> tuple[str, ...]:
    """The order with ``n`` as the last word, so that it never depends on the engine."""
    return tuple(order) if {"n", "-n"} & set(order) else (*order, "n")


def clamp(limit: int, most: int = MAX_FIND) -> int:
    return max(0, min(limit, most))


def matches(value: Any, wanted: Any) -> bool:
    """Whether a column's value passes a filter: the definition that engines must agree with."""
    match wanted:
        case Before():
            return value is not None and value < wanted.value
        case tuple():
            return value in wanted
        case _:
            return bool(value == wanted)
