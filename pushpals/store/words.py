"""What of an event can be found by its words: the text that people and agents wrote, not the output of tools.

A query is a list of words, all of which must be in the event; the last may be the beginning of one (``*``).
Nothing in it is an operator, so whatever a person types is a query.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec

SEARCHED: dict[str, tuple[str, ...]] = {
    "message": ("text",),
    "assistant_message": ("text",),
    "error": ("message", "detail"),
    "task_created": ("title", "description"),
    "task_completed": ("summary",),
    "task_failed": ("message", "detail"),
    "plan_made": ("understanding", "steps"),
    "suggestions": ("items",),
    "job_completed": ("summary",),
    "job_failed": ("message", "detail"),
    "approval_required": ("summary",),
    "approval_decided": ("reason",),
    "landing_moved": ("cause",),
    "committed": ("branch", "commitHash", "message"),
}
"""Event types, and the fields of their payload."""

MAX_WORDS = 16
MAX_TEXT = 64 * 1024
"""Characters of one event that can be found."""

_WORD = re.compile(r"\w+")


class _Said(msgspec.Struct):
    payload: dict[str, Any]


_decode = msgspec.json.Decoder(_Said).decode


def text_of(kind: str, data: bytes) -> str:
    """The searchable text of an event's JSON; empty for types that are not searched."""
    fields = SEARCHED.get(kind)
    if fields is None or not data:
        return ""
    payload = _decode(data).payload
    return "\n".join(text for field in fields for text in _texts(payload.get(field)))[:MAX_TEXT]


def terms(query: str) -> list[str]:
    """The words of a query, folded; the last one ends with ``*`` where the query does."""
    found = _WORD.findall(fold(query))[:MAX_WORDS]
    if found and query.rstrip().endswith("*"):
        found[-1] += "*"
    return found


def matches(text: str, wanted: list[str]) -> bool:
    """Whether all terms are in a text: the definition that engines must agree with."""
    words = set(_WORD.findall(fold(text)))
    return all(
        any(word.startswith(term[:-1]) for word in words) if term.endswith("*") else term in words
        for term in wanted
    )


def fold(text: str) -> str:
    """Lower case without accents, and ``_`` as a space: the tokens of SQLite's ``unicode61``."""
    plain = unicodedata.normalize("NFD", text.lower())
    return "".join(c for c in plain if unicodedata.category(c) != "Mn").replace("_", " ")


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from _texts(each)
        case dict():
            for name in ("title", "detail", "text"):
                yield from _texts(value.get(name))
        case _:
            return
