"""The feed: shared batches, joining without loss, memory of the recent past, waiting without polling."""

from __future__ import annotations

import asyncio

from pushpals.hub import feed as module
from pushpals.hub.feed import Batch, Feed
from pushpals.store.base import StoredEvent


def event(cursor: int, *, session: str = "dev", kind: str = "message", size: int = 10) -> StoredEvent:
    return StoredEvent(session_id=session, cursor=cursor, type=kind, data=b"x" * size)


class Notes:
    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def deliver(self, batch: Batch) -> None:
        self.batches.append(batch)

    @property
    def cursors(self) -> list[int]:
        return [event.cursor for batch in self.batches for event in batch.events]


def test_a_commit_reaches_every_follower_of_its_session_as_the_same_object() -> None:
    feed, one, two, other = Feed(), Notes(), Notes(), Notes()
    assert feed.join("dev", one, 0)
    assert feed.join("dev", two, 0)
    assert feed.join("docs", other, 0)

    feed.publish([event(1), event(1, session="docs"), event(2)])

    assert one.cursors == two.cursors == [1, 2]
    assert one.batches[0] is two.batches[0]
    assert other.cursors == [1]


def test_an_encoding_of_a_batch_is_made_once() -> None:
    batch, made = Batch("dev", [event(1), event(2)]), []

    def encode(events: object) -> bytes:
        made.append(events)
        return b"encoded"

    assert batch.once("sse", encode) is batch.once("sse", encode)
    assert len(made) == 1


def test_a_follower_that_has_not_read_what_was_published_may_not_join_yet() -> None:
    feed, late = Feed(), Notes()
    feed.publish([event(1), event(2)])

    assert not feed.join("dev", late, 1)
    assert feed.join("dev", late, 2)
    feed.publish([event(3)])

    assert late.cursors == [3]


def test_a_follower_that_left_hears_nothing_and_may_leave_twice() -> None:
    feed, gone = Feed(), Notes()
    feed.join("dev", gone, 0)
    feed.leave("dev", gone)
    feed.leave("dev", gone)

    feed.publish([event(1)])

    assert gone.batches == []


def test_a_follower_that_raises_is_dropped_and_the_others_go_on() -> None:
    class Broken:
        def deliver(self, batch: Batch) -> None:
            raise RuntimeError("broken")

    feed, fine = Feed(), Notes()
    feed.join("dev", Broken(), 0)
    feed.join("dev", fine, 0)

    feed.publish([event(1)])
    feed.publish([event(2)])

    assert fine.cursors == [1, 2]


def test_the_recent_past_is_answered_from_memory_as_far_as_it_reaches() -> None:
    feed = Feed()
    feed.publish([event(cursor) for cursor in range(1, 1_501)])

    assert feed.recent("dev", 499) is None
    assert [e.cursor for e in feed.recent("dev", 500, 3) or []] == [501, 502, 503]
    assert feed.recent("dev", 1_500) == []
    assert feed.recent("unknown", 0) is None


def test_memory_is_bounded_in_bytes_and_in_sessions() -> None:
    feed = Feed()
    feed.publish([event(cursor, size=1024 * 1024) for cursor in range(1, 9)])
    feed.publish([event(1, session=f"s{n}") for n in range(module.KEPT_SESSIONS)])

    assert feed.recent("dev", 7) is None, "the oldest session was forgotten"
    assert len(feed._recent) == module.KEPT_SESSIONS

    big = Feed()
    big.publish([event(cursor, size=1024 * 1024) for cursor in range(1, 9)])
    assert big.recent("dev", 3) is None
    assert [e.cursor for e in big.recent("dev", 4) or []] == [5, 6, 7, 8]


async def test_a_change_between_the_look_and_the_wait_is_not_lost() -> None:
    topics = Feed().topics
    ticket = topics.ticket("jobs")
    topics.notify("jobs")

    assert await topics.changed("jobs", ticket, 60)


async def test_waiters_are_woken_by_events_and_only_by_their_own_topic() -> None:
    feed = Feed()
    jobs = asyncio.create_task(feed.topics.changed("jobs", 0, 60))
    lanes = asyncio.create_task(feed.topics.changed("lanes", 0, 60))
    await asyncio.sleep(0)

    feed.publish([event(1, kind="job_enqueued")])
    assert await jobs
    assert not lanes.done()

    feed.topics.notify_all()
    assert await lanes


async def test_waking_everybody_reaches_a_wait_that_is_about_to_begin() -> None:
    topics = Feed().topics
    ticket = topics.ticket("jobs")
    topics.notify_all()

    assert await topics.changed("jobs", ticket, 60)


async def test_a_wait_that_times_out_says_so_and_leaves_nothing_behind() -> None:
    topics = Feed().topics

    assert not await topics.changed("jobs", 0, 0.001)
    assert not await topics.changed("jobs", 0, 0)
    assert topics._waiting == {"jobs": set()}
