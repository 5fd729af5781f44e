"""The state of a session, in one answer, with the cursor that it is complete up to."""

from __future__ import annotations

from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import Snapshot
from pushpals.protocol.errors import NotFound
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import UNFINISHED, Landing, Lane
from pushpals.protocol.records import Repository, Session, Worker
from pushpals.store.base import Reader

RECENT = 200
"""Ended jobs and landings that come along, newest first."""


async def snapshot(reader: Reader, session_id: str) -> Snapshot:
    """The session is read first: what is newer than its cursor arrives as events and is folded again."""
    session = await reader.get(Session, session_id)
    if session is None:
        raise NotFound(f"there is no session {session_id!r}", code="session.unknown")
    open_jobs = await reader.find(
        Job, session_id=session_id, state=("blocked", "scheduled", "pending", "claimed")
    )
    ended = await reader.find(
        Job,
        session_id=session_id,
        state=("completed", "failed", "cancelled"),
        order=("-updated_at",),
        limit=RECENT,
    )
    unfinished = await reader.find(Landing, session_id=session_id, state=UNFINISHED)
    landed = await reader.find(
        Landing,
        session_id=session_id,
        state=("landed", "noop", "conflict", "rejected", "stale", "cancelled", "failed"),
        order=("-updated_at",),
        limit=RECENT,
    )
    return Snapshot(
        session=session,
        cursor=session.last,
        jobs=[*open_jobs, *ended],
        approvals=await reader.find(Approval, session_id=session_id, state="open"),
        landings=[*unfinished, *landed],
        lanes=await reader.find(Lane),
        workers=await reader.find(Worker, state=("idle", "busy", "draining", "paused")),
        repositories=await reader.find(Repository),
    )
