"""Kill the pusher at every point of its push, and see that recovery ends with one landing.

The points are real: hooks of the remote stop the push inside, and tell when it is there. Killed is either
the pusher alone (its git goes on, as it would after a crash of the daemon) or everything that works on the
push, git on the other side included (as in a power cut with a remote on the same machine).
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psutil
import pytest

from pushpals.work.landing.push import Intent, Landed, NotPushed, RemoteRefused, land, recover

from .conftest import TARGET, Stage

PUSHER = """
import asyncio, pathlib, sys
import msgspec
from pushpals.work.git.remotes import parse_remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.landing.push import Intent, land

async def main():
    repo = await BareRepo.init(pathlib.Path(sys.argv[1]))
    intent = msgspec.json.decode(pathlib.Path(sys.argv[3]).read_bytes(), type=Intent)
    print("ready", flush=True)
    sys.stdin.readline()
    await land(repo, parse_remote(sys.argv[2]), intent)
    print("landed", flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""

HOOKS = {
    "pre-receive": "pre-receive",
    "update": "update",
    "prepared": "reference-transaction",
    "committed": "reference-transaction",
    "post-receive": "post-receive",
}


def stop_at(stage: Stage, point: str, reached: Path, release: Path) -> None:
    """A hook that says that the push is here, and waits. It stops once, for the first landing only."""
    os.mkfifo(reached)
    os.mkfifo(release)
    path = stage.upstream.path / "hooks" / HOOKS[point]
    path.parent.mkdir(exist_ok=True)
    only = f'[ "$1" = {point} ] || exit 0\n' if HOOKS[point] == "reference-transaction" else ""
    wait = f"mkdir {reached}.once 2>/dev/null || exit 0\necho here > {reached}\nread x < {release}\n"
    path.write_text(f"#!/bin/sh\n{only}{wait}")
    path.chmod(0o755)


@contextlib.asynccontextmanager
async def pusher(stage: Stage, intent: Intent, store: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A pusher of its own process, ready to land the stored intent at the next line of its input."""
    await asyncio.to_thread(store.write_bytes, msgspec.json.encode(intent))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PUSHER, str(stage.repo.path), str(stage.upstream.path), str(store),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        kill_everything(process.pid)
        await process.communicate()


def kill_everything(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        everyone = psutil.Process(pid).children(recursive=True)
        for one in [psutil.Process(pid), *everyone]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(everyone, timeout=10)


def go(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go\n")


async def finish(stage: Stage, intent: Intent) -> Landed:
    """What a restarted pusher does with an intent that it finds."""
    for _ in range(200):
        outcome = await recover(stage.repo, stage.remote, intent)
        if isinstance(outcome, NotPushed):
            await land(stage.repo, stage.remote, intent)
            continue
        assert isinstance(outcome, Landed), outcome
        return outcome
    raise AssertionError("the push did not come to an end")


def landed_exactly_once(stage: Stage, intent: Intent) -> None:
    assert stage.upstream.refs() == {TARGET: intent.new, "refs/pushpals/landed/j": intent.new}
    assert stage.upstream.git("rev-list", "--count", "--first-parent", f"{intent.old}..main") == "1"
    assert list(stage.upstream.path.rglob("*.lock")) == []
    stage.upstream.git("fsck", "--no-dangling")


async def test_killed_before_the_push(stage: Stage, tmp_path: Path) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    async with pusher(stage, intent, tmp_path / "intent") as process:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert await recover(stage.repo, stage.remote, intent) == NotPushed()
    assert await finish(stage, intent) == Landed(at=intent.new)
    landed_exactly_once(stage, intent)


async def test_killed_after_the_push_before_anything_is_written_down(stage: Stage, tmp_path: Path) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    async with pusher(stage, intent, tmp_path / "intent") as process:
        go(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"landed\n"
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert await recover(stage.repo, stage.remote, intent) == Landed(at=intent.new)
    landed_exactly_once(stage, intent)


@pytest.mark.parametrize("point", list(HOOKS))
async def test_the_pusher_alone_is_killed_inside_the_push(stage: Stage, tmp_path: Path, point: str) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    stop_at(stage, point, tmp_path / "reached", tmp_path / "release")
    async with pusher(stage, intent, tmp_path / "intent") as process:
        go(process)
        await asyncio.to_thread((tmp_path / "reached").read_text)
        orphans = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        # Its git lives on and is let go while the restarted pusher is at work on the same intent.
        await asyncio.to_thread((tmp_path / "release").write_text, "go\n")
        assert await finish(stage, intent) == Landed(at=intent.new)
        psutil.wait_procs(orphans, timeout=10)
    landed_exactly_once(stage, intent)


@pytest.mark.parametrize("point", ["pre-receive", "update", "committed", "post-receive"])
async def test_everything_is_killed_inside_the_push(stage: Stage, tmp_path: Path, point: str) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    stop_at(stage, point, tmp_path / "reached", tmp_path / "release")
    async with pusher(stage, intent, tmp_path / "intent") as process:
        go(process)
        await asyncio.to_thread((tmp_path / "reached").read_text)
        kill_everything(process.pid)
    assert await finish(stage, intent) == Landed(at=intent.new)
    landed_exactly_once(stage, intent)


async def test_a_remote_that_died_holding_its_locks_refuses_until_they_are_removed(
    stage: Stage, tmp_path: Path
) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    stop_at(stage, "prepared", tmp_path / "reached", tmp_path / "release")
    async with pusher(stage, intent, tmp_path / "intent") as process:
        go(process)
        await asyncio.to_thread((tmp_path / "reached").read_text)
        kill_everything(process.pid)
    locks = list(stage.upstream.path.rglob("*.lock"))
    assert locks
    assert await recover(stage.repo, stage.remote, intent) == NotPushed()
    refused = await land(stage.repo, stage.remote, intent)
    assert isinstance(refused, RemoteRefused)
    assert refused.kind == "locked"
    for lock in locks:
        lock.unlink()
    assert await finish(stage, intent) == Landed(at=intent.new)
    landed_exactly_once(stage, intent)


@pytest.mark.parametrize("seed", range(20))
async def test_killed_at_any_moment(stage: Stage, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    intent = await stage.intent("j", {"a.txt": f"{seed}\n"})
    async with pusher(stage, intent, tmp_path / "intent") as process:
        go(process)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0.0, 0.12)):
                await process.wait()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert await finish(stage, intent) == Landed(at=intent.new)
    landed_exactly_once(stage, intent)
