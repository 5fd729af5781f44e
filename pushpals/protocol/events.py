"""Every event, as one strict type each.

An event is an *envelope* around a *payload*; the envelope's ``type`` says which payload. The first 28
types and the envelope are the original wire, protocol 0.1.0: no property may be added to them. What we
add comes as new types below the line. The cursor is not part of an envelope: it is the SSE ``id`` (or the
WebSocket wrapper's ``cursor``) and counts from 1 without holes within a session.

Decoding is strict both ways: unknown fields, missing fields and wrong types are refused with a path.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

import msgspec

from pushpals.protocol.jobs import Evidence

PROTOCOL_VERSION: Final = "0.1.0"


class Payload(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """The base of all payloads. ``TYPE`` is the envelope's ``type``."""

    TYPE: ClassVar[str] = ""


class Artifact(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """A result to look at: ``uri`` (``artifact:<sha256>``) or short ``text``."""

    kind: str
    uri: str | None = None
    text: str | None = None


# --- the original 28 -------------------------------------------------------------------------------


class Message(Payload, frozen=True, kw_only=True):
    """A person wrote."""

    TYPE = "message"
    text: str
    intent: str | None = None


class AssistantMessage(Payload, frozen=True, kw_only=True):
    """A buddy answered."""

    TYPE = "assistant_message"
    text: str


class Log(Payload, frozen=True, kw_only=True):
    """A line about the work itself, not a command's output."""

    TYPE = "log"
    level: Literal["debug", "info", "warn", "error"]
    message: str


class Error(Payload, frozen=True, kw_only=True):
    """Something failed that no other event names."""

    TYPE = "error"
    message: str
    detail: str | None = None


class Done(Payload, frozen=True, kw_only=True):
    """A turn ended."""

    TYPE = "done"
    ok: bool


class TaskCreated(Payload, frozen=True, kw_only=True):
    """The buddy turned a message into a task."""

    TYPE = "task_created"
    task_id: str
    title: str
    description: str
    created_by: str
    priority: str | None = None
    tags: list[str] | None = None


class TaskStarted(Payload, frozen=True, kw_only=True):
    """The first job of a task was enqueued."""

    TYPE = "task_started"
    task_id: str


class TaskProgress(Payload, frozen=True, kw_only=True):
    """A sentence about how far a task is; ``percent`` from 0 to 100."""

    TYPE = "task_progress"
    task_id: str
    message: str
    percent: float | None = None


class TaskCompleted(Payload, frozen=True, kw_only=True):
    """Everything the task asked for was done, with evidence."""

    TYPE = "task_completed"
    task_id: str
    summary: str
    artifacts: list[Artifact] | None = None


class TaskFailed(Payload, frozen=True, kw_only=True):
    """The task ended without its goal; ``detail`` says why."""

    TYPE = "task_failed"
    task_id: str
    message: str
    detail: str | None = None


class ToolCall(Payload, frozen=True, kw_only=True):
    """A command is about to run. ``args`` holds argv, cwd and the sandbox level."""

    TYPE = "tool_call"
    tool_call_id: str
    tool: str
    args: dict[str, Any]
    task_id: str | None = None
    requires_approval: bool | None = None


class ToolResult(Payload, frozen=True, kw_only=True):
    """The command ended. Output is redacted and capped; the whole is an artifact."""

    TYPE = "tool_result"
    tool_call_id: str
    ok: bool
    task_id: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    exit_code: int | None = None
    artifacts: list[Artifact] | None = None


class JobEnqueued(Payload, frozen=True, kw_only=True):
    """A job exists and waits."""

    TYPE = "job_enqueued"
    job_id: str
    task_id: str
    kind: str
    params: dict[str, Any]


class JobClaimed(Payload, frozen=True, kw_only=True):
    """A worker holds the job's lease."""

    TYPE = "job_claimed"
    job_id: str
    worker_id: str


class JobCompleted(Payload, frozen=True, kw_only=True):
    """The job reached its end; its result is with the job."""

    TYPE = "job_completed"
    job_id: str
    summary: str | None = None
    artifacts: list[Artifact] | None = None


class JobFailed(Payload, frozen=True, kw_only=True):
    """The job will not be tried again by itself."""

    TYPE = "job_failed"
    job_id: str
    message: str
    detail: str | None = None


class JobLog(Payload, frozen=True, kw_only=True):
    """One line of a job's output. ``seq`` counts from 1 per job and attempt."""

    TYPE = "job_log"
    job_id: str
    stream: Literal["stdout", "stderr"]
    seq: int
    line: str


class ApprovalRequired(Payload, frozen=True, kw_only=True):
    """A person must decide. ``details`` holds the exact action and its ``actionHash``."""

    TYPE = "approval_required"
    approval_id: str
    action: Literal["git.commit", "git.push", "other"]
    summary: str
    details: dict[str, Any]


class Approved(Payload, frozen=True, kw_only=True):
    """An operator said yes."""

    TYPE = "approved"
    approval_id: str


class Denied(Payload, frozen=True, kw_only=True):
    """An operator said no."""

    TYPE = "denied"
    approval_id: str


class AgentStatus(Payload, frozen=True, kw_only=True):
    """What an agent is doing."""

    TYPE = "agent_status"
    agent_id: str
    status: Literal["idle", "busy", "error"]
    message: str | None = None


class Status(Payload, frozen=True, kw_only=True):
    """A process of the team came, went or failed. ``uptime_ms`` in milliseconds."""

    TYPE = "status"
    agent_id: str
    state: Literal["idle", "busy", "error", "shutting_down"]
    uptime_ms: int | None = None
    detail: str | None = None


class ScanResult(Payload, frozen=True, kw_only=True):
    """What a look at a checkout found."""

    TYPE = "scan_result"
    summary: str
    files_read: list[str]
    git_status_porcelain: str
    git_diff: str


class Suggestion(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """One thing that could be done. Effort is S, M or L."""

    id: str
    title: str
    detail: str
    effort: Literal["S", "M", "L"]


class Suggestions(Payload, frozen=True, kw_only=True):
    """What could be done next."""

    TYPE = "suggestions"
    items: list[Suggestion]


class DiffReady(Payload, frozen=True, kw_only=True):
    """A job produced a change on a branch."""

    TYPE = "diff_ready"
    unified_diff: str
    diff_stat: str
    branch: str


class Committed(Payload, frozen=True, kw_only=True):
    """A commit exists: an agent's on its branch, or a landed one on main."""

    TYPE = "committed"
    branch: str
    commit_hash: str
    message: str


class DelegateRequest(Payload, frozen=True, kw_only=True):
    """One agent asks another."""

    TYPE = "delegate_request"
    request_id: str
    to_agent_id: str
    input: Any


class DelegateResponse(Payload, frozen=True, kw_only=True):
    """The other agent's answer."""

    TYPE = "delegate_response"
    request_id: str
    ok: bool
    output: Any = None
    error: str | None = None


# --- ours: new types only ---------------------------------------------------------------------------


class PlanStep(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """One job that the plan wants, before it is enqueued."""

    kind: str
    title: str
    params: dict[str, Any] = {}


class PlanMade(Payload, frozen=True, kw_only=True):
    """What the buddy understood from a message, and what it will do about it."""

    TYPE = "plan_made"
    plan_id: str
    message_id: str
    understanding: str
    steps: list[PlanStep]
    planner: str = "rules"


class JobDeferred(Payload, frozen=True, kw_only=True):
    """A job that was just enqueued waits for its time (``run_at``, an instant) or for other jobs."""

    TYPE = "job_deferred"
    job_id: str
    run_at: str | None = None
    depends_on: list[str] | None = None


class JobRequeued(Payload, frozen=True, kw_only=True):
    """The job goes back to the queue; ``attempt`` is the one that ended, ``retry_at`` an instant."""

    TYPE = "job_requeued"
    job_id: str
    attempt: int
    reason: str
    error_class: str | None = None
    retry_at: str | None = None


class JobLeaseLost(Payload, frozen=True, kw_only=True):
    """A worker went silent; whatever it still reports for this attempt is refused."""

    TYPE = "job_lease_lost"
    job_id: str
    worker_id: str
    attempt: int


class JobCancelRequested(Payload, frozen=True, kw_only=True):
    """A person wants a running job to stop; its worker hears of it with the next heartbeat."""

    TYPE = "job_cancel_requested"
    job_id: str
    by: str
    reason: str | None = None


class JobCancelled(Payload, frozen=True, kw_only=True):
    """The job was stopped. ``stopped`` names what was running."""

    TYPE = "job_cancelled"
    job_id: str
    by: str
    reason: str | None = None
    stopped: list[str] | None = None


class JobBased(Payload, frozen=True, kw_only=True):
    """The job works on this commit."""

    TYPE = "job_based"
    job_id: str
    base: str
    attempt: int
    sandbox: str | None = None


class CheckFinished(Payload, frozen=True, kw_only=True):
    """A check ran (or could not), with the evidence that says so."""

    TYPE = "check_finished"
    evidence: Evidence
    job_id: str | None = None
    landing_id: str | None = None


class ArtifactStored(Payload, frozen=True, kw_only=True):
    """A blob is in the content-addressed store. ``size`` in bytes."""

    TYPE = "artifact_stored"
    sha256: str
    size: int
    kind: str
    job_id: str | None = None


class ApprovalDecided(Payload, frozen=True, kw_only=True):
    """Who decided what, where and with which token. Follows ``approved`` or ``denied``."""

    TYPE = "approval_decided"
    approval_id: str
    decision: Literal["approve", "deny"]
    by: str
    token_id: str
    action_hash: str
    device: str | None = None
    reason: str | None = None
    scope: str | None = None
    address: str | None = None
    method: str | None = None
    basis: str | None = None


class ApprovalExpired(Payload, frozen=True, kw_only=True):
    """Nobody answered in time, and that means no."""

    TYPE = "approval_expired"
    approval_id: str


class ApprovalVoid(Payload, frozen=True, kw_only=True):
    """What was to be approved is no longer what would happen."""

    TYPE = "approval_void"
    approval_id: str
    reason: str


class ApprovalConsumed(Payload, frozen=True, kw_only=True):
    """The yes was used: the executor ran exactly this, now. ``basis`` is what answered for a person."""

    TYPE = "approval_consumed"
    approval_id: str
    action_hash: str
    job_id: str | None = None
    basis: str | None = None


class RuleChanged(Payload, frozen=True, kw_only=True):
    """A standing answer was made or taken back. ``shape_hash`` names the command that it is about."""

    TYPE = "rule_changed"
    rule_id: str
    change: Literal["created", "revoked"]
    verdict: Literal["allow", "deny"]
    shape_hash: str
    by: str
    label: str | None = None


class SandboxProbed(Payload, frozen=True, kw_only=True):
    """A worker tried to break out of its own sandbox. ``broke`` names what worked, and should not."""

    TYPE = "sandbox_probed"
    worker_id: str
    executor: str
    level: Literal["full", "partial", "none"]
    reason: str
    held: list[str]
    broke: list[str]


class NetworkUsed(Payload, frozen=True, kw_only=True):
    """One decision about a connection of a command, with the bytes it came to."""

    TYPE = "network_used"
    job_id: str
    decision: Literal["opened", "closed", "refused"]
    host: str
    port: int
    code: str | None = None
    address: str | None = None
    bytes_up: int = 0
    bytes_down: int = 0


class LandingMoved(Payload, frozen=True, kw_only=True):
    """A landing changed its state; ``cause`` says why, in words, ``facts`` what was established."""

    TYPE = "landing_moved"
    landing_id: str
    state: str
    previous: str
    job_id: str | None = None
    head: str | None = None
    cause: str | None = None
    facts: dict[str, Any] | None = None


class OverlapFound(Payload, frozen=True, kw_only=True):
    """Two changes that are under way touch the same lines. ``conflict``: they do not merge as they are."""

    TYPE = "overlap_found"
    landing_id: str
    other_id: str
    paths: list[str]
    conflict: bool


class LaneChanged(Payload, frozen=True, kw_only=True):
    """The merge queue of a branch was paused, frozen, resumed, or learned a new head of main."""

    TYPE = "lane_changed"
    lane: str
    mode: str
    head: str | None = None
    cause: str | None = None


class WorkerChanged(Payload, frozen=True, kw_only=True):
    """A worker registered, drains, paused or left."""

    TYPE = "worker_changed"
    worker_id: str
    state: str
    sandbox: str | None = None
    detail: str | None = None


class TokenChanged(Payload, frozen=True, kw_only=True):
    """A token was created or revoked. Never the token itself."""

    TYPE = "token_changed"
    token_id: str
    role: str
    change: Literal["created", "revoked"]
    label: str | None = None


class DataQueried(Payload, frozen=True, kw_only=True):
    """Somebody asked the history in SQL. ``statement`` is redacted and cut, values are not kept.

    ``seen`` are the sessions that the question could see; left out when it could see all.
    """

    TYPE = "data_queried"
    by: str
    token_id: str
    statement: str
    outcome: Literal["answered", "refused", "stopped"]
    seen: list[str] | None = None
    rows: int | None = None
    seconds: float | None = None
    reason: str | None = None


ORIGINAL: tuple[type[Payload], ...] = (
    Message, AssistantMessage, Log, Error, Done, TaskCreated, TaskStarted, TaskProgress, TaskCompleted,
    TaskFailed, ToolCall, ToolResult, JobEnqueued, JobClaimed, JobCompleted, JobFailed, JobLog,
    ApprovalRequired, Approved, Denied, AgentStatus, Status, ScanResult, Suggestions, DiffReady, Committed,
    DelegateRequest, DelegateResponse,
)  # fmt: skip

OURS: tuple[type[Payload], ...] = (
    PlanMade,
    JobDeferred,
    JobRequeued,
    JobLeaseLost,
    JobCancelRequested,
    JobCancelled,
    JobBased,
    CheckFinished,
    ArtifactStored,
    ApprovalDecided,
    ApprovalExpired,
    ApprovalVoid,
    ApprovalConsumed,
    LandingMoved,
    OverlapFound,
    LaneChanged,
    WorkerChanged,
    TokenChanged,
    RuleChanged,
    SandboxProbed,
    NetworkUsed,
    DataQueried,
)

PAYLOADS: dict[str, type[Payload]] = {payload.TYPE: payload for payload in (*ORIGINAL, *OURS)}


class Envelope(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """What travels: who said what to whom, when, in which session. ``payload`` is raw JSON."""

    protocol_version: Literal["0.1.0"]
    id: str
    ts: str
    session_id: str
    type: str
    payload: msgspec.Raw
    trace_id: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    correlation_id: str | None = None
    parent_id: str | None = None
    turn_id: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded event with its cursor: what folds and roles work on."""

    cursor: int
    id: str
    ts: str
    session_id: str
    payload: Payload
    trace_id: str | None = None
    from_: str | None = None
    to: str | None = None
    correlation_id: str | None = None
    parent_id: str | None = None
    turn_id: str | None = None

    @property
    def type(self) -> str:
        return self.payload.TYPE
