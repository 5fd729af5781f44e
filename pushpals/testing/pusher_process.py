"""A serial-pusher as a process of its own, with checks that read a file, that ends itself by SIGKILL.

    python -m pushpals.testing.pusher_process '{"url": …, "token": …, "remote": …, "data": …, "die": …}'

``die`` names a step and a moment: ``before`` the step's call, ``during`` it (the call has begun; what it
started lives on), or ``after`` it, when its answer has come and nobody has heard of it. Without ``die`` the
process goes on until it is told to stop. Nothing is cleaned up by a SIGKILL: that is the point.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import msgspec

from pushpals.client import HubClient
from pushpals.protocol.jobs import CheckSpec, Evidence
from pushpals.roles.pusher import PusherSettings, SerialPusher
from pushpals.testing.yard import FileChecks
from pushpals.work.git.remotes import parse_remote
from pushpals.work.git.repo import BareRepo

STEPS: dict[str, tuple[str, int]] = {
    "lease": ("lease_lane", 1),
    "fetch of main": ("fetch", 1),
    "fetch of the heads": ("fetch", 2),
    "look at the branches": ("ls_remote", 1),
    "published": ("move_landings", 1),
    "look at the heads": ("ls_remote", 2),
    "prepared": ("move_landings", 2),
    "compose": ("merge-tree", 1),
    "checking": ("move_landings", 3),
    "check": ("check", 1),
    "intent": ("move_landings", 4),
    "push": ("push", 1),
    "read back": ("ls_remote", 3),
    "landed": ("move_landings", 5),
}
"""Steps of a landing's way by name: the call that makes each, and which of its kind."""

When = Literal["before", "during", "after"]


class Die(msgspec.Struct, frozen=True, kw_only=True):
    """Where to die. ``after_s``: how long into the call, for ``during``."""

    step: str
    when: When
    after_s: float = 0.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is told."""

    url: str
    token: str
    remote: str
    data: str
    runs: str
    """A file to which every run of a check adds two lines."""
    die: Die | None = None
    holder: str = "pusher-1"
    slots: int = 1


class Reaper:
    """Counts calls and kills this process at the one that it was told."""

    def __init__(self, die: Die | None):
        self._die = die
        self._at = STEPS[die.step] if die else ("", 0)
        self._seen: Counter[str] = Counter()

    async def around(self, name: str, call: Any) -> Any:
        self._seen[name] += 1
        if self._die is None or (name, self._seen[name]) != self._at:
            return await call()
        if self._die.when == "before":
            _die()
        if self._die.when == "during":
            asyncio.get_running_loop().call_later(self._die.after_s, _die)
        answer = await call()
        _die()
        return answer


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Watched:
    """``thing``, with its calls seen by a reaper. ``run`` counts by git's own command."""

    def __init__(self, thing: Any, reaper: Reaper, names: frozenset[str]):
        self._thing = thing
        self._reaper = reaper
        self._names = names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if name not in self._names:
            return found

        async def call(*args: Any, **options: Any) -> Any:
            counted = str(args[0][0]) if name == "run" else name
            return await self._reaper.around(counted, lambda: found(*args, **options))

        return call


class Checks(FileChecks):
    """Writes down each run: when it began, and when it had an answer."""

    def __init__(self, repo: BareRepo, reaper: Reaper, log: Path):
        super().__init__(repo)
        self._reaper = reaper
        self._log = log

    async def run(self, commit: str, check: CheckSpec) -> Evidence:
        async def call() -> Evidence:
            found = await super(Checks, self).run(commit, check)
            self._write(f"end {found.tree} {found.verdict}")
            return found

        self._write(f"begin {commit}")
        answer: Evidence = await self._reaper.around("check", call)
        return answer

    def _write(self, line: str) -> None:
        with self._log.open("a", encoding="ascii") as log:
            log.write(line + "\n")


async def main(options: Options) -> None:
    """Step until killed or told to stop."""
    data = Path(options.data)
    reaper = Reaper(options.die)
    repo = await BareRepo.init(data / "pusher.git")
    async with repo.locked("pusher", wait_s=10.0), HubClient(options.url, options.token) as client:
        repo.clear_stale_locks()
        watched: Any = Watched(repo, reaper, frozenset({"fetch", "ls_remote", "push", "run"}))
        hub: Any = Watched(client, reaper, frozenset({"lease_lane", "move_landings"}))
        settings = PusherSettings(
            repository="demo",
            branch="main",
            remote=parse_remote(options.remote),
            data_dir=data,
            holder=options.holder,
            wait_s=5.0,
            slots=options.slots,
        )
        pusher = SerialPusher(hub, settings, watched, Checks(repo, reaper, Path(options.runs)))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, pusher.stop)
        while not pusher.stopping.is_set():
            step = asyncio.create_task(pusher.step())
            ending = asyncio.create_task(pusher.stopping.wait())
            await asyncio.wait({step, ending}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            if not step.done():
                step.cancel()
            await asyncio.gather(step, ending, return_exceptions=True)
            if step.done() and not step.cancelled() and (error := step.exception()):
                raise error


if __name__ == "__main__":
    told = msgspec.json.decode(sys.argv[1], type=Options)
    Path(told.data).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(told))
