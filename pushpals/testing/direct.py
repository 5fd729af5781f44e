"""The hub's client without HTTP: the same methods, straight into a :class:`~pushpals.hub.hub.Hub`.

For tests of roles that need the real hub but no network. What depends on the wire (idempotent retries,
streams that resume, status codes) is tested with the real client over the real server.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from pushpals.hub import (
    artifacts,
    decisions,
    grants,
    jobs,
    landings,
    lanes,
    leasing,
    repositories,
    sessions,
    workers,
)
from pushpals.hub.hub import Hub
from pushpals.hub.of import Of
from pushpals.hub.snapshot import snapshot
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import (
    AskApproval,
    CancelJob,
    Claim,
    Complete,
    CreateSession,
    Decide,
    Enqueue,
    Enqueued,
    Entry,
    Fail,
    Heartbeat,
    History,
    JobReply,
    Jobs,
    LandingReply,
    Landings,
    LaneWork,
    LeaseLane,
    Moved,
    MoveLanding,
    MoveLandings,
    NoteLanding,
    Ok,
    Posted,
    PostEvent,
    PostMessage,
    Progress,
    ProgressReply,
    RegisterWorker,
    RetryJob,
    SessionCreated,
    SetLaneMode,
    SetMark,
    Snapshot,
    SubmitLanding,
    UseApproval,
)
from pushpals.protocol.errors import Conflict, NotFound
from pushpals.protocol.events import PROTOCOL_VERSION, Payload
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing, Lane
from pushpals.protocol.records import Actor, Mark, Repository, Session, StoredArtifact, Worker


class DirectHub:
    """One actor's view of a hub. Long polls do not wait."""

    def __init__(self, hub: Hub, actor: Actor, blobs: dict[str, bytes] | None = None):
        self.hub = hub
        self.actor = actor
        self.blobs = {} if blobs is None else blobs

    async def _run(self, command: Any, body: Any, key: str | None = None, reply: Any = None) -> Any:
        return await self.hub.run(command, body, actor=self.actor, key=key, reply=reply)

    async def say(
        self,
        session_id: str,
        text: str,
        *,
        intent: str | None = None,
        to: str | None = None,
        key: str | None = None,
    ) -> Posted:
        body = Of(id=session_id, body=PostMessage(text=text, intent=intent, to=to))
        return await self._run(sessions.message, body, key, Posted)  # type: ignore[no-any-return]

    async def post(
        self, session_id: str, payload: Payload, *, key: str | None = None, **route: Any
    ) -> Posted:
        event = PostEvent(type=payload.TYPE, payload=msgspec.to_builtins(payload), **route)
        return await self._run(sessions.command, Of(id=session_id, body=event), key, Posted)  # type: ignore[no-any-return]

    async def create_session(self, session_id: str | None = None, label: str = "") -> SessionCreated:
        made = await self._run(sessions.create, CreateSession(session_id=session_id, label=label))
        return SessionCreated(session_id=made.session.id, protocol_version=PROTOCOL_VERSION)

    async def jobs(
        self, *, session_id: str | None = None, task_id: str | None = None, limit: int = 100
    ) -> Jobs:
        where = {"session_id": session_id, "task_id": task_id}
        chosen: dict[str, Any] = {name: value for name, value in where.items() if value is not None}
        items = await self.hub.store.reader.find(Job, order=("-n",), limit=limit, **chosen)
        return Jobs(items=items)

    async def snapshot(self, session_id: str) -> Snapshot:
        return await snapshot(self.hub.store.reader, session_id)

    async def history(
        self, session_id: str, *, after: int = 0, limit: int = 500, types: list[str] | None = None
    ) -> History:
        reader = self.hub.store.reader
        page = await reader.events(session_id, after=after, limit=limit, types=types)
        session = await reader.get(Session, session_id)
        return History(
            items=[Entry(cursor=e.cursor, envelope=msgspec.Raw(e.data)) for e in page],
            next=page[-1].cursor if len(page) == limit else None,
            last=session.last if session else 0,
        )

    async def mark(self, session_id: str, reader: str) -> Mark | None:
        return await self.hub.store.reader.get(Mark, f"{session_id}/{reader}")

    async def set_mark(
        self, session_id: str, reader: str, cursor: int, data: dict[str, Any] | None = None
    ) -> Mark:
        body = SetMark(cursor=cursor, data=data or {})
        return await self._run(sessions.set_mark, Of(id=f"{session_id}/{reader}", body=body))  # type: ignore[no-any-return]

    async def enqueue(self, ask: Enqueue, *, key: str | None = None) -> Enqueued:
        return await self._run(jobs.enqueue, ask, key, Enqueued)  # type: ignore[no-any-return]

    async def claim(self, ask: Claim) -> Job | None:
        return await leasing.claim(self.hub, ask, actor=self.actor)

    async def progress(self, job_id: str, body: Progress) -> ProgressReply:
        return await leasing.progress(self.hub, Of(id=job_id, body=body), actor=self.actor)

    async def heartbeat(self, job_id: str, body: Heartbeat) -> ProgressReply:
        return await leasing.heartbeat(self.hub, Of(id=job_id, body=body), actor=self.actor)

    async def complete(self, job_id: str, body: Complete, *, key: str | None = None) -> Ok:
        return await leasing.complete(self.hub, Of(id=job_id, body=body), actor=self.actor, key=key)

    async def fail(self, job_id: str, body: Fail, *, key: str | None = None) -> Ok:
        return await leasing.fail(self.hub, Of(id=job_id, body=body), actor=self.actor, key=key)

    async def cancel_job(self, job_id: str, reason: str | None = None) -> JobReply:
        return await self._run(jobs.cancel, Of(id=job_id, body=CancelJob(reason=reason)))  # type: ignore[no-any-return]

    async def retry_job(self, job_id: str, note: str | None = None) -> JobReply:
        return await self._run(jobs.retry, Of(id=job_id, body=RetryJob(note=note)))  # type: ignore[no-any-return]

    async def job(self, job_id: str) -> JobReply:
        return JobReply(job=await self._get(Job, job_id))

    async def register_worker(self, worker_id: str, body: RegisterWorker) -> Worker:
        return await self._run(workers.register, Of(id=worker_id, body=body))  # type: ignore[no-any-return]

    async def approval(self, approval_id: str) -> Approval:
        return await self._get(Approval, approval_id)  # type: ignore[no-any-return]

    async def decide(self, approval_id: str, body: Decide, *, key: str | None = None) -> Approval:
        return await self._run(decisions.decide, Of(id=approval_id, body=body), key, Approval)  # type: ignore[no-any-return]

    async def ask_approval(self, ask: AskApproval, *, key: str | None = None) -> Approval:
        return await self._run(grants.ask, ask, key, Approval)  # type: ignore[no-any-return]

    async def wait_approval(self, approval_id: str, state: str, wait_s: float) -> Approval:
        """Looks again every few milliseconds: there is no feed to wait on here."""
        async with asyncio.timeout(wait_s + 1.0):
            while True:
                found = await self.hub.store.reader.get(Approval, approval_id)
                assert found is not None
                if found.state != state:
                    return found
                await asyncio.sleep(0.005)

    async def use_approval(self, approval_id: str, use: UseApproval, *, key: str | None = None) -> Approval:
        used = await self._run(grants.use, Of(id=approval_id, body=use), key, grants.Used)
        if not used.ok:
            raise Conflict(used.why, code=used.code)
        return used.approval  # type: ignore[no-any-return]

    async def put_artifact(
        self,
        data: bytes | Path,
        *,
        kind: str,
        media_type: str = "application/octet-stream",
        session_id: str | None = None,
        job_id: str | None = None,
    ) -> StoredArtifact:
        raw = data if isinstance(data, bytes) else await asyncio.to_thread(data.read_bytes)
        sha256 = hashlib.sha256(raw).hexdigest()
        self.blobs[sha256] = raw
        stored = artifacts.Stored(
            size=len(raw), kind=kind, media_type=media_type, session_id=session_id, job_id=job_id
        )
        return await self._run(artifacts.record, Of(id=sha256, body=stored))  # type: ignore[no-any-return]

    async def get_artifact(self, sha256: str) -> bytes:
        if sha256 not in self.blobs:
            raise NotFound("there is no such artifact", code="artifact.unknown")
        return self.blobs[sha256]

    async def submit_landing(self, ask: SubmitLanding, *, key: str | None = None) -> LandingReply:
        return await self._run(landings.submit, ask, key, LandingReply)  # type: ignore[no-any-return]

    async def landings(
        self,
        *,
        session_id: str | None = None,
        lane: str | None = None,
        state: str | None = None,
        job_id: str | None = None,
        limit: int = 100,
    ) -> Landings:
        where = {"session_id": session_id, "lane": lane, "state": state, "job_id": job_id}
        chosen: dict[str, Any] = {name: value for name, value in where.items() if value is not None}
        items = await self.hub.store.reader.find(Landing, order=("-n",), limit=limit, **chosen)
        return Landings(items=items)

    async def landing(self, landing_id: str) -> LandingReply:
        return LandingReply(landing=await self._get(Landing, landing_id))

    async def move_landing(self, landing_id: str, body: MoveLanding, *, key: str | None = None) -> Landing:
        return await self._run(landings.move, Of(id=landing_id, body=body), key, Landing)  # type: ignore[no-any-return]

    async def move_landings(self, body: MoveLandings, *, key: str | None = None) -> Moved:
        return await self._run(landings.move_all, body, key, Moved)  # type: ignore[no-any-return]

    async def note_landing(self, landing_id: str, body: NoteLanding) -> Landing:
        return await self._run(landings.note, Of(id=landing_id, body=body))  # type: ignore[no-any-return]

    async def cancel_landing(self, landing_id: str, reason: str | None = None) -> Landing:
        return await self._run(landings.cancel, Of(id=landing_id, body=CancelJob(reason=reason)))  # type: ignore[no-any-return]

    async def retry_landing(self, landing_id: str) -> LandingReply:
        return await self._run(landings.retry, Of(id=landing_id, body=Ok()))  # type: ignore[no-any-return]

    async def lease_lane(self, ask: LeaseLane) -> LaneWork:
        return await leasing.lease_lane(self.hub, ask, actor=self.actor)

    async def set_lane_mode(self, ask: SetLaneMode) -> Lane:
        return await self._run(lanes.set_mode, ask)  # type: ignore[no-any-return]

    async def put_repository(self, repository: Repository) -> Repository:
        return await self._run(repositories.report, Of(id=repository.id, body=repository))  # type: ignore[no-any-return]

    async def repository(self, repository_id: str) -> Repository | None:
        return await self.hub.store.reader.get(Repository, repository_id)

    async def _get(self, kind: Any, key: str) -> Any:
        found = await self.hub.store.reader.get(kind, key)
        if found is None:
            raise NotFound(f"there is no {key}")
        return found
