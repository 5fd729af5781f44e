"""The hub's client: one method for each endpoint, typed by :mod:`pushpals.protocol`.

Promises
    Every write carries an ``Idempotency-Key`` (a random one unless given), so every request may be sent
    again: transport errors and "later" answers are retried with jittered back-off, and the hub gives a
    repeat the first answer. When the tries are used up, :class:`Unavailable` is raised. Every other error
    answer is raised as the :mod:`pushpals.protocol.errors` exception that the hub raised.

    :meth:`HubClient.follow` never ends by itself, never repeats an event and never leaves one out: it
    resumes after every cut, notices a silent connection, and treats a hole in the cursors as a cut.

Not here
    Caches, folds, and any decision about what an answer means.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from pushpals.client.retry import RETRYABLE, Backoff
from pushpals.client.stream import BrokenStream, Frame, FrameReader, Note, Reset, position
from pushpals.protocol import wire
from pushpals.protocol.approvals import Approval, RememberedRule
from pushpals.protocol.commands import (
    Approvals,
    AskApproval,
    Attempts,
    AuditHead,
    BackTest,
    CancelJob,
    Claim,
    Claimed,
    Complete,
    CreateSession,
    Decide,
    Decided,
    Enqueue,
    Enqueued,
    EventItem,
    EventsPosted,
    Fail,
    ForkSession,
    Found,
    Heartbeat,
    History,
    JobReply,
    Jobs,
    LandingReply,
    Landings,
    Lanes,
    LaneWork,
    LeaseLane,
    MakeRule,
    Moved,
    MoveLanding,
    MoveLandings,
    NewToken,
    NoteLanding,
    Ok,
    PairDevice,
    Pairing,
    Posted,
    PostEvent,
    PostEvents,
    PostMessage,
    Progress,
    ProgressReply,
    Pruned,
    PruneSession,
    Query,
    RegisterWorker,
    Repositories,
    RetryJob,
    RevokeApproval,
    Rows,
    RuleMade,
    Rules,
    SessionCreated,
    Sessions,
    SetLaneMode,
    SetMark,
    SetWorkerState,
    Snapshot,
    SubmitLanding,
    SystemStatus,
    TicketMade,
    TokenMade,
    Tokens,
    UseApproval,
    WorkerReply,
    Workers,
)
from pushpals.protocol.errors import (
    BadRequest,
    NotFound,
    Problem,
    PushPalsError,
    Unavailable,
    from_problem,
)
from pushpals.protocol.events import Error, Event, Payload
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing, Lane
from pushpals.protocol.records import Mark, Repository, StoredArtifact, Token, Worker

T = TypeVar("T")

State = Literal["live", "catching_up", "offline"]
"""What :meth:`HubClient.follow` says about itself. ``live``: nothing that happened is outstanding."""

Sleep = Callable[[float], Awaitable[None]]

SILENCE_S = 45.0
"""Three of the hub's 15 s heartbeats: a stream quiet for longer is dead, whatever TCP thinks."""

_CHUNK = 256 * 1024
_log = logging.getLogger(__name__)


