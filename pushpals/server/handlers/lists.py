"""What all lists have in common: pages by key, filters from the query, counts on request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pushpals.protocol.jobs import Wire
from pushpals.server.base import Handler
from pushpals.store.base import Page

R = TypeVar("R", bound=Wire)

MAX_PAGE = 1_000


def filters(handler: Handler, columns: Mapping[str, str], *, state: str = "") -> dict[str, Any]:
    """The filter that a query names: parameter to column. ``state`` may be a list; with its default here.

    Every list of things in sessions keeps to the sessions that the token may see.
    """
    where: dict[str, Any] = {}
    for name, column in columns.items():
        if (value := handler.text(name)) is not None:
            where[column] = value
    states = handler.get_query_argument("state", state)
    if states:
        where["state"] = tuple(states[:1_000].split(","))
    session_id = handler.text("sessionId")
    if session_id is not None:
        where["session_id"] = handler.session(session_id)
    elif handler.actor.sessions is not None:
        where["session_id"] = tuple(handler.actor.sessions)
    return where


async def page(handler: Handler, kind: type[R], where: Mapping[str, Any], default: int = 100) -> Page[R]:
    """The page that a query asks for: ``?limit=`` and ``?after=`` (the ``next`` of the page before)."""
    limit = handler.number("limit", default, least=1, most=MAX_PAGE)
    before = handler.number("after", 0) or None
    return await handler.hub.store.reader.page(kind, before=before, limit=limit, **where)


async def counts(
    handler: Handler, kind: type[Wire], where: Mapping[str, Any], by: str
) -> dict[str, int] | None:
    """With ``?counts=true``: how many of all that pass, by a column."""
    if handler.text("counts") != "true":
        return None
    return await handler.hub.store.reader.count(kind, by, **where)


def following(page: Page[Any]) -> str | None:
    return None if page.next is None else str(page.next)
