"""Which executor a process uses. The answer is the strongest one, or a refusal; never a quiet fallback.

The only way down is the operator's word at start-up (``allow_unsandboxed``). No file of a repository,
message, job or variable inside a sandbox has a say. A caller that gets :class:`ExecutorUnavailable` ends with
:data:`EXIT_NO_SANDBOX`, after telling the hub the cause and the remedy; its message holds both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from pushpals.work.executors.base import (
    Command,
    Executor,
    ExecutorUnavailable,
    Limits,
    OnOutput,
    Outcome,
    Place,
    ProbeReport,
)
from pushpals.work.executors.bubblewrap import BubblewrapExecutor
from pushpals.work.executors.local import LocalExecutor
from pushpals.work.executors.network import NetworkEvent

ENTRY_POINTS = "pushpals.executors"

EXIT_NO_SANDBOX = 78
"""EX_CONFIG of sysexits: the machine must be set up differently before this can work."""

SANDBOX_LIMITS = Limits(cpu_s=600, processes=256)
"""For one command of a person's. Without a sandbox the limit on processes would count all of the user's."""


def executor_names() -> tuple[str, ...]:
    return tuple(sorted(entry_point.name for entry_point in entry_points(group=ENTRY_POINTS)))


def load_executor(name: str) -> Executor:
    """A new executor by its registered name.

    Raises:
        ExecutorUnavailable: nothing is registered under the name, or it cannot be imported.
    """
    found = entry_points(group=ENTRY_POINTS, name=name)
    for entry_point in found:
        try:
            return cast("Executor", entry_point.load()())
        except (ImportError, AttributeError) as problem:
            raise ExecutorUnavailable(f"the executor {name} cannot be loaded: {problem}") from problem
    known = ", ".join(executor_names()) or "none"
    raise ExecutorUnavailable(f"there is no executor named {name}; registered: {known}")


async def choose_executor(
    *,
    allow_unsandboxed: bool,
    slot: int = 0,
    bwrap: Path | None = None,
    record_dir: Path | None = None,
    on_network: Callable[[Command, NetworkEvent], None] | None = None,
) -> tuple[Executor, ProbeReport]:
    """The executor of one worker slot, probed.

    ``slot`` gives a root worker's commands a uid of their own. ``record_dir`` is used by the local
    executor, and swept first: what an earlier owner left running there ends now. ``on_network`` hears
    every decision about granted connections.

    Raises:
        ExecutorUnavailable: there is no full sandbox here and nobody allowed to do without.
    """
    if record_dir is not None:
        await LocalExecutor.sweep(record_dir)
    sandboxed = BubblewrapExecutor(bwrap=bwrap, slot=slot, on_network=on_network)
    report = await sandboxed.probe()
    if report.level == "full":
        return sandboxed, report
    await sandboxed.close()
    if not allow_unsandboxed:
        raise ExecutorUnavailable(f"no sandbox here: {report.reason}; {report.remedy}")
    local = LocalExecutor(record_dir=record_dir)
    said = ProbeReport(
        executor=local.name,
        level="none",
        reason=f"running unsandboxed by the operator's word; the sandbox is not available: {report.reason}",
        remedy=report.remedy,
        probes=report.probes,
    )
    return local, said


async def run_once(
    argv: Sequence[str],
    *,
    tree: Path,
    cwd: str = ".",
    stdin: bytes = b"",
    network: Sequence[str] = (),
    limits: Limits | None = None,
    allow_unsandboxed: bool = False,
    on_output: OnOutput | None = None,
    on_network: Callable[[Command, NetworkEvent], None] | None = None,
) -> tuple[Outcome, ProbeReport]:
    """One command in a work tree with this Python's own tools in view, for ``sandbox run``.

    Raises:
        ExecutorUnavailable: as :func:`choose_executor`.
    """
    executor, report = await choose_executor(allow_unsandboxed=allow_unsandboxed, on_network=on_network)
    try:
        place = Place(tree=tree, toolchain=own_toolchain())
        command = Command(
            argv=tuple(argv),
            cwd=cwd,
            env=base_env(executor, place),
            stdin=stdin,
            limits=limits or (SANDBOX_LIMITS if report.level == "full" else Limits()),
            network=tuple(network),
        )
        return await executor.run(place, command, on_output), report
    finally:
        await executor.close()


def own_toolchain() -> tuple[Path, ...]:
    """The prefixes of the Python this runs on: its virtual environment, then what that was made from."""
    return tuple(dict.fromkeys((Path(sys.prefix), Path(sys.base_prefix))))


def base_env(executor: Executor, place: Place) -> dict[str, str]:
    """The variables a command needs under ``executor``; one that has no opinion gets the bare minimum."""
    offered = getattr(executor, "base_env", None)
    if offered is None:
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "CI": "1"}
    return dict(offered(place))


async def probe_executor(name: str = "bubblewrap") -> ProbeReport:
    """Probe a registered executor, for ``sandbox probe``. Raises ExecutorUnavailable for an unknown name."""
    executor = load_executor(name)
    try:
        return await executor.probe()
    finally:
        await executor.close()
