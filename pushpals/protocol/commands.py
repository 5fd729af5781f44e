"""The bodies of every endpoint, one request and reply pair each.

Requests are strict about types and lenient about unknown fields, as the original hub was: a field that a
newer client adds does not break an older hub. Identity, times and sequence numbers are never read from a
body. Every write also takes an ``Idempotency-Key`` header: the same key gives the same answer.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from pushpals.protocol.approvals import Approval, ApprovalKind, RememberedRule, RuleVerdict, Scope
from pushpals.protocol.jobs import (
    Attempt,
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


class Entry(Wire, frozen=True, kw_only=True):
    """One event of a history page. The same pair as a WebSocket frame."""

    cursor: int
    envelope: msgspec.Raw


# --- sessions ---------------------------------------------------------------------------------------


class CreateSession(Wire, frozen=True, kw_only=True):
    """``POST /sessions``. A missing or blank id asks for a new one."""

    session_id: str | None = None
    label: Annotated[str, msgspec.Meta(max_length=200)] = ""
    capabilities: Annotated[list[str], msgspec.Meta(max_length=100)] | None = None
    """The most that a job of the session may be given; only an operator may set it, at creation."""


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


class Query(Wire, frozen=True, kw_only=True):
    """``POST /query`` and ``POST /sessions/:id/query``: one SELECT over the documented views.

    ``values`` are bound to ``:name``; ``limit`` is in rows, ``timeout_s`` in seconds.
    """

    sql: Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]
    values: dict[str, str | int | float | bool | None] = {}
    limit: int = 1_000
    timeout_s: float = 5.0


class Rows(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """The answer to a :class:`Query`. ``truncated``: there was more."""

    columns: list[str]
    rows: list[list[str | int | float | bool | None]]
    truncated: bool = False
    seconds: float = 0.0


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


class EventItem(Wire, frozen=True, kw_only=True):
    """One event of a batch: as in :class:`PostEvent`."""

    type: Name
    payload: msgspec.Raw
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    correlation_id: str | None = None
    turn_id: str | None = None
    parent_id: str | None = None
    trace_id: str | None = None


class PostEvents(Wire, frozen=True, kw_only=True):
    """``POST /sessions/:id/events``: many events in one commit, all of them or none."""

    events: Annotated[list[EventItem], msgspec.Meta(min_length=1, max_length=1_000)]


class EventsPosted(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """``cursor`` is that of the last event; they have no gap between them."""

    event_ids: list[str]
    cursor: int
    ok: bool = True


class TicketMade(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """``POST /sessions/:id/tickets``: opens one stream of this session, once, within ``expires_in_s``."""

    ticket: str
    expires_in_s: float


class Found(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """``GET /sessions/:id/search``: newest first. ``next`` is the ``before`` of the following page."""

    items: list[Entry]
    next: int | None


class ForkSession(Wire, frozen=True, kw_only=True):
    """``POST /sessions/:id/fork``: a new session that begins with this one's conversation up to
    ``cursor``."""

    cursor: Annotated[int, msgspec.Meta(ge=0)]
    session_id: str | None = None
    label: Annotated[str, msgspec.Meta(max_length=200)] = ""


class PruneSession(Wire, frozen=True, kw_only=True):
    """``POST /sessions/:id/prune``: erase the bodies of all events before the cursor ``first``."""

    first: Annotated[int, msgspec.Meta(ge=1)]


class Pruned(Wire, frozen=True, kw_only=True, omit_defaults=False):
    session: Session
    erased: int


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
    capabilities: Annotated[list[str], msgspec.Meta(max_length=100)] | None = None
    """What the job's commands may need without a question; ``None``: all that the policy allows. A buddy can
    pass on a subset of the session's only."""
    tainted: bool = False
    """It works on text from outside, e.g. an issue or a web page: a yes for the session does not reach it."""
    run_at: str | None = None
    message_id: str | None = None
    note: Annotated[str, msgspec.Meta(max_length=4_000)] | None = None
    repository: Annotated[str, msgspec.Meta(max_length=100)] = ""
    for_worker: Annotated[str, msgspec.Meta(max_length=48)] | None = None
    """Only this worker may take it."""


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


class Heartbeat(Wire, frozen=True, kw_only=True):
    """``POST /jobs/:id/heartbeat``: keep the lease, and hear of a cancel at once.

    The request is held for up to ``wait_s`` (at most half the lease), unless the job is to be cancelled.
    """

    attempt: int
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0


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
    eta_s: float | None = None
    """When a pending job is likely to start, in seconds from now: from measured run times and the workers
    there are. ``None`` when nothing was measured yet or nobody works."""


class Jobs(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Job]
    next: str | None = None
    counts: dict[str, int] | None = None
    """With ``?counts=true``: how many of all that pass the filter are in each state."""
    positions: dict[str, int] | None = None
    """With ``?positions=true``: how many claimable jobs are ahead of each pending one of this page."""


