"""The past of a session, page by page, and the part of it that belongs to one job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from pushpals.client import HubClient
from pushpals.protocol import events as ev
from pushpals.protocol import wire
from pushpals.protocol.commands import Entry
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing

PAGE = 500


async def past(
    hub: HubClient, session_id: str, after: int = 0, types: Sequence[str] | None = None
) -> AsyncIterator[ev.Event]:
    """Every event after a cursor up to the newest at the time of each page."""
    while True:
        page = await hub.history(session_id, after=after, limit=PAGE, types=types)
        for item in page.items:
            yield wire.read_event(bytes(item.envelope), item.cursor)
        if page.next is None:
            return
        after = page.next


def entry(event: ev.Event) -> Entry:
    """An event as data: the same pair as a WebSocket frame."""
    return Entry(cursor=event.cursor, envelope=msgspec.Raw(wire.envelope_bytes(event)))


class Story:
    """Which events tell the story of one job: its message, plan, work, checks, approval and landing.

    Feed events in order; a later event may belong because of an earlier one (a result to its call).
    """

    def __init__(self, job: Job, landings: Sequence[Landing]):
        self._ids = {job.id, job.task_id, *(landing.id for landing in landings)}
        self._ids |= {landing.approval_id for landing in landings if landing.approval_id}
        self._messages = {job.message_id} - {None}
        self._commits = {landing.landed_commit for landing in landings} - {None}
        self._calls: set[str] = set()

    def has(self, event: ev.Event) -> bool:
        payload = event.payload
        if event.id in self._messages:
            return True
        named = {
            getattr(payload, field, None) for field in ("job_id", "task_id", "approval_id", "landing_id")
        }
        if named & self._ids:
            self._learn(payload)
            return True
        match payload:
            case ev.PlanMade(message_id=message_id):
                return message_id in self._messages
            case ev.ToolCall(tool_call_id=call) if event.correlation_id in self._ids:
                self._calls.add(call)
                return True
            case ev.ToolResult(tool_call_id=call):
                return call in self._calls
            case ev.ApprovalRequired(details=details):
                if self._ids & {details.get("jobId"), details.get("landingId")}:
                    self._learn(payload)
                    return True
                return False
            case ev.Committed(commit_hash=commit):
                return commit in self._commits or event.correlation_id in self._ids
            case ev.AssistantMessage() | ev.Done() | ev.DiffReady() | ev.Log() | ev.Error():
                return bool(
                    {event.correlation_id, event.parent_id, event.turn_id} & (self._ids | self._messages)
                )
            case _:
                return False

    def _learn(self, payload: ev.Payload) -> None:
        match payload:
            case ev.ToolCall(tool_call_id=call):
                self._calls.add(call)
            case ev.ApprovalRequired(approval_id=approval_id):
                self._ids.add(approval_id)
            case _:
                pass
