"""Ten attempts to break out of the real sandbox, judged from the outside where possible.

A version string proves nothing: on a host that forbids namespaces ``bwrap --version`` works and every
run fails, and a wrapper in its place may run commands with no sandbox at all. So the same profile that
jobs get runs :mod:`pushpals.work.executors.escape`, and the level is ``full`` only if every attempt failed
in the way it must. An answer that is missing, or an unexpected one, counts as an escape.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from pushpals.work.executors.base import (
    Command,
    ExecutorUnavailable,
    Limits,
    OnOutput,
    Outcome,
    Place,
    Probe,
    ProbeReport,
)
from pushpals.work.executors.profile import TREE, Identity

PROBE_S = 30.0
"""Wall clock for the attempts. They take well under a second on an idle machine."""

GIT_CONFIG = b"[core]\n\tbare = true\n"


class Sandbox(Protocol):
    """What the probes need from an executor."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> Identity: ...

    def find_bwrap(self) -> Path: ...

    async def run_unprobed(
        self, place: Place, command: Command, on_output: OnOutput | None = None
    ) -> Outcome: ...


class Answers(msgspec.Struct, kw_only=True):
    """What the inside reports: an error's symbol, or ``done`` where the attempt worked."""

    nonce: str
    uid: int
    wrote: str
    secret: str
    beside: str
    loopback: str
    core_pattern: str
    environ: str
    git_write: str
    git_pointer: str
    git_replace: str
    set_id: str
    daemon: str
    user_namespace: str


class _Unable(Exception):
    """The attempts did not run; the message says why."""


def inner_python() -> tuple[str, tuple[Path, ...]]:
    """A Python that can run inside, and the toolchain paths it needs: the system's, else this one."""
    system = Path("/usr/bin/python3")
    if system.exists():
        return str(system), ()
    base = Path(sys.base_prefix)
    own = base / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(own if own.exists() else Path(sys.executable).resolve()), (base,)


async def probe_bubblewrap(sandbox: Sandbox) -> ProbeReport:
    """Never raises: whatever goes wrong is a reason for level ``none``."""
    try:
        sandbox.find_bwrap()
        with _scratch() as scratch:
            probes = await _attempt_all(sandbox, scratch)
    except ExecutorUnavailable as problem:
        reason, _, remedy = str(problem).partition("; ")
        return _none(sandbox, reason, remedy or remedy_for(reason))
    except _Unable as problem:
        return _none(sandbox, str(problem), remedy_for(str(problem)))
    except Exception as problem:
        reason = f"the probes failed: {type(problem).__name__}: {problem}"
        return _none(sandbox, reason, remedy_for(reason))
    broken = [probe for probe in probes if not probe.held]
    if broken:
        names = ", ".join(probe.name for probe in broken)
        return ProbeReport(
            executor=sandbox.name,
            level="none",
            reason=f"the sandbox does not hold: {names}",
            remedy=f"check that {sandbox.find_bwrap()} is the distribution's bubblewrap and not a wrapper",
            probes=probes,
        )
    how = f"as uid {sandbox.identity.uid}, dropped from root" if sandbox.identity.drop else "as this user"
    return ProbeReport(
        executor=sandbox.name,
        level="full",
        reason=f"all {len(probes)} attempts to break out failed; commands run {how}",
        probes=probes,
    )


class _Scratch(msgspec.Struct, frozen=True, kw_only=True):
    """The host's side of the attempts. Readable by every uid, so that only the sandbox hides it."""

    secret: Path
    tree: Path
    beside: Path
    git: Path


@contextlib.contextmanager
def _scratch() -> Iterator[_Scratch]:
    base = Path(tempfile.mkdtemp(prefix="pushpals-probe-"))
    try:
        base.chmod(0o755)
        scratch = _Scratch(
            secret=base / "secret",
            tree=base / "open" / "tree",
            beside=base / "open" / "beside",
            git=base / "real.git",
        )
        scratch.secret.write_text("readable\n")
        scratch.git.mkdir()
        (scratch.git / "config").write_bytes(GIT_CONFIG)
        scratch.tree.mkdir(parents=True)
        (scratch.tree / ".git").write_text(f"gitdir: {scratch.git}\n")
        # Everybody may write here on the host: that nobody did is the sandbox's merit alone.
        scratch.beside.parent.chmod(0o1777)
        (scratch.git / "config").chmod(0o666)
        yield scratch
    finally:
        shutil.rmtree(base, ignore_errors=True)


