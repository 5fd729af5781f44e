"""What a hostile command tries, and what it gets: the sandbox table of the security design, by number.

Each attempt is a piece of Python that runs inside and says what happened; the host checks what it can see by
itself.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import textwrap
from pathlib import Path

import msgspec
import pytest

from pushpals.work.executors.base import Command, Limits, Outcome, Place
from pushpals.work.executors.bubblewrap import BubblewrapExecutor
from pushpals.work.executors.probe import inner_python

PATIENCE_S = 30.0

PRELUDE = """
import ctypes, errno, fcntl, json, os, signal, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(action):
    try:
        action()
    except OSError as problem:
        return errno.errorcode.get(problem.errno, str(problem.errno))
    return "done"
def call(*arguments):
    answer = libc.syscall(*arguments)
    return "done" if answer >= 0 else errno.errorcode[ctypes.get_errno()]
def say(value):
    print(json.dumps(value))
"""


async def inside(
    sandbox: BubblewrapExecutor, place: Place, code: str, *arguments: str, limits: Limits | None = None
) -> Outcome:
    python, toolchain = inner_python()
    command = Command(
        argv=(python, "-I", "-S", "-c", PRELUDE + textwrap.dedent(code), *arguments),
        env={"PATH": "/usr/bin:/bin", "HOME": "/home/pal"},
        limits=limits or Limits(wall_s=PATIENCE_S),
    )
    return await sandbox.run(Place(tree=place.tree, toolchain=toolchain), command)


async def answers(sandbox: BubblewrapExecutor, place: Place, code: str, *arguments: str) -> object:
    outcome = await inside(sandbox, place, code, *arguments)
    assert outcome.ok, outcome.stderr.decode()
    return msgspec.json.decode(outcome.stdout)


async def test_b01_files_of_the_host_do_not_exist(
    sandbox: BubblewrapExecutor, place: Place, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("host")
    paths = [
        "/etc/shadow",
        "/root",
        "/run",
        "/sys",
        "/var",
        "/opt",
        "/mnt",
        "/etc/ssh",
        str(secret),
        str(Path.home()),
    ]
    code = "say([attempt(lambda: os.stat(path)) for path in sys.argv[1:]] + sorted(os.listdir('/home')))"
    assert await answers(sandbox, place, code, *paths) == ["ENOENT"] * len(paths) + ["pal"]


async def test_b03_what_is_written_belongs_to_the_uid_of_the_sandbox(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    await answers(sandbox, place, "open('/repo/f', 'w').write('x'); say(1)")
    status = (place.tree / "f").stat()
    assert (status.st_uid, status.st_gid) == (sandbox.identity.uid, sandbox.identity.gid)
    assert status.st_uid != 0


async def test_b05_settings_of_the_kernel_cannot_be_opened_for_writing(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    code = """
    names = ["core_pattern", "modprobe", "hostname", "randomize_va_space"]
    paths = ["/proc/sys/kernel/" + name for name in names] + ["/proc/sysrq-trigger"]
    say([attempt(lambda: os.close(os.open(path, os.O_WRONLY))) for path in paths])
    """
    said = await answers(sandbox, place, code)
    assert isinstance(said, list)
    assert set(said) <= {"EACCES", "EROFS", "EPERM", "ENOENT"}


async def test_b07_no_set_id_bit_reaches_the_disk(sandbox: BubblewrapExecutor, place: Place) -> None:
    code = """
    open("/repo/f", "w").close(); os.mkdir("/repo/d")
    fd = os.open("/repo/f", os.O_RDONLY)
    flags = os.O_CREAT | os.O_WRONLY
    said = [
        attempt(lambda: os.chmod("/repo/f", 0o4755)),
        attempt(lambda: os.chmod("/repo/d", 0o2755)),
        attempt(lambda: os.fchmod(fd, 0o6755)),
        attempt(lambda: os.chmod("f", 0o2755, dir_fd=os.open("/repo", os.O_RDONLY))),
        attempt(lambda: os.open("/repo/g", flags, 0o4755)),
        attempt(lambda: os.open("/repo", os.O_TMPFILE | os.O_RDWR, 0o4755)),
        attempt(lambda: os.mknod("/repo/h", 0o104755)),
        call(452, -100, b"/repo/f", 0o4755, 0),
    ]
    if os.uname().machine == "x86_64":
        said.append(call(85, b"/repo/i", 0o6755))
    else:
        said.append("EPERM")
    sticky = attempt(lambda: os.chmod("/repo/f", 0o1755))
    reading = attempt(lambda: os.open("/repo/f", os.O_RDONLY, 0o4755))
    say([said, [sticky, reading]])
    """
    assert await answers(sandbox, place, code) == [["EPERM"] * 9, ["done", "done"]]
    modes = [path.stat().st_mode for path in place.tree.rglob("*")]
    assert not any(mode & (stat.S_ISUID | stat.S_ISGID) for mode in modes)


async def test_b09_nobody_becomes_root(sandbox: BubblewrapExecutor, place: Place) -> None:
    code = """
    status = open("/proc/self/status").read()
    fields = dict(line.split(":\\t", 1) for line in status.splitlines() if ":\\t" in line)
    su = subprocess.run(["su", "-c", "id"], stdin=subprocess.DEVNULL, capture_output=True)
    ids = attempt(lambda: os.setuid(0)), attempt(lambda: os.setgid(0)), attempt(lambda: os.setgroups([0]))
    caps = [int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    say([ids, caps, fields["NoNewPrivs"], su.returncode != 0, su.stdout.decode()])
    """
    # In a user namespace of its own, uid and gid 0 do not even have a meaning.
    refusal = "EPERM" if sandbox.identity.drop else "EINVAL"
    assert await answers(sandbox, place, code) == [[refusal, refusal, "EPERM"], [0] * 5, "1", True, ""]


async def test_variables_of_the_job_do_not_reach_the_programs_that_build_the_sandbox(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    # The loader complains once for every program it was asked to put this library into.
    env = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": "/repo/none.so"}
    outcome = await sandbox.run(place, Command(argv=("true",), env=env))
    assert outcome.exit_code == 0
    assert outcome.stderr.count(b"cannot be preloaded") == 1
    granted = await sandbox.run(place, Command(argv=("true",), env=env, network=("a.test:443",)))
    assert granted.stderr.count(b"cannot be preloaded") == 1


async def test_b11_only_its_own_processes_are_visible(sandbox: BubblewrapExecutor, place: Place) -> None:
    said = await answers(sandbox, place, "say([int(name) for name in os.listdir('/proc') if name.isdigit()])")
    assert isinstance(said, list)
    assert set(said) <= {1, 2, 3, 4}


async def test_b13_other_processes_cannot_be_touched(sandbox: BubblewrapExecutor, place: Place) -> None:
    code = """
    number = {"x86_64": 101, "aarch64": 117}[os.uname().machine]
    attach = call(number, 16, 1, 0, 0)
    kill = attempt(lambda: os.kill(int(sys.argv[1]), 9))
    names = ["mem", "task/1/mem", "environ", "cmdline", "root", "fd", "maps"]
    say([attach, kill, [attempt(lambda: os.stat("/proc/1/" + name)) for name in names]])
    """
    assert await answers(sandbox, place, code, str(os.getpid())) == ["EPERM", "ESRCH", ["ENOENT"] * 7]


async def test_tools_that_look_at_processes_work(sandbox: BubblewrapExecutor, place: Place) -> None:
    outcome = await sandbox.run(
        place, Command(argv=("sh", "-c", "ps -ef && echo shown || true"), env=sandbox.base_env(place))
    )
    assert outcome.ok
    assert outcome.error is None


async def test_b15_programs_of_the_host_cannot_be_linked_into_the_tree(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    assert (
        await answers(sandbox, place, "say(attempt(lambda: os.link('/usr/bin/env', '/repo/env')))") == "EXDEV"
    )


async def test_b17_no_new_namespaces(sandbox: BubblewrapExecutor, place: Place) -> None:
    code = """
    clone, unshare, setns = {"x86_64": (56, 272, 308), "aarch64": (220, 97, 268)}[os.uname().machine]
    flags = [0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x02000000, 0x00000080]
    say([
        [call(unshare, flag) for flag in flags],
        [call(clone, flag | 17, 0, 0, 0, 0) for flag in flags],
        call(435, 0, 0),
        call(setns, 0, 0),
    ])
    """
    said = await answers(sandbox, place, code)
    # CLONE_NEWTIME is 0x80, which means an exit signal to clone(2); only unshare(2) knows it as a namespace.
    assert said == [["EPERM"] * 6, ["EPERM"] * 6, "ENOSYS", "EPERM"]


async def test_b19_nothing_can_be_typed_into_the_terminal(sandbox: BubblewrapExecutor, place: Place) -> None:
    code = """
    import pty
    master, slave = pty.openpty()
    pairs = [(fd, request) for fd in (0, slave) for request in (0x5412, 0x541C)]
    say([attempt(lambda: fcntl.ioctl(fd, request, b"x")) for fd, request in pairs])
    """
    assert await answers(sandbox, place, code) == ["EPERM"] * 4


@pytest.mark.parametrize(
    ("call", "numbers"),
    [
        ("mount", (165, 40)),
        ("umount2", (166, 39)),
        ("pivot_root", (155, 41)),
        ("chroot", (161, 51)),
        ("keyctl", (250, 219)),
        ("bpf", (321, 280)),
        ("perf_event_open", (298, 241)),
        ("userfaultfd", (323, 282)),
        ("io_uring_setup", (425, 425)),
        ("open_by_handle_at", (304, 265)),
        ("init_module", (175, 105)),
        ("personality", (135, 92)),
        ("process_vm_readv", (310, 270)),
        ("pidfd_getfd", (438, 438)),
        ("open_tree", (428, 428)),
        ("fsopen", (430, 430)),
    ],
)
async def test_calls_deep_into_the_kernel_are_refused(
    sandbox: BubblewrapExecutor, place: Place, call: str, numbers: tuple[int, int]
) -> None:
    code = """
    numbers = dict(zip(("x86_64", "aarch64"), map(int, sys.argv[1:])))
    say(call(numbers[os.uname().machine], 0, 0, 0, 0, 0))
    """
    assert await answers(sandbox, place, code, *map(str, numbers)) == "EPERM"


async def test_sockets_to_the_hardware_and_to_the_hypervisor_are_refused(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    code = "say([attempt(lambda: socket.socket(family, socket.SOCK_DGRAM)) for family in (17, 38, 40)])"
    assert await answers(sandbox, place, code) == ["EAFNOSUPPORT"] * 3


async def test_calls_by_numbers_of_another_architecture_end_the_command(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    if os.uname().machine != "x86_64":
        return  # x32 is the one foreign table that a program here can reach without another processor.
    outcome = await inside(sandbox, place, "libc.syscall(0x40000000 + 39)")
    assert outcome.signal == signal.SIGSYS


async def test_b21_a_fork_bomb_ends_by_its_limit_and_the_next_command_runs(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    count = """
    born = 0
    try:
        while True:
            if os.fork() == 0:
                signal.pause()
            born += 1
    except OSError as problem:
        say([errno.errorcode[problem.errno], born])
    """
    outcome = await inside(sandbox, place, count, limits=Limits(wall_s=PATIENCE_S, processes=64))
    refusal, born = msgspec.json.decode(outcome.stdout)
    assert refusal == "EAGAIN"
    assert 32 <= born < 64

    bomb = Command(
        argv=("bash", "-c", "bomb() { bomb | bomb & }; bomb; wait"),
        env={"PATH": "/usr/bin:/bin"},
        limits=Limits(wall_s=2.0, grace_s=0.0, processes=64),
    )
    await sandbox.run(place, bomb)
    assert await answers(sandbox, place, "say('runs')") == "runs"


@pytest.mark.parametrize("folder", ["/tmp", "/home/pal", "/dev/shm"])
async def test_b23_memory_behind_temporary_folders_is_bounded(
    sandbox: BubblewrapExecutor, place: Place, folder: str
) -> None:
    code = f"""
    with open("{folder}/big", "wb") as file:
        say(attempt(lambda: [file.write(bytes(1 << 20)) for _ in range(9)] and file.flush()))
        file.truncate(0)
    """
    outcome = await inside(sandbox, place, code, limits=Limits(wall_s=PATIENCE_S, tmp_bytes=8 * 1024 * 1024))
    assert msgspec.json.decode(outcome.stdout) == "ENOSPC", outcome.stderr


@pytest.mark.parametrize("folder", ["/", "/dev", "/etc", "/usr", "/home", "/usr/local/bin", "/proc"])
async def test_nothing_else_can_be_written(sandbox: BubblewrapExecutor, place: Place, folder: str) -> None:
    said = await answers(sandbox, place, "say(attempt(lambda: open(sys.argv[1] + '/new', 'w')))", folder)
    assert said in ("EROFS", "EACCES", "ENOENT", "EPERM")


async def test_b25_the_clock_ends_a_sleeper_within_its_grace(
    sandbox: BubblewrapExecutor, place: Place
) -> None:
    limits = Limits(wall_s=0.5, grace_s=1.0)
    outcome = await sandbox.run(
        place, Command(argv=("sleep", "600"), env={"PATH": "/usr/bin:/bin"}, limits=limits)
    )
    assert (outcome.timed_out, outcome.signal) == (True, signal.SIGTERM)
    assert outcome.wall_s < limits.wall_s + 2.0


async def test_the_network_is_a_loopback_of_its_own(sandbox: BubblewrapExecutor, place: Place) -> None:
    code = """
    server = socket.create_server(("127.0.0.1", 0))
    own = attempt(lambda: socket.create_connection(server.getsockname()))
    out = [attempt(lambda: socket.create_connection((host, port), timeout=5)) for host, port in [
        ("127.0.0.1", int(sys.argv[1])), ("192.0.2.1", 80), ("169.254.169.254", 80)]]
    def datagram():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.sendto(b"x", ("192.0.2.1", 53))
    abstract = attempt(lambda: socket.socket(socket.AF_UNIX).connect("\\0" + sys.argv[2]))
    def resolve():
        try:
            socket.getaddrinfo("example.com", 80)
        except socket.gaierror:
            return "unknown"
    say([own, out, attempt(datagram), abstract, resolve(), [name for _, name in socket.if_nameindex()]])
    """
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as abstract:
        name = f"pushpals-test-{os.getpid()}"
        abstract.bind("\0" + name)
        abstract.listen()
        said = await answers(sandbox, place, code, str(listener.getsockname()[1]), name)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert isinstance(said, list)
    own, out, datagram, to_abstract, resolved, interfaces = said
    assert own == "done"
    assert out[0] == "ECONNREFUSED"
    assert set(out[1:]) <= {"ENETUNREACH"}
    assert datagram == "ENETUNREACH"
    assert to_abstract == "ECONNREFUSED"
    assert resolved == "unknown"
    assert set(interfaces) <= {
        "lo",
        "sit0",
        "ip6tnl0",
        "tunl0",
        "ip_vti0",
        "ip6_vti0",
        "gre0",
        "gretap0",
        "erspan0",
    }
