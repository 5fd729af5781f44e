"""How long the bodies of events are kept, and how the old ones go.

Only bodies go: the place, the type and the link of the chain of each event stay, so an audit can still
show that nothing else was changed, and ``Session.first`` says where the readable history begins. The hub's
own session, which says who was let in, is kept whole.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from pushpals.hub.hub import SYSTEM, Hub
from pushpals.hub.of import Of, session_of
from pushpals.protocol.commands import Pruned, PruneSession
from pushpals.protocol.errors import Forbidden
from pushpals.protocol.ids import SYSTEM_SESSION
from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import Session
from pushpals.protocol.times import parse_stamp
from pushpals.store.base import Tx

ERASED_AT_ONCE = 500
"""Bodies in one transaction: other writes wait for it."""


class Retention(Wire, frozen=True, kw_only=True):
    """What is kept of each session; ``None`` keeps all."""

    days: float | None = None
    events: int | None = None


class _Dated(msgspec.Struct):
    ts: str


_dated = msgspec.json.Decoder(_Dated).decode


def prune(tx: Tx, ask: Of[PruneSession], now: datetime) -> Pruned:
    """Give up the events before a cursor; call it again until nothing is erased any more."""
    session_of(tx, ask.id)
    if ask.id == SYSTEM_SESSION:
        raise Forbidden("the hub's own history is kept whole", code="session.read_only")
    erased = tx.erase(ask.id, ask.body.first, limit=ERASED_AT_ONCE)
    session = tx.get(Session, ask.id)
    assert session is not None
    return Pruned(session=session, erased=erased)


async def apply(hub: Hub, retention: Retention) -> int:
    """Give up what is too old or too much, in every session; how many bodies went."""
    if retention.days is None and retention.events is None:
        return 0
    erased, before = 0, None
    while True:
        page = await hub.store.reader.page(Session, before=before, limit=200)
        for session in page.items:
            if session.id != SYSTEM_SESSION:
                erased += await _apply(hub, session, retention)
        before = page.next
        if before is None:
            return erased


async def _apply(hub: Hub, session: Session, retention: Retention) -> int:
    first = session.first
    if retention.events is not None:
        first = max(first, session.last - retention.events + 1)
    if retention.days is not None:
        oldest = hub.clock() - timedelta(days=retention.days)
        first = max(first, await _first_since(hub, session, first, oldest))
    erased = 0
    while first > session.first or erased:
        ask = Of(id=session.id, body=PruneSession(first=first))
        done = await hub.run(prune, ask, actor=SYSTEM)
        erased += done.erased
        if not done.erased:
            break
        session = done.session
    return erased


async def _first_since(hub: Hub, session: Session, low: int, oldest: datetime) -> int:
    """The first cursor that is not older, by bisection: times grow with cursors, but for a clock that jumps."""
    high = session.last + 1
    while low < high:
        middle = (low + high) // 2
        found = await hub.store.reader.events(session.id, after=middle - 1, limit=1)
        if found and parse_stamp(_dated(found[0].data).ts) < oldest:
            low = middle + 1
        else:
            high = middle
    return low
