"""Finding and signalling the processes of one command, from the outside, on Linux.

Two ways to know them. *Descent*: children of children, read from ``/proc``; exact while the chain of
parents is intact. *Mark*: a number in the soft and hard ``RLIMIT_RTTIME`` of the command's first process.
Limits pass through fork, exec, ``setsid`` and a change of environment, so a daemon that left its process
group and lost its parent still carries the mark, and a process that reuses an old pid does not. The limit
itself binds nothing: it counts microseconds of real-time scheduling, and the mark is worth decades.

Every signal goes through a pidfd opened before the process was identified, so that a pid reused in
between is never hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

PROC = Path("/proc")

MARK_BASE = 1 << 53
"""Marks lie in ``[2**53, 2**53 + 2**48)`` microseconds: more than 285 years of real-time scheduling."""

MARK_BITS = 48


MAX_ANCESTORS = 4096
"""How far up a chain of parents is followed."""


def new_mark() -> int:
    """A fresh mark, below the one this process carries: a hard limit can be lowered but not raised."""
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    room = hard - MARK_BASE if hard > MARK_BASE else 1 << MARK_BITS
    return MARK_BASE + secrets.randbelow(min(room, 1 << MARK_BITS))


class Stat(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``/proc/PID/stat`` that identify a process."""

    ppid: int
    pgrp: int
    session: int
    start: int
    """Clock ticks after boot. With the boot id it names a process once and for all."""
    dead: bool = False
    """Ended, and not yet waited for by its parent."""


def stat_of(pid: int) -> Stat | None:
    try:
        raw = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The command name may hold spaces and parentheses; the fields begin after the last one.
    fields = raw[raw.rfind(b")") + 2 :].split()
    if len(fields) < 20:
        return None
    return Stat(
        ppid=int(fields[1]),
        pgrp=int(fields[2]),
        session=int(fields[3]),
        start=int(fields[19]),
        dead=fields[0] in (b"Z", b"X"),
    )


def usage_of(pid: int) -> tuple[int, int]:
    """Clock ticks of ``pid`` and the children it has waited for, and its peak resident size in bytes."""
    try:
        raw = (PROC / str(pid) / "stat").read_bytes()
        status = (PROC / str(pid) / "status").read_bytes()
    except OSError:
        return 0, 0
    ticks = sum(map(int, raw[raw.rfind(b")") + 2 :].split()[11:15]))
    at = status.find(b"VmHWM:")
    return ticks, int(status[at + 6 : status.find(b"kB", at)]) * 1024 if at >= 0 else 0


def started_at(pid: int, start: int) -> bool:
    """Whether ``pid`` is still the process that started at ``start``."""
    stat = stat_of(pid)
    return stat is not None and stat.start == start


def boot_id() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(PROC / str(pid) / "task")
    except OSError:
        return found
    for thread in threads:
        with contextlib.suppress(OSError):
            found.extend(map(int, (PROC / str(pid) / "task" / thread / "children").read_bytes().split()))
    return found


def descendants(pid: int, limit: int = 65_536) -> list[int]:
    """Children of children, nearest first. ``limit`` bounds the walk under a fork bomb."""
    found: list[int] = []
    queue = children(pid)
    seen: set[int] = {pid}
    while queue and len(found) < limit:
        nearest = queue.pop(0)
        if nearest in seen:
            continue
        seen.add(nearest)
        found.append(nearest)
        queue.extend(children(nearest))
    return found


def mark_of(pid: int) -> int | None:
    """The value of the soft real-time limit if it is a mark."""
    try:
        raw = (PROC / str(pid) / "limits").read_bytes()
    except OSError:
        return None
    at = raw.find(b"Max realtime timeout")
    if at < 0:
        return None
    value = raw[at + 20 : raw.find(b"\n", at)].split()[0]
    if not value.isdigit():
        return None
    number = int(value)
    return number if MARK_BASE <= number < MARK_BASE + (1 << MARK_BITS) else None


def marked(mark: int, since: int = 0) -> Iterator[int]:
    """Living processes that carry ``mark``.

    ``since`` is the pid of the command's first process: later ones have higher numbers unless the
    counter wrapped, and that shows in the last pid given out. It turns a scan of every process of the
    machine into a look at the few newest.
    """
    last = _last_pid()
    for name in os.listdir(PROC):
        if not name.isdigit():
            continue
        pid = int(name)
        if since and last and not (since <= pid if last >= since else (pid >= since or pid <= last)):
            continue
        if mark_of(pid) == mark:
            yield pid


def send(pid: int, number: int, still_ours: Callable[[int], bool]) -> None:
    """Signal ``pid`` if, with its identity pinned, ``still_ours(pid)`` holds."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if still_ours(pid):
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def first_of_namespace(pid: int) -> bool:
    """Whether ``pid`` is process 1 of a pid namespace below this one."""
    try:
        status = (PROC / str(pid) / "status").read_bytes()
    except OSError:
        return False
    at = status.find(b"NSpid:")
    numbers = status[at + 6 : status.find(b"\n", at)].split() if at >= 0 else []
    return len(numbers) > 1 and numbers[-1] == b"1"


async def gone(pid: int, timeout: float, kill_if: Callable[[int], bool] | None = None) -> bool:
    """Wait until ``pid`` has ended, its whole pid namespace with it if it was process 1 of one.

    With its identity pinned, ``kill_if(pid)`` may say that it should be helped to its end.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return True
    if kill_if is not None and kill_if(pid):
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def on_end() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, on_end)
    try:
        await asyncio.wait({ended}, timeout=timeout)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return ended.done()


def _last_pid() -> int:
    try:
        return int((PROC / "loadavg").read_bytes().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0
