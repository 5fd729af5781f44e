"""Level ``full``: every command in a kernel sandbox made by bubblewrap.

What is visible inside is in :mod:`pushpals.work.executors.profile`, what is refused in
:mod:`pushpals.work.executors.seccomp`. Works as an ordinary user, through a user namespace, and as root,
through a uid of the slot's own. The command is never uid 0 for the kernel.

bubblewrap starts with an empty environment, since its own is readable inside as that of process 1, and
takes its options from a descriptor. The variables of a job reach the job's own program and none of those
that build the sandbox; like its arguments they stand in the host's process list. Secrets go by
``secret_env``, through the descriptor. Whether all this holds is not taken from a version number: nothing runs before
:meth:`BubblewrapExecutor.probe` tried to break out and could not.

Known differences from the port: bubblewrap sets ``PWD``; it reports a signal as 128 plus its number, so a
command that exits 137 by itself is reported as killed by signal 9.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from pushpals.work.executors import proctree, seccomp
from pushpals.work.executors.base import (
    Command,
    ExecutorUnavailable,
    Level,
    OnOutput,
    Outcome,
    Place,
    ProbeReport,
)
from pushpals.work.executors.destinations import Grant, Refused, parse_grant
from pushpals.work.executors.door import PROXY_ENV, Door, launcher_argv
from pushpals.work.executors.meter import Meter
from pushpals.work.executors.network import NetworkEvent, NetworkLimits, Outside, Proxy
from pushpals.work.executors.ownership import Owner
from pushpals.work.executors.probe import inner_python, probe_bubblewrap
from pushpals.work.executors.process import Spawn, supervise
from pushpals.work.executors.profile import HOME, POINTER, Data, Identity, Option, build_profile
from pushpals.work.executors.running import Running
from pushpals.work.executors.tools import find_tool, prlimit_argv, refused, told_apart

FIRST_UID = 61_001
"""Slot 0 of a root worker runs as this uid and gid, slot n as this plus n. Above the ranges that Debian and
Fedora give to people and services, below those of systemd's dynamic users."""

EMPTY_S = 5.0
"""How long the kernel may take to empty a namespace. It takes milliseconds unless the machine is stuck."""

INSTALL = "install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)"


