"""The bodies of every endpoint, one request and reply pair each.

Requests are strict about types and lenient about unknown fields, as the original hub was: a field that a
newer client adds does not break an older hub. Identity, times and sequence numbers are never read from a
body. Every write also takes an ``Idempotency-Key`` header: the same key gives the same answer.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from pushpals.protocol.approvals import Approval
from pushpals.protocol.jobs import (
    Budget,
    ErrorClass,
    Evidence,
    FileChange,
    Job,
    JobResult,
    Priority,
    Wire,
)
from pushpals.protocol.landings import Candidate, Intent, Landing, LandingState, Lane, LaneMode
from pushpals.protocol.records import Repository, Role, Session, Token, Worker, WorkerState

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=256 * 1024)]
Line = Annotated[str, msgspec.Meta(max_length=64 * 1024)]
Reason = Annotated[str, msgspec.Meta(max_length=2_000)]


class Ok(Wire, frozen=True, kw_only=True, omit_defaults=False):
    ok: bool = True


# --- sessions ---------------------------------------------------------------------------------------


class CreateSession(Wire, frozen=True, kw_only=True):
    """``POST /sessions``. A missing or blank id asks for a new one."""

    session_id: str | None = None
    label: Annotated[str, msgspec.Meta(max_length=200)] = ""


class SessionCreated(Wire, frozen=True, kw_only=True, omit_defaults=False):
    session_id: str
    protocol_version: str
    cursor: int = 0


class PostMessage(Wire, frozen=True, kw_only=True):
    """``POST /sessions/:id/message``. ``to`` names an agent, e.g. ``local``."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=256 * 1024)]
    intent: str | None = None
    to: str | None = None
    client_id: str | None = None


class Posted(Wire, frozen=True, kw_only=True, omit_defaults=False):
    event_id: str
    cursor: int
    ok: bool = True


class PostEvent(Wire, frozen=True, kw_only=True):
    """``POST /sessions/:id/command``: an event of any type that the role may emit."""

    type: Name
    payload: dict[str, Any]
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    correlation_id: str | None = None
    turn_id: str | None = None
    parent_id: str | None = None
    trace_id: str | None = None


class SetMark(Wire, frozen=True, kw_only=True):
    """``PUT /sessions/:id/marks/:reader``. A mark never goes back."""

    cursor: Annotated[int, msgspec.Meta(ge=0)]
    data: dict[str, Any] = {}


# --- jobs -------------------------------------------------------------------------------------------


class Enqueue(Wire, frozen=True, kw_only=True):
    """``POST /jobs/enqueue``. The first four fields are the original wire."""

    task_id: Name
    kind: Name
    session_id: str = "dev"
    params: dict[str, Any] = {}
    title: Annotated[str, msgspec.Meta(max_length=200)] = ""
    priority: Priority = "normal"
    base: str | None = None
    target: str = ""
    paths: Annotated[list[str], msgspec.Meta(max_length=200)] = []
    checks: Annotated[list[str], msgspec.Meta(max_length=100)] | None = None
    budget: Budget = Budget()
    needs: Annotated[list[str], msgspec.Meta(max_length=50)] = []
    depends_on: Annotated[list[str], msgspec.Meta(max_length=50)] = []
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    run_at: str | None = None
    message_id: str | None = None
    note: Annotated[str, msgspec.Meta(max_length=4_000)] | None = None


class Enqueued(Wire, frozen=True, kw_only=True, omit_defaults=False):
    job_id: str
    ok: bool = True


class Claim(Wire, frozen=True, kw_only=True):
    """``POST /jobs/claim``. ``wait_s`` holds the request open until a job comes (at most 60 s).

    A claimer that does not name ``lease_s`` is taken for one that does not send heartbeats, and gets the
    long lease of 300 s.
    """

    worker_id: Name
    kinds: list[str] | None = None
    capabilities: list[str] = []
    lease_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 300.0
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0


class Claimed(Wire, frozen=True, kw_only=True):
    job: Job


class EventIn(Wire, frozen=True, kw_only=True):
    type: Name
    payload: dict[str, Any]


class LogLine(Wire, frozen=True, kw_only=True):
    stream: Literal["stdout", "stderr"]
    line: Line


class Progress(Wire, frozen=True, kw_only=True):
    """``POST /jobs/:id/progress``: events, log lines and the heartbeat in one request."""

    attempt: int
    events: Annotated[list[EventIn], msgspec.Meta(max_length=1_000)] = []
    log: Annotated[list[LogLine], msgspec.Meta(max_length=5_000)] = []
    base: str | None = None
    sandbox: str | None = None


