"""Level ``none``: a process group, limits and a clock, for a person who said that this is enough.

It keeps every promise of the port about time, output and ends. It keeps none about what a command may read,
write or reach: the command is this user, on this machine. Choosing it takes the operator's explicit word, see
:mod:`pushpals.work.executors.choose`.

The tree is the process group plus everything that carries the command's mark, so a daemon that left the
group still dies with the command, at the latest in :meth:`LocalExecutor.sweep` after its owner was killed
with SIGKILL. ``limits.processes`` counts every process of the user here, as the kernel does. A network grant
changes nothing: the whole network is open.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from functools import partial
from pathlib import Path

from pushpals.work.executors import proctree, records
from pushpals.work.executors.base import (
    Command,
    Level,
    OnOutput,
    Outcome,
    Place,
    ProbeReport,
)
from pushpals.work.executors.process import Spawn, supervise
from pushpals.work.executors.running import Running
from pushpals.work.executors.tools import find_tool, prlimit_argv, refused, told_apart


class LocalExecutor:
    """Runs commands as this user with the host paths of their place."""

    def __init__(self, *, record_dir: Path | None = None) -> None:
        """``record_dir`` holds one small file per running command, for :meth:`sweep`."""
        self._record_dir = record_dir
        if record_dir is not None:
            record_dir.mkdir(parents=True, exist_ok=True)
        self._running = Running()

    @property
    def name(self) -> str:
        return "local"

    @property
    def level(self) -> Level:
        return "none"

    def base_env(self, place: Place) -> dict[str, str]:
        """The variables a command needs to find its tools and its home; add to these.

        Few names, taken by name: what else the owner has in its environment is nobody's business.
        """
        folders = [str(path / "bin") for path in place.toolchain if (path / "bin").is_dir()]
        passed = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "USER") if name in os.environ}
        path = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
        return {"LANG": "C.UTF-8", **passed, "PATH": ":".join([*folders, path]), "CI": "1"}

    async def probe(self) -> ProbeReport:
        return ProbeReport(
            executor=self.name,
            level="none",
            reason="commands run as this user without a sandbox",
            remedy="use the bubblewrap executor: install the package bubblewrap on Linux",
        )

    async def run(self, place: Place, command: Command, on_output: OnOutput | None = None) -> Outcome:
        refusal = refused(place.tree, command)
        if refusal is not None:
            return Outcome(error=refusal)
        cwd = place.tree / command.cwd
        program = command.argv[0]
        if "/" not in program and shutil.which(program, path=command.env.get("PATH", os.defpath)) is None:
            return Outcome(error=f"no such program: {program}")
        if "/" in program and not (cwd / program).exists():
            return Outcome(error=f"no such program: {program}")

        mark = proctree.new_mark()
        record: Path | None = None

        def on_start(leader: int) -> None:
            nonlocal record
            if self._record_dir is not None:
                record = records.write(self._record_dir, leader=leader, mark=mark)

        spawn = Spawn(
            argv=_chain(command, mark),
            env={**command.env, **command.secret_env},
            cwd=str(cwd),
            stdin=command.stdin,
            limits=command.limits,
        )
        with self._running.one() as interrupt:
            try:
                outcome = await supervise(
                    spawn,
                    end_tree=partial(_end_tree, mark),
                    interrupt=interrupt,
                    on_output=on_output,
                    on_start=on_start,
                )
            finally:
                if record is not None:
                    records.remove(record)
        return told_apart(outcome, command.argv[0])

    async def close(self) -> None:
        await self._running.close()

    @staticmethod
    async def sweep(record_dir: Path) -> int:
        """End what owners that are now dead left running; returns how many records were dealt with."""
        return await records.sweep(record_dir)


def _end_tree(mark: int, leader: int, number: int) -> None:
    reached = {*proctree.descendants(leader), *proctree.marked(mark, since=leader)} - {leader}
    with contextlib.suppress(OSError):
        os.killpg(leader, number)
    for pid in reached:
        stat = proctree.stat_of(pid)
        # A second SIGTERM means "at once" to some programs, so nobody gets two.
        if stat is not None and stat.pgrp != leader:
            proctree.send(pid, number, partial(proctree.started_at, start=stat.start))


def _chain(command: Command, mark: int) -> tuple[str, ...]:
    setpriv, prlimit = find_tool("setpriv"), find_tool("prlimit")
    before: tuple[str, ...] = ()
    if setpriv is not None:
        before += (str(setpriv), "--pdeathsig", signal.Signals.SIGKILL.name.removeprefix("SIG"), "--")
    if prlimit is not None:
        before += prlimit_argv(prlimit, command.limits, mark)
    return (*before, *command.argv)
