"""The filter, judged by a small interpreter of classic BPF for both processors; elsewhere by the kernel."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.work.executors import seccomp

MACHINES = ("x86_64", "aarch64")
ALLOW, KILL = "allow", "kill"
MASK = 0xFFFFFFFF


def judge(machine: str, number: int, *arguments: int, arch: int | None = None) -> str:
    """What the kernel would do with one call."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack(
        "<IIQ6Q", number & MASK, seccomp.AUDIT_ARCH[machine] if arch is None else arch, 0, *padded
    )
    program = seccomp.program(machine)
    accumulator, at = 0, 0
    while True:
        code, jump_true, jump_false, operand = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif code == 0x06:
            return {0x7FFF0000: ALLOW, 0x80000000: KILL}.get(operand) or errno.errorcode[operand & 0xFFFF]
        else:
            holds = {
                0x15: accumulator == operand,
                0x35: accumulator >= operand,
                0x45: bool(accumulator & operand),
            }[code]
            at += jump_true if holds else jump_false


def call(machine: str, name: str, *arguments: int) -> str:
    return judge(machine, seccomp.NUMBERS[machine][name], *arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_is_small_enough_and_jumps_forward_within_itself(machine: str) -> None:
    program = seccomp.program(machine)
    assert len(program) < 4096
    for at, (code, jump_true, jump_false, _) in enumerate(program):
        if code & 0x07 == 0x05:
            assert at + 1 + max(jump_true, jump_false) < len(program)
    assert len(seccomp.filter_bytes(machine)) == 8 * len(program)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_listed_call_is_refused(machine: str) -> None:
    known = seccomp.NUMBERS[machine]
    said = {name: call(machine, name) for name in seccomp.REFUSED if name in known}
    assert set(said.values()) == {"EPERM"}
    assert {name: call(machine, name) for name in seccomp.ABSENT} == dict.fromkeys(seccomp.ABSENT, "ENOSYS")


@pytest.mark.parametrize("machine", MACHINES)
@given(mode=st.integers(0, MASK), high=st.integers(0, MASK))
def test_a_mode_is_refused_exactly_when_it_sets_an_id(machine: str, mode: int, high: int) -> None:
    wanted = "EPERM" if mode & 0o6000 else ALLOW
    value = high << 32 | mode
    known = seccomp.NUMBERS[machine]
    for name, position in seccomp.MODE_ARGUMENT.items():
        if name in known:
            assert call(machine, name, *[0] * position, value) == wanted
    for name, (flags, position) in seccomp.OPEN_ARGUMENTS.items():
        if name in known:
            arguments = [0] * 4
            arguments[position] = value
            assert call(machine, name, *arguments) == ALLOW
            for creates in (seccomp.O_CREAT, seccomp.O_TMPFILE):
                arguments[flags] = creates
                assert call(machine, name, *arguments) == wanted


@pytest.mark.parametrize("machine", MACHINES)
@given(flags=st.integers(0, 2**64 - 1))
def test_clone_is_refused_exactly_when_it_makes_a_namespace(machine: str, flags: int) -> None:
    assert call(machine, "clone", flags) == ("EPERM" if flags & seccomp.CLONE_NEW else ALLOW)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("ioctl", (0, 0x5412), "EPERM"),
        ("ioctl", (0, 0x541C), "EPERM"),
        ("ioctl", (0, 0xFFFFFFFF00005412), "EPERM"),
        ("ioctl", (0, 0x5401), ALLOW),
        ("socket", (1,), ALLOW),
        ("socket", (2,), ALLOW),
        ("socket", (10,), ALLOW),
        ("socket", (16,), ALLOW),
        ("socket", (17,), "EAFNOSUPPORT"),
        ("socket", (38,), "EAFNOSUPPORT"),
        ("socket", (40,), "EAFNOSUPPORT"),
        ("socketpair", (1,), ALLOW),
    ],
)
def test_the_argument_decides(machine: str, name: str, arguments: tuple[int, ...], answer: str) -> None:
    assert call(machine, name, *arguments) == answer


def test_foreign_numbers_end_the_process() -> None:
    assert judge("x86_64", 0x40000000 + 59) == KILL
    assert judge("x86_64", 59, arch=0x40000003) == KILL
    assert judge("aarch64", 221, arch=0x40000028) == KILL
    assert judge("x86_64", -1) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_ordinary_calls_pass(machine: str) -> None:
    named = set(seccomp.NUMBERS[machine].values())
    assert {judge(machine, number) for number in range(300) if number not in named} == {ALLOW}


def test_an_unknown_processor_is_told() -> None:
    with pytest.raises(seccomp.UnknownMachine, match="no system call filter for vax"):
        seccomp.program("vax")