class ProgressReply(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """``cancel`` asks the worker to stop what it runs, now."""

    cancel: bool
    lease_s: float
    ok: bool = True


class Complete(Wire, frozen=True, kw_only=True):
    """``POST /jobs/:id/complete``. Without ``attempt`` the first is meant, as in the original."""

    attempt: int = 1
    summary: str | None = None
    artifacts: list[dict[str, str]] = []
    result: JobResult | None = None


class Fail(Wire, frozen=True, kw_only=True):
    """``POST /jobs/:id/fail``. ``retry_after_s`` and ``no_retry`` overrule the hub's own schedule."""

    message: Text
    attempt: int = 1
    detail: Text | None = None
    error_class: ErrorClass = "code"
    retry_after_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None
    no_retry: bool = False
    result: JobResult | None = None
    stopped: list[str] = []


class CancelJob(Wire, frozen=True, kw_only=True):
    reason: Reason | None = None


class RetryJob(Wire, frozen=True, kw_only=True):
    note: Annotated[str, msgspec.Meta(max_length=4_000)] | None = None


class JobReply(Wire, frozen=True, kw_only=True, omit_defaults=False):
    job: Job
    ok: bool = True
    position: int | None = None
    """How many claimable jobs are ahead of a pending one."""


class Jobs(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Job]
    next: str | None = None
    total: int | None = None


# --- workers ----------------------------------------------------------------------------------------


class RegisterWorker(Wire, frozen=True, kw_only=True):
    """``PUT /workers/:id``, at start and every half minute."""

    kinds: list[str] = []
    capabilities: list[str] = []
    sandbox: str = "none"
    sandbox_reason: Annotated[str, msgspec.Meta(max_length=2_000)] = ""
    version: str = ""
    host: str = ""
    pid: int = 0
    state: WorkerState = "idle"


class SetWorkerState(Wire, frozen=True, kw_only=True):
    """``POST /workers/:id/state``, by an operator."""

    state: Literal["idle", "draining", "paused"]
    note: Reason | None = None


class WorkerReply(Wire, frozen=True, kw_only=True, omit_defaults=False):
    worker: Worker
    ok: bool = True


class Workers(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Worker]


# --- approvals --------------------------------------------------------------------------------------


class Decide(Wire, frozen=True, kw_only=True):
    """``POST /approvals/:id``. A yes must name the ``action_hash`` of what it says yes to."""

    decision: Literal["approve", "deny"]
    action_hash: str | None = None
    reason: Reason | None = None
    device: Annotated[str, msgspec.Meta(max_length=100)] | None = None


class Decided(Wire, frozen=True, kw_only=True, omit_defaults=False):
    approval: Approval
    ok: bool = True


class Approvals(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Approval]
    next: str | None = None


# --- landings ---------------------------------------------------------------------------------------


class SubmitLanding(Wire, frozen=True, kw_only=True):
    """``POST /landings``: ask for a head to be landed. The evidence is looked at, not believed."""

    session_id: str
    repository: Name
    target: Name
    head: str
    base: str
    branch: str
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    tree: str = ""
    body: Annotated[str, msgspec.Meta(max_length=16_000)] = ""
    job_id: str | None = None
    task_id: str | None = None
    bundle: str | None = None
    patch: str | None = None
    agent: str = ""
    priority: Priority = "normal"
    fix: bool = False
    reverts: str | None = None
    after: Annotated[list[str], msgspec.Meta(max_length=50)] = []
    asked_by: Annotated[str, msgspec.Meta(max_length=200)] = ""
    files: Annotated[list[FileChange], msgspec.Meta(max_length=5_000)] = []
    evidence: list[Evidence] = []


class LandingReply(Wire, frozen=True, kw_only=True, omit_defaults=False):
    landing: Landing
    ok: bool = True
    approval: Approval | None = None


class Landings(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Landing]
    next: str | None = None


class MoveLanding(Wire, frozen=True, kw_only=True):
    """``POST /landings/:id/move``, by the holder of the lane. ``expected`` guards against a lost answer.

    Fields that are not given stay as they are. ``evidence`` is appended.
    """

    fence: int
    expected: LandingState
    to: LandingState
    cause: Annotated[str, msgspec.Meta(max_length=8_000)] | None = None
    candidate: Candidate | None = None
    intent: Intent | None = None
    clear_candidate: bool = False
    clear_intent: bool = False
    evidence: list[Evidence] = []
    landed_commit: str | None = None
    conflict_paths: Annotated[list[str], msgspec.Meta(max_length=1_000)] | None = None
    main_moved: bool = False
    facts: dict[str, Any] = {}


class Overlap(Wire, frozen=True, kw_only=True):
    """Another unfinished landing that touches the same lines."""

    other: str
    paths: Annotated[list[str], msgspec.Meta(max_length=200)]
    conflict: bool


class LandingStep(MoveLanding, frozen=True, kw_only=True):
    """One step of several; its own ``fence`` is not looked at. ``to`` as ``expected``: facts without a step."""

    id: Name
    fence: int = 0
    published: bool = False
    overlaps: Annotated[list[Overlap], msgspec.Meta(max_length=100)] = []


class MoveLandings(Wire, frozen=True, kw_only=True):
    """``POST /lanes/moves``: several steps of landings of one lane, in order, in one transaction.

    A step that is refused is left out and named in the answer. With ``all_or_none`` the first one refuses
    them all: so it is for what is going to be pushed together.
    """

    lane: Name
    fence: int
    steps: Annotated[list[LandingStep], msgspec.Meta(max_length=1_000)]
    all_or_none: bool = False


class StepRefused(Wire, frozen=True, kw_only=True):
    """Why a step was not made."""

    id: str
    code: str
    message: str


class Moved(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """Every landing named, as it is now, once each."""

    items: list[Landing]
    refused: list[StepRefused] = []


class NoteLanding(Wire, frozen=True, kw_only=True):
    """``POST /landings/:id/note``: facts without a step. ``published`` never goes back to false."""

    fence: int
    published: bool = False
    evidence: list[Evidence] = []
    facts: dict[str, Any] = {}


class LeaseLane(Wire, frozen=True, kw_only=True):
    """``POST /lanes/lease``: take or keep a lane and hear of its work.

    Waits up to ``wait_s`` until the lane's unfinished landings differ from ``seen`` (the ``version`` of the
    last answer), so that a pusher never polls.
    """

    lane: Name
    holder: Name
    repository: Name
    branch: Name
    lease_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 30.0
    fence: int | None = None
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    seen: str | None = None
    head: str | None = None
    facts: dict[str, Any] = {}


class LaneWork(Wire, frozen=True, kw_only=True, omit_defaults=False):
    lane: Lane
    landings: list[Landing]
    """Unfinished ones, in the order in which they should land."""
    version: str


class SetLaneMode(Wire, frozen=True, kw_only=True):
    """``POST /lanes/mode``, by an operator; by the holder, with its fence: that main is ``red`` or not any
    more, and that a queue that was being drained is empty (``paused``).

    ``culprit`` names what made main red, if that is known: ``commit``, ``subject``, ``author`` and, if it
    came through here, ``landing``. ``carry_approval`` is a person's to set.
    """

    lane: Name
    mode: LaneMode
    cause: Reason | None = None
    fence: int | None = None
    culprit: dict[str, str] | None = None
    carry_approval: bool | None = None


class Lanes(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Lane]


# --- repositories, tokens, status -------------------------------------------------------------------


class Repositories(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Repository]


class NewToken(Wire, frozen=True, kw_only=True):
    role: Role
    label: Annotated[str, msgspec.Meta(max_length=100)] = ""
    sessions: list[str] | None = None
    ttl_s: Annotated[float, msgspec.Meta(gt=0, le=366 * 86_400)] | None = None


class TokenMade(Wire, frozen=True, kw_only=True):
    """The only answer that ever holds ``secret``."""

    token: Token
    secret: str


class Tokens(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Token]


class Sessions(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Session]
    next: str | None = None


class Entry(Wire, frozen=True, kw_only=True):
    """One event of a history page. The same pair as a WebSocket frame."""

    cursor: int
    envelope: msgspec.Raw


class History(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Entry]
    next: int | None
    """The cursor to ask for next, or ``null`` at the end."""
    last: int


class Snapshot(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """``GET /sessions/:id``: everything a new device needs before its first live event."""

    session: Session
    cursor: int
    jobs: list[Job]
    approvals: list[Approval]
    landings: list[Landing]
    lanes: list[Lane]
    workers: list[Worker]
    repositories: list[Repository]


class SystemStatus(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """``GET /system/status``."""

    version: str
    protocol_version: str
    started_at: str
    now: str
    sessions: int
    events: int
    jobs: dict[str, int]
    landings: dict[str, int]
    approvals_open: int
    workers: list[Worker]
    lanes: list[Lane]
    repositories: list[Repository]
    streams: int
    data: dict[str, Any]
