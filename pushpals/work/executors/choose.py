"""Which executor a process uses. The answer is the strongest one, or a refusal; never a quiet fallback.

The only way down is the operator's word at start-up (``allow_unsandboxed``). No file of a repository,
message, job or variable inside a sandbox has a say. A caller that gets :class:`ExecutorUnavailable` ends with
:data:`EXIT_NO_SANDBOX`, after telling the hub the cause and the remedy; its message holds both.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from pushpals.work.executors.base import Executor, ExecutorUnavailable, ProbeReport

ENTRY_POINTS = "pushpals.executors"

EXIT_NO_SANDBOX = 78
"""EX_CONFIG of sysexits: the machine must be set up differently before this can work."""


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
) -> tuple[Executor, ProbeReport]:
    """The executor of one worker slot, probed.

    ``slot`` gives a root worker's commands a uid of their own. ``record_dir`` is used by the local
    executor, and swept first: what an earlier owner left running there ends now.

    Raises:
        ExecutorUnavailable: there is no full sandbox here and nobody allowed to do without.
    """
    from pushpals.work.executors.bubblewrap import BubblewrapExecutor
    from pushpals.work.executors.local import LocalExecutor

    if record_dir is not None:
        await LocalExecutor.sweep(record_dir)
    sandboxed = BubblewrapExecutor(bwrap=bwrap, slot=slot)
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


async def probe_executor(name: str = "bubblewrap") -> ProbeReport:
    """Probe a registered executor, for ``sandbox probe``. Raises ExecutorUnavailable for an unknown name."""
    executor = load_executor(name)
    try:
        return await executor.probe()
    finally:
        await executor.close()
