"""The system call filter of the sandbox, as classic BPF bytes that bubblewrap loads.

The namespaces are the wall; this filter takes away the tools to look for a hole in it. It refuses what no
build or test needs and what reaches deep into the kernel, stops the marks that would outlive the sandbox
on the host's disk (set-uid and set-gid bits), and keeps every route to a new namespace closed.

Refusals answer with an error a program can handle. ``clone3`` and ``openat2`` answer ENOSYS, since their
arguments lie in memory that a filter cannot read; the C library then uses ``clone`` and ``openat``, whose
arguments it can. A call under a foreign architecture, the x32 numbers included, ends the process: its
numbers mean other things.

Numbers are from the kernel's own tables, ``arch/x86/entry/syscalls/syscall_64.tbl`` and
``include/uapi/asm-generic/unistd.h``; those above 424 are the same everywhere.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

CLONE_NEW = 0x7E020080
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""

O_CREAT = 0o100
O_TMPFILE = 0o20000000
SET_ID = 0o6000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
AF_PACKET, AF_ALG, AF_VSOCK = 17, 38, 40

_COMMON = {
    "quotactl_fd": 443, "pidfd_getfd": 438, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "open_tree_attr": 467,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "clone3": 435, "openat2": 437, "fchmodat2": 452,
}  # fmt: skip

NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": _COMMON | {
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "setns": 308, "unshare": 272,
        "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171,
        "keyctl": 250, "add_key": 248, "request_key": 249,
        "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "open_by_handle_at": 304,
        "kexec_load": 246, "kexec_file_load": 320,
        "init_module": 175, "finit_module": 313, "delete_module": 176,
        "acct": 163, "quotactl": 179, "syslog": 103, "personality": 135,
        "settimeofday": 164, "clock_settime": 227, "vhangup": 153, "lookup_dcookie": 212,
        "iopl": 172, "ioperm": 173, "uselib": 134, "_sysctl": 156, "modify_ldt": 154,
        "clone": 56, "ioctl": 16, "socket": 41, "socketpair": 53,
        "chmod": 90, "fchmod": 91, "fchmodat": 268, "mknod": 133, "mknodat": 259,
        "creat": 85, "open": 2, "openat": 257,
    },
    "aarch64": _COMMON | {
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "setns": 268, "unshare": 97,
        "swapon": 224, "swapoff": 225, "reboot": 142, "sethostname": 161, "setdomainname": 162,
        "keyctl": 219, "add_key": 217, "request_key": 218,
        "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "open_by_handle_at": 265,
        "kexec_load": 104, "kexec_file_load": 294,
        "init_module": 105, "finit_module": 273, "delete_module": 106,
        "acct": 89, "quotactl": 60, "syslog": 116, "personality": 92,
        "settimeofday": 170, "clock_settime": 112, "vhangup": 58, "lookup_dcookie": 18,
        "clone": 220, "ioctl": 29, "socket": 198, "socketpair": 199,
        "fchmod": 52, "fchmodat": 53, "mknodat": 33, "openat": 56,
    },
}  # fmt: skip

REFUSED: tuple[str, ...] = (
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd",
    "mount", "umount2", "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "pivot_root", "chroot", "setns", "unshare",
    "keyctl", "add_key", "request_key",
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "open_by_handle_at", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
    "acct", "quotactl", "quotactl_fd", "syslog", "personality", "iopl", "ioperm", "modify_ldt",
    "swapon", "swapoff", "reboot", "sethostname", "setdomainname", "settimeofday", "clock_settime",
    "vhangup", "lookup_dcookie", "uselib", "_sysctl",
)  # fmt: skip
"""Answered with EPERM, whatever the arguments."""

ABSENT: tuple[str, ...] = ("clone3", "openat2")
"""Answered with ENOSYS, so that callers fall back to a call this filter can judge."""

MODE_ARGUMENT: dict[str, int] = {
    "chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "mknod": 1, "mknodat": 2, "creat": 1,
}  # fmt: skip
"""Where a file mode is found; set-uid and set-gid bits in it are answered with EPERM."""

OPEN_ARGUMENTS: dict[str, tuple[int, int]] = {"open": (1, 2), "openat": (2, 3)}
"""Where flags and mode are found. The mode is garbage unless the flags create a file."""

SECCOMP_DATA_ARCH = 4
SECCOMP_DATA_ARGS = 16

_LD = 0x20
_JEQ, _JGE, _JSET = 0x15, 0x35, 0x45
_RET = 0x06

_KILL_PROCESS, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand: one ``struct sock_filter``."""


