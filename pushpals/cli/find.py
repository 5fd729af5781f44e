"""From what a person typed to the one record that it means. Unique beginnings of ids are accepted."""

from __future__ import annotations

from pushpals.cli.app import pick
from pushpals.cli.errors import NEGATIVE, Failed
from pushpals.client import HubClient
from pushpals.protocol.approvals import Approval
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing, Lane

_ID_LENGTH = 26


def is_whole(text: str) -> bool:
    """Whether the text can only be a whole id."""
    return len(text.partition("-")[2]) == _ID_LENGTH


async def find_job(hub: HubClient, text: str) -> Job:
    """The job whose id is ``text`` or begins with it."""
    if is_whole(text):
        return (await hub.job(text)).job
    known: list[str] = []
    after: str | None = None
    while True:
        page = await hub.jobs(limit=500, after=after)
        known += [job.id for job in page.items]
        if page.next is None:
            break
        after = page.next
    return (await hub.job(pick("job", text, known))).job


async def find_approval(hub: HubClient, text: str | None) -> Approval:
    """The approval named, or the only open one."""
    if text is not None and is_whole(text):
        return await hub.approval(text)
    if text is not None:
        every = (await hub.approvals(state="")).items
        return await hub.approval(pick("approval", text, [one.id for one in every]))
    waiting = (await hub.approvals(state="open")).items
    if len(waiting) == 1:
        return await hub.approval(waiting[0].id)
    if not waiting:
        raise Failed("nothing waits for your word", NEGATIVE, "nothing_open")
    raise Failed(
        f"{len(waiting)} approvals are open; name one of: {', '.join(one.id[:12] for one in waiting)}",
        NEGATIVE, "ambiguous",
    )  # fmt: skip


async def find_landing(hub: HubClient, text: str) -> Landing:
    if is_whole(text):
        return (await hub.landing(text)).landing
    every = (await hub.landings(limit=500)).items
    return (await hub.landing(pick("landing", text, [one.id for one in every]))).landing


async def find_lane(hub: HubClient, text: str | None) -> Lane:
    """The lane named, or the only one there is."""
    lanes = {lane.id: lane for lane in (await hub.lanes()).items}
    if text is not None:
        return lanes[pick("queue", text, list(lanes))]
    if len(lanes) == 1:
        return next(iter(lanes.values()))
    if not lanes:
        raise Failed(
            "there is no merge queue yet; it begins when a pusher takes its branch", NEGATIVE, "no_lane"
        )
    raise Failed(
        f"there are {len(lanes)} queues; name one of: {', '.join(sorted(lanes))}", NEGATIVE, "ambiguous"
    )
