"""The Remote Buddy: reads a session, plans, enqueues, judges, asks for landings, and says what is.

::

    event ─▶ fold into the view ─▶ decide (reads only) ─▶ writes, in order ─▶ mark

Everything it knows is folded from the history; nothing is kept beside it. Its durable mark moves past an
event only after all writes of that event were acknowledged. Each write's idempotency key follows from the
event, so a buddy that died anywhere does the rest on its next start, and two buddies with one token do no
more than one. It waits for nobody: a decision, a worker and a landing are all later events.

A hub that is away is waited for (:meth:`SessionBuddy.step` raises a retryable error and, called again,
takes the same event up). What a hub refuses is said in the session, and the buddy goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import assert_never

from msgspec.structs import replace

from pushpals.client import HubClient, Reset
from pushpals.protocol import wire
from pushpals.protocol.errors import Conflict, KeyReused, NotFound, PushPalsError, TooMany
from pushpals.protocol.events import PAYLOADS, AssistantMessage, Error, Event, TaskFailed
from pushpals.protocol.fold import EMPTY, apply
from pushpals.protocol.views import SessionView
from pushpals.roles import words
from pushpals.roles.desk import NAME, Desk
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
     "check_finished", "worker_changed", "token_changed", "done"}
)  # fmt: skip
"""Most of all events, and nothing that the buddy decides by."""
HEARD: tuple[str, ...] = tuple(name for name in PAYLOADS if name not in UNHEARD)

MARK_EVERY = 100
"""Events without an answer after which the mark moves all the same."""
PAGE = 500

_log = logging.getLogger(__name__)


class SessionBuddy:
    """The buddy of one session. ``step`` for ever, then ``close``."""

    def __init__(self, hub: HubClient, session_id: str, *, repository: str | None = None) -> None:
        self.session_id = session_id
        self.view: SessionView = EMPTY
        self._hub = hub
        self._desk = Desk(hub=hub, session_id=session_id, repository=repository)
        self._events: AsyncGenerator[Event, None] | None = None
        self._again: Event | None = None
        self._joined = False
        self._unmarked = 0
        self._epoch = ""

    async def step(self) -> Event:
        """Deal with the next event; waits until there is one. Raises retryable errors: call again later."""
        if not self._joined:
            await self.start()
        if self._events is None:
            self._events = self._hub.follow(
                self.session_id, after=self.view.cursor, types=HEARD, on_reset=self._reset
            )
        if self._again is None:
            try:
                self._again = await anext(self._events)
            except _HistoryReplaced:
                await self.start()
                return await self.step()
        event = self._again
        await self.handle(event)
        self._again = None
        return event

    async def catch_up(self) -> int:
        """Deal with all that has happened, and return how many events that were; waits for nothing."""
        if not self._joined:
            await self.start()
        dealt_with = 0
        while True:
            page = await self._hub.history(self.session_id, after=self.view.cursor, limit=PAGE, types=HEARD)
            for entry in page.items:
                await self.handle(wire.read_event(bytes(entry.envelope), entry.cursor))
            dealt_with += len(page.items)
            if not page.items:
                return dealt_with

    async def start(self) -> None:
        """Join the session and fold what was dealt with before."""
        await self.close()
        await self._hub.create_session(self.session_id)
        snapshot = await self._hub.snapshot(self.session_id)
        mark = await self._hub.mark(self.session_id, READER)
        self._epoch = snapshot.session.epoch
        dealt_with = mark.cursor if mark else 0
        if mark is not None and mark.data.get("epoch", self._epoch) != self._epoch:
            # The history was replaced: what the mark meant is gone, and old messages are not new ones.
            dealt_with = snapshot.cursor
        self.view = await self._folded(min(dealt_with, snapshot.cursor))
        self._again = None
        self._joined = True

    async def handle(self, event: Event) -> None:
        """One event: fold, decide, write, mark. Repeating it changes nothing."""
        if event.cursor <= self.view.cursor:
            return
        view = apply(self.view, event)
        try:
            writes = await react(self._desk, view, event)
        except PushPalsError as error:
            if error.retryable:
                raise
            writes = self._trouble(event, error.message)
        except Exception as error:
            _log.exception("%s: event %d", self.session_id, event.cursor)
            writes = self._trouble(event, f"{type(error).__name__}: {error}")
        await self._write(event, writes)
        self.view = view
        self._unmarked += 1
        if writes or self._unmarked >= MARK_EVERY:
            await self.mark()

    async def mark(self) -> None:
        """Make durable how far this buddy is."""
        await self._hub.set_mark(self.session_id, READER, self.view.cursor, {"epoch": self._epoch})
        self._unmarked = 0

    async def close(self) -> None:
        """Stop following. May be called twice."""
        events, self._events = self._events, None
        if events is not None:
            await events.aclose()

    async def _folded(self, until: int) -> SessionView:
        view, after = EMPTY, 0
        while after < until:
            page = await self._hub.history(self.session_id, after=after, limit=PAGE, types=HEARD)
            for entry in page.items:
                if entry.cursor > until:
                    break
                view = apply(view, wire.read_event(bytes(entry.envelope), entry.cursor))
            if page.next is None:
                break
            after = page.next
        # Unheard events count as well: following starts after all that was dealt with.
        return view if view.cursor >= until else _at(view, until)

    def _reset(self, reset: Reset) -> int:
        if reset.reason == "pruned":
            return reset.first - 1
        raise _HistoryReplaced

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

    def __init__(
        self, hub: HubClient, sessions: Sequence[str], *, repository: str | None = None, pause_s: float = 2.0
    ) -> None:
        self.buddies = [SessionBuddy(hub, session, repository=repository) for session in sessions]
        self._pause_s = pause_s

    async def run(self, stop: asyncio.Event) -> None:
        """Serve all sessions until ``stop`` is set. Raises what no waiting cures (a revoked token)."""
        ended = asyncio.create_task(stop.wait(), name="stop")
        loops = [
            asyncio.create_task(self._serve(buddy, stop), name=f"buddy:{buddy.session_id}")
            for buddy in self.buddies
        ]
        try:
            done, _ = await asyncio.wait([ended, *loops], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {ended}:
                task.result()
        finally:
            for task in (ended, *loops):
                task.cancel()
            await asyncio.gather(ended, *loops, return_exceptions=True)
            for buddy in self.buddies:
                await buddy.close()

    async def _serve(self, buddy: SessionBuddy, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await buddy.step()
            except PushPalsError as error:
                if not error.retryable:
                    raise
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(error.retry_after or self._pause_s):
                        await stop.wait()


class _HistoryReplaced(Exception):
    pass


def _at(view: SessionView, cursor: int) -> SessionView:
    return replace(view, cursor=cursor)
