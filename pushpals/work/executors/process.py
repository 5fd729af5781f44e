"""One child process, supervised to its end: output, clock, signals, accounting.

No threads and no asyncio subprocess: the transport there reports an exit only after the pipes close,
which a forgotten grandchild can delay for ever, and on some versions it starts a thread per child. Here the
exit comes from a pidfd, output from two non-blocking pipes, and the resource usage from the ``wait4`` that
reaps. The three are independent, so a child that closes its output and hangs, a grandchild that keeps
the pipe, and a leader that dies first are all the same case.

The leader stays a zombie until its tree was signalled for the last time: its pid cannot be reused before.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence

import msgspec

from pushpals.work.executors.base import Limits, OnOutput, Outcome, Stream
from pushpals.work.executors.capture import Capture

CHUNK_BYTES = 256 * 1024
"""Read at most this much per turn of the loop and stream, so that a flood starves nobody."""

DRAIN_S = 0.5
"""How long after the end of the tree the pipes may stay open. Only a process out of reach holds them."""

REAP_S = 10.0
"""How long SIGKILL may take. Longer means uninterruptible sleep in the kernel."""

EndTree = Callable[[int, int], None]
"""``end_tree(leader, signal)`` signals every process of the tree. Called again and again; never raises."""


class Spawn(msgspec.Struct, frozen=True, kw_only=True):
    """What to start. ``argv[0]`` is absolute; ``pipe_owner`` becomes the owner of the output pipes."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str | None
    stdin: bytes
    limits: Limits
    pass_fds: tuple[int, ...] = ()
    pipe_owner: tuple[int, int] | None = None


