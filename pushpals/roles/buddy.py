"""The Remote Buddy: reads a session, plans, enqueues, judges, asks for landings, and says what is.

::

    event ─▶ fold into the view ─▶ decide (reads only) ─▶ writes, in order ─▶ mark

Everything it knows is folded from the history; nothing is kept beside it. Each write's idempotency key
follows from the event, and the mark moves last, so a buddy that died anywhere is finished by its
successor, and two buddies with one token do no more than one. It waits for nobody: a decision, a worker
and a landing are all later events. What a hub refuses is said in the session, and the buddy goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import assert_never

from pushpals.client import HubClient
from pushpals.protocol.errors import Conflict, KeyReused, NotFound, PushPalsError, TooMany
from pushpals.protocol.events import PAYLOADS, AssistantMessage, Error, Event, TaskFailed
from pushpals.protocol.fold import EMPTY, apply
from pushpals.protocol.views import SessionView
from pushpals.roles import words
from pushpals.roles.desk import NAME, Desk
from pushpals.roles.follower import Follower, FollowerRole, run_roles
from pushpals.roles.reactions import react
from pushpals.roles.writes import (
    AnyWrite,
    CancelJob,
    CancelLanding,
    EnqueueJob,
    Post,
    RetryJob,
    Submit,
    key_of,
)

READER = "buddy"
UNHEARD = frozenset(
    {"log", "job_log", "tool_call", "tool_result", "agent_status", "status", "scan_result", "artifact_stored",
     "check_finished", "worker_changed", "token_changed", "data_queried",
     "done"}
)  # fmt: skip
"""Most of all events, and nothing that the buddy decides by."""
HEARD: tuple[str, ...] = tuple(name for name in PAYLOADS if name not in UNHEARD)

_log = logging.getLogger(__name__)


class SessionBuddy(Follower):
    """The buddy of one session. ``step`` for ever (or ``catch_up``), then ``close``."""

    def __init__(self, hub: HubClient, session_id: str, *, repository: str | None = None) -> None:
        super().__init__(hub, session_id, reader=READER, types=HEARD)
        self.view: SessionView = EMPTY
        self._desk = Desk(hub=hub, session_id=session_id, repository=repository)

    def forget(self) -> None:
        self.view = EMPTY

    def recall(self, event: Event) -> None:
        self.view = apply(self.view, event)

    async def answer(self, event: Event) -> bool:
        view = apply(self.view, event)
        try:
            writes = await react(self._desk, view, event)
        except PushPalsError as error:
            if error.retryable:
                raise
            writes = self._trouble(event, error.message)
        except Exception as error:
            # One event that nobody foresaw must not stop the session for ever.
            _log.exception("%s: event %d", self.session_id, event.cursor)
            writes = self._trouble(event, f"{type(error).__name__}: {error}")
        await self._write(event, writes)
        self.view = view
        return bool(writes)

    # --- writing ------------------------------------------------------------------------------------

    async def _write(self, event: Event, writes: Sequence[AnyWrite]) -> None:
        for write in writes:
            refusal = await self._perform(event, write)
            if refusal is None:
                continue
            for told in self._refused(write, refusal):
                await self._perform(event, told)
            break

    async def _perform(self, event: Event, write: AnyWrite) -> str | None:
        """Do one write. Returns why the hub refused it, if that matters; raises what a retry may mend."""
        key = key_of(READER, event.id, write.slot)
        try:
            match write:
                case Post(payload=payload, to=to, task_id=task_id):
                    await self._hub.post(
                        self.session_id,
                        payload,
                        from_=NAME,
                        to=to,
                        correlation_id=task_id,
                        turn_id=self._desk.turn_of(event),
                        parent_id=event.id,
                        trace_id=event.trace_id or self._desk.turn_of(event),
                        key=key,
                    )
                case EnqueueJob(ask=job):
                    await self._hub.enqueue(job, key=key)
                case Submit(ask=landing):
                    await self._hub.submit_landing(landing, key=key)
                case CancelJob(job_id=job_id, reason=reason):
                    await self._hub.cancel_job(job_id, reason)
                case CancelLanding(landing_id=landing_id, reason=reason):
                    await self._hub.cancel_landing(landing_id, reason)
                case RetryJob(job_id=job_id, attempt=attempt):
                    known = (await self._hub.job(job_id)).job
                    if known.ended and known.attempt <= attempt:
                        await self._hub.retry_job(job_id)
                case _:
                    assert_never(write)
        except KeyReused:
            # Done before, in words that the world has overtaken since.
            return None
        except (Conflict, NotFound) as error:
            if isinstance(write, CancelJob | CancelLanding | RetryJob):
                return None
            return error.message
        except PushPalsError as error:
            bound = isinstance(error, TooMany) and isinstance(write, EnqueueJob | Submit)
            if error.retryable and not bound:
                raise
            return error.message
        return None

    def _refused(self, write: AnyWrite, why: str) -> list[AnyWrite]:
        """What is said when the hub does not take something, instead of the writes that would follow."""
        _log.warning("%s: %s refused: %s", self.session_id, write.slot, why)
        match write:
            case EnqueueJob(ask=job):
                text = words.job_refused(job.title, why)
            case Submit():
                text = words.landing_refused(why)
            case _:
                return []
        told: list[AnyWrite] = [
            Post(slot=f"{write.slot}-refused", task_id=write.task_id, payload=AssistantMessage(text=text))
        ]
        if write.task_id is not None:
            failed = TaskFailed(task_id=write.task_id, message=text)
            told.append(Post(slot=f"{write.slot}-failed", task_id=write.task_id, payload=failed))
        return told

    def _trouble(self, event: Event, why: str) -> list[AnyWrite]:
        return [Post(slot="trouble", payload=Error(message=words.trouble(why), detail=f"event {event.id}"))]


class Buddy:
    """The buddies of several sessions, side by side: trouble in one does not stop another."""

    def __init__(self, hub: HubClient, sessions: Sequence[str], *, repository: str | None = None) -> None:
        self.roles = [
            FollowerRole("buddy", SessionBuddy(hub, session, repository=repository)) for session in sessions
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Serve all sessions until ``stop`` is set. Raises ``RoleEnded`` for what no waiting cures."""
        await run_roles(self.roles, stop)
