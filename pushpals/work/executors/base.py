"""The executor port: the one way a command of a job, a check or an agent runs.

An executor promises, whatever the command does:

- it starts ``argv`` without a shell, with exactly the environment given, standard input from
  ``stdin`` (empty by default), in a process tree of its own;
- at ``wall_s`` the whole tree gets SIGTERM, ``grace_s`` later SIGKILL, and the call returns even if a
  grandchild holds the output pipe open; cancelling the call does the same at once;
- the tree dies with the process that owns the executor, as far as the level says;
- output is delivered as it arrives through ``on_output`` and kept up to ``output_bytes`` (head and
  tail, the middle is counted); the full stream is hashed;
- it never raises for what a command does: exit codes, signals, time-outs and "no such program" are
  fields of :class:`Outcome`. It raises :class:`ExecutorUnavailable` when it cannot keep its level.

The level an executor reaches is decided by probes (``probe``), not by versions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec

Level = Literal["full", "partial", "none"]
"""``full``: kernel sandbox, all probes pass. ``partial``: some. ``none``: a process group and limits only."""

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, bytes], None]
"""Called in order, on the event loop, with chunks as read. Must not block."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one command. Zero means "do not set" for the rlimits only."""

    wall_s: float = 600.0
    grace_s: float = 2.0
    output_bytes: int = 1024 * 1024
    cpu_s: int = 0
    processes: int = 0
    open_files: int = 1024
    file_bytes: int = 512 * 1024 * 1024
    memory_bytes: int = 0
    tmp_bytes: int = 512 * 1024 * 1024


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A further path the command may see. ``at`` is absolute, inside the sandbox."""

    source: Path
    at: str
    writable: bool = False


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command. ``cwd`` is relative to the workspace root; it may not leave it."""

    argv: tuple[str, ...]
    cwd: str = "."
    env: dict[str, str] = {}
    stdin: bytes = b""
    limits: Limits = Limits()
    secret_env: dict[str, str] = {}
    """Variables whose values nobody else on the machine may see: not even as arguments in a process list."""
    network: tuple[str, ...] = ()
    """Granted ``host:port`` pairs. Empty means none."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a command runs: the host paths a workspace consists of.

    ``tree`` appears as ``/repo`` and ``git_dir`` as ``/gitdir`` in a sandbox; ``objects`` (the lender's
    object store) as ``/gitobjs`` read-only. An executor of level ``none`` uses the host paths as they
    are. ``toolchain`` paths are seen read-only, at the same path.
    """

    tree: Path
    git_dir: Path | None = None
    objects: Path | None = None
    mounts: tuple[Mount, ...] = ()
    toolchain: tuple[Path, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a command did. Exactly one of ``exit_code`` and ``signal`` is set, unless it never started."""

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    cancelled: bool = False
    error: str | None = None
    """Why it never started, in words, e.g. ``no such program: ruff``."""
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    output_sha256: str = ""
    """Over all bytes of both streams in order of arrival, also those not kept."""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.timed_out and not self.cancelled and self.error is None


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """One negative probe: ``held`` says that the escape it tried did not work."""

    name: str
    held: bool
    detail: str = ""


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """The level an executor reached here, why, and what would raise it."""

    executor: str
    level: Level
    reason: str
    remedy: str = ""
    probes: tuple[Probe, ...] = ()


class ExecutorUnavailable(Exception):
    """The executor cannot run commands at its level here; the message says why and what to do."""


class Executor(Protocol):
    """One way to run commands. Implementations are found under the entry point ``pushpals.executors``."""

    @property
    def name(self) -> str: ...

    @property
    def level(self) -> Level: ...

    async def probe(self) -> ProbeReport:
        """Try to break out, for real, and say what held. Never raises."""
        ...

    async def run(self, place: Place, command: Command, on_output: OnOutput | None = None) -> Outcome: ...

    async def close(self) -> None:
        """End every process tree still running. May be called twice."""
        ...
