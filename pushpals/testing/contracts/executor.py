"""What every executor promises, as tests.

Subclass it and give it an ``executor`` fixture::

    class TestMyExecutor(ExecutorContract):
        @pytest.fixture
        async def executor(self):
            made = MyExecutor()
            yield made
            await made.close()

The commands are those of a POSIX system plus ``flock`` and ``setsid`` of util-linux. Whether a tree of
processes is gone is read from a lock that its members inherit, since pids inside a sandbox mean nothing
outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pushpals.work.executors.base import (
    Command,
    Executor,
    ExecutorUnavailable,
    Limits,
    Outcome,
    Place,
    Stream,
)

Run = Callable[[Command], "asyncio.Future[Outcome]"]

PATIENCE_S = 30.0
"""A guard against hanging, not a promise about speed."""

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}

PULSE = "pulse"

FLOOD_BYTES = 100 * 1024 * 1024


def sh(script: str, limits: Limits | None = None, **fields: object) -> Command:
    return Command(argv=("sh", "-c", script), env=ENV, limits=limits or Limits(wall_s=PATIENCE_S), **fields)  # type: ignore[arg-type]


def alive(place: Place) -> bool:
    """Whether a process that took part in ``flock pulse`` still runs."""
    descriptor = os.open(place.tree / PULSE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


HIDDEN_DAEMON = f"setsid flock {PULSE} sh -c 'trap \"\" TERM HUP; echo ready; sleep 600' & "
"""A process in a session of its own that ignores polite signals and keeps the output pipe open."""


class Listener:
    """Collects output and tells when a word was seen."""

    def __init__(self, word: bytes = b"ready") -> None:
        self.chunks: list[tuple[Stream, bytes]] = []
        self.seen = asyncio.Event()
        self._word = word

    def __call__(self, stream: Stream, chunk: bytes) -> None:
        self.chunks.append((stream, chunk))
        if self._word in self.text("stdout"):
            self.seen.set()

    def text(self, stream: Stream) -> bytes:
        return b"".join(chunk for name, chunk in self.chunks if name == stream)


class ExecutorContract:
    """The promises of :mod:`pushpals.work.executors.base`, one test each."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        tree = tmp_path / "tree"
        tree.mkdir()
        return Place(tree=tree)

    @pytest.fixture
    async def run(self, executor: Executor, place: Place) -> Run:
        def start(command: Command) -> asyncio.Future[Outcome]:
            return asyncio.ensure_future(asyncio.wait_for(executor.run(place, command), PATIENCE_S))

        return start

    async def test_both_streams_are_kept_apart_and_the_exit_code_is_told(self, run: Run) -> None:
        outcome = await run(sh("echo out; echo err >&2; exit 3"))
        assert (outcome.stdout, outcome.stderr) == (b"out\n", b"err\n")
        assert (outcome.exit_code, outcome.signal, outcome.ok) == (3, None, False)
        assert (outcome.stdout_bytes, outcome.stderr_bytes) == (4, 4)

    async def test_a_command_that_ends_well_is_ok(self, run: Run) -> None:
        outcome = await run(Command(argv=("true",), env=ENV))
        assert outcome.ok
        assert outcome.wall_s > 0

    async def test_a_signal_is_told_apart_from_an_exit_code(self, run: Run) -> None:
        outcome = await run(sh("kill -SEGV $$"))
        assert (outcome.exit_code, outcome.signal) == (None, signal.SIGSEGV)

    @pytest.mark.parametrize(
        "program", ["no-such-program", "./no-such-program", "/no/such/program", "./no such"]
    )
    async def test_a_missing_program_is_a_value(self, run: Run, program: str) -> None:
        outcome = await run(Command(argv=(program,), env=ENV))
        assert outcome.error == f"no such program: {program}"
        assert (outcome.exit_code, outcome.signal, outcome.ok) == (None, None, False)

    async def test_a_file_that_may_not_be_executed_is_a_value(self, run: Run, place: Place) -> None:
        (place.tree / "text").write_text("not a program\n")
        outcome = await run(Command(argv=("./text",), env=ENV))
        assert outcome.error == "cannot start ./text: Permission denied"

    async def test_a_command_that_says_it_was_not_found_is_believed_to_have_run(self, run: Run) -> None:
        outcome = await run(sh("echo working; echo 'prlimit: failed to execute x: No' >&2; exit 127"))
        assert (outcome.exit_code, outcome.error) == (127, None)

    @pytest.mark.parametrize(
        ("command", "error"),
        [
            (Command(argv=()), "the command is empty"),
            (Command(argv=("",)), "the command is empty"),
            (Command(argv=("echo", "a\0b")), "the command contains a NUL character"),
            (
                Command(argv=("true",), env={"A=B": "c"}),
                "the environment contains a name that is empty or holds '='",
            ),
            (Command(argv=("true",), cwd="../x"), "the working directory is outside the workspace: ../x"),
            (
                Command(argv=("true",), cwd="a/../.."),
                "the working directory is outside the workspace: a/../..",
            ),
            (Command(argv=("true",), cwd="/etc"), "the working directory is outside the workspace: /etc"),
            (Command(argv=("true",), cwd="link"), "the working directory is a symbolic link: link"),
            (Command(argv=("true",), cwd="link/sub"), "the working directory is a symbolic link: link/sub"),
            (Command(argv=("true",), cwd="none"), "the working directory does not exist: none"),
        ],
    )
    async def test_what_is_not_a_command_is_refused_with_a_reason(
        self, run: Run, place: Place, command: Command, error: str
    ) -> None:
        (place.tree / "link").symlink_to("/etc")
        assert await run(command) == Outcome(error=error)

    async def test_arguments_that_are_too_long_are_a_value(self, run: Run) -> None:
        outcome = await run(Command(argv=("true", *["x" * 100_000] * 100), env=ENV))
        assert outcome.error is not None
        assert outcome.exit_code is None

    async def test_arguments_are_not_read_by_a_shell(self, run: Run) -> None:
        words = ("$(id)", "a b", "; exit 7", "*", "--help", "", "\n", "ä\udcff")
        outcome = await run(Command(argv=("printf", "%s|", *words), env=ENV))
        assert outcome.stdout == b"".join(os.fsencode(word) + b"|" for word in words)

    async def test_the_environment_is_the_one_given(self, run: Run) -> None:
        outcome = await run(Command(argv=("env",), env={**ENV, "GIVEN": "a=b\nc"}))
        lines = [line for line in outcome.stdout.splitlines() if not line.startswith(b"PWD=")]
        assert sorted(lines) == sorted([b"PATH=" + ENV["PATH"].encode(), b"LANG=C.UTF-8", b"GIVEN=a=b", b"c"])

    async def test_standard_input_is_what_was_given_and_then_ends(self, run: Run) -> None:
        data = bytes(range(256)) * 5000
        outcome = await run(Command(argv=("sha256sum",), env=ENV, stdin=data))
        assert outcome.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()

    async def test_standard_input_is_empty_by_default(self, run: Run) -> None:
        assert (await run(Command(argv=("cat",), env=ENV))).stdout == b""

    async def test_the_standard_streams_can_be_opened_by_name(self, run: Run) -> None:
        outcome = await run(
            sh("echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin", stdin=b"in\n")
        )
        assert (outcome.stdout, outcome.stderr) == (b"out\nin\n", b"err\n")

    async def test_nothing_but_the_standard_streams_is_open(self, run: Run) -> None:
        outcome = await run(sh("ls /proc/$$/fd"))
        assert set(outcome.stdout.split()) <= {b"0", b"1", b"2", b"10"}

    async def test_a_command_starts_in_its_folder_and_works_on_the_real_tree(
        self, run: Run, place: Place
    ) -> None:
        (place.tree / "sub").mkdir()
        (place.tree / "sub" / "given").write_text("given\n")
        outcome = await run(sh("cat given && echo made > made", cwd="sub"))
        assert outcome.stdout == b"given\n"
        assert (place.tree / "sub" / "made").read_text() == "made\n"

    async def test_what_the_host_adds_between_commands_can_be_changed_inside(
        self, run: Run, place: Place
    ) -> None:
        (place.tree / "old").write_text("old\n")
        assert (await run(sh("echo 1 >> old; mkdir made"))).ok
        (place.tree / "new").write_text("new\n")
        (place.tree / "made" / "deep").write_text("deep\n")
        outcome = await run(sh("echo 2 >> old && echo 2 >> new && echo 2 >> made/deep"))
        assert outcome.stderr == b""
        assert (place.tree / "made" / "deep").read_text() == "deep\n2\n"

    async def test_output_arrives_while_the_command_runs_and_is_all_hashed(
        self, executor: Executor, place: Place
    ) -> None:
        os.mkfifo(place.tree / "go", 0o666)
        (place.tree / "go").chmod(0o666)
        heard = Listener()
        running = asyncio.ensure_future(
            executor.run(place, sh("echo ready; read line < go; echo $line; echo e >&2"), heard)
        )
        async with asyncio.timeout(PATIENCE_S):
            await heard.seen.wait()
            with open(place.tree / "go", "wb") as gate:  # noqa: ASYNC230 - the reader is already there or coming
                gate.write(b"on\n")
            outcome = await running
        assert (
            (outcome.stdout, outcome.stderr)
            == (heard.text("stdout"), heard.text("stderr"))
            == (
                b"ready\non\n",
                b"e\n",
            )
        )
        arrived = b"".join(chunk for _, chunk in heard.chunks)
        assert outcome.output_sha256 == hashlib.sha256(arrived).hexdigest()

    async def test_long_output_keeps_head_and_tail_and_counts_the_rest(self, run: Run) -> None:
        limits = Limits(wall_s=PATIENCE_S, output_bytes=1000)
        outcome = await run(sh("echo first; head -c 5000 /dev/zero; echo last", limits))
        assert outcome.stdout_bytes == 5011
        assert len(outcome.stdout) <= 1000
        assert outcome.stdout.startswith(b"first\n")
        assert outcome.stdout.endswith(b"last\n")
        assert b" bytes not kept]" in outcome.stdout

    async def test_a_flood_does_not_fill_memory(self, run: Run) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome = await run(Command(argv=("head", "-c", str(FLOOD_BYTES), "/dev/zero"), env=ENV))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert (outcome.exit_code, outcome.stdout_bytes) == (0, FLOOD_BYTES)
        assert len(outcome.stdout) <= Limits().output_bytes
        assert grown * 1024 < FLOOD_BYTES // 10

    async def test_a_failing_listener_ends_the_command_and_is_told(
        self, executor: Executor, place: Place
    ) -> None:
        def fail(stream: Stream, chunk: bytes) -> None:
            raise RuntimeError("listener")

        with pytest.raises(RuntimeError, match="listener"):
            await asyncio.wait_for(executor.run(place, sh(HIDDEN_DAEMON + "sleep 600"), fail), PATIENCE_S)
        assert not alive(place)

    async def test_a_forgotten_child_that_keeps_the_pipe_does_not_delay_the_end(
        self, executor: Executor, place: Place
    ) -> None:
        os.mkfifo(place.tree / "go", 0o666)
        (place.tree / "go").chmod(0o666)
        script = f"flock {PULSE} sh -c 'echo ready > go; sleep 600' & read line < go; exit 4"
        outcome = await asyncio.wait_for(executor.run(place, sh(script)), PATIENCE_S)
        assert (outcome.exit_code, outcome.timed_out) == (4, False)
        assert not alive(place)

    async def test_a_daemon_ends_with_its_command(self, executor: Executor, place: Place) -> None:
        heard = Listener()
        script = HIDDEN_DAEMON.replace("echo ready", f"echo ready > {PULSE}") + (
            f"until grep -q ready {PULSE}; do :; done"
        )
        outcome = await asyncio.wait_for(executor.run(place, sh(script), heard), PATIENCE_S)
        assert (outcome.exit_code, outcome.timed_out) == (0, False)
        assert not alive(place)

    async def test_the_wall_clock_asks_first_and_takes_the_answer(self, run: Run) -> None:
        limits = Limits(wall_s=0.5, grace_s=PATIENCE_S)
        outcome = await run(sh("trap 'echo bye; exit 5' TERM; sleep 600 & wait", limits))
        assert (outcome.timed_out, outcome.exit_code, outcome.stdout) == (True, 5, b"bye\n")
        assert not outcome.ok

    async def test_the_wall_clock_ends_a_tree_that_ignores_requests(self, run: Run, place: Place) -> None:
        limits = Limits(wall_s=0.5, grace_s=0.2)
        outcome = await run(sh(f"trap '' TERM; {HIDDEN_DAEMON} sleep 600", limits))
        assert (outcome.timed_out, outcome.signal) == (True, signal.SIGKILL)
        assert not alive(place)

    async def test_the_wall_clock_ends_a_command_that_closed_its_output(self, run: Run) -> None:
        limits = Limits(wall_s=0.3, grace_s=0.1)
        outcome = await run(sh("exec >&- 2>&-; exec sleep 600", limits))
        assert (outcome.timed_out, outcome.exit_code) == (True, None)

    async def test_cancelling_ends_the_tree_before_the_call_returns(
        self, executor: Executor, place: Place
    ) -> None:
        heard = Listener()
        running = asyncio.ensure_future(
            executor.run(place, sh(f"trap '' TERM; {HIDDEN_DAEMON} sleep 600"), heard)
        )
        async with asyncio.timeout(PATIENCE_S):
            await heard.seen.wait()
            assert alive(place)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert not alive(place)

    async def test_cancelling_at_any_moment_leaves_nothing_behind(
        self, executor: Executor, place: Place
    ) -> None:
        for turns in range(12):
            running = asyncio.ensure_future(executor.run(place, sh(f"exec flock {PULSE} sleep 600")))
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            assert not alive(place)

    async def test_closing_ends_what_runs_and_refuses_what_comes(
        self, executor: Executor, place: Place
    ) -> None:
        heard = Listener()
        running = asyncio.ensure_future(executor.run(place, sh(HIDDEN_DAEMON + "sleep 600"), heard))
        async with asyncio.timeout(PATIENCE_S):
            await heard.seen.wait()
            await executor.close()
            assert not alive(place)
            outcome = await running
            await executor.close()
        assert (outcome.cancelled, outcome.timed_out, outcome.ok) == (True, False, False)
        with pytest.raises(ExecutorUnavailable, match="closed"):
            await executor.run(place, sh("true"))

    async def test_commands_run_side_by_side_without_mixing(self, run: Run) -> None:
        outcomes = await asyncio.gather(*(run(sh(f"echo {number}; exit {number}")) for number in range(8)))
        assert [(outcome.stdout, outcome.exit_code) for outcome in outcomes] == [
            (b"%d\n" % number, number) for number in range(8)
        ]

    async def test_limits_of_the_kernel_are_set(self, run: Run) -> None:
        limits = Limits(
            wall_s=PATIENCE_S, cpu_s=7, open_files=50, file_bytes=512 * 9, memory_bytes=1024 * 1024 * 1024
        )
        outcome = await run(sh("ulimit -t; ulimit -n; ulimit -f; ulimit -v; ulimit -c", limits))
        assert outcome.stdout.split() == [b"7", b"50", b"9", b"1048576", b"0"]

    async def test_a_file_may_not_outgrow_its_limit(self, run: Run, place: Place) -> None:
        limits = Limits(wall_s=PATIENCE_S, file_bytes=1024 * 1024)
        outcome = await run(
            Command(argv=("dd", "if=/dev/zero", "of=big", "bs=64k", "count=64"), env=ENV, limits=limits)
        )
        assert outcome.signal == signal.SIGXFSZ
        assert (place.tree / "big").stat().st_size == 1024 * 1024

    async def test_processor_time_is_limited_and_told(self, run: Run) -> None:
        outcome = await run(sh("while :; do :; done", Limits(wall_s=PATIENCE_S, cpu_s=1)))
        assert (outcome.signal, outcome.timed_out) == (signal.SIGXCPU, False)
        assert outcome.cpu_s >= 0.5

    async def test_the_probe_reports_the_level_that_is_kept(self, executor: Executor) -> None:
        report = await executor.probe()
        assert (report.executor, report.level) == (executor.name, executor.level)
        assert report.reason
