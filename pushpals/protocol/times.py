"""Instants on the wire: RFC 3339, UTC, milliseconds, ``Z``. Business code takes ``now`` as an argument."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock. Only the edges of the program call this."""
    return datetime.now(UTC)  # noqa: TID251 - the one place that reads the clock


def stamp(moment: datetime) -> str:
    """``2026-01-31T12:00:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def parse_stamp(text: str) -> datetime:
    """The inverse of :func:`stamp`; raises ``ValueError`` for anything that is no instant with an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no UTC offset in {text!r}")
    return moment