class BubblewrapExecutor:
    """Runs commands in a sandbox. One per slot of a worker: the limit on processes counts per slot."""

    def __init__(
        self,
        *,
        bwrap: Path | None = None,
        slot: int = 0,
        on_network: Callable[[Command, NetworkEvent], None] | None = None,
        network_limits: NetworkLimits | None = None,
        outside: Outside | None = None,
    ) -> None:
        """``bwrap`` is looked for in the system's folders by default, never in PATH.

        ``on_network`` hears every decision about a command's connections, on the event loop. ``outside`` is
        the world that granted connections reach; tests bring their own.
        """
        self._bwrap = bwrap
        self._on_network = on_network
        self._network_limits = network_limits
        self._outside = outside
        self._proxies: set[Proxy] = set()
        self._running = Running()
        self._report: ProbeReport | None = None
        self._probing = asyncio.Lock()
        self._handing_over = asyncio.Lock()
        if os.geteuid() == 0:
            self.identity = Identity(uid=FIRST_UID + slot, gid=FIRST_UID + slot, drop=True)
        else:
            self.identity = Identity(uid=os.geteuid(), gid=os.getegid(), drop=False)
        self._owner = Owner(self.identity.uid, self.identity.gid)

    @property
    def name(self) -> str:
        return "bubblewrap"

    @property
    def level(self) -> Level:
        """``none`` until the probes ran."""
        return self._report.level if self._report is not None else "none"

    def base_env(self, place: Place) -> dict[str, str]:
        """The variables a command needs to find its tools and its home inside; add to these."""
        folders = [str(path / "bin") for path in place.toolchain if (path / "bin").is_dir()]
        return {
            "PATH": ":".join([*folders, "/usr/local/bin", "/usr/bin", "/bin"]),
            "HOME": HOME,
            "TMPDIR": "/tmp",
            "LANG": "C.UTF-8",
            "USER": "pal",
            "CI": "1",
        }

    async def probe(self) -> ProbeReport:
        async with self._probing:
            self._report = await probe_bubblewrap(self)
            return self._report

    async def prepare(self, place: Place) -> None:
        """Make the writable parts of ``place`` belong to the command's uid. :meth:`run` does this too.

        Does nothing for an ordinary user, whose files they are already.
        """
        writable = [place.tree, *(mount.source for mount in place.mounts if mount.writable)]
        if place.git_dir is not None:
            writable.append(place.git_dir)
            _point(place.tree / ".git")
        if self.identity.drop:
            async with self._handing_over:
                for path in writable:
                    await asyncio.to_thread(self._owner.take, path)

    async def run(self, place: Place, command: Command, on_output: OnOutput | None = None) -> Outcome:
        report = await self._probed()
        if report.level != "full":
            raise ExecutorUnavailable(f"{report.reason}; {report.remedy}")
        return await self.run_unprobed(place, command, on_output)

    async def run_unprobed(
        self, place: Place, command: Command, on_output: OnOutput | None = None
    ) -> Outcome:
        """:meth:`run` without asking whether the sandbox holds. For the probes themselves."""
        with self._running.one() as interrupt:
            refusal = refused(place.tree, command)
            if refusal is not None:
                return Outcome(error=refusal)
            if "=" in command.argv[0]:
                return Outcome(error=f"a program whose name holds '=' cannot be started: {command.argv[0]}")
            grants = [parse_grant(text) for text in command.network]
            for grant in grants:
                if isinstance(grant, Refused):
                    return Outcome(error=f"{grant.code}: {grant.why}")
            place = _absolute(place)
            try:
                await self.prepare(place)
            except OSError as problem:
                raise ExecutorUnavailable(f"the workspace cannot be handed over: {problem}") from problem
            if not grants:
                return await self._run_prepared(place, command, interrupt, on_output, None)
            proxy = Proxy(
                [grant for grant in grants if isinstance(grant, Grant)],
                partial(self._on_network, command) if self._on_network is not None else lambda event: None,
                limits=self._network_limits,
                outside=self._outside,
            )
            door = Door(proxy)
            self._proxies.add(proxy)
            try:
                door.start()
                return await self._run_prepared(place, command, interrupt, on_output, door)
            finally:
                self._proxies.discard(proxy)
                await door.close()

    def revoke(self, grant: str) -> None:
        """Take a network grant back from every running command; open connections by it end at once."""
        parsed = parse_grant(grant)
        if isinstance(parsed, Grant):
            for proxy in self._proxies:
                proxy.revoke(parsed)

    async def _run_prepared(
        self,
        place: Place,
        command: Command,
        interrupt: asyncio.Future[None],
        on_output: OnOutput | None,
        door: Door | None,
    ) -> Outcome:
        env = command.env
        launcher: tuple[str, ...] = ()
        if door is not None:
            python, needed = inner_python()
            place = msgspec.structs.replace(place, toolchain=(*place.toolchain, *needed))
            env = {**PROXY_ENV, **env}
            launcher = launcher_argv(python, door.inner)
        options = build_profile(place, self.identity, command.limits, command.cwd)
        with contextlib.ExitStack() as held:
            namespace, meter = _Namespace(), Meter()
            held.callback(namespace.close)
            held.callback(meter.stop)
            passed = [namespace.told] if door is None else [namespace.told, door.inner]
            outcome = await supervise(
                self._spawn(options, tuple(self._chain(command, env, launcher)), command, passed, held),
                end_tree=namespace.end,
                interrupt=interrupt,
                on_output=on_output,
                on_start=meter.start,
                settle=namespace.settle,
            )
        ended_early = outcome.timed_out or outcome.cancelled or outcome.error is not None
        if not ended_early and not namespace.made:
            raise ExecutorUnavailable(_not_made(outcome))
        return told_apart(_as_signal(_metered(outcome, meter)), command.argv[0])

    async def close(self) -> None:
        await self._running.close()

    async def _probed(self) -> ProbeReport:
        if self._running.closed:
            raise ExecutorUnavailable("this executor is closed; make a new one")
        async with self._probing:
            if self._report is None:
                self._report = await probe_bubblewrap(self)
            return self._report

    def find_bwrap(self) -> Path:
        """Raises ExecutorUnavailable when bubblewrap or a program it needs is missing."""
        bwrap = self._bwrap or find_tool("bwrap")
        if bwrap is None or not os.access(bwrap, os.X_OK):
            raise ExecutorUnavailable(f"bubblewrap is missing; {INSTALL}")
        return bwrap

    def _spawn(
        self,
        options: Sequence[Option],
        chain: tuple[str, ...],
        command: Command,
        passed: Sequence[int],
        held: contextlib.ExitStack,
    ) -> Spawn:
        descriptors = list(passed)

        def descriptor_of(content: bytes) -> int:
            descriptor = _readable(content)
            held.callback(os.close, descriptor)
            descriptors.append(descriptor)
            return descriptor

        try:
            program = seccomp.filter_bytes()
        except seccomp.UnknownMachine as problem:
            raise ExecutorUnavailable(str(problem)) from problem
        words = [
            str(descriptor_of(option.content)) if isinstance(option, Data) else option for option in options
        ]
        for name, value in command.secret_env.items():
            # By the descriptor, never by the command line. They reach the small programs of the chain too,
            # which is why a name that a loader listens to is refused.
            words += ["--setenv", name, value]
        words += ["--json-status-fd", str(passed[0]), "--seccomp", str(descriptor_of(program))]
        arguments = descriptor_of(b"".join(os.fsencode(word) + b"\0" for word in words))
        return Spawn(
            argv=(str(self.find_bwrap()), "--args", str(arguments), "--", *chain),
            env={},
            cwd="/",
            stdin=command.stdin,
            limits=command.limits,
            pass_fds=tuple(descriptors),
            pipe_owner=(self.identity.uid, self.identity.gid) if self.identity.drop else None,
        )

    def _chain(self, command: Command, env: Mapping[str, str], launcher: tuple[str, ...]) -> Iterator[str]:
        """The programs that become the command, inside: the uid, the network, the limits, the variables.

        The variables come last, by ``env``: an ``LD_PRELOAD`` of the job would otherwise run in the first of
        these programs, which is still root, and in the one that sets the limits.
        """
        setpriv, prlimit, setenv = find_tool("setpriv"), find_tool("prlimit"), find_tool("env")
        if prlimit is None or setpriv is None or setenv is None:
            raise ExecutorUnavailable("setpriv, prlimit or env is missing; install util-linux and coreutils")
        if self.identity.drop:
            yield from (str(setpriv), f"--reuid={self.identity.uid}", f"--regid={self.identity.gid}")
            yield from ("--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--")
        yield from launcher
        yield from prlimit_argv(prlimit, command.limits)
        yield from (str(setenv), "--", *(f"{name}={value}" for name, value in env.items()))
        yield from command.argv


