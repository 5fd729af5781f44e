"""What can be asked for, exactly: a command to run, or a branch to land.

An action is the whole of what an approval is about. Its canonical JSON (sorted keys, UTF-8, no spaces,
no NaN) hashed with a domain in front is the ``action_hash`` that a person's yes is bound to: anything
that differs, differs in the hash.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

Level = Literal["full", "partial", "none"]

ACTION_DOMAIN = b"pushpals.action.v1\0"
MAX_ACTION_BYTES = 64 * 1024
"""A longer action is refused: nobody can read it."""


class Executable(msgspec.Struct, frozen=True, kw_only=True):
    """A program as the sandbox finds it."""

    name: str
    path: str
    sha256: str = ""


class ExecAction(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="exec"):
    """A command: either ``argv`` or ``script``."""

    argv: tuple[str, ...] | None = None
    script: str | None = None
    cwd: str = "/repo"
    """Inside path, absolute or relative to ``/repo``."""
    env: tuple[tuple[str, str], ...] = ()
    """What the command adds to the worker's fixed environment, sorted by name."""
    stdin_sha256: str = ""
    executables: tuple[Executable, ...] = ()
    tree: str = ""
    """SHA of the worktree's tree before the command."""
    capabilities: tuple[str, ...] = ()
    sandbox: Level = "full"
    sandbox_profile: str = ""
    policy_version: str = ""
    session: str = ""
    job: str = ""
    attempt: int = 0
    worker: str = ""


class LandAction(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="land"):
    """A branch that becomes the target: exactly this head, onto exactly this base."""

    repository: str
    target: str
    base: str
    head: str
    tree: str
    """SHA of the tree the target will have."""
    checks: tuple[str, ...] = ()
    """Ids of the check results this rests on."""
    policy_version: str = ""

    @property
    def capability(self) -> str:
        return f"land:{self.target.removeprefix('refs/heads/')}"


Action = ExecAction | LandAction


def as_dict(action: Action) -> dict[str, Any]:
    """The action as plain data: what is stored, shown and hashed."""
    plain: dict[str, Any] = msgspec.to_builtins(action)
    return plain


def canonical(action: Action) -> bytes:
    """The one JSON text of an action. Raises :class:`ValueError` for text that is not valid Unicode."""
    return canonical_json(as_dict(action))


def action_hash(action: Action) -> str:
    """64 hex digits; what an approval is bound to."""
    return hashlib.sha256(ACTION_DOMAIN + canonical(action)).hexdigest()


def canonical_json(value: Any) -> bytes:
    """Deterministic JSON of plain data."""
    try:
        return msgspec.json.encode(value, order="deterministic")
    except UnicodeEncodeError as error:
        raise ValueError("text with a lone surrogate has no canonical form") from error
