"""Landings: the way of one approved head onto a branch, and the lane it queues in.

The states and steps are those of a merge queue whose tested commit is the commit that lands. Waiting:
``submitted``, ``needs_approval``, ``queued``. Working: ``prepared``, ``composed``, ``checking``, ``green``,
``pushing``. Aside: ``held``. Ends: ``landed``, ``noop``, ``conflict``, ``rejected``, ``stale``,
``cancelled``, ``failed``.

A *lane* is one target branch of one repository. Exactly one pusher holds a lane, by a lease with a fence
that grows each time the lane changes hands; a step under an old fence is refused.
"""

from __future__ import annotations

from typing import Any, Literal

from pushpals.protocol.errors import Conflict
from pushpals.protocol.jobs import Evidence, FileChange, Priority, Wire

LandingState = Literal[
    "submitted", "needs_approval", "queued", "prepared", "composed", "checking", "green", "pushing", "held",
    "landed", "noop", "conflict", "rejected", "stale", "cancelled", "failed",
]  # fmt: skip
LaneMode = Literal["open", "paused", "draining", "frozen", "red"]

WAITING: frozenset[LandingState] = frozenset({"submitted", "needs_approval", "queued"})
WORKING: frozenset[LandingState] = frozenset({"prepared", "composed", "checking", "green", "pushing"})
ENDS: frozenset[LandingState] = frozenset(
    {"landed", "noop", "conflict", "rejected", "stale", "cancelled", "failed"}
)
UNFINISHED: tuple[LandingState, ...] = (
    "submitted", "needs_approval", "queued", "held", "prepared", "composed", "checking", "green", "pushing",
)  # fmt: skip

STEPS: dict[LandingState, frozenset[LandingState]] = {
    "submitted": frozenset({"needs_approval", "queued", "cancelled", "stale", "rejected"}),
    "needs_approval": frozenset({"queued", "cancelled", "stale", "rejected"}),
    "queued": frozenset({"prepared", "held", "cancelled", "stale", "rejected", "failed", "needs_approval"}),
    "prepared": frozenset(
        {
            "composed",
            "noop",
            "conflict",
            "rejected",
            "stale",
            "queued",
            "held",
            "cancelled",
            "failed",
            "landed",
        }
    ),
    "composed": frozenset({"checking", "green", "queued", "held", "stale", "cancelled", "failed"}),
    "checking": frozenset({"green", "rejected", "queued", "held", "stale", "cancelled", "failed"}),
    "green": frozenset({"pushing", "queued", "held", "stale", "cancelled", "failed"}),
    "pushing": frozenset({"landed", "queued", "stale", "held", "failed"}),
    "held": frozenset({"queued", "cancelled", "stale", "rejected", "failed"}),
    "landed": frozenset(),
    "noop": frozenset(),
    "conflict": frozenset(),
    "rejected": frozenset(),
    "stale": frozenset(),
    "cancelled": frozenset(),
    "failed": frozenset(),
}
"""A cancelled landing in ``pushing`` has lost: the remote decides, so there is no such step. A landing that
is taken up again may turn out to have landed: by a push whose sender died and whose intent was given up. Then
its record is on the remote, and ``prepared`` leads to ``landed``."""

AHEAD: dict[Priority, int] = {"interactive": 20, "normal": 8, "background": 0}
"""How many earlier landings of the lowest priority one may overtake. Whoever waits is therefore overtaken by
at most so many: a landing's place is the number it was given when it was submitted, less this."""


def advance(state: LandingState, to: LandingState) -> LandingState:
    """``to``, if the machine has that step; raises :class:`Conflict` otherwise."""
    if to not in STEPS[state]:
        raise Conflict(f"a landing that is {state} cannot become {to}", code="landing.state", state=state)
    return to


class Candidate(Wire, frozen=True, kw_only=True):
    """The commit that is tested and, if green, pushed: ``commit`` with ``tree`` on top of ``base``."""

    base: str
    commit: str
    tree: str


class Intent(Wire, frozen=True, kw_only=True):
    """What the pusher is about to push, stored before it does. Recovery compares the remote with it."""

    remote: str
    target_ref: str
    old: str
    new: str
    agent_ref: str
    head: str
    commit: str
    """The landing's own commit: ``new`` or, in a batch, an ancestor of it."""
    record_ref: str
    record_old: str | None = None
    """Where the record stands, if the job landed before and was taken out by hand since."""
    batch: list[str] = []
    """Ids of all landings of the push. One that is missing must not be pushed along with the others."""


class Landing(Wire, frozen=True, kw_only=True):
    """One request to land one head. Times are RFC 3339 stamps."""

    id: str
    lane: str
    session_id: str
    state: LandingState
    head: str
    base: str
    branch: str
    target: str
    title: str
    tree: str = ""
    body: str = ""
    job_id: str | None = None
    task_id: str | None = None
    bundle: str | None = None
    patch: str | None = None
    agent: str = ""
    requested_by: str = ""
    asked_by: str = ""
    """The person whose message led here, if one did."""
    approved_by: str | None = None
    audit_head: str | None = None
    """``<cursor>:<digest>`` of the session's chain with the yes in it; the landed commit carries it."""
    approval_id: str | None = None
    priority: Priority = "normal"
    fix: bool = False
    """Lands even while main is red, if its union is green."""
    reverts: str | None = None
    """The landing that this one takes back."""
    after: list[str] = []
    """Ids of landings that have to land first."""
    supersedes: str | None = None
    """The landing of an earlier head of the same branch, whose place this one took."""
    number: int = 0
    """Which landing of its lane this is, counted from 1 in the order of their submission."""
    cause: str | None = None
    since: str = ""
    published: bool = False
    """The agent branch was seen at ``head`` on the remote."""
    attempts: int = 0
    main_moved: int = 0
    files: list[FileChange] = []
    worker_evidence: list[Evidence] = []
    candidate: Candidate | None = None
    evidence: list[Evidence] = []
    intent: Intent | None = None
    landed_commit: str | None = None
    conflict_paths: list[str] = []
    facts: dict[str, Any] = {}
    created_at: str = ""
    updated_at: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ENDS


class Lane(Wire, frozen=True, kw_only=True):
    """The queue of one branch. ``fence`` grows with each new holder."""

    id: str
    """``<repository>:<branch>``"""
    repository: str
    branch: str
    mode: LaneMode = "open"
    cause: str | None = None
    since: str = ""
    holder: str | None = None
    fence: int = 0
    lease_until: str | None = None
    head: str | None = None
    """Main as the pusher last saw it."""
    submitted: int = 0
    """How many landings were ever submitted to it."""
    drain_to: int = 0
    """While it is drained: the number of the last landing that may still land."""
    carry_approval: bool = False
    """Whether a yes counts for a new head of the same branch if its patch is identical."""
    facts: dict[str, Any] = {}
    """What the holder reports: how checks behave, which landings touch the same lines, what made main red."""


def place(landing: Landing) -> int:
    """Where a landing stands in the queue; the lowest goes first."""
    return landing.number - AHEAD[landing.priority]


def lane_id(repository: str, branch: str) -> str:
    return f"{repository}:{branch}"
