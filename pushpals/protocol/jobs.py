"""Jobs: what a worker is asked to do, and the states it goes through.

::

    blocked ──release──▶ pending ──claim──▶ claimed ──complete──▶ completed
                            ▲                 │ │ └────fail─────▶ failed
    scheduled ──due─────────┤                 │ └─────cancel────▶ cancelled
        ▲                   └────requeue──────┤
        └──────────────────────delay──────────┘

``cancel`` leads from every state that is not an end to ``cancelled`` (a claimed job is asked to stop
first: ``cancel_requested``). ``retry`` leads from ``failed`` and ``cancelled`` back to ``pending``.

A lease is the pair (job, attempt): whoever reports for an older attempt has lost it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pushpals.protocol.errors import Conflict

JobState = Literal["blocked", "scheduled", "pending", "claimed", "completed", "failed", "cancelled"]
JobMove = Literal[
    "release", "due", "claim", "complete", "fail", "cancel", "requeue", "delay", "block", "retry"
]
Priority = Literal["interactive", "normal", "background"]
ErrorClass = Literal["code", "environment", "quota", "conflict", "policy", "cancelled", "lost"]
Verdict = Literal["passed", "failed", "timed_out", "could_not_run"]

TERMINAL: frozenset[JobState] = frozenset({"completed", "failed", "cancelled"})
RANK: dict[Priority, int] = {"interactive": 2, "normal": 1, "background": 0}

TRANSITIONS: dict[tuple[JobState, JobMove], JobState] = {
    ("blocked", "release"): "pending",
    ("scheduled", "due"): "pending",
    ("pending", "claim"): "claimed",
    ("claimed", "complete"): "completed",
    ("claimed", "fail"): "failed",
    ("claimed", "requeue"): "pending",
    ("claimed", "delay"): "scheduled",
    ("claimed", "block"): "blocked",
    ("blocked", "cancel"): "cancelled",
    ("scheduled", "cancel"): "cancelled",
    ("pending", "cancel"): "cancelled",
    ("claimed", "cancel"): "cancelled",
    ("failed", "retry"): "pending",
    ("cancelled", "retry"): "pending",
}


def advance(state: JobState, move: JobMove) -> JobState:
    """The state after ``move``; raises :class:`Conflict` where there is no such step."""
    try:
        return TRANSITIONS[state, move]
    except KeyError:
        raise Conflict(f"a {state} job cannot {move}", code="job.state", state=state, move=move) from None


class Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The base of records and bodies: camelCase on the wire, defaults left out."""


class Counts(Wire, frozen=True, kw_only=True):
    """How many tests did what."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0


class Evidence(Wire, frozen=True, kw_only=True):
    """One command that was run to find something out, and on what: a receipt.

    ``could_not_run`` is neither pass nor fail. ``commit`` is the commit whose files were checked out,
    ``tree`` their tree; a later edit makes the receipt stale.
    """

    check: str
    argv: list[str]
    verdict: Verdict
    commit: str
    tree: str
    exit_code: int | None = None
    seconds: float = 0.0
    counts: Counts | None = None
    failures: list[str] = []
    """Names of failing tests or the first findings, at most 50."""
    detail: str | None = None
    output: str | None = None
    """SHA-256 of the stored output."""
    sandbox: str = "none"
    environment: str = ""
    """Digest of what the check ran in: platform, toolchain versions, environment names."""
    run_by: str = ""
    """Worker or pusher id."""


class CheckSpec(Wire, frozen=True, kw_only=True):
    """A named check of a repository. ``timeout_s`` is wall time in seconds."""

    name: str
    argv: list[str]
    timeout_s: float = 300.0
    required: bool = True
    cwd: str = "."


class Budget(Wire, frozen=True, kw_only=True):
    """How long a job may wait, work and finish, in seconds, and how much it may change."""

    queue_s: float = 86_400.0
    run_s: float = 1_800.0
    final_s: float = 120.0
    changed_files: int = 2_000
    changed_bytes: int = 32 * 1024 * 1024


class JobError(Wire, frozen=True, kw_only=True):
    """Why an attempt failed."""

    message: str
    error_class: ErrorClass = "code"
    detail: str | None = None


class FileChange(Wire, frozen=True, kw_only=True):
    """One path of a diff. ``status`` as git says it: A, M, D, R, C or T."""

    path: str
    status: str
    old_path: str | None = None
    added: int = 0
    deleted: int = 0
    binary: bool = False
    old_mode: str | None = None
    new_mode: str | None = None
    protected: bool = False


class JobResult(Wire, frozen=True, kw_only=True):
    """What a job brought back. No ``head`` means that it changed nothing."""

    summary: str
    base: str = ""
    head: str | None = None
    tree: str | None = None
    branch: str | None = None
    """``agent/<worker>/<job>``"""
    bundle: str | None = None
    """SHA-256 of the artifact with the git bundle that carries ``head``."""
    patch: str | None = None
    """SHA-256 of the artifact with the unified diff."""
    diff_stat: str = ""
    files: list[FileChange] = []
    evidence: list[Evidence] = []
    artifacts: list[dict[str, str]] = []
    """As on the wire: ``{kind, uri?, text?}``."""
    output: dict[str, Any] = {}
    """What the kind itself has to say, as data."""


class Job(Wire, frozen=True, kw_only=True):
    """A job as the hub keeps it. Times are RFC 3339 stamps; leases are in seconds."""

    id: str
    session_id: str
    task_id: str
    kind: str
    params: dict[str, Any]
    state: JobState = msgspec.field(name="status")
    priority: Priority = "normal"
    title: str = ""
    base: str | None = None
    target: str = ""
    """Branch that a change of this job would land on; empty means the repository's main branch."""
    paths: list[str] = []
    """Globs that the change must stay within; empty means the whole tree."""
    checks: list[str] | None = None
    """Names of the checks to run after the change; ``None`` means all, ``[]`` none."""
    budget: Budget = Budget()
    needs: list[str] = []
    """Capabilities that the worker must have."""
    capabilities: list[str] | None = None
    """Capabilities its commands have without a question; ``None``: all that the policy allows."""
    tainted: bool = False
    """It has read text from outside."""
    token_id: str | None = None
    """The token that claimed it: only its bearer may report."""
    depends_on: list[str] = []
    attempt: int = 0
    """The fence: grows with each claim."""
    spent: int = 0
    """Attempts that count against ``max_attempts``: released leases do not."""
    max_attempts: int = 3
    worker_id: str | None = None
    lease_s: float = 30.0
    lease_until: str | None = None
    cancel_requested: bool = False
    cancel_by: str | None = None
    cancel_reason: str | None = None
    log_lines: int = 0
    """Lines of output stored for the current attempt."""
    run_at: str | None = None
    requested_by: str = ""
    queued_at: str = ""
    """When its wait began: kept when a lost lease puts it back, new when a person or its time does."""
    due: int = 0
    """Its turn: the job with the smallest is next (see :mod:`pushpals.hub.turns`)."""
    repository: str = ""
    for_worker: str | None = None
    """The only worker that may take it."""
    message_id: str | None = None
    trace_id: str | None = None
    note: str | None = None
    sandbox: str | None = None
    result: JobResult | None = None
    error: JobError | None = None
    created_at: str = ""
    updated_at: str = ""
    started_at: str | None = None
    finished_at: str | None = None

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL


class Attempt(Wire, frozen=True, kw_only=True):
    """One try at a job: the audit trail of leases."""

    id: str
    """``<job>/<attempt>``"""
    job_id: str
    attempt: int
    worker_id: str
    started_at: str
    ended_at: str | None = None
    outcome: str | None = None
    error: JobError | None = None
