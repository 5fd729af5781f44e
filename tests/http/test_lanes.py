"""Leasing a lane over HTTP: hold the request until there is news, never longer than the lease."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pushpals.protocol.commands import LeaseLane, SetLaneMode
from pushpals.protocol.errors import Conflict, LeaseLost
from pushpals.testing.site import RunningSite

LEASE = LeaseLane(lane="repo:main", holder="p1", repository="repo", branch="main")


def ask(**changes: Any) -> LeaseLane:
    fields = {name: getattr(LEASE, name) for name in LEASE.__struct_fields__}
    return LeaseLane(**{**fields, **changes})


async def test_a_lane_is_held_by_one_and_kept_with_its_fence(site: RunningSite) -> None:
    pusher = await site.client("pusher")
    first = await pusher.lease_lane(LEASE)
    kept = await pusher.lease_lane(ask(fence=first.lane.fence))
    with pytest.raises(Conflict) as caught:
        await pusher.lease_lane(ask(holder="p2"))
    with pytest.raises(LeaseLost):
        await pusher.lease_lane(ask(fence=first.lane.fence + 7))

    assert first.lane.fence == kept.lane.fence == 1
    assert caught.value.code == "lane.held"


async def test_a_request_that_has_seen_everything_waits_for_news(site: RunningSite) -> None:
    pusher, operator = await site.client("pusher"), await site.client()
    work = await pusher.lease_lane(LEASE)
    waiting = asyncio.create_task(pusher.lease_lane(ask(fence=work.lane.fence, seen=work.version, wait_s=15)))
    async with asyncio.timeout(10):
        while site.service.site._working == 0:  # noqa: ASYNC110 - the request is on its way
            await asyncio.sleep(0.001)
    await operator.set_lane_mode(SetLaneMode(lane="repo:main", mode="paused", cause="lunch"))
    news = await waiting

    assert (news.lane.mode, news.lane.fence) == ("paused", work.lane.fence)
    assert news.version != work.version


async def test_without_news_the_answer_is_the_same_after_the_wait(site: RunningSite) -> None:
    pusher = await site.client("pusher")
    work = await pusher.lease_lane(LEASE)
    same = await pusher.lease_lane(ask(fence=work.lane.fence, seen=work.version, wait_s=0.05))

    assert (same.version, same.lane.fence) == (work.version, work.lane.fence)
