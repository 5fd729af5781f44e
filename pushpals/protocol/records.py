"""The other things the hub keeps: sessions, repositories, workers, tokens, artifacts, cursors.

Together with Job, Attempt, Approval, Landing and Lane these are all records. Their fields are their
storage: a store keeps each as JSON beside the few columns it is searched by.
"""

from __future__ import annotations

from typing import Any, Literal

from pushpals.protocol.jobs import CheckSpec, Wire

Role = Literal["operator", "viewer", "notebook", "buddy", "worker", "pusher"]
ROLES: tuple[Role, ...] = ("operator", "viewer", "notebook", "buddy", "worker", "pusher")
WorkerState = Literal["idle", "busy", "draining", "paused", "gone"]


class Actor(Wire, frozen=True, kw_only=True):
    """Who acts: taken from the token, never from a body."""

    role: Role
    token_id: str
    label: str = ""
    sessions: list[str] | None = None
    """The sessions the token may see; ``None`` means all."""
    device: str | None = None
    address: str | None = None
    method: str | None = None
    """How the caller was known: ``bearer`` or ``cookie``."""

    @property
    def name(self) -> str:
        """As in an envelope's ``from``: ``client``, ``agent:NAME`` or ``worker:NAME``."""
        if self.role in ("operator", "viewer", "notebook"):
            return f"client:{self.label}" if self.label else "client"
        if self.role == "worker":
            return f"worker:{self.label or self.token_id}"
        return f"agent:{self.label or self.role}"


class Session(Wire, frozen=True, kw_only=True):
    """A conversation and its work. ``last`` is the newest cursor, ``first`` the oldest kept one."""

    id: str
    created_at: str
    label: str = ""
    last: int = 0
    first: int = 1
    capabilities: list[str] | None = None
    """The most that its jobs may be given; ``None``: what the policy allows."""
    epoch: str = ""
    """Changes when the history was replaced (restored, forked): old cursors are void then."""


class Repository(Wire, frozen=True, kw_only=True):
    """What the team works on, as its pusher or worker last reported it."""

    id: str
    name: str
    upstream: str
    """Where main lives, for display: credentials are stripped."""
    branch: str
    head: str | None = None
    checks: list[CheckSpec] = []
    fixers: list[str] = []
    updated_at: str = ""


class Worker(Wire, frozen=True, kw_only=True):
    """A process that claims jobs."""

    id: str
    state: WorkerState
    registered_at: str
    seen_at: str
    kinds: list[str] = []
    capabilities: list[str] = []
    sandbox: str = "none"
    sandbox_reason: str = ""
    version: str = ""
    host: str = ""
    pid: int = 0
    jobs: list[str] = []
    note: str | None = None


class Token(Wire, frozen=True, kw_only=True):
    """A credential, hashed. The secret is shown once, when it is made."""

    id: str
    role: Role
    digest: str
    """Hex SHA-256 of the secret."""
    created_at: str
    label: str = ""
    sessions: list[str] | None = None
    expires_at: str | None = None
    revoked_at: str | None = None
    used_at: str | None = None

    @property
    def actor(self) -> Actor:
        return Actor(role=self.role, token_id=self.id, label=self.label, sessions=self.sessions)


class StoredArtifact(Wire, frozen=True, kw_only=True):
    """A blob in the content-addressed store. ``size`` in bytes."""

    sha256: str
    size: int
    kind: str
    media_type: str
    created_at: str
    session_id: str | None = None
    job_id: str | None = None


class Mark(Wire, frozen=True, kw_only=True):
    """How far a named reader has dealt with a session."""

    id: str
    """``<session>/<reader>``"""
    session_id: str
    reader: str
    cursor: int
    updated_at: str
    data: dict[str, Any] = {}
