"""Running one check on one commit, and what it is worth: a receipt bound to the commit and its tree.

The tree must be a fresh checkout of the commit. What is added to the command so that its result can be read
test by test stands in the receipt's ``argv``, as everything that was run does.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pushpals.protocol.jobs import CheckSpec, Evidence
from pushpals.work.checks import Files, local_modules
from pushpals.work.executors.base import ExecutorUnavailable, Limits, Mount, Place
from pushpals.work.git.nofollow import open_below
from pushpals.work.guard import CommandRefused
from pushpals.work.reports import MAX_REPORT_BYTES, Reading, TestReport, parse_junit, read, tool_of
from pushpals.work.standin import unwanted_plugins, write_standin
from pushpals.work.tools import Call, Ran, Shelf, Tools

REPORT = ".pushpals-report.xml"
"""Written by pytest into the tree that is thrown away, read without following links, and removed."""

STANDIN_AT = "/standin"
"""Where a sandbox shows the stand-in for the project's own metadata."""

MIN_WALL_S = 1.0


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The receipt, and the tests one by one where the tool reports them."""

    evidence: Evidence
    report: TestReport | None = None


async def run_check(
    tools: Tools,
    shelf: Shelf,
    place: Place,
    spec: CheckSpec,
    *,
    commit: str,
    tree: str,
    run_by: str,
    local: Collection[str] = (),
    files: Files | None = None,
    remaining_s: float = float("inf"),
) -> Checked:
    """Run ``spec`` in ``place``, which holds ``commit``. Never raises for what the check does.

    ``files`` are those of the commit, or of its base; they say what the project is called and which plug-ins
    it wants (see :mod:`pushpals.work.standin`). ``local`` are the repository's own module names, taken from
    ``files`` if they are given. ``remaining_s`` bounds the check's own time limit.
    """
    wall_s = min(spec.timeout_s, remaining_s)
    blank = Evidence(
        check=spec.name,
        argv=spec.argv,
        verdict="could_not_run",
        commit=commit,
        tree=tree,
        sandbox=tools.executor.level,
        environment=tools.environment.digest,
        run_by=run_by,
    )
    if wall_s < MIN_WALL_S:
        return Checked(evidence=replace(blank, detail="the job's time was used up before it"))
    note = ""
    if files is not None:
        local = local_modules(files.paths)
    try:
        beside = await asyncio.to_thread(_beside, tools, files, spec.argv)
        argv, ran, report = await _attempt(tools, place, spec, wall_s, beside, ())
        if _needs_missing_plugin(ran, argv):
            refused = ran.output.strip().splitlines()[-1][:200] if ran.output.strip() else ""
            note = "the repository's addopts need a plugin that is not installed and were left out"
            note = f"{note} ({refused})" if refused else note
            argv, ran, report = await _attempt(tools, place, spec, wall_s, beside, ("-o", "addopts="))
    except ExecutorUnavailable as error:
        return Checked(evidence=replace(blank, detail=f"no sandbox: {error}"))
    except CommandRefused as refusal:
        return Checked(evidence=replace(blank, detail=refusal.message))
    reading = read(tool_of(spec.argv), ran.outcome, report, local)
    detail = "; ".join(part for part in (reading.detail, note) if part)
    output = ran.artifact
    if output is None and ran.output:
        stored = await shelf.put(ran.output.encode(), kind="output", media_type="text/plain; charset=utf-8")
        output = stored.sha256
    evidence = replace(
        blank,
        argv=list(argv),
        verdict=reading.verdict,
        exit_code=ran.outcome.exit_code,
        seconds=round(ran.outcome.wall_s, 3),
        counts=reading.counts,
        failures=[tools.redact(name) for name in reading.failures],
        detail=tools.redact(detail) or None,
        output=output,
    )
    return Checked(evidence=evidence, report=report)


class _Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What a check finds beside the tree."""

    env: dict[str, str] = {}
    mounts: tuple[Mount, ...] = ()
    python_path: tuple[str, ...] = ()


