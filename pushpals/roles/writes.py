"""What a buddy wants to have written about one event: values, so that deciding and doing stay apart.

Each write has a ``slot`` that is unique within its event. Event id and slot together are its idempotency
key, so doing the same writes again, after a crash or by a second buddy, changes nothing.
"""

from __future__ import annotations

import hashlib

import msgspec

from pushpals.protocol.commands import Enqueue, SubmitLanding
from pushpals.protocol.events import Payload

MAX_SAID = 16_000
"""Characters of one message. The whole of everything is in artifacts and the history."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """The base. ``task_id`` correlates what is written with its task."""

    slot: str
    task_id: str | None = None


class Post(Write, frozen=True, kw_only=True):
    """An event of the buddy's own."""

    payload: Payload
    to: str | None = None


class EnqueueJob(Write, frozen=True, kw_only=True):
    ask: Enqueue


class Submit(Write, frozen=True, kw_only=True):
    ask: SubmitLanding


class CancelJob(Write, frozen=True, kw_only=True):
    job_id: str
    reason: str


class CancelLanding(Write, frozen=True, kw_only=True):
    landing_id: str
    reason: str


class RetryJob(Write, frozen=True, kw_only=True):
    """``attempt`` is the one that ended: a repeat must not retry a later failure."""

    job_id: str
    attempt: int


AnyWrite = Post | EnqueueJob | Submit | CancelJob | CancelLanding | RetryJob


def key_of(reader: str, event_id: str, slot: str) -> str:
    """The idempotency key of a write. Ids of events are never reused, cursors of a restored history are."""
    return f"{reader}/{event_id}/{slot}"


def derived_id(prefix: str, event_id: str) -> str:
    """An id that follows from the event it came from, so that a replay names the same thing."""
    return f"{prefix}-{hashlib.sha256(event_id.encode()).hexdigest()[:26]}"
