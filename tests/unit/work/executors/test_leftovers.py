"""What a worker that was killed with SIGKILL leaves running, and who ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pushpals.testing.contracts.executor import HIDDEN_DAEMON, PATIENCE_S, alive
from pushpals.work.executors import proctree, records
from pushpals.work.executors.base import Place
from pushpals.work.executors.local import LocalExecutor
from pushpals.work.executors.records import Record

OWNER = """
import asyncio, sys
from pathlib import Path
from pushpals.work.executors.base import Command, Place
from pushpals.work.executors.bubblewrap import BubblewrapExecutor
from pushpals.work.executors.local import LocalExecutor

async def main(kind, tree, record_dir, script):
    executor = LocalExecutor(record_dir=Path(record_dir)) if kind == "local" else BubblewrapExecutor()
    command = Command(argv=("sh", "-c", script), env={"PATH": "/usr/bin:/bin"})
    def heard(stream, chunk):
        sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
    await executor.run(Place(tree=Path(tree)), command, heard)

asyncio.run(main(*sys.argv[1:]))
"""


@contextlib.contextmanager
def killed_owner(kind: str, place: Place, record_dir: Path, script: str) -> Iterator[None]:
    """A worker of its own that ran ``script`` until it said ``ready`` and was then killed."""
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), kind, str(place.tree), str(record_dir), script],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert owner.stdout is not None
    with owner.stdout:
        assert b"ready" in owner.stdout.readline()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        yield


async def ended(place: Place) -> None:
    """Returns when nobody holds the pulse any more: waits for the lock itself, not for time."""
    await asyncio.wait_for(
        (await asyncio.create_subprocess_exec("flock", str(place.tree / "pulse"), "true")).wait(), PATIENCE_S
    )


async def test_a_sandboxed_tree_dies_with_its_owner(
    sandboxed_machine: None, place: Place, tmp_path: Path
) -> None:
    with killed_owner("bubblewrap", place, tmp_path, HIDDEN_DAEMON + "sleep 600"):
        await ended(place)


async def test_the_first_process_of_a_local_command_dies_with_its_owner(place: Place, tmp_path: Path) -> None:
    script = "exec flock pulse sh -c 'echo ready; sleep 600'"
    with killed_owner("local", place, tmp_path / "records", script):
        record = next((tmp_path / "records").glob("*.json"))
        leader = msgspec.json.decode(record.read_bytes(), type=Record).leader
        assert await proctree.gone(leader, PATIENCE_S)
        await LocalExecutor.sweep(tmp_path / "records")


async def test_a_sweep_ends_what_a_killed_owner_left_and_takes_its_records_away(
    place: Place, tmp_path: Path
) -> None:
    record_dir = tmp_path / "records"
    with killed_owner("local", place, record_dir, HIDDEN_DAEMON + "sleep 600"):
        assert alive(place)
        assert await LocalExecutor.sweep(record_dir) == 1
        await ended(place)
    assert list(record_dir.iterdir()) == []
    assert await LocalExecutor.sweep(record_dir) == 0


async def test_a_sweep_leaves_alone_what_an_owner_still_watches(place: Place, tmp_path: Path) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "600")
    written = records.write(tmp_path, leader=bystander.pid, mark=proctree.new_mark())
    assert written is not None
    assert await LocalExecutor.sweep(tmp_path) == 0
    assert written.exists()
    bystander.kill()
    await bystander.wait()


@pytest.mark.parametrize(
    "change",
    [
        {"leader_start": 1},
        {"boot": "another boot"},
        {"leader": 2**22 + 5},
    ],
)
async def test_a_process_that_reuses_a_pid_is_never_hit(tmp_path: Path, change: dict[str, object]) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "600")
    written = records.write(tmp_path, leader=bystander.pid, mark=proctree.new_mark())
    assert written is not None
    record = msgspec.json.decode(written.read_bytes(), type=Record)
    stale = msgspec.structs.replace(record, owner_start=1, **change)
    written.write_bytes(msgspec.json.encode(stale))
    assert await LocalExecutor.sweep(tmp_path) == 1
    assert proctree.started_at(bystander.pid, record.leader_start)
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()


async def test_files_that_are_not_records_are_left_alone(tmp_path: Path) -> None:
    for name, content in {"a.json": b"{}", "b.json": b"\xff", "c.txt": b"x"}.items():
        (tmp_path / name).write_bytes(content)
    assert await LocalExecutor.sweep(tmp_path) == 0
    assert await LocalExecutor.sweep(tmp_path / "missing") == 0
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json", "c.txt"]


def test_marks_of_nested_owners_can_be_set_and_differ() -> None:
    script = """
    import resource
    from pushpals.work.executors.proctree import MARK_BASE, new_mark
    outer = new_mark()
    resource.setrlimit(resource.RLIMIT_RTTIME, (outer, outer))
    inner = new_mark()
    assert MARK_BASE <= inner < outer, (inner, outer)
    resource.setrlimit(resource.RLIMIT_RTTIME, (inner, inner))
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
