"""A desk to run notebooks at: a hub with the seeded day, a live team on the demo's repository, and the files
that ``pushpals up`` would leave, so that kernels and command lines find it by themselves.

``python -m pushpals.testing.desk FOLDER`` serves until its standard input ends, and says where in one line
of JSON. The clock begins where the seeded day ended and ids are counted, so the same cells give the same
outputs, apart from seconds and commit ids. Sessions: ``ops`` (the day; nobody works there) and ``dev``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from pushpals.hub import tokens
from pushpals.hub.hub import SYSTEM
from pushpals.protocol.commands import NewToken
from pushpals.protocol.records import Role
from pushpals.testing import seed
from pushpals.testing.clock import CountedIds
from pushpals.testing.repos import make_demo_repository
from pushpals.testing.town import Town

STEP_S = 0.05
READY_S = 60.0


async def serve(root: Path) -> None:
    """Run a desk in ``root`` until standard input ends."""
    ids = CountedIds()
    data = root / "hub"
    data.mkdir(parents=True)
    noon = (await seed.write(data / "hub.db", ids)).now
    began = time.monotonic()

    def clock() -> datetime:
        return noon + timedelta(seconds=time.monotonic() - began)

    repository = make_demo_repository(root / "parcels")
    async with Town.open(root, repository=repository, clock=clock, new_id=ids, upkeep=False) as town:
        await _leave_files(town, data)
        place = {"url": town.service.url, "data": str(data), "repository": str(town.checkout)}
        print(json.dumps(place), flush=True)
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read), name="standard input")
        while not ended.done():
            await town.read()
            await town.work()
            await town.pusher.round()
            await town.read()
            await asyncio.wait({ended}, timeout=STEP_S)


async def _leave_files(town: Town, data: Path) -> None:
    """As ``pushpals up`` does: a token for each role that people use, and where the hub listens."""
    roles: tuple[Role, ...] = ("operator", "notebook")
    (data / "tokens").mkdir(mode=0o700)
    for role in roles:
        made = await town.service.hub.run(tokens.make, NewToken(role=role, label="ada"), actor=SYSTEM)
        (data / "tokens" / role).write_text(made.secret, "ascii")
    running = {
        "url": town.service.url,
        "started": "2026-01-31T09:00:00.000Z",
        "repository": str(town.checkout),
        "sessionId": town.session,
        "session_id": town.session,
        "pids": {"hub": os.getpid()},
        "ready": True,
    }
    (data / "run.json").write_text(json.dumps(running), "utf-8")


@contextlib.contextmanager
def desk(root: Path) -> Iterator[dict[str, str]]:
    """A desk in a process of its own, and the variables by which notebooks find it.

    Raises ``RuntimeError`` when it does not start, or when it logged an error of its own.
    """
    log = root / "desk.log"
    root.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "pushpals.testing.desk", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=err,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the desk did not start: {log.read_text('utf-8')[-2_000:]}")
        yield environment(json.loads(line))
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()
    if "Traceback" in log.read_text("utf-8", "replace"):
        raise RuntimeError(f"the desk met an error of its own: {log.read_text('utf-8')[-4_000:]}")


def environment(place: Mapping[str, str]) -> dict[str, str]:
    """What a kernel needs to find the desk, and to find the same programs as the one that started it."""
    root = str(Path(__file__).parents[2])
    return {
        "PUSHPALS_DATA_DIR": place["data"],
        "PUSHPALS_REPOSITORY": place["repository"],
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": root,
        "NO_COLOR": "1",
        "TZ": "UTC",
        "COLUMNS": "100",
    }


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
