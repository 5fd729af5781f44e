"""Records of running commands, so that a later process can end what a killed owner left behind.

One small file per running command, written when it starts and removed when it ends. A record names the
command's first process by pid, start time and boot, and its whole tree by the mark of
:mod:`pushpals.work.executors.proctree`. Its owner is named the same way: a record whose owner lives is left
alone, since that owner still watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from functools import partial
from pathlib import Path

import msgspec

from pushpals.work.executors import proctree

SWEEP_ROUNDS = 50
"""How often to look again for processes that were just being born. Each round waits ``SWEEP_WAIT_S``."""

SWEEP_WAIT_S = 0.02

MAX_RECORD_BYTES = 4096


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One running command."""

    boot: str
    owner: int
    owner_start: int
    leader: int
    leader_start: int
    mark: int

    @property
    def file_name(self) -> str:
        return f"{self.mark:016x}.json"


def write(record_dir: Path, *, leader: int, mark: int) -> Path | None:
    """Record a command that this process just started. ``None`` if it is already gone."""
    leading, owning = proctree.stat_of(leader), proctree.stat_of(os.getpid())
    if leading is None or owning is None:
        return None
    record = Record(
        boot=proctree.boot_id(),
        owner=os.getpid(),
        owner_start=owning.start,
        leader=leader,
        leader_start=leading.start,
        mark=mark,
    )
    path = record_dir / record.file_name
    # A reader never sees half a record: it appears under its name when it is whole.
    partial = path.with_suffix(".part")
    partial.write_bytes(msgspec.json.encode(record))
    partial.rename(path)
    return path


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def sweep(record_dir: Path) -> int:
    """Kill every tree whose owner is dead; returns how many commands were ended or found dead.

    Safe to call at any time, by any number of processes. Files that are not records are left alone.
    """
    swept = 0
    for path in _files(record_dir):
        record = _read(path)
        if record is None or _owner_lives(record):
            continue
        if record.boot == proctree.boot_id():
            await _end(record)
        remove(path)
        swept += 1
    return swept


async def _end(record: Record) -> None:
    for _ in range(SWEEP_ROUNDS):
        # The leader may not have reached the program that sets the mark yet.
        proctree.send(record.leader, signal.SIGKILL, partial(proctree.started_at, start=record.leader_start))
        alive = list(proctree.marked(record.mark))
        for pid in alive:
            proctree.send(pid, signal.SIGKILL, lambda pid: proctree.mark_of(pid) == record.mark)
        if not alive:
            return
        await asyncio.sleep(SWEEP_WAIT_S)


def _files(record_dir: Path) -> list[Path]:
    return sorted(record_dir.glob("*.json"))


def _owner_lives(record: Record) -> bool:
    return record.boot == proctree.boot_id() and proctree.started_at(record.owner, record.owner_start)


def _read(path: Path) -> Record | None:
    with contextlib.suppress(OSError, msgspec.DecodeError), path.open("rb") as file:
        return msgspec.json.decode(file.read(MAX_RECORD_BYTES), type=Record)
    return None
