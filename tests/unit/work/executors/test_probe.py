"""The level is what the probes saw. A bubblewrap that is not one is found out, row B29 of the table."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pushpals.work.executors.base import Command, ExecutorUnavailable, Mount, Place
from pushpals.work.executors.bubblewrap import BubblewrapExecutor
from pushpals.work.executors.choose import choose_executor, executor_names, load_executor, run_once
from pushpals.work.executors.local import LocalExecutor
from pushpals.work.executors.probe import remedy_for

STUBS = {
    "fails": ("exit 1", "bubblewrap could not make the sandbox"),
    "fails with the words of a forbidden namespace": (
        "echo 'bwrap: No permissions to create new namespace' >&2; exit 1",
        "No permissions to create new namespace",
    ),
    "runs the command with no sandbox": (
        'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        "what stands in for bubblewrap ended well without having made a sandbox",
    ),
    "runs the command with no sandbox and claims to have made one": (
        'fd=$(tr "\\0" "\\n" < /proc/self/fd/$2 | grep -A1 json-status | tail -1)\n'
        'while [ "$1" != -- ]; do shift; done; shift; "$@"; code=$?\n'
        'echo "{\\"exit-code\\": $code}" > /proc/self/fd/$fd; exit $code',
        "what stands in for bubblewrap isolates nothing: a file of the host could be read",
    ),
    "ignores its arguments": ("exit 0", "ended well without having made a sandbox"),
    "never ends well": ("kill -9 $$", "bubblewrap could not make the sandbox"),
    "answers something else": ("echo '{}'; exit 3", "bubblewrap could not make the sandbox"),
}


@pytest.fixture(params=STUBS, ids=lambda name: name.replace(" ", "-"))
def stub(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    script, reason = STUBS[request.param]
    path = tmp_path / "bwrap"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path, reason


async def test_ten_attempts_fail_in_the_real_sandbox(sandbox: BubblewrapExecutor) -> None:
    report = await sandbox.probe()
    assert (report.executor, report.level, sandbox.level) == ("bubblewrap", "full", "full")
    assert [probe.name for probe in report.probes] == [
        "host file",
        "beside the tree",
        "host loopback",
        "uid",
        "kernel settings",
        "environment of process 1",
        "user namespace",
        "set-uid bit",
        "daemon",
        "git directory",
    ]
    assert all(probe.held and probe.detail for probe in report.probes)


async def test_the_daemon_of_the_probe_is_dead_every_time(sandbox: BubblewrapExecutor) -> None:
    reports = [await sandbox.probe() for _ in range(10)]
    assert {report.level for report in reports} == {"full"}


async def test_what_only_stands_in_for_bubblewrap_gives_no_level(
    stub: tuple[Path, str], place: Place
) -> None:
    path, reason = stub
    executor = BubblewrapExecutor(bwrap=path)
    report = await executor.probe()
    assert (report.level, executor.level) == ("none", "none")
    assert reason in report.reason
    assert report.remedy
    with pytest.raises(ExecutorUnavailable):
        await executor.run(place, Command(argv=("touch", "ran")))
    assert not (place.tree / "ran").exists()


async def test_a_missing_bubblewrap_gives_no_level_and_says_how_to_get_it(tmp_path: Path) -> None:
    report = await BubblewrapExecutor(bwrap=tmp_path / "none").probe()
    assert (report.level, report.reason) == ("none", "bubblewrap is missing")
    assert "apt-get install bubblewrap" in report.remedy


@pytest.mark.usefixtures("sandboxed_machine")
async def test_the_sandbox_is_chosen_where_it_holds() -> None:
    executor, report = await choose_executor(allow_unsandboxed=True)
    assert (executor.name, executor.level, report.level) == ("bubblewrap", "full", "full")
    await executor.close()


async def test_without_a_sandbox_there_is_no_executor(stub: tuple[Path, str]) -> None:
    with pytest.raises(ExecutorUnavailable, match=r"^no sandbox here: .*; "):
        await choose_executor(allow_unsandboxed=False, bwrap=stub[0])


async def test_the_operators_word_allows_to_do_without_and_the_report_says_so(stub: tuple[Path, str]) -> None:
    executor, report = await choose_executor(allow_unsandboxed=True, bwrap=stub[0])
    assert isinstance(executor, LocalExecutor)
    assert (report.executor, report.level) == ("local", "none")
    assert "by the operator's word" in report.reason
    assert stub[1] in report.reason
    await executor.close()


async def test_a_closed_executor_does_not_probe_itself_back_to_life(place: Place) -> None:
    executor = BubblewrapExecutor()
    await executor.close()
    with pytest.raises(ExecutorUnavailable, match="closed"):
        await executor.run(place, Command(argv=("true",)))


@pytest.mark.usefixtures("sandboxed_machine")
async def test_one_command_runs_with_the_tools_of_this_python(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("seen\n")
    code = "import sys, msgspec; print(open('f').read() + sys.stdin.read(), end='')"
    outcome, report = await run_once(["python", "-c", code], tree=tmp_path, stdin=b"given\n")
    assert (outcome.stdout, outcome.stderr, report.level) == (b"seen\ngiven\n", b"", "full")


async def test_a_place_that_cannot_be_shown_is_told(sandbox: BubblewrapExecutor, place: Place) -> None:
    for broken in (
        msgspec.structs.replace(place, toolchain=(Path("/"),)),
        msgspec.structs.replace(place, toolchain=(Path("/etc"),)),
        msgspec.structs.replace(place, toolchain=(Path("/no/such/prefix"),)),
        msgspec.structs.replace(place, toolchain=(Path("relative"),)),
        msgspec.structs.replace(place, git_dir=place.tree / "none"),
        msgspec.structs.replace(place, objects=place.tree / "none"),
        msgspec.structs.replace(place, mounts=(Mount(source=place.tree, at="/usr/lib"),)),
        msgspec.structs.replace(place, mounts=(Mount(source=place.tree, at="/repo/.git/hooks"),)),
        msgspec.structs.replace(place, mounts=(Mount(source=place.tree, at="/data/../etc"),)),
        msgspec.structs.replace(place, mounts=(Mount(source=place.tree / "none", at="/data"),)),
    ):
        with pytest.raises(ExecutorUnavailable):
            await sandbox.run(broken, Command(argv=("true",)))


def test_an_executor_is_found_by_its_registered_name() -> None:
    if "local" in executor_names():  # A checkout that was not installed has no entry points.
        assert isinstance(load_executor("local"), LocalExecutor)
    with pytest.raises(ExecutorUnavailable, match="there is no executor named nope; registered: "):
        load_executor("nope")


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("bwrap: No permissions to create new namespace", "kernel.unprivileged_userns_clone"),
        ("bwrap: setting up uid map: Permission denied", "apparmor_restrict_unprivileged_userns"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "systempaths=unconfined"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "AppArmor"),
        ("bwrap: Unknown option --perms", "0.8.0"),
        ("something new", "bwrap --ro-bind / / true"),
    ],
)
def test_the_message_of_bubblewrap_leads_to_a_remedy(said: str, remedy: str) -> None:
    assert remedy in remedy_for(said)