class UnknownMachine(Exception):
    """There is no system call table for this processor; only x86_64 and aarch64 have one."""


def filter_bytes(machine: str | None = None) -> bytes:
    """The program for ``machine`` (this one by default), as an array of ``struct sock_filter``."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program(machine))


def program(machine: str | None = None) -> list[Instruction]:
    machine = machine or platform.machine()
    numbers = NUMBERS.get(machine)
    if numbers is None:
        raise UnknownMachine(f"no system call filter for {machine}")

    code: list[Instruction] = [
        (_LD, 0, 0, SECCOMP_DATA_ARCH),
        (_JEQ, 1, 0, AUDIT_ARCH[machine]),
        (_RET, 0, 0, _KILL_PROCESS),
        (_LD, 0, 0, 0),
    ]
    if machine == "x86_64":
        code += [(_JGE, 0, 1, 0x40000000), (_RET, 0, 0, _KILL_PROCESS)]

    for name in REFUSED:
        code += _when(numbers.get(name), [_fail(errno.EPERM)])
    for name in ABSENT:
        code += _when(numbers.get(name), [_fail(errno.ENOSYS)])
    code += _when(numbers["clone"], _if_any(0, CLONE_NEW, errno.EPERM))
    code += _when(numbers["ioctl"], _if_equal(1, (TIOCSTI, TIOCLINUX), errno.EPERM))
    for name in ("socket", "socketpair"):
        code += _when(numbers[name], _if_equal(0, (AF_PACKET, AF_ALG, AF_VSOCK), errno.EAFNOSUPPORT))
    for name, argument in MODE_ARGUMENT.items():
        code += _when(numbers.get(name), _if_any(argument, SET_ID, errno.EPERM))
    for name, (flags, mode) in OPEN_ARGUMENTS.items():
        # __O_TMPFILE is the bit that means it; O_TMPFILE also carries O_DIRECTORY.
        body = [
            (_LD, 0, 0, _low(flags)),
            (_JSET, 1, 0, O_CREAT | O_TMPFILE),
            (_RET, 0, 0, _ALLOW),
            *_if_any(mode, SET_ID, errno.EPERM),
        ]
        code += _when(numbers.get(name), body)
    code.append((_RET, 0, 0, _ALLOW))
    return code


def _when(number: int | None, body: list[Instruction]) -> list[Instruction]:
    """``body`` for one call, which must end in a return on every path; nothing where the call is unknown."""
    return [] if number is None else [(_JEQ, 0, len(body), number), *body]


def _fail(number: int) -> Instruction:
    return (_RET, 0, 0, _ERRNO | number)


def _if_any(argument: int, bits: int, number: int) -> list[Instruction]:
    return [(_LD, 0, 0, _low(argument)), (_JSET, 0, 1, bits), _fail(number), (_RET, 0, 0, _ALLOW)]


def _if_equal(argument: int, values: Iterable[int], number: int) -> list[Instruction]:
    code: list[Instruction] = [(_LD, 0, 0, _low(argument))]
    for value in values:
        code += [(_JEQ, 0, 1, value), _fail(number)]
    return [*code, (_RET, 0, 0, _ALLOW)]


def _low(argument: int) -> int:
    # Both processors are little-endian. The kernel reads these arguments as 32 bits, so the high half
    # cannot hide anything.
    return SECCOMP_DATA_ARGS + 8 * argument