def _beside(tools: Tools, files: Files | None, argv: Sequence[str]) -> _Beside:
    if files is None or tool_of(argv) in ("ruff", "ruff-format", "mypy", "typos"):
        return _Beside()
    off = unwanted_plugins(tools.environment.plugins, files)
    env = {"PYTEST_ADDOPTS": " ".join(f"-p no:{name}" for name in off)} if off else {}
    folder = write_standin(tools.home / "standin", files)
    if folder is None:
        return _Beside(env=env)
    if tools.executor.level == "none":
        return _Beside(env=env, python_path=(str(folder),))
    return _Beside(env=env, mounts=(Mount(source=folder, at=STANDIN_AT),), python_path=(STANDIN_AT,))


async def _attempt(
    tools: Tools, place: Place, spec: CheckSpec, wall_s: float, beside: _Beside, more: tuple[str, ...]
) -> tuple[tuple[str, ...], Ran, TestReport | None]:
    reads = tool_of(spec.argv) == "pytest" and not any(w.startswith("--junit") for w in spec.argv)
    argv = (*spec.argv, *more, *((f"--junitxml={REPORT}",) if reads else ()))
    ran = await tools.run(
        place,
        Call(
            argv=argv,
            tool=f"check:{spec.name}",
            cwd=spec.cwd,
            limits=Limits(wall_s=wall_s, output_bytes=8 * 1024 * 1024),
            own_env=beside.env,
            mounts=beside.mounts,
            python_path=beside.python_path,
        ),
    )
    data = take_file(place.tree, spec.cwd, REPORT) if reads else None
    return argv, ran, parse_junit(data) if data else None


def take_file(tree: Path, folder: str, name: str, limit: int = MAX_REPORT_BYTES) -> bytes | None:
    """Read and remove a file that a command wrote. None if it is no ordinary file, or too large."""
    below = b"/".join(os.fsencode(part) for part in Path(folder).parts if part != ".")
    try:
        with open_below(tree, below) as directory:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(name, flags, dir_fd=directory), "rb") as file:
                found = os.fstat(file.fileno())
                fits = stat.S_ISREG(found.st_mode) and found.st_size <= limit
                data = file.read(limit + 1) if fits else None
            os.unlink(name, dir_fd=directory)
    except OSError:
        return None
    return data if data is not None and len(data) <= limit else None


def describe(evidence: Evidence) -> str:
    """``pytest passed (214 passed, 3 skipped)``, ``ruff failed: 12 findings``."""
    word = {"passed": "passed", "failed": "failed", "timed_out": "ran out of time"}.get(
        evidence.verdict, "could not run"
    )
    counts = evidence.counts
    if evidence.verdict == "passed" and counts is not None:
        return (
            f"{evidence.check} passed ({_counts(evidence)})"
            if _counts(evidence)
            else f"{evidence.check} passed"
        )
    extra = ": ".join(part for part in (_counts(evidence), evidence.detail or "") if part)
    return f"{evidence.check} {word}" + (f": {extra}" if extra else "")


def command_line(evidence: Evidence) -> str:
    """The command as a person would type it, without the report option that was added."""
    return shlex.join(word for word in evidence.argv if word != f"--junitxml={REPORT}")


def _counts(evidence: Evidence) -> str:
    counts = evidence.counts
    if counts is None or not (counts.passed or counts.skipped or counts.errors):
        return ""
    words = [
        (counts.failed, "failed"),
        (counts.errors, "errors"),
        (counts.passed, "passed"),
        (counts.skipped, "skipped"),
    ]
    return ", ".join(f"{number} {word}" for number, word in words if number)


def _needs_missing_plugin(ran: Ran, argv: tuple[str, ...]) -> bool:
    return (
        tool_of(argv) == "pytest"
        and ran.outcome.exit_code == 4
        and "unrecognized arguments" in ran.output
        and "addopts=" not in argv
    )


__all__ = ["Checked", "Reading", "command_line", "describe", "run_check", "take_file"]
