"""Questions in SQL, asked through the hub: who may see what, how many at once, and a record of each.

Two are answered at a time, on threads that do nothing else; a few more may wait. Every question, answered
or not, leaves a ``data_queried`` event in the hub's own session: who asked, the words without their values,
and what came of it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec

from pushpals.hub.hub import Hub
from pushpals.policy.redact import redact_text
from pushpals.protocol.commands import Ok, Query, Rows
from pushpals.protocol.errors import BadRequest, Conflict, TooMany, Unavailable
from pushpals.protocol.events import DataQueried
from pushpals.protocol.ids import SYSTEM_SESSION
from pushpals.protocol.records import Actor
from pushpals.store.asking import Answer, AskRefused, AskStopped, AskUnsupported, Question
from pushpals.store.base import StoreClosed, Tx

MAX_WAITING = 10
"""Questions answered or waiting at once; further ones are told to come back."""

STATEMENT_KEPT = 2_000


class Queries:
    """The counter of one hub where questions are handed in."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._open = 0

    async def ask(self, query: Query, *, actor: Actor, session_id: str | None = None) -> Rows:
        """The rows. A caller that is cancelled ends its question, which is recorded as well.

        Raises :class:`BadRequest` for what is refused (``query.refused``) or takes too long
        (``query.stopped``), :class:`TooMany` when too many wait, and :class:`Conflict` on a hub without SQL.
        """
        if self._open >= MAX_WAITING:
            raise TooMany(
                "too many questions at once; ask again in a moment", code="query.busy", retry_after=1.0
            )
        sessions = _seen(actor, session_id)
        question = Question(
            sql=query.sql,
            values=query.values,
            sessions=sessions,
            limit=query.limit,
            timeout_s=query.timeout_s,
        )
        self._open += 1
        record = DataQueried(
            by=actor.name,
            token_id=actor.token_id,
            statement=redact_text(query.sql)[:STATEMENT_KEPT],
            outcome="answered",
            seen=None if sessions is None else list(sessions)[:50],
        )
        try:
            answer = await self._hub.store.ask(question)
        except AskUnsupported as error:
            raise Conflict(f"{error}", code="query.unsupported") from None
        except StoreClosed:
            raise Unavailable("the hub is stopping; come back in a moment", retry_after=2.0) from None
        except AskRefused as error:
            await self._record(record, actor, outcome="refused", reason=f"{error}"[:500])
            raise BadRequest(f"{error}", code="query.refused") from None
        except AskStopped as error:
            await self._record(record, actor, outcome="stopped", reason=f"{error}"[:500])
            raise BadRequest(f"{error}", code="query.stopped") from None
        except asyncio.CancelledError:
            # The caller has left, and with it this task's right to wait.
            await asyncio.shield(self._record(record, actor, outcome="stopped", reason="the asker left"))
            raise
        finally:
            self._open -= 1
        await self._record(record, actor, rows=len(answer.rows), seconds=answer.seconds)
        return _rows(answer)

    async def _record(self, record: DataQueried, actor: Actor, **changes: object) -> None:
        await self._hub.run(_append, msgspec.structs.replace(record, **changes), actor=actor)  # type: ignore[type-var]


def _append(tx: Tx, record: DataQueried, now: datetime) -> Ok:
    tx.append(SYSTEM_SESSION, record)
    return Ok()


def _seen(actor: Actor, session_id: str | None) -> tuple[str, ...] | None:
    """The sessions that a question may see: the one it is about, else those of the token."""
    if session_id is not None:
        return (session_id,)
    return None if actor.sessions is None else tuple(actor.sessions)


def _rows(answer: Answer) -> Rows:
    return Rows(columns=answer.columns, rows=answer.rows, truncated=answer.truncated, seconds=answer.seconds)