class HubClient:
    """A connection to one hub with one token. Use it as an async context manager.

    ``url`` may have a path, when the hub is mounted under a prefix. ``transport`` replaces the network;
    ``verify`` is a TLS context that trusts the hub's own certificate. It cannot be switched off.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        backoff: Backoff | None = None,
        timeout_s: float = 30.0,
        silence_s: float = SILENCE_S,
        sleep: Sleep = asyncio.sleep,
        new_key: Callable[[], str] = lambda: secrets.token_urlsafe(18),
        transport: httpx.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._backoff = backoff or Backoff()
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._sleep = sleep
        self._new_key = new_key
        headers = {"Accept": "application/json", "User-Agent": "pushpals"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(timeout_s),
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=20),
            transport=transport,
            verify=verify or trust(self.url),
            # A proxy named in the environment must never be handed the token of a hub on loopback.
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. May be called twice."""
        await self._http.aclose()

    # --- sessions -----------------------------------------------------------------------------------

    async def create_session(self, session_id: str | None = None, label: str = "") -> SessionCreated:
        """Create or join. No id asks for a new one."""
        body = CreateSession(session_id=session_id, label=label)
        return await self._send("POST", "/sessions", body, SessionCreated)

    async def sessions(self, *, limit: int = 100, after: str | None = None, counts: bool = False) -> Sessions:
        """The sessions this token may see, newest first."""
        params = _some(limit=limit, after=after, counts="true" if counts else None)
        return await self._get("/sessions", Sessions, params)

    async def snapshot(self, session_id: str) -> Snapshot:
        """Everything a new device needs before its first live event."""
        return await self._get(f"/sessions/{_part(session_id)}", Snapshot)

    async def history(
        self, session_id: str, *, after: int = 0, limit: int = 500, types: Sequence[str] | None = None
    ) -> History:
        """One page of the past, oldest first. ``next`` is the ``after`` of the following page."""
        params = _some(after=after, limit=limit, types=_list(types))
        return await self._get(f"/sessions/{_part(session_id)}/history", History, params)

    async def say(
        self,
        session_id: str,
        text: str,
        *,
        intent: str | None = None,
        to: str | None = None,
        key: str | None = None,
    ) -> Posted:
        """Post a person's message."""
        body = PostMessage(text=text, intent=intent, to=to)
        return await self._send("POST", f"/sessions/{_part(session_id)}/message", body, Posted, key)

    async def post(
        self,
        session_id: str,
        payload: Payload,
        *,
        from_: str | None = None,
        to: str | None = None,
        correlation_id: str | None = None,
        turn_id: str | None = None,
        parent_id: str | None = None,
        trace_id: str | None = None,
        key: str | None = None,
    ) -> Posted:
        """Post an event that the token's role may emit."""
        body = PostEvent(
            type=payload.TYPE,
            payload=msgspec.to_builtins(payload),
            from_=from_,
            to=to,
            correlation_id=correlation_id,
            turn_id=turn_id,
            parent_id=parent_id,
            trace_id=trace_id,
        )
        return await self._send("POST", f"/sessions/{_part(session_id)}/command", body, Posted, key)

    async def post_all(
        self, session_id: str, events: Sequence[EventItem], *, key: str | None = None
    ) -> EventsPosted:
        """Post up to 1,000 events in one commit: all of them, next to each other, or none."""
        body = PostEvents(events=list(events))
        return await self._send("POST", f"/sessions/{_part(session_id)}/events", body, EventsPosted, key)

    async def search(
        self,
        session_id: str,
        query: str,
        *,
        before: int | None = None,
        limit: int = 50,
        types: Sequence[str] | None = None,
    ) -> Found:
        """Events with all words of the query, newest first; a last word with ``*`` may be a beginning."""
        params = _some(q=query, before=before, limit=limit, types=_list(types))
        return await self._get(f"/sessions/{_part(session_id)}/search", Found, params)

    async def fork(
        self, session_id: str, cursor: int, *, new_id: str | None = None, label: str = ""
    ) -> SessionCreated:
        """A new session that begins with the conversation of this one up to ``cursor``."""
        body = ForkSession(cursor=cursor, session_id=new_id, label=label)
        return await self._send("POST", f"/sessions/{_part(session_id)}/fork", body, SessionCreated)

    async def prune(self, session_id: str, first: int) -> Pruned:
        """Erase the bodies of all events before the cursor ``first``. This cannot be undone."""
        body = PruneSession(first=first)
        path = f"/sessions/{_part(session_id)}/prune"
        return await self._send("POST", path, body, Pruned, wait_s=600.0)

    async def ticket(self, session_id: str) -> TicketMade:
        """A ticket that opens one stream of this session, once, soon."""
        return await self._send("POST", f"/sessions/{_part(session_id)}/tickets", {}, TicketMade)

    async def mark(self, session_id: str, reader: str) -> Mark | None:
        """How far ``reader`` got, or ``None`` when it never said so."""
        try:
            return await self._get(f"/sessions/{_part(session_id)}/marks/{_part(reader)}", Mark)
        except NotFound as error:
            if error.code == "mark.unknown":
                return None
            raise

    async def set_mark(
        self, session_id: str, reader: str, cursor: int, data: dict[str, Any] | None = None
    ) -> Mark:
        """Remember how far ``reader`` got. A mark never goes back."""
        body = SetMark(cursor=cursor, data=data or {})
        return await self._send("PUT", f"/sessions/{_part(session_id)}/marks/{_part(reader)}", body, Mark)

    async def follow(
        self,
        session_id: str,
        *,
        after: int = 0,
        types: Sequence[str] | None = None,
        on_state: Callable[[State], None] | None = None,
        on_reset: Callable[[Reset], int] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Every event after a cursor, in order, once, for ever.

        Ends only by being closed, or by raising what no waiting cures (401, 403, 404, 400). ``on_reset``
        hears that the cursor could not be resumed from and returns the one to go on after; without it,
        all that the hub still has is delivered again from the start, so that nothing is passed over.
        """
        tell = _Teller(on_state)
        cursor, epoch, failures = after, "", 0
        while True:
            pause: float | None = None
            try:
                async with aclosing(self._connection(session_id, cursor, epoch, types)) as items:
                    async for item in items:
                        match item:
                            case _Opened():
                                epoch = item.epoch
                                tell("catching_up")
                            case Note():
                                failures = 0
                                cursor = max(cursor, item.cursor)
                                tell("live")
                            case Reset():
                                go_on = on_reset(item) if on_reset else item.first - 1
                                epoch = item.epoch
                                cursor = go_on
                                if go_on != item.cursor:
                                    failures += 1
                                    break
                            case Event():
                                if item.cursor <= cursor:
                                    continue
                                if types is None and item.cursor != cursor + 1:
                                    _log.warning("%s: hole after cursor %d", session_id, cursor)
                                    failures += 1
                                    break
                                failures, cursor = 0, item.cursor
                                yield item
                    else:
                        failures += 1  # the hub ended the stream: it is stopping, or dropped a slow reader
            except (httpx.TransportError, BrokenStream) as error:
                failures += 1
                _log.debug("%s: stream cut: %r", session_id, error)
            except PushPalsError as error:
                if not error.retryable:
                    raise
                failures += 1
                pause = error.retry_after
            if failures:
                tell("offline")
                await self._sleep(self._backoff.wait_s(failures, pause))

    async def follow_many(
        self,
        session_ids: Sequence[str],
        *,
        after: Mapping[str, int] | None = None,
        types: Sequence[str] | None = None,
        on_state: Callable[[State], None] | None = None,
        on_reset: Callable[[Reset], int] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """The same for several sessions in one connection; each event names its session.

        Within a session every event comes in order, once. There is no order between sessions.
        """
        tell = _Teller(on_state)
        cursors = {name: (after or {}).get(name, 0) for name in session_ids}
        epochs: dict[str, str] = {}
        failures = 0
        while True:
            pause: float | None = None
            again = False
            try:
                async with aclosing(self._many(cursors, epochs, types)) as items:
                    async for item in items:
                        match item:
                            case _Opened():
                                tell("catching_up")
                            case Note():
                                failures = 0
                                for name, cursor in item.cursors.items():
                                    cursors[name] = max(cursors.get(name, 0), cursor)
                                tell("live")
                            case Reset():
                                cursors[item.session_id] = on_reset(item) if on_reset else item.first - 1
                                epochs[item.session_id] = item.epoch
                                again = again or cursors[item.session_id] != item.cursor
                                if again:
                                    break
                            case Event():
                                last = cursors.get(item.session_id, 0)
                                if item.cursor <= last:
                                    continue
                                if types is None and item.cursor != last + 1:
                                    _log.warning("%s: hole after cursor %d", item.session_id, last)
                                    break
                                failures, cursors[item.session_id] = 0, item.cursor
                                yield item
                failures += 1
            except (httpx.TransportError, BrokenStream) as error:
                failures += 1
                _log.debug("%s: stream cut: %r", ", ".join(session_ids), error)
            except PushPalsError as error:
                if not error.retryable:
                    raise
                failures += 1
                pause = error.retry_after
            tell("offline")
            await self._sleep(self._backoff.wait_s(failures, pause))

    async def _many(
        self, cursors: Mapping[str, int], epochs: Mapping[str, str], types: Sequence[str] | None
    ) -> AsyncGenerator[_Opened | Note | Reset | Event, None]:
        params = _some(
            session=",".join(cursors),
            after=",".join(f"{name}:{cursor}" for name, cursor in cursors.items()),
            epoch=",".join(f"{name}:{epoch}" for name, epoch in epochs.items()) or None,
            types=_list(types),
        )
        async with self._stream("/events", params, {}) as (_, items):
            yield _Opened(epoch="")
            async for item in items:
                if isinstance(item, Note):
                    yield item
                elif item.event == "reset":
                    yield wire.decode(item.data, Reset)
                elif item.event == "":
                    at = position(item.id) or {}
                    name = _session_of(item.data)
                    if name not in at:
                        raise BrokenStream(f"a frame without a position: {item.id!r}")
                    yield _event(Frame(data=item.data, id=b"%d" % at[name]), name)

    @asynccontextmanager
    async def _stream(
        self, path: str, params: dict[str, Any], headers: dict[str, str]
    ) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[Frame | Note]]]:
        """An open SSE connection and what comes out of it."""
        headers = {
            "Accept": "text/event-stream",
            "Cache-Control": "no-store",
            "Accept-Encoding": "identity",
            **headers,
        }
        timeout = httpx.Timeout(self._timeout_s, read=self._silence_s)
        async with self._http.stream(
            "GET", path, params=params, headers=headers, timeout=timeout
        ) as response:
            if response.status_code != 200:
                await response.aread()
                raise _error(response)
            yield response, _items(response)

    async def _connection(
        self, session_id: str, cursor: int, epoch: str, types: Sequence[str] | None
    ) -> AsyncGenerator[_Opened | Note | Reset | Event, None]:
        """One SSE connection, until it ends or fails."""
        params = _some(after=cursor, epoch=epoch or None, types=_list(types))
        path = f"/sessions/{_part(session_id)}/events"
        async with self._stream(path, params, {"Last-Event-ID": str(cursor)}) as (response, items):
            yield _Opened(epoch=response.headers.get("x-session-epoch", ""))
            async for item in items:
                if isinstance(item, Note):
                    yield item
                elif item.event == "reset":
                    yield wire.decode(item.data, Reset)
                elif item.event == "":
                    yield _event(item, session_id)

    async def query(
        self, sql: str, *, values: Mapping[str, Any] | None = None, limit: int = 1_000, timeout_s: float = 5.0
    ) -> Rows:
        """Ask the history of all sessions that the token may see, in SQL (``docs/reference/sql.md``)."""
        body = Query(sql=sql, values=dict(values or {}), limit=limit, timeout_s=timeout_s)
        return await self._send("POST", "/query", body, Rows, wait_s=timeout_s)

    async def query_session(
        self,
        session_id: str,
        sql: str,
        *,
        values: Mapping[str, Any] | None = None,
        limit: int = 1_000,
        timeout_s: float = 5.0,
    ) -> Rows:
        """Ask the history of one session in SQL."""
        body = Query(sql=sql, values=dict(values or {}), limit=limit, timeout_s=timeout_s)
        return await self._send("POST", f"/sessions/{_part(session_id)}/query", body, Rows, wait_s=timeout_s)

    # --- jobs ---------------------------------------------------------------------------------------

    async def enqueue(self, job: Enqueue, *, key: str | None = None) -> Enqueued:
        """Ask for a job."""
        return await self._send("POST", "/jobs/enqueue", job, Enqueued, key)

    async def claim(self, claim: Claim) -> Job | None:
        """Take the next job, waiting up to ``claim.wait_s`` for one."""
        try:
            reply = await self._send("POST", "/jobs/claim", claim, Claimed, wait_s=claim.wait_s)
        except NotFound:
            return None
        return reply.job

    async def progress(self, job_id: str, progress: Progress) -> ProgressReply:
        """Events, output and the heartbeat of a claimed job. The answer may ask to cancel."""
        return await self._send("POST", f"/jobs/{_part(job_id)}/progress", progress, ProgressReply)

    async def heartbeat(self, job_id: str, heartbeat: Heartbeat) -> ProgressReply:
        """Keep the lease, waiting up to ``heartbeat.wait_s`` for a cancel."""
        path = f"/jobs/{_part(job_id)}/heartbeat"
        return await self._send("POST", path, heartbeat, ProgressReply, wait_s=heartbeat.wait_s)

    async def attempts(self, job_id: str) -> Attempts:
        """Who tried a job, when, and how it ended."""
        return await self._get(f"/jobs/{_part(job_id)}/attempts", Attempts)

    async def complete(self, job_id: str, complete: Complete, *, key: str | None = None) -> Ok:
        """End a claimed job with its result."""
        return await self._send("POST", f"/jobs/{_part(job_id)}/complete", complete, Ok, key)

    async def fail(self, job_id: str, fail: Fail, *, key: str | None = None) -> Ok:
        """End an attempt without a result."""
        return await self._send("POST", f"/jobs/{_part(job_id)}/fail", fail, Ok, key)

    async def cancel_job(self, job_id: str, reason: str | None = None) -> JobReply:
        """Stop a job, whatever it is doing."""
        return await self._send("POST", f"/jobs/{_part(job_id)}/cancel", CancelJob(reason=reason), JobReply)

    async def retry_job(self, job_id: str, note: str | None = None) -> JobReply:
        """Run a failed or cancelled job again."""
        return await self._send("POST", f"/jobs/{_part(job_id)}/retry", RetryJob(note=note), JobReply)

    async def job(self, job_id: str) -> JobReply:
        """A job as it is now, with its place in the queue while it waits."""
        return await self._get(f"/jobs/{_part(job_id)}", JobReply)

    async def jobs(
        self,
        *,
        session_id: str | None = None,
        state: str | None = None,
        kind: str | None = None,
        task_id: str | None = None,
        limit: int = 100,
        after: str | None = None,
        counts: bool = False,
        positions: bool = False,
    ) -> Jobs:
        """Jobs, newest first. ``after`` is the ``next`` of the page before; ``counts`` counts all by state,
        ``positions`` says where the waiting ones of this page stand. ``state="failed"`` are the dead letters.
        """
        params = _some(
            sessionId=session_id, state=state, kind=kind, taskId=task_id, limit=limit, after=after,
            counts="true" if counts else None, positions="true" if positions else None,
        )  # fmt: skip
        return await self._get("/jobs", Jobs, params)

    # --- workers ------------------------------------------------------------------------------------

    async def register_worker(self, worker_id: str, worker: RegisterWorker) -> Worker:
        """Say who works here; the answer says whether to drain or pause."""
        reply = await self._send("PUT", f"/workers/{_part(worker_id)}", worker, WorkerReply)
        return reply.worker

    async def set_worker_state(self, worker_id: str, state: SetWorkerState) -> Worker:
        """Drain, pause or resume a worker."""
        reply = await self._send("POST", f"/workers/{_part(worker_id)}/state", state, WorkerReply)
        return reply.worker

    async def workers(self) -> Workers:
        """Who works for this hub."""
        return await self._get("/workers", Workers)

    # --- approvals ----------------------------------------------------------------------------------

    async def approvals(
        self,
        *,
        state: str = "open",
        session_id: str | None = None,
        limit: int = 100,
        after: str | None = None,
        counts: bool = False,
    ) -> Approvals:
        """Questions to a person, newest first. ``state=""`` gives all states."""
        params = _some(
            state=state, sessionId=session_id, limit=limit, after=after, counts="true" if counts else None
        )
        return await self._get("/approvals", Approvals, params)

    async def approval(self, approval_id: str) -> Approval:
        """One question, with the exact action."""
        return await self._get(f"/approvals/{_part(approval_id)}", Approval)

    async def decide(self, approval_id: str, decide: Decide, *, key: str | None = None) -> Approval:
        """Say yes (naming the action hash) or no."""
        reply = await self._send("POST", f"/approvals/{_part(approval_id)}", decide, Decided, key)
        return reply.approval

    async def ask_approval(self, ask: AskApproval, *, key: str | None = None) -> Approval:
        """Ask about one exact command of a job that this worker holds."""
        return (await self._send("POST", "/approvals", ask, Decided, key)).approval

    async def wait_approval(self, approval_id: str, state: str, wait_s: float) -> Approval:
        """The question as it is once its state is not ``state`` any more, or when the time is up."""
        response = await self._request(
            "GET",
            f"/approvals/{_part(approval_id)}",
            {"not": state, "waitS": int(wait_s)},
            timeout_s=self._timeout_s + wait_s,
        )
        return wire.decode(response.content, Approval)

    async def use_approval(self, approval_id: str, use: UseApproval, *, key: str | None = None) -> Approval:
        """Use a yes, once, right before what it is about runs. Raises Conflict when nothing may run."""
        reply = await self._send("POST", f"/approvals/{_part(approval_id)}/consume", use, Decided, key)
        return reply.approval

    async def revoke_approval(self, approval_id: str, reason: str | None = None) -> Approval:
        """Take a yes back; connections that it opened end."""
        body = RevokeApproval(reason=reason)
        return (await self._send("POST", f"/approvals/{_part(approval_id)}/revoke", body, Decided)).approval

    async def audit_head(self, session_id: str | None = None) -> AuditHead:
        """The newest signed checkpoint, and where a session's chain stands."""
        return await self._get("/audit/head", AuditHead, _some(sessionId=session_id))

    async def pair(self, device: PairDevice) -> Pairing:
        """A one-time code that gives a device a token of its own."""
        return await self._send("POST", "/pairings", device, Pairing)

    async def rules(self) -> Rules:
        """Standing answers, revoked ones included."""
        return await self._get("/rules", Rules)

    async def test_rule(self, rule: MakeRule) -> BackTest:
        """What a rule would have answered so far. Nothing is kept."""
        return await self._send("POST", "/rules/test", rule, BackTest)

    async def make_rule(self, rule: MakeRule, *, key: str | None = None) -> RuleMade:
        """Remember an answer for every later command of the same shape."""
        return await self._send("POST", "/rules", rule, RuleMade, key)

    async def revoke_rule(self, rule_id: str) -> RememberedRule:
        """End a standing answer."""
        return await self._send("POST", f"/rules/{_part(rule_id)}/revoke", {}, RememberedRule)

    # --- artifacts ----------------------------------------------------------------------------------

    async def put_artifact(
        self,
        data: bytes | Path,
        *,
        kind: str,
        media_type: str = "application/octet-stream",
        session_id: str | None = None,
        job_id: str | None = None,
    ) -> StoredArtifact:
        """Store a blob under its SHA-256. Storing the same again is harmless."""
        sha256, size = await asyncio.to_thread(_digest, data)
        params = _some(kind=kind, mediaType=media_type, sessionId=session_id, jobId=job_id)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        response = await self._request(
            "PUT", f"/artifacts/{sha256}", params, lambda: _pieces(data), headers, timeout_s=300.0
        )
        return wire.decode(response.content, StoredArtifact)

    async def get_artifact(self, sha256: str) -> bytes:
        """The bytes of a blob, checked against their name."""
        response = await self._request("GET", f"/artifacts/{_part(sha256)}", timeout_s=300.0)
        if hashlib.sha256(response.content).hexdigest() != sha256:
            raise Unavailable(f"artifact {sha256} arrived damaged", code="artifact.damaged")
        return response.content

    # --- landings -----------------------------------------------------------------------------------

    async def submit_landing(self, landing: SubmitLanding, *, key: str | None = None) -> LandingReply:
        """Ask for a head to be landed."""
        return await self._send("POST", "/landings", landing, LandingReply, key)

    async def landings(
        self,
        *,
        session_id: str | None = None,
        lane: str | None = None,
        state: str | None = None,
        job_id: str | None = None,
        limit: int = 100,
        after: str | None = None,
        counts: bool = False,
    ) -> Landings:
        """Landings, newest first."""
        params = _some(
            sessionId=session_id, lane=lane, state=state, jobId=job_id, limit=limit, after=after,
            counts="true" if counts else None,
        )  # fmt: skip
        return await self._get("/landings", Landings, params)

    async def landing(self, landing_id: str) -> LandingReply:
        """A landing as it is now, with its approval."""
        return await self._get(f"/landings/{_part(landing_id)}", LandingReply)

    async def move_landing(self, landing_id: str, move: MoveLanding, *, key: str | None = None) -> Landing:
        """One step of a landing, by the holder of its lane."""
        return await self._send("POST", f"/landings/{_part(landing_id)}/move", move, Landing, key)

    async def move_landings(self, moves: MoveLandings, *, key: str | None = None) -> Moved:
        """Several steps of one lane's landings in one transaction."""
        return await self._send("POST", "/lanes/moves", moves, Moved, key)

    async def note_landing(self, landing_id: str, note: NoteLanding) -> Landing:
        """Facts about a landing, without a step."""
        return await self._send("POST", f"/landings/{_part(landing_id)}/note", note, Landing)

    async def cancel_landing(self, landing_id: str, reason: str | None = None) -> Landing:
        """Take a landing out of the queue."""
        body = CancelJob(reason=reason)
        return await self._send("POST", f"/landings/{_part(landing_id)}/cancel", body, Landing)

    async def retry_landing(self, landing_id: str) -> LandingReply:
        """Submit an ended landing's head again."""
        return await self._send("POST", f"/landings/{_part(landing_id)}/retry", {}, LandingReply)

    async def lease_lane(self, lease: LeaseLane) -> LaneWork:
        """Take or keep a lane, waiting up to ``lease.wait_s`` for a change of its work."""
        return await self._send("POST", "/lanes/lease", lease, LaneWork, wait_s=lease.wait_s)

    async def set_lane_mode(self, mode: SetLaneMode) -> Lane:
        """Pause, freeze, drain or open a lane."""
        return await self._send("POST", "/lanes/mode", mode, Lane)

    async def lanes(self) -> Lanes:
        """The lanes of all repositories."""
        return await self._get("/lanes", Lanes)

    # --- repositories, tokens, status ---------------------------------------------------------------

    async def put_repository(self, repository: Repository) -> Repository:
        """Report a repository as it is now."""
        return await self._send("PUT", f"/repositories/{_part(repository.id)}", repository, Repository)

    async def repository(self, repository_id: str) -> Repository | None:
        """A repository as last reported, or ``None``."""
        try:
            return await self._get(f"/repositories/{_part(repository_id)}", Repository)
        except NotFound:
            return None

    async def repositories(self) -> Repositories:
        """All repositories."""
        return await self._get("/repositories", Repositories)

    async def status(self) -> SystemStatus:
        """The hub's own state, in figures."""
        return await self._get("/system/status", SystemStatus)

    async def ready(self) -> bool:
        """Whether requests are of use now."""
        try:
            response = await self._http.get("/readyz", timeout=self._timeout_s)
        except httpx.TransportError:
            return False
        return response.status_code == 200

    async def metrics(self) -> str:
        """The hub's figures as Prometheus text."""
        return (await self._request("GET", "/metrics")).text

    async def openapi(self) -> dict[str, Any]:
        """The description of this interface."""
        return await self._get("/openapi.json", dict[str, Any])

    async def tokens(self) -> Tokens:
        """All tokens, without their secrets."""
        return await self._get("/tokens", Tokens)

    async def new_token(self, token: NewToken) -> TokenMade:
        """Make a token. The answer is the only place that ever shows its secret."""
        return await self._send("POST", "/tokens", token, TokenMade)

    async def revoke_token(self, token_id: str) -> Token:
        """End a token; its streams close."""
        return await self._send("POST", f"/tokens/{_part(token_id)}/revoke", {}, Token)

    # --- one request --------------------------------------------------------------------------------

    async def _get(self, path: str, kind: type[T], params: dict[str, Any] | None = None) -> T:
        return wire.decode((await self._request("GET", path, params)).content, kind)

    async def _send(
        self, method: str, path: str, body: Any, kind: type[T], key: str | None = None, wait_s: float = 0.0
    ) -> T:
        data = wire.encode(body)
        headers = {"Content-Type": "application/json", "Idempotency-Key": key or self._new_key()}
        response = await self._request(
            method, path, None, lambda: data, headers, timeout_s=self._timeout_s + wait_s
        )
        return wire.decode(response.content, kind)

    async def _request(
        self,
        method: str,
        path: str,
        params: dict[str, Any] | None = None,
        body: Callable[[], bytes | AsyncIterator[bytes]] | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        timeout = httpx.Timeout(self._timeout_s, read=timeout_s or self._timeout_s)
        failures = 0
        while True:
            asked: float | None = None
            try:
                response = await self._http.request(
                    method,
                    path,
                    params=params,
                    content=body() if body else None,
                    headers=headers,
                    timeout=timeout,
                )
                if response.status_code < 300:
                    return response
                problem = _error(response)
                asked = problem.retry_after
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
                problem = Unavailable(f"no answer from {self.url}: {reason}", code="hub.unreachable")
            failures += 1
            retryable = problem.code == "hub.unreachable" or response.status_code in RETRYABLE
            if not retryable or failures >= self._backoff.tries:
                raise problem
            await self._sleep(self._backoff.wait_s(failures, asked))


class _Opened(msgspec.Struct, frozen=True):
    epoch: str


class _Teller:
    """Tells each change of state once."""

    def __init__(self, on_state: Callable[[State], None] | None) -> None:
        self._on_state = on_state
        self._last: State | None = None

    def __call__(self, state: State) -> None:
        if self._on_state is not None and state != self._last:
            self._on_state(state)
        self._last = state


async def _items(response: httpx.Response) -> AsyncIterator[Frame | Note]:
    reader = FrameReader()
    async for chunk in response.aiter_raw():
        for item in reader.feed(chunk):
            yield item


class _OfSession(msgspec.Struct, rename="camel"):
    session_id: str


def _session_of(data: bytes) -> str:
    try:
        return msgspec.json.decode(data, type=_OfSession).session_id
    except msgspec.DecodeError:
        raise BrokenStream("a frame without a session") from None


def _event(frame: Frame, session_id: str) -> Event:
    if not frame.id.isdigit():
        raise BrokenStream(f"a frame without a cursor: {frame.id!r}")
    cursor = int(frame.id)
    try:
        return wire.read_event(frame.data, cursor)
    except BadRequest as error:
        # A newer hub may know fields that we do not; a reader that stopped here would stop for ever.
        return Event(
            cursor=cursor,
            id=f"unread-{cursor}",
            ts="",
            session_id=session_id,
            payload=Error(message=error.message, detail=frame.data.decode("utf-8", "replace")),
        )


def _error(response: httpx.Response) -> PushPalsError:
    try:
        body = wire.decode(response.content, Problem)
    except BadRequest:
        status = response.status_code
        body = Problem(error=f"HTTP {status} {response.reason_phrase}", code=f"http.{status}")
    error = from_problem(response.status_code, body)
    if response.status_code in RETRYABLE and not error.retryable:
        error = Unavailable(error.message, code=error.code, retry_after=error.retry_after)
    after = response.headers.get("retry-after", "")
    if error.retry_after is None and after.isdigit():
        error.retry_after = float(after)
    return error


def trust(url: str) -> ssl.SSLContext:
    """The system's authorities; for plain HTTP a context that trusts nobody, because loading them is slow."""
    return (
        ssl.create_default_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )


def _part(text: str) -> str:
    """A path segment. Dots are escaped, or ``.`` and ``..`` would be folded away on the way."""
    return quote(text, safe="").replace(".", "%2E") if text in {".", ".."} else quote(text, safe="")


def _some(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _list(types: Sequence[str] | None) -> str | None:
    return None if types is None else ",".join(types)


def _digest(data: bytes | Path) -> tuple[str, int]:
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest(), len(data)
    with data.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


async def _pieces(data: bytes | Path) -> AsyncIterator[bytes]:
    if isinstance(data, bytes):
        for start in range(0, len(data), _CHUNK):
            yield data[start : start + _CHUNK]
        return
    file = await asyncio.to_thread(data.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, _CHUNK):
            yield piece
    finally:
        file.close()
