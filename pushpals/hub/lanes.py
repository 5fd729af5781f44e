"""Lanes: who may land on a branch, whether the queue is open, and what is in it."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from pushpals.protocol.commands import LaneWork, LeaseLane, SetLaneMode
from pushpals.protocol.errors import Conflict, Forbidden, NotFound
from pushpals.protocol.events import LaneChanged, Suggestion, Suggestions
from pushpals.protocol.ids import SYSTEM_SESSION
from pushpals.protocol.jobs import Wire
from pushpals.protocol.landings import UNFINISHED, Landing, Lane, lane_id, place
from pushpals.protocol.times import stamp
from pushpals.store.base import Tx

HOLDER_STEPS = frozenset({("open", "red"), ("red", "open"), ("red", "red"), ("draining", "paused")})
"""What the holder may set: that main is red, that it is not any more, and that a drained queue is empty. The
rest is a person's."""
MAX_TOLD = 20
"""At most so many sessions are told what would mend a red main."""


class LeaseAsk(Wire, frozen=True, kw_only=True):
    """``held`` says whether another holder's lease still lives, by the hub's monotonic clock."""

    body: LeaseLane
    held: bool


def lease(tx: Tx, ask: LeaseAsk, now: datetime) -> LaneWork:
    """Take or keep a lane.

    Without a fence the same holder takes over at once: it holds its own process lock, so the one before is
    gone, and the new fence shuts it out in any case. Another holder waits until the lease has run out.
    """
    body = ask.body
    if body.lane != lane_id(body.repository, body.branch):
        raise Conflict("the lane's name does not match its repository and branch", code="lane.name")
    lane = tx.get(Lane, body.lane)
    if lane is None:
        lane = Lane(id=body.lane, repository=body.repository, branch=body.branch, since=stamp(now))
    keeps = body.fence is not None and body.fence == lane.fence and lane.holder == body.holder
    if not keeps:
        if body.fence is not None:
            raise Conflict(
                f"{body.lane} went to {lane.holder or 'nobody'}; this holder must stop",
                code="lease_lost",
                fence=lane.fence,
            )
        if lane.holder not in (None, body.holder) and ask.held:
            raise Conflict(f"{body.lane} is held by {lane.holder}", code="lane.held", holder=lane.holder)
        lane = replace(lane, fence=lane.fence + 1, holder=body.holder)
    changed = not keeps or (body.head is not None and body.head != lane.head) or bool(body.facts)
    lane = replace(
        lane,
        head=body.head or lane.head,
        facts={**lane.facts, **body.facts},
        lease_until=stamp(now + timedelta(seconds=body.lease_s)),
    )
    tx.put(lane)
    if changed:
        _tell(tx, lane, None)
    return work_of(tx, lane)


def set_mode(tx: Tx, ask: SetLaneMode, now: datetime) -> Lane:
    """Open, pause, drain or freeze a queue."""
    lane = tx.get(Lane, ask.lane)
    if lane is None:
        raise NotFound(
            f"there is no queue {ask.lane!r}; `pushpals queue show` lists them", code="lane.unknown"
        )
    if tx.actor.role == "pusher":
        if (lane.mode, ask.mode) not in HOLDER_STEPS or ask.carry_approval is not None:
            raise Forbidden("only a person pauses, freezes or reopens a queue", code="lane.role")
        if ask.fence != lane.fence:
            raise Conflict("this fence does not hold the lane", code="lease_lost", fence=lane.fence)
    if ask.carry_approval is not None and ask.carry_approval != lane.carry_approval:
        lane = replace(lane, carry_approval=ask.carry_approval)
        tx.put(lane)
    # A person who opens an open queue says: try again what is held.
    if (
        lane.mode == ask.mode
        and lane.cause == ask.cause
        and (ask.mode != "open" or ask.carry_approval is not None)
    ):
        return lane
    lane = replace(
        lane,
        mode=ask.mode,
        cause=ask.cause,
        since=stamp(now),
        drain_to=lane.submitted if ask.mode == "draining" else 0,
        facts={**lane.facts, "culprit": ask.culprit if ask.mode == "red" else None},
    )
    tx.put(lane)
    _tell(tx, lane, ask.cause)
    if ask.mode == "red" and ask.culprit:
        _propose(tx, lane, ask.culprit)
    return lane


def _propose(tx: Tx, lane: Lane, culprit: dict[str, str]) -> None:
    """Say in each session that waits for this queue what would open it."""
    commit, subject = culprit.get("commit", "")[:12], culprit.get("subject", "")[:100]
    landing = tx.get(Landing, culprit["landing"]) if culprit.get("landing") else None
    waiting = {x.session_id for x in tx.find(Landing, lane=lane.id, state=UNFINISHED)}
    if landing is not None:
        waiting.add(landing.session_id)
        item = Suggestion(
            id=f"revert-{landing.id}",
            title=f"Take back what made {lane.branch} red: {subject}"[:200],
            detail=f"undo landing {landing.id}",
            effort="S",
        )
    else:
        item = Suggestion(
            id=f"revert-{commit}",
            title=f"{lane.branch} is red since {commit} ({subject}), which did not land here"[:200],
            detail=f"Revert {commit} on {lane.branch} by hand, or say what to fix; "
            "a landing that is marked as a fix may land meanwhile.",
            effort="S",
        )
    for session_id in sorted(waiting)[:MAX_TOLD]:
        tx.append(session_id, Suggestions(items=[item]), from_="hub")


def release(tx: Tx, ask: LaneRef, now: datetime) -> bool:
    """The lease ran out: the lane is free for another holder."""
    lane = tx.get(Lane, ask.id)
    if lane is None or lane.fence != ask.fence or lane.holder is None:
        return False
    tx.put(replace(lane, holder=None, lease_until=None))
    _tell(tx, lane, f"{lane.holder} went silent")
    return True


class LaneRef(Wire, frozen=True, kw_only=True):
    id: str
    fence: int


def work_of(tx: Tx, lane: Lane) -> LaneWork:
    landings = tx.find(Landing, lane=lane.id, state=UNFINISHED, order=("-rank", "n"))
    landings.sort(key=lambda landing: (place(landing), landing.number))
    return LaneWork(lane=lane, landings=landings, version=version_of(lane, landings))


def version_of(lane: Lane, landings: list[Landing]) -> str:
    """Changes whenever something the holder must hear of changed. The lease itself is not."""
    seen = [
        lane.mode,
        lane.cause,
        lane.fence,
        lane.since,
        lane.carry_approval,
        [(x.id, x.state, x.published, x.approval_id) for x in landings],
    ]
    return hashlib.sha256(msgspec.json.encode(seen)).hexdigest()[:16]


def _tell(tx: Tx, lane: Lane, cause: str | None) -> None:
    tx.append(SYSTEM_SESSION, LaneChanged(lane=lane.id, mode=lane.mode, head=lane.head, cause=cause))
