"""Whose turn it is: priorities that age, and a fair share for each session and repository.

A waiting job has one number, ``due``; the smallest is next. It is set when its wait begins and never
changes, so a claim reads one index and costs the same at any length of the queue::

    due = when its wait began − priority × 10 minutes        (priority: 2, 1, 0)

Ageing: a background job is overtaken for twenty minutes by interactive ones, and never after that.

Fairness between sessions: the jobs of one session that wait at the same priority stand at least
:data:`SLOT_S` apart. Who enqueues a thousand jobs at once has taken the turns of the next hours, and a job
of somebody else goes in between (start-time fair queueing; Goyal, Vin and Chen, SIGCOMM 1996). The gap
orders jobs, it delays none.

Fairness between repositories: of the jobs whose turn comes within one slot of the first, the one whose
repository and session have the fewest jobs running goes first. Nothing is passed over for longer than
a slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from pushpals.protocol.jobs import RANK, Job, Priority
from pushpals.protocol.times import parse_stamp
from pushpals.store.base import Tx

AGE_S = 600.0
"""How long a job of one priority goes before those of the next higher, in seconds."""

SLOT_S = 30.0
"""The distance of two turns of one session, in seconds."""

LOOKED_AT = 16
"""Jobs that are compared for one claim."""

_SLOT = int(SLOT_S * 1000)


def turn(tx: Tx, session_id: str, priority: Priority, since: datetime) -> int:
    """The turn of a job whose wait begins at ``since``."""
    own = int(since.timestamp() * 1000) - RANK[priority] * int(AGE_S * 1000)
    newest = tx.find(Job, state="pending", session_id=session_id, order=("-due",), limit=1)
    if newest and RANK[newest[0].priority] == RANK[priority]:
        return max(own, newest[0].due + _SLOT)
    return own


def again(job: Job) -> int:
    """The turn that a job which was taken before keeps."""
    if job.due:
        return job.due
    since = parse_stamp(job.queued_at or job.created_at)
    return int(since.timestamp() * 1000) - RANK[job.priority] * int(AGE_S * 1000)


def choose(tx: Tx, eligible: Iterator[Job]) -> Job | None:
    """The next of the jobs that a worker may do, which come in the order of their turns."""
    first = next(eligible, None)
    if first is None:
        return None
    window = [first]
    for job in eligible:
        if len(window) >= LOOKED_AT or job.due > first.due + _SLOT:
            break
        window.append(job)
    if len(window) == 1 or _same_flow(window):
        return first
    in_session = tx.count(Job, "session_id", state="claimed")
    in_repository = tx.count(Job, "repository", state="claimed")

    def busy(job: Job) -> tuple[int, int]:
        repository = in_repository.get(job.repository, 0) if job.repository else 0
        return (repository, in_session.get(job.session_id, 0))

    # Of equals the first one, so that nothing but fairness changes the order.

    return min(window, key=busy)


def _same_flow(window: Iterable[Job]) -> bool:
    return len({(job.session_id, job.repository) for job in window}) == 1