async def supervise(
    spawn: Spawn,
    *,
    end_tree: EndTree,
    interrupt: asyncio.Future[None],
    on_output: OnOutput | None,
    on_start: Callable[[int], None] = lambda pid: None,
    settle: Callable[[], Coroutine[None, None, None]] | None = None,
) -> Outcome:
    """Start, watch, end and reap. Setting ``interrupt`` ends the tree at once.

    ``settle`` is awaited between the leader's end and its reaping; it waits for what ends after it.

    Raises what ``on_output`` raised, after the tree is gone, and CancelledError likewise.
    """
    loop = asyncio.get_running_loop()
    started = time.monotonic()
    out, err = _Pipe("stdout", spawn), _Pipe("stderr", spawn)
    stdin = _sealed(spawn.stdin)
    try:
        child = subprocess.Popen(  # noqa: ASYNC220 - spawns in about a millisecond; watched by pidfd below
            list(spawn.argv),
            stdin=stdin,
            stdout=out.write_end,
            stderr=err.write_end,
            cwd=spawn.cwd,
            env=dict(spawn.env),
            close_fds=True,
            pass_fds=spawn.pass_fds,
            start_new_session=True,
        )
    except (OSError, ValueError) as problem:
        out.close()
        err.close()
        return Outcome(error=_why(spawn.argv, problem), wall_s=time.monotonic() - started)
    finally:
        os.close(stdin)
        out.close_write_end()
        err.close_write_end()

    digest = hashlib.sha256()
    failure: list[Exception] = []

    def deliver(stream: Stream, chunk: bytes) -> None:
        digest.update(chunk)
        if on_output is not None and not failure:
            try:
                on_output(stream, chunk)
            except Exception as problem:
                failure.append(problem)
                if not interrupt.done():
                    interrupt.set_result(None)

    try:
        exited = _exit_of(child.pid, loop)
    except OSError:
        end_tree(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
        out.close()
        err.close()
        raise
    timed_out = cancelled = False
    try:
        on_start(child.pid)
        out.start(loop, deliver)
        err.start(loop, deliver)
        await asyncio.wait({exited, interrupt}, timeout=spawn.limits.wall_s, return_when="FIRST_COMPLETED")
        if not exited.done() and not interrupt.done():
            timed_out = True
            end_tree(child.pid, signal.SIGTERM)
            await asyncio.wait(
                {exited, interrupt}, timeout=spawn.limits.grace_s, return_when="FIRST_COMPLETED"
            )
        cancelled = interrupt.done() and not exited.done() and not failure
    finally:

        async def finish() -> None:
            await _kill(child.pid, exited, end_tree)
            if settle is not None:
                await settle()
            await asyncio.wait({out.ended, err.ended}, timeout=DRAIN_S)

        try:
            # A cancelled call must not leave before the tree is gone.
            await _uncancelled(finish())
        finally:
            out.close()
            err.close()
            status, usage = _reap(child, exited)

    if failure:
        raise failure[0]
    number = os.waitstatus_to_exitcode(status)
    return Outcome(
        exit_code=number if number >= 0 else None,
        signal=-number if number < 0 else None,
        timed_out=timed_out,
        cancelled=cancelled,
        stdout=out.capture.kept(),
        stderr=err.capture.kept(),
        stdout_bytes=out.capture.total,
        stderr_bytes=err.capture.total,
        output_sha256=digest.hexdigest(),
        wall_s=time.monotonic() - started,
        cpu_s=usage.cpu_s,
        peak_memory_bytes=usage.peak_memory_bytes,
    )


class _Usage(msgspec.Struct, frozen=True, kw_only=True):
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0


class _Pipe:
    """The read end of one output stream."""

    def __init__(self, stream: Stream, spawn: Spawn) -> None:
        self.stream: Stream = stream
        self.capture = Capture(spawn.limits.output_bytes)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_end, False)
        if spawn.pipe_owner is not None:
            # `echo x > /dev/stderr` opens the pipe anew, by its owner and mode.
            os.fchown(self.write_end, *spawn.pipe_owner)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop, deliver: OnOutput) -> None:
        self._loop = loop
        loop.add_reader(self.read_end, self._read, deliver)

    def _read(self, deliver: OnOutput) -> None:
        try:
            chunk = os.read(self.read_end, CHUNK_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            chunk = b""
        if chunk:
            self.capture.feed(chunk)
            deliver(self.stream, chunk)
        else:
            self.close()

    def close_write_end(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        self.close_write_end()
        if self.read_end >= 0:
            if self._loop is not None:
                self._loop.remove_reader(self.read_end)
            os.close(self.read_end)
            self.read_end = -1
        if not self.ended.done():
            self.ended.set_result(None)


def _sealed(data: bytes) -> int:
    """A descriptor to read ``data`` from: the null device, or memory that nobody can change or grow."""
    if not data:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def _exit_of(pid: int, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """A future that is set when ``pid`` becomes a zombie, which it stays until :func:`_reap`."""
    exited: asyncio.Future[None] = loop.create_future()
    descriptor = os.pidfd_open(pid)

    def on_exit() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        if not exited.done():
            exited.set_result(None)

    loop.add_reader(descriptor, on_exit)
    return exited


async def _kill(pid: int, exited: asyncio.Future[None], end_tree: EndTree) -> None:
    """SIGKILL the tree until its leader is dead, then once more for what the leader left behind."""
    waited = 0.0
    while not exited.done() and waited < REAP_S:
        end_tree(pid, signal.SIGKILL)
        await asyncio.wait({exited}, timeout=0.2)
        waited += 0.2
    end_tree(pid, signal.SIGKILL)


async def _uncancelled(work: Coroutine[None, None, None]) -> None:
    """Await ``work`` to its end, then pass on a cancellation that arrived meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as problem:
            cancelled = problem
    if cancelled is not None:
        raise cancelled
    task.result()


def _reap(child: subprocess.Popen[bytes], exited: asyncio.Future[None]) -> tuple[int, _Usage]:
    # A process in uninterruptible sleep is left to init rather than waited for without end.
    flags = 0 if exited.done() else os.WNOHANG
    with contextlib.suppress(ChildProcessError):
        pid, status, usage = os.wait4(child.pid, flags)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return status, _Usage(
                cpu_s=usage.ru_utime + usage.ru_stime, peak_memory_bytes=usage.ru_maxrss * 1024
            )
    child.returncode = -signal.SIGKILL
    return signal.SIGKILL, _Usage()


def _why(argv: Sequence[str], problem: OSError | ValueError) -> str:
    if isinstance(problem, ValueError):
        return f"not a command: {problem}"
    match problem.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return f"no such program: {argv[0]}"
        case errno.E2BIG:
            return "the arguments and the environment are too long"
        case _:
            return f"cannot start {argv[0]}: {problem.strerror}"