class Attempts(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """``GET /jobs/:id/attempts``: who tried it, when, and how it ended; oldest first."""

    items: list[Attempt]


# --- workers ----------------------------------------------------------------------------------------


class ProbeTold(Wire, frozen=True, kw_only=True):
    """What came of the attempts to break out: those that held, and those that did not."""

    executor: Annotated[str, msgspec.Meta(max_length=100)]
    level: Literal["full", "partial", "none"]
    reason: Annotated[str, msgspec.Meta(max_length=2_000)] = ""
    held: Annotated[list[str], msgspec.Meta(max_length=50)] = []
    broke: Annotated[list[str], msgspec.Meta(max_length=50)] = []


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
    probe: ProbeTold | None = None
    """Given when the sandbox was tried again: it goes into the history."""


class SetWorkerState(Wire, frozen=True, kw_only=True):
    """``POST /workers/:id/state``, by an operator."""

    state: Literal["idle", "draining", "paused"]
    note: Reason | None = None


class WorkerReply(Wire, frozen=True, kw_only=True, omit_defaults=False):
    worker: Worker
    ok: bool = True


class Workers(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Worker]
    next: str | None = None
    counts: dict[str, int] | None = None


# --- approvals --------------------------------------------------------------------------------------


class Decide(Wire, frozen=True, kw_only=True):
    """``POST /approvals/:id``. A yes must name the ``action_hash`` of what it says yes to."""

    decision: Literal["approve", "deny"]
    action_hash: str | None = None
    reason: Reason | None = None
    device: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    scope: Scope = "once"
    """``job``: until the job ends. ``session``: network hosts only, for at most ``ttl_s`` and eight hours."""
    ttl_s: Annotated[float, msgspec.Meta(gt=0, le=8 * 3_600)] | None = None


class AskApproval(Wire, frozen=True, kw_only=True):
    """``POST /approvals``: the worker that holds a job asks about one exact action of it.

    ``action`` is an exec action of :mod:`pushpals.policy.actions` as plain data; its job, attempt, session
    and worker must be those of the lease. A remembered rule or a wider yes may answer at once.
    """

    kind: ApprovalKind
    action: dict[str, Any]
    attempt: int
    reasons: Annotated[list[str], msgspec.Meta(max_length=50)] = []
    says: Annotated[str, msgspec.Meta(max_length=4_000)] | None = None
    ttl_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None
    max_pending: Annotated[int, msgspec.Meta(ge=1, le=50)] = 3


class UseApproval(Wire, frozen=True, kw_only=True):
    """``POST /approvals/:id/consume``: the executor is about to run exactly ``action_hash``."""

    action_hash: str
    attempt: int


class RevokeApproval(Wire, frozen=True, kw_only=True):
    """``POST /approvals/:id/revoke``, by an operator: a yes is taken back."""

    reason: Reason | None = None


class MakeRule(Wire, frozen=True, kw_only=True):
    """``POST /rules`` and ``POST /rules/test``: always this answer to the command of ``approval_id``.

    ``everywhere`` takes it beyond the approval's session. A rule that people's own answers in the history
    speak against is refused unless ``despite`` is set.
    """

    approval_id: str
    verdict: RuleVerdict = "allow"
    label: Annotated[str, msgspec.Meta(max_length=200)] = ""
    everywhere: bool = False
    despite: bool = False


class BackTest(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """What a rule would have answered, over the whole history. Ids are those of approvals."""

    shape_hash: str
    shape: dict[str, Any]
    looked_at: int
    matched: int
    agreed: int
    """People had given the same answer."""
    contradicted: list[str]
    """People had given the other one; at most 100 are named."""
    unanswered: int
    """Nobody had answered in time, or the question had ended otherwise."""
    first_at: str | None = None
    last_at: str | None = None


class RuleMade(Wire, frozen=True, kw_only=True, omit_defaults=False):
    rule: RememberedRule
    tested: BackTest
    ok: bool = True


class Rules(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[RememberedRule]


class PairDevice(Wire, frozen=True, kw_only=True):
    """``POST /pairings``: a one-time code that makes one device a token of its own."""

    role: Literal["operator", "viewer"] = "viewer"
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "phone"
    sessions: list[str] | None = None
    ttl_s: Annotated[float, msgspec.Meta(gt=0, le=366 * 86_400)] = 30 * 86_400.0


class Pairing(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """``code`` works once, until ``expires_at``."""

    code: str
    expires_at: str
    role: Role
    label: str


class AuditHead(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """``GET /audit/head``: the newest signed checkpoint, and where the session's chain stands now."""

    key_id: str
    public_key: str
    """Ed25519, hex: what checkpoints are verified with."""
    checkpoint: int
    checkpoint_at: str | None
    checkpoint_hash: str | None
    session_id: str | None = None
    cursor: int | None = None
    digest: str | None = None


class Decided(Wire, frozen=True, kw_only=True, omit_defaults=False):
    approval: Approval
    ok: bool = True


class Approvals(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Approval]
    next: str | None = None
    counts: dict[str, int] | None = None


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
    counts: dict[str, int] | None = None


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
    next: str | None = None
    counts: dict[str, int] | None = None


class Sessions(Wire, frozen=True, kw_only=True, omit_defaults=False):
    items: list[Session]
    next: str | None = None
    total: int | None = None


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


class KindFigures(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """Jobs of one kind that ended within the last day. Times in seconds; ``success`` of those that were done."""

    completed: int
    failed: int
    cancelled: int
    success: float | None
    wait_p50_s: float | None
    wait_p95_s: float | None
    run_p50_s: float | None
    run_p95_s: float | None


class LandingFigures(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """Landings that ended within the last day, and how long those that landed took from being asked for."""

    ended: int
    landed: int
    p50_s: float | None
    p95_s: float | None


class LastDay(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """What was measured in the last 24 hours. The kind ``""`` stands for all."""

    kinds: dict[str, KindFigures]
    landings: LandingFigures


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
    last_day: LastDay | None = None