class _Namespace:
    """One sandbox as seen from outside: how it was made, how to end it, when it is empty.

    Its process 1 takes every other process of the namespace with it, for certain. bubblewrap reports the exit
    of the command as soon as process 1 knows it, which is before the kernel has ended the rest, so the end
    is the end of process 1: the kernel lets that be seen only when the namespace is empty.
    """

    def __init__(self) -> None:
        self._status, self.told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._kills = 0
        self.made = False

    def close(self) -> None:
        os.close(self._status)
        os.close(self.told)

    async def settle(self) -> None:
        """End the namespace and wait until it is empty, a millisecond or so after the leader's end."""
        with contextlib.suppress(BlockingIOError):
            said = os.read(self._status, 4096)
            # Reported only when the command was reached; see --json-status-fd in bwrap(1).
            self.made = b'"exit-code"' in said
            first = re.search(rb'"child-pid"\s*:\s*(\d+)', said)
            if first is not None:
                await proctree.gone(int(first[1]), EMPTY_S, kill_if=proctree.first_of_namespace)

    def end(self, leader: int, number: int) -> None:
        first = proctree.children(leader)
        if number != signal.SIGKILL:
            for pid in proctree.descendants(leader):
                if pid not in first:
                    proctree.send(pid, number, lambda pid: _below(pid, leader))
            return
        self._kills += 1
        for pid in first:
            proctree.send(pid, number, lambda pid: _below(pid, leader))
        if not first or self._kills > 1:
            with contextlib.suppress(OSError):
                os.killpg(leader, number)


def _below(pid: int, ancestor: int) -> bool:
    for _ in range(proctree.MAX_ANCESTORS):
        found = proctree.stat_of(pid)
        if found is None or found.ppid <= 1:
            return False
        if found.ppid == ancestor:
            return True
        pid = found.ppid
    return False


def _absolute(place: Place) -> Place:
    return msgspec.structs.replace(
        place,
        tree=place.tree.absolute(),
        git_dir=place.git_dir.absolute() if place.git_dir is not None else None,
        objects=place.objects.absolute() if place.objects is not None else None,
    )


def _point(path: Path) -> None:
    """Leave a pointer to the private git directory where there is nothing, as the place to mount it."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444)
        try:
            os.write(descriptor, POINTER)
        finally:
            os.close(descriptor)


def _metered(outcome: Outcome, meter: Meter) -> Outcome:
    return msgspec.structs.replace(
        outcome, cpu_s=max(outcome.cpu_s, meter.cpu_s), peak_memory_bytes=meter.peak_memory_bytes
    )


def _as_signal(outcome: Outcome) -> Outcome:
    if outcome.exit_code is not None and 128 < outcome.exit_code <= 128 + signal.NSIG - 1:
        return msgspec.structs.replace(outcome, exit_code=None, signal=outcome.exit_code - 128)
    return outcome


def _not_made(outcome: Outcome) -> str:
    said = outcome.stderr.decode(errors="replace").strip()
    if outcome.exit_code == 0:
        return "what stands in for bubblewrap ended well without having made a sandbox"
    return f"bubblewrap could not make the sandbox (exit {outcome.exit_code or outcome.signal}): {said}"


def _readable(content: bytes) -> int:
    descriptor = os.memfd_create("profile", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
