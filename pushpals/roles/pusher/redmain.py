"""What made main red: the first commit on its way from the last known green one that fails its checks.

A search by halves over main's own line of commits, in which every landing is one commit. What was tested
before is not run again, so that usually two or three runs are enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from pushpals.client import HubClient
from pushpals.protocol.errors import NotFound
from pushpals.protocol.jobs import CheckSpec
from pushpals.roles.pusher.checking import Checker
from pushpals.work.git import many
from pushpals.work.git.commits import CommitInfo
from pushpals.work.git.names import Sha
from pushpals.work.git.repo import BareRepo
from pushpals.work.landing.message import trailer

LOOK_BACK = 64
"""Commits of main that are looked at, at most."""


async def find_culprit(
    repo: BareRepo, hub: HubClient, checker: Checker, head: str, checks: Sequence[CheckSpec]
) -> dict[str, str] | None:
    """``commit``, ``subject``, ``author``; ``landing``, if it landed here. None without a known green one."""
    result = await repo.run(["rev-list", "--first-parent", f"--max-count={LOOK_BACK}", head], read_only=True)
    line = [Sha(sha) for sha in result.stdout.decode("ascii").split()]
    infos = await many.commits(repo, line)
    green = next((at for at, sha in enumerate(line) if checker.is_known_green(infos[sha].tree, checks)), None)
    if not green:
        return None
    red = 0
    while green - red > 1:
        middle = (green + red) // 2
        sha = line[middle]
        if (await checker.check(sha, infos[sha].tree, checks)).green:
            green = middle
        else:
            red = middle
    return await _named(hub, infos[line[red]])


async def _named(hub: HubClient, info: CommitInfo) -> dict[str, str]:
    found = {"commit": info.sha, "subject": info.subject[:200], "author": info.author.name[:100]}
    job = trailer(info.message, "Job-Id")
    if job is not None:
        try:
            page = await hub.landings(job_id=job, limit=20)
            landed = [x for x in page.items if x.state == "landed"]
            landing = landed[0] if landed else (await hub.landing(job)).landing
            found["landing"] = landing.id
        except NotFound:
            pass
    return found
