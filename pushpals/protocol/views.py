"""What a session looks like, folded from its events: the types. How they come about is in ``fold.py``.

A view is a value. Every field is always present in its JSON (nothing is left out for being a default), so
that another language can fold the same fixtures and compare whole objects. ``cursor`` in a part is where
the part began, ``seen`` the last event that changed it, ``since`` the instant its state began; a client
sorts by ``cursor`` to interleave parts into one timeline.

Each collection is bounded (:data:`KEEP`): the oldest finished parts leave first.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from pushpals.protocol.events import Artifact, PlanStep, Suggestion
from pushpals.protocol.jobs import Evidence, JobState

KEEP: Final = 2_000
"""The most messages, tasks, jobs, approvals, landings or artifacts that a view holds of each."""
KEEP_DIFFS: Final = 100
KEEP_PROBLEMS: Final = 50
KEEP_LINES: Final = 40
"""The last output lines of a job that still runs. Whole logs are artifacts."""
KEEP_EVIDENCE: Final = 200

TaskState = Literal["created", "started", "completed", "failed"]
AskState = Literal["open", "approved", "denied", "expired", "void"]


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of all views: camelCase in JSON, complete."""


class MessageView(View, frozen=True, kw_only=True):
    """Something that was said, by a person or by an agent."""

    cursor: int
    id: str
    ts: str
    by: str
    """``client`` for a person, else the agent's name."""
    text: str
    person: bool
    to: str | None = None
    intent: str | None = None
    turn_id: str | None = None
    """The event id of the message that an agent's words answer."""


class PlanView(View, frozen=True, kw_only=True):
    """What the buddy understood from one message."""

    cursor: int
    id: str
    message_id: str
    understanding: str
    steps: tuple[PlanStep, ...]
    planner: str


class TaskView(View, frozen=True, kw_only=True):
    """What came of one message."""

    cursor: int
    seen: int
    id: str
    title: str
    description: str
    created_by: str
    state: TaskState
    since: str
    message_id: str | None = None
    jobs: tuple[str, ...] = ()
    progress: str | None = None
    percent: float | None = None
    summary: str | None = None
    """How it ended, in words."""
    detail: str | None = None
    artifacts: tuple[Artifact, ...] = ()


class JobView(View, frozen=True, kw_only=True):
    """One job, as far as events tell. Its full result is with the hub."""

    cursor: int
    seen: int
    id: str
    task_id: str
    kind: str
    params: dict[str, Any]
    state: JobState
    since: str
    attempt: int = 0
    worker_id: str | None = None
    base: str | None = None
    sandbox: str | None = None
    why: str | None = None
    """Why it is in this state, where that is not plain: a requeue, a failure, a cancel."""
    error_class: str | None = None
    detail: str | None = None
    retry_at: str | None = None
    cancel_by: str | None = None
    """Who asked it to stop."""
    summary: str | None = None
    branch: str | None = None
    commit: str | None = None
    evidence: tuple[Evidence, ...] = ()
    artifacts: tuple[Artifact, ...] = ()

    @property
    def ended(self) -> bool:
        return self.state in ("completed", "failed", "cancelled")


class CommandView(View, frozen=True, kw_only=True):
    """A command that is running now."""

    tool_call_id: str
    tool: str
    args: dict[str, Any]
    since: str


class OutputView(View, frozen=True, kw_only=True):
    """What a running job prints: the newest lines, and how many there were in this attempt."""

    lines: tuple[str, ...] = ()
    count: int = 0
    commands: tuple[CommandView, ...] = ()


class DiffView(View, frozen=True, kw_only=True):
    """The change that a job made."""

    cursor: int
    job_id: str | None
    unified_diff: str
    diff_stat: str
    branch: str


class ApprovalView(View, frozen=True, kw_only=True):
    """A question to a person, and the answer with who gave it."""

    cursor: int
    seen: int
    id: str
    action: str
    summary: str
    details: dict[str, Any]
    state: AskState
    since: str
    by: str | None = None
    token_id: str | None = None
    device: str | None = None
    reason: str | None = None

    @property
    def ended(self) -> bool:
        return self.state != "open"


class LandingView(View, frozen=True, kw_only=True):
    """A head on its way to the main branch."""

    cursor: int
    seen: int
    id: str
    state: str
    previous: str
    since: str
    job_id: str | None = None
    head: str | None = None
    cause: str | None = None
    facts: dict[str, Any] = {}
    evidence: tuple[Evidence, ...] = ()

    @property
    def ended(self) -> bool:
        return self.state in ("landed", "noop", "conflict", "rejected", "stale", "cancelled", "failed")


class ArtifactView(View, frozen=True, kw_only=True):
    """A blob of the content-addressed store. ``size`` in bytes."""

    cursor: int
    sha256: str
    size: int
    kind: str
    job_id: str | None = None


class AgentView(View, frozen=True, kw_only=True):
    """What an agent or a process last said about itself."""

    seen: int
    id: str
    state: str
    since: str
    detail: str | None = None


class LaneView(View, frozen=True, kw_only=True):
    """The merge queue of one branch."""

    seen: int
    id: str
    mode: str
    since: str
    head: str | None = None
    cause: str | None = None


class DelegationView(View, frozen=True, kw_only=True):
    """One agent asked another. ``ok`` is ``None`` while the answer is out."""

    cursor: int
    id: str
    by: str
    to: str
    ok: bool | None = None
    error: str | None = None


class Problem(View, frozen=True, kw_only=True):
    """An ``error`` event."""

    cursor: int
    ts: str
    message: str
    detail: str | None = None


class SessionView(View, frozen=True, kw_only=True):
    """A session after all events up to ``cursor``."""

    session_id: str = ""
    cursor: int = 0
    ts: str = ""
    messages: tuple[MessageView, ...] = ()
    plans: dict[str, PlanView] = {}
    """By the id of the message."""
    tasks: dict[str, TaskView] = {}
    jobs: dict[str, JobView] = {}
    output: dict[str, OutputView] = {}
    """By job id, only while the job runs."""
    diffs: tuple[DiffView, ...] = ()
    approvals: dict[str, ApprovalView] = {}
    landings: dict[str, LandingView] = {}
    artifacts: dict[str, ArtifactView] = {}
    agents: dict[str, AgentView] = {}
    workers: dict[str, AgentView] = {}
    lanes: dict[str, LaneView] = {}
    delegations: dict[str, DelegationView] = {}
    suggestions: tuple[Suggestion, ...] = ()
    problems: tuple[Problem, ...] = ()