async def _attempt_all(sandbox: Sandbox, scratch: _Scratch) -> tuple[Probe, ...]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        nonce = secrets.token_hex(16)
        given = {
            "nonce": nonce,
            "tree": TREE,
            "secret": str(scratch.secret),
            "beside": str(scratch.beside),
            "git": str(scratch.git),
            "port": listener.getsockname()[1],
        }
        python, toolchain = inner_python()
        source = Path(__file__).with_name("escape.py").read_text()
        command = Command(
            argv=(python, "-I", "-S", "-c", source, msgspec.json.encode(given).decode()),
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            limits=Limits(wall_s=PROBE_S, grace_s=0.0),
        )
        outcome = await sandbox.run_unprobed(Place(tree=scratch.tree, toolchain=toolchain), command)
        connected = _someone_came(listener)
    answers = _answers(outcome, nonce)
    if answers.secret == "done":
        raise _Unable("what stands in for bubblewrap isolates nothing: a file of the host could be read")
    if answers.wrote != "done" or not (scratch.tree / "wrote").exists():
        raise _Unable(f"a command in the sandbox cannot write its work tree: {answers.wrote}")
    return tuple(_judge(sandbox, scratch, answers, connected))


def _judge(sandbox: Sandbox, scratch: _Scratch, answers: Answers, connected: bool) -> Iterator[Probe]:
    owner = (scratch.tree / "wrote").stat().st_uid
    unchanged = (
        (scratch.git / "config").read_bytes() == GIT_CONFIG
        and (scratch.tree / ".git").read_text() == f"gitdir: {scratch.git}\n"
        and answers.git_write == "ENOENT"
        and "done" not in (answers.git_pointer, answers.git_replace)
    )
    set_ids = [
        path.name for path in scratch.tree.iterdir() if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    ]
    judged = {
        "host file": (answers.secret == "ENOENT", f"reading it: {answers.secret}"),
        "beside the tree": (
            answers.beside in ("ENOENT", "EROFS") and not scratch.beside.exists(),
            f"creating a file there: {answers.beside}",
        ),
        "host loopback": (
            answers.loopback == "ECONNREFUSED" and not connected,
            f"connecting: {answers.loopback}, {'arrived' if connected else 'nothing arrived'}",
        ),
        "uid": (
            answers.uid != 0 and owner == sandbox.identity.uid != 0,
            f"{answers.uid} inside, {owner} for the host",
        ),
        "kernel settings": (
            answers.core_pattern in ("EACCES", "EROFS", "EPERM", "ENOENT"),
            f"opening core_pattern for writing: {answers.core_pattern}",
        ),
        "environment of process 1": (
            answers.environ in ("ENOENT", "EACCES", "EPERM", "empty"),
            f"reading it: {answers.environ}",
        ),
        "user namespace": (answers.user_namespace == "EPERM", f"unshare: {answers.user_namespace}"),
        "set-uid bit": (
            answers.set_id == "done,EPERM,EPERM" and not set_ids,
            f"write, chmod, create: {answers.set_id}; left on disk: {set_ids or 'none'}",
        ),
        "daemon": (
            answers.daemon == "started" and _unlocked(scratch.tree / "pulse"),
            "dead with the command" if _unlocked(scratch.tree / "pulse") else "still running",
        ),
        "git directory": (unchanged, f"config {answers.git_write}, pointer {answers.git_pointer}"),
    }
    for name, (held, detail) in judged.items():
        yield Probe(name=name, held=held, detail=detail)


def _answers(outcome: Outcome, nonce: str) -> Answers:
    if outcome.error is not None:
        raise _Unable(outcome.error)
    if outcome.timed_out:
        raise _Unable(f"the attempts did not end within {PROBE_S:g} s")
    said = outcome.stderr.decode(errors="replace").strip() or "no output"
    if not outcome.ok:
        raise _Unable(f"bubblewrap ran nothing (exit {outcome.exit_code or outcome.signal}): {said}")
    try:
        answers = msgspec.json.decode(outcome.stdout, type=Answers)
    except msgspec.DecodeError as problem:
        raise _Unable(f"what stands in for bubblewrap ran something else: {said}") from problem
    if answers.nonce != nonce:
        raise _Unable("the attempts answered for another run")
    return answers


def _someone_came(listener: socket.socket) -> bool:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True


def _unlocked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def remedy_for(problem: str) -> str:
    """What to do about a message of bubblewrap's, in words for the operator."""
    text = problem.lower()
    for clue, remedy in _REMEDIES.items():
        if clue in text:
            return remedy
    return "run `bwrap --ro-bind / / true` to see the cause; see the sandbox reference"


_NAMESPACES = (
    "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile for bwrap (Ubuntu), "
    "user.max_user_namespaces above 0 (Fedora); in a container allow unshare and mount "
    "or run the worker as root with CAP_SYS_ADMIN"
)

_REMEDIES = {
    "mount proc": "the container masks /proc: start it with --security-opt systempaths=unconfined (Docker) "
    "or --security-opt unmask=ALL (Podman)",
    "new namespace": _NAMESPACES,
    "uid map": _NAMESPACES,
    "rtm_": _NAMESPACES,
    "operation not permitted": _NAMESPACES,
    "unknown option": "bubblewrap is too old: 0.8.0 or newer is needed",
    "stands in for": "put the distribution's bubblewrap in place of what is there",
    "python": "make a Python visible inside: install the distribution's python3",
}


def _none(sandbox: Sandbox, reason: str, remedy: str) -> ProbeReport:
    return ProbeReport(executor=sandbox.name, level="none", reason=reason, remedy=remedy)
