"""What every store must do. Subclass :class:`StoreContract` and give it a fixture ``opens``::

class TestMyStore(StoreContract):
    @pytest.fixture
    def opens(self) -> OpenStore:
        return my_package.open_store
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from pushpals.protocol.approvals import Approval, RememberedRule
from pushpals.protocol.errors import NotFound
from pushpals.protocol.events import Done, JobLog, Log, Message
from pushpals.protocol.jobs import Attempt, Job, JobState, Wire
from pushpals.protocol.landings import Landing, Lane
from pushpals.protocol.records import Actor, Mark, Repository, Session, StoredArtifact, Token, Worker
from pushpals.protocol.wire import read_event
from pushpals.store.base import (
    ANSWERS_KEPT_S,
    MAX_FIND,
    RECORDS,
    Before,
    Head,
    OpenStore,
    Remembered,
    Store,
    StoreBusy,
    StoreClosed,
    StoredEvent,
    Tx,
)
from pushpals.store.chain import genesis, link

R = TypeVar("R", bound=Wire)
T = TypeVar("T")

NOW = datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)
STAMP = "2026-01-31T12:00:00.123Z"
OPERATOR = Actor(role="operator", token_id="token-1", label="ada")
SESSION = Session(id="s", created_at=STAMP, label="a session", epoch="e1")


class Oops(Exception):
    pass


class Bench:
    """A store with what a test needs around it."""

    def __init__(self) -> None:
        self.committed: list[StoredEvent] = []
        self._ids = count(1)
        self.store: Store

    def new_id(self, prefix: str) -> str:
        return f"{prefix}-{next(self._ids)}"

    async def open(self, opens: OpenStore, path: Path, **options: Any) -> Store:
        self.store = await opens(path, on_commit=self.committed.extend, new_id=self.new_id, **options)
        return self.store

    async def write(self, work: Callable[[Tx], T], *, now: datetime = NOW, actor: Actor = OPERATOR) -> T:
        return await self.store.write(work, actor=actor, now=now)

    async def put(self, *records: Wire) -> None:
        def work(tx: Tx) -> None:
            for record in records:
                tx.put(record)

        await self.write(work)

    async def say(self, *texts: str, session: str = "s") -> None:
        await self.write(lambda tx: [tx.append(session, Message(text=text)) for text in texts])


def job(id: str, state: JobState = "pending", **fields: Any) -> Job:
    fields = {
        "session_id": "s",
        "task_id": "t",
        "kind": "look",
        "params": {},
        "created_at": STAMP,
        "updated_at": STAMP,
    } | fields
    return Job(id=id, state=state, **fields)


def one_of_each() -> list[Wire]:
    """A record of every type, with text and structure that a careless engine would spoil."""
    return [
        SESSION,
        job("job-1", params={"text": "ü\u2028 \"'; DROP\n\x01", "deep": {"list": [1, 2.5, None, True]}}),
        Attempt(id="job-1/1", job_id="job-1", attempt=1, worker_id="w", started_at=STAMP),
        Approval(
            id="approval-1", session_id="s", kind="land", action={"b": 1, "a": 2}, action_hash="0" * 64,
            summary="land", state="open", requested_by="worker:w", created_at=STAMP, expires_at=STAMP,
        ),
        Landing(
            id="landing-1", lane="r:main", session_id="s", state="queued", head="1" * 40, base="2" * 40,
            branch="agent/w/job-1", target="main", title="A title", created_at=STAMP, updated_at=STAMP,
        ),
        Lane(id="r:main", repository="r", branch="main"),
        Repository(id="r", name="r", upstream="somewhere", branch="main"),
        Worker(id="w", state="idle", registered_at=STAMP, seen_at=STAMP),
        Token(id="token-1", role="operator", digest="0" * 64, created_at=STAMP),
        StoredArtifact(
            sha256="a" * 64, size=1, kind="patch", media_type="text/plain", created_at=STAMP, job_id="job-1"
        ),
        Mark(id="s/buddy", session_id="s", reader="buddy", cursor=3, updated_at=STAMP, data={"a": [1]}),
        RememberedRule(
            id="rule-1", verdict="allow", shape={"argv": ["true"]}, shape_hash="0" * 64, label="always true",
            created_at=STAMP, created_by="client:ada",
        ),
    ]  # fmt: skip


def reading(kind: type[R], key: str) -> Callable[[Tx], R | None]:
    return lambda tx: tx.get(kind, key)


def ids(records: Sequence[Any]) -> list[str]:
    return [record.id for record in records]


class StoreContract:
    """The promises of :mod:`pushpals.store.base`."""

    @pytest.fixture
    def opens(self) -> OpenStore:
        raise AssertionError("a contract suite needs a fixture `opens`")

    @pytest.fixture
    async def bench(self, opens: OpenStore, tmp_path: Path) -> AsyncIterator[Bench]:
        bench = Bench()
        await bench.open(opens, tmp_path / "hub.db")
        await bench.put(SESSION)
        yield bench
        await bench.store.close()

    # --- records ------------------------------------------------------------------------------------

    async def test_there_is_a_sample_of_every_record(self) -> None:
        assert [type(record) for record in one_of_each()] == list(RECORDS)

    async def test_every_record_comes_back_as_it_was_put(self, bench: Bench) -> None:
        records = one_of_each()
        await bench.put(*records)

        for record in records:
            kind, key = type(record), getattr(record, RECORDS[type(record)].key)
            assert await bench.store.reader.get(kind, key) == record
            assert await bench.write(reading(kind, key)) == record
            assert await bench.store.reader.find(kind) == [record]

    async def test_a_record_that_was_read_shares_nothing_with_the_kept_one(self, bench: Bench) -> None:
        original = job("job-1", params={"list": [1]})
        await bench.put(original)
        original.params["list"].append(2)
        read = await bench.store.reader.get(Job, "job-1")
        assert read is not None
        read.params["list"].append(3)
        assert await bench.store.reader.get(Job, "job-1") == job("job-1", params={"list": [1]})

    async def test_what_is_not_there_is_none(self, bench: Bench) -> None:
        for kind in RECORDS:
            if kind is not Session:
                assert await bench.store.reader.get(kind, "nothing") is None
                assert await bench.write(reading(kind, "nothing")) is None
                assert await bench.store.reader.find(kind) == []

    async def test_what_is_no_record_is_refused(self, bench: Bench) -> None:
        with pytest.raises(TypeError, match="Actor is not a record"):
            await bench.put(OPERATOR)
        with pytest.raises(TypeError, match="Actor is not a record"):
            await bench.store.reader.get(Actor, "x")

    async def test_put_replaces_and_keeps_its_place(self, bench: Bench) -> None:
        await bench.put(job("a"), job("b"), job("c"))
        await bench.put(job("a", "claimed", worker_id="w", note="changed"))
        assert await bench.store.reader.find(Job) == [
            job("a", "claimed", worker_id="w", note="changed"), job("b"), job("c"),
        ]  # fmt: skip

    async def test_a_record_deleted_and_put_again_goes_to_the_end(self, bench: Bench) -> None:
        await bench.put(job("a"), job("b"))
        await bench.write(lambda tx: tx.delete(Job, "a"))
        await bench.write(lambda tx: tx.delete(Job, "never was"))
        assert ids(await bench.store.reader.find(Job)) == ["b"]
        await bench.put(job("a"))
        assert ids(await bench.store.reader.find(Job)) == ["b", "a"]

    # --- finding ------------------------------------------------------------------------------------

    @pytest.fixture
    async def five(self, bench: Bench) -> Bench:
        await bench.put(
            job("a", "pending", priority="background", kind="fix"),
            job("b", "claimed", worker_id="w1", lease_until="2026-01-31T12:00:10.000Z"),
            job(
                "c", "claimed", worker_id="w2", lease_until="2026-01-31T12:00:05.000Z", priority="interactive"
            ),
            job("d", "completed", session_id="other", created_at="2026-01-30T00:00:00.000Z"),
            job("é'--", "pending", kind="fix"),
        )
        return bench

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ({}, ["a", "b", "c", "d", "é'--"]),
            ({"state": "pending"}, ["a", "é'--"]),
            ({"state": "no such state"}, []),
            ({"state": "' OR 1 --"}, []),
            ({"state": ("claimed", "completed")}, ["b", "c", "d"]),
            ({"state": ("claimed", "'nonsense'")}, ["b", "c"]),
            ({"state": ()}, []),
            ({"worker_id": None}, ["a", "d", "é'--"]),
            ({"worker_id": "w1"}, ["b"]),
            ({"worker_id": ("w1", None)}, ["a", "b", "d", "é'--"]),
            ({"worker_id": (None,)}, ["a", "d", "é'--"]),
            ({"worker_id": tuple(f"w{n}" for n in range(100))}, ["b", "c"]),
            ({"worker_id": (*(f"w{n}" for n in range(2, 100)), None)}, ["a", "c", "d", "é'--"]),
            ({"lease_until": Before("2026-01-31T12:00:10.000Z")}, ["c"]),
            ({"lease_until": Before("2026-01-31T12:00:10.001Z")}, ["b", "c"]),
            ({"rank": 2}, ["c"]),
            ({"rank": Before(2)}, ["a", "b", "d", "é'--"]),
            ({"rank": (0, 2)}, ["a", "c"]),
            ({"id": "é'--"}, ["é'--"]),
            ({"id": ("a", "d", "nothing")}, ["a", "d"]),
            ({"state": "pending", "kind": "fix", "rank": 1}, ["é'--"]),
            ({"session_id": "s", "state": "completed"}, []),
        ],
    )  # fmt: skip
    async def test_find_scan_and_count_filter_alike(
        self, five: Bench, where: dict[str, Any], found: list[str]
    ) -> None:
        reader = five.store.reader
        assert ids(await reader.find(Job, **where)) == found
        assert sum((await reader.count(Job, "state", **where)).values()) == len(found)
        assert await five.write(
            lambda tx: (
                ids(tx.find(Job, **where)),
                ids(list(tx.scan(Job, **where))),
                sum(tx.count(Job, "state", **where).values()),
            )
        ) == (found, found, len(found))

    @pytest.mark.parametrize(
        ("order", "found"),
        [
            (("n",), ["a", "b", "c", "d", "é'--"]),
            (("-n",), ["é'--", "d", "c", "b", "a"]),
            (("-rank", "n"), ["c", "b", "d", "é'--", "a"]),
            (("-rank",), ["c", "b", "d", "é'--", "a"]),
            (("rank", "-n"), ["a", "é'--", "d", "b", "c"]),
            (("lease_until",), ["a", "d", "é'--", "c", "b"]),
            (("-lease_until",), ["b", "c", "a", "d", "é'--"]),
            (("created_at", "-id"), ["d", "é'--", "c", "b", "a"]),
        ],
    )
    async def test_order_is_total_and_unset_values_come_first(
        self, five: Bench, order: tuple[str, ...], found: list[str]
    ) -> None:
        assert ids(await five.store.reader.find(Job, order=order)) == found
        assert await five.write(lambda tx: ids(tx.find(Job, order=order))) == found
        assert await five.write(lambda tx: ids(list(tx.scan(Job, order=order)))) == found

    async def test_limit_and_skip_cut_a_page(self, five: Bench) -> None:
        reader = five.store.reader
        assert ids(await reader.find(Job, limit=2)) == ["a", "b"]
        assert ids(await reader.find(Job, limit=2, skip=2)) == ["c", "d"]
        assert ids(await reader.find(Job, limit=2, skip=4)) == ["é'--"]
        assert ids(await reader.find(Job, limit=0)) == []
        assert ids(await reader.find(Job, limit=-1)) == []
        assert ids(await reader.find(Job, skip=10**30)) == []
        assert await five.write(lambda tx: ids(tx.find(Job, limit=1, order=("-n",)))) == ["é'--"]

    async def test_find_is_bounded_and_scan_is_not(self, bench: Bench) -> None:
        many = MAX_FIND + 5
        await bench.put(*(job(f"job-{n}") for n in range(many)))
        assert len(await bench.store.reader.find(Job, limit=10**9)) == MAX_FIND
        assert await bench.write(lambda tx: len(tx.find(Job, limit=10**9))) == MAX_FIND
        assert await bench.write(lambda tx: sum(1 for _ in tx.scan(Job))) == many

    async def test_count_groups_by_any_column(self, five: Bench) -> None:
        reader = five.store.reader
        assert await reader.count(Job, "state") == {"pending": 2, "claimed": 2, "completed": 1}
        assert await reader.count(Job, "rank", session_id="s") == {"0": 1, "1": 2, "2": 1}
        assert await reader.count(Job, "worker_id") == {"": 3, "w1": 1, "w2": 1}
        assert await reader.count(Job, "state", kind="none") == {}

    async def test_unknown_columns_are_refused(self, five: Bench) -> None:
        for call in (
            lambda tx: tx.find(Job, title="x"),
            lambda tx: tx.scan(Job, **{"1=1 --": "x"}),
            lambda tx: tx.find(Job, order=("title",)),
            lambda tx: tx.find(Job, order=("n; DROP TABLE jobs",)),
            lambda tx: tx.count(Job, "title"),
        ):
            with pytest.raises(ValueError, match="jobs are not"):
                await five.write(call)
        with pytest.raises(ValueError, match="jobs are not found by 'title'"):
            await five.store.reader.find(Job, title="x")

    async def test_a_write_sees_what_it_has_done(self, bench: Bench) -> None:
        def work(tx: Tx) -> tuple[Any, ...]:
            tx.put(job("a"))
            before = tx.find(Job, state="pending")
            tx.put(job("a", "claimed"))
            tx.append("s", Message(text="hello"))
            session = tx.get(Session, "s")
            (found,) = tx.find(Session)
            (scanned,) = tx.scan(Session)
            return ids(before), tx.find(Job, state="pending"), session == found == scanned, session

        assert await bench.write(work) == (
            ["a"], [], True, msgspec.structs.replace(SESSION, last=1),
        )  # fmt: skip

    async def test_half_a_scan_disturbs_nobody(self, five: Bench) -> None:
        def work(tx: Tx) -> Any:
            scan = tx.scan(Job)
            return next(scan).id, scan

        first, scan = await five.write(work)
        await five.put(job("f"))
        assert first == "a"
        assert ids(await five.store.reader.find(Job, limit=1, order=("-n",))) == ["f"]
        del scan

    # --- events -------------------------------------------------------------------------------------

    async def test_an_event_is_stored_as_the_envelope_that_goes_out(self, bench: Bench) -> None:
        appended = await bench.write(
            lambda tx: tx.append(
                "s", Log(level="info", message="ü\n"), to="local", correlation_id="c", turn_id="t",
                parent_id="p", trace_id="x",
            )
        )  # fmt: skip
        (event,) = await bench.store.reader.events("s")

        assert (appended.cursor, event.cursor, event.session_id, event.type) == (1, 1, "s", "log")
        assert json.loads(event.data) == {
            "protocolVersion": "0.1.0",
            "id": appended.event_id,
            "ts": STAMP,
            "sessionId": "s",
            "type": "log",
            "payload": {"level": "info", "message": "ü\n"},
            "traceId": "x",
            "from": OPERATOR.name,
            "to": "local",
            "correlationId": "c",
            "turnId": "t",
            "parentId": "p",
        }
        assert read_event(event.data, 1).payload == Log(level="info", message="ü\n")
        assert bench.committed == [event]

    async def test_from_can_be_somebody_else(self, bench: Bench) -> None:
        await bench.write(lambda tx: tx.append("s", Done(ok=True), from_="agent:local"))
        (event,) = await bench.store.reader.events("s")
        assert read_event(event.data, 1).from_ == "agent:local"

    async def test_time_and_actor_are_the_writes_own(self, bench: Bench) -> None:
        buddy = Actor(role="buddy", token_id="token-2")
        later = NOW + timedelta(hours=1)

        def work(tx: Tx) -> tuple[datetime, Actor]:
            tx.append("s", Done(ok=True))
            return tx.now, tx.actor

        assert await bench.write(work, now=later, actor=buddy) == (later, buddy)
        (event,) = await bench.store.reader.events("s")
        decoded = read_event(event.data, 1)
        assert (decoded.ts, decoded.from_) == ("2026-01-31T13:00:00.123Z", buddy.name)

    async def test_an_unknown_session_takes_no_events(self, bench: Bench) -> None:
        with pytest.raises(NotFound):
            await bench.say("hello", session="nobody")
        assert await bench.store.reader.events("nobody") == []
        assert await bench.store.reader.tail("nobody") == []
        assert await bench.store.reader.head("nobody") is None
        assert bench.committed == []

    async def test_a_session_and_its_first_events_can_be_one_write(self, bench: Bench) -> None:
        def work(tx: Tx) -> int:
            tx.put(msgspec.structs.replace(SESSION, id="new"))
            tx.append("new", Message(text="one"))
            return tx.append("new", Message(text="two")).cursor

        assert await bench.write(work) == 2
        assert [event.cursor for event in await bench.store.reader.events("new")] == [1, 2]

    async def test_cursors_count_from_one_in_each_session(self, bench: Bench) -> None:
        await bench.put(msgspec.structs.replace(SESSION, id="other"))
        await bench.say("1", "2")
        await bench.say("1", session="other")
        await bench.say("3")
        assert [(event.session_id, event.cursor) for event in bench.committed] == [
            ("s", 1), ("s", 2), ("other", 1), ("s", 3),
        ]  # fmt: skip
        assert await bench.store.reader.total_events() == 4

    async def test_last_belongs_to_the_store(self, bench: Bench) -> None:
        await bench.say("1", "2")
        await bench.put(msgspec.structs.replace(SESSION, label="renamed", last=99))
        renamed = msgspec.structs.replace(SESSION, label="renamed", last=2)
        assert await bench.store.reader.get(Session, "s") == renamed
        assert await bench.store.reader.find(Session) == [renamed]
        assert await bench.write(lambda tx: tx.get(Session, "s")) == renamed
        await bench.say("3")
        assert await bench.store.reader.find(Session) == [msgspec.structs.replace(renamed, last=3)]

    async def test_a_session_with_events_stays(self, bench: Bench) -> None:
        empty = msgspec.structs.replace(SESSION, id="empty")
        await bench.put(empty)
        await bench.say("1")
        with pytest.raises(ValueError, match="has events"):
            await bench.write(lambda tx: tx.delete(Session, "s"))
        await bench.write(lambda tx: tx.delete(Session, "empty"))
        assert ids(await bench.store.reader.find(Session)) == ["s"]
        with pytest.raises(NotFound):
            await bench.say("1", session="empty")

    async def test_a_session_deleted_and_made_again_begins_anew(self, bench: Bench) -> None:
        def work(tx: Tx) -> Head | None:
            tx.delete(Session, "s")
            tx.put(msgspec.structs.replace(SESSION, epoch="e2"))
            return tx.head("s")

        assert await bench.write(work) == Head(cursor=0, digest=genesis("s", "e2").hex())
        await bench.say("1")
        assert await bench.store.check() == []

    async def test_events_are_paged_by_cursor(self, bench: Bench) -> None:
        await bench.say(*(str(n) for n in range(1, 1_203)))
        reader = bench.store.reader

        async def cursors(**page: Any) -> list[int]:
            return [event.cursor for event in await reader.events("s", **page)]

        assert await cursors() == list(range(1, 501))
        assert await cursors(after=500, limit=3) == [501, 502, 503]
        assert await cursors(after=1_200) == [1_201, 1_202]
        assert await cursors(after=1_202) == []
        assert await cursors(after=10**30) == []
        assert await cursors(after=-5, limit=2) == [1, 2]
        assert await cursors(limit=0) == []
        assert await cursors(limit=-1) == []
        assert await cursors(limit=10**6) == list(range(1, 1_203))

    async def test_the_tail_is_the_newest_page(self, bench: Bench) -> None:
        await bench.say(*(str(n) for n in range(1, 1_203)))
        reader = bench.store.reader

        async def cursors(**page: Any) -> list[int]:
            return [event.cursor for event in await reader.tail("s", **page)]

        assert await cursors(limit=3) == [1_200, 1_201, 1_202]
        assert await cursors() == list(range(703, 1_203))
        assert await cursors(before=4) == [1, 2, 3]
        assert await cursors(before=4, limit=2) == [2, 3]
        assert await cursors(before=1) == []
        assert await cursors(before=-1) == []
        assert await cursors(before=10**30, limit=1) == [1_202]
        assert await cursors(limit=0) == []
        assert await cursors(limit=1_100) == list(range(103, 1_203))

    async def test_events_can_be_asked_for_by_type(self, bench: Bench) -> None:
        await bench.say("1", "2")
        await bench.write(lambda tx: tx.append("s", Done(ok=True)))
        await bench.say("4")
        await bench.write(lambda tx: tx.append("s", JobLog(job_id="j", stream="stdout", seq=1, line="x")))

        async def cursors(types: list[str], **page: Any) -> list[int]:
            return [event.cursor for event in await bench.store.reader.events("s", types=types, **page)]

        assert await cursors(["done"]) == [3]
        assert await cursors(["message", "job_log"]) == [1, 2, 4, 5]
        assert await cursors(["message", "job_log"], after=1, limit=2) == [2, 4]
        assert await cursors(["' OR 1"]) == []
        assert await cursors([]) == []

    async def test_the_chain_is_what_an_outsider_computes(self, bench: Bench) -> None:
        await bench.say("one", "two")
        await bench.say("three")

        digest = hashlib.sha256(b"pushpals.chain.v1\0s\0e1").digest()
        for event in await bench.store.reader.events("s"):
            digest = hashlib.sha256(digest + len(event.data).to_bytes(8, "big") + event.data).digest()

        assert await bench.store.reader.head("s") == Head(cursor=3, digest=digest.hex())
        assert await bench.write(lambda tx: tx.head("s")) == Head(cursor=3, digest=digest.hex())
        assert await bench.store.check() == []

    async def test_a_chain_begins_with_the_first_epoch(self, bench: Bench) -> None:
        await bench.put(msgspec.structs.replace(SESSION, epoch="e2"))
        await bench.say("one")
        (event,) = await bench.store.reader.events("s")
        assert await bench.store.reader.head("s") == Head(
            cursor=1, digest=link(genesis("s", "e1"), event.data).hex()
        )
        assert await bench.store.check() == []

    # --- writes -------------------------------------------------------------------------------------

    async def test_a_write_returns_what_its_work_returns(self, bench: Bench) -> None:
        assert await bench.write(lambda tx: ("any", {"thing": 1})) == ("any", {"thing": 1})

    @pytest.mark.parametrize("error", [Oops("no"), NotFound("no"), KeyError("no"), SystemExit(3)])
    async def test_a_write_raises_what_its_work_raises(self, bench: Bench, error: BaseException) -> None:
        def work(tx: Tx) -> None:
            raise error

        with pytest.raises(type(error)) as raised:
            await bench.write(work)
        assert raised.value is error
        await bench.say("still there")

    async def test_stop_iteration_does_not_end_its_caller(self, bench: Bench) -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await bench.write(lambda tx: next(iter(())))

    async def test_a_write_that_raises_leaves_no_trace(self, bench: Bench) -> None:
        await bench.say("1")
        await bench.put(job("kept"), job("gone"))
        before = await everything(bench.store)

        def work(tx: Tx) -> None:
            tx.append("s", Message(text="lost"))
            tx.put(msgspec.structs.replace(SESSION, label="lost"))
            tx.put(msgspec.structs.replace(SESSION, id="lost"))
            tx.append("lost", Message(text="lost"))
            tx.put(job("kept", "failed"))
            tx.put(job("lost"))
            tx.delete(Job, "gone")
            tx.remember("key", Remembered(fingerprint="f", answer=b"a"))
            raise Oops

        with pytest.raises(Oops):
            await bench.write(work)
        assert await everything(bench.store) == before
        assert await bench.write(lambda tx: tx.recall("key")) is None
        with pytest.raises(NotFound):
            await bench.say("nobody", session="lost")
        await bench.say("2")
        assert [event.cursor for event in bench.committed] == [1, 2]
        assert await bench.store.check() == []

    async def test_a_failed_write_does_not_disturb_its_neighbours(self, bench: Bench) -> None:
        def good(n: int) -> Callable[[Tx], int]:
            def work(tx: Tx) -> int:
                tx.put(job(f"job-{n}"))
                return tx.append("s", Message(text=str(n))).cursor

            return work

        def bad(n: int) -> Callable[[Tx], int]:
            def work(tx: Tx) -> int:
                good(n)(tx)
                tx.put(job("job-0", "failed"))
                raise Oops

            return work

        results = await asyncio.gather(
            *(bench.write(bad(n) if n % 3 == 1 else good(n)) for n in range(30)), return_exceptions=True
        )
        survivors = [n for n in range(30) if n % 3 != 1]
        assert [result for result in results if not isinstance(result, Oops)] == list(range(1, 21))
        assert await bench.store.reader.find(Job) == [job(f"job-{n}") for n in survivors]
        assert [read_event(event.data, event.cursor).payload for event in bench.committed] == [
            Message(text=str(n)) for n in survivors
        ]

    async def test_writes_happen_in_the_order_in_which_they_were_asked_for(self, bench: Bench) -> None:
        cursors = await asyncio.gather(
            *(bench.write(lambda tx: tx.append("s", Done(ok=True)).cursor) for _ in range(100))
        )
        assert cursors == list(range(1, 101))

    async def test_events_are_handed_over_before_the_write_returns(self, bench: Bench) -> None:
        async def say(text: str) -> None:
            appended = await bench.write(lambda tx: tx.append("s", Message(text=text)))
            assert appended.cursor in {event.cursor for event in bench.committed}

        await asyncio.gather(*(say(str(n)) for n in range(50)))
        assert [event.cursor for event in bench.committed] == list(range(1, 51))

    async def test_events_handed_over_can_be_read(self, opens: OpenStore, tmp_path: Path) -> None:
        bench = Bench()
        await bench.open(opens, tmp_path / "another.db")
        await bench.put(SESSION)
        await bench.say("1", "2")
        assert await bench.store.reader.events("s") == bench.committed
        await bench.store.close()

    async def test_a_failing_listener_changes_no_answer(self, opens: OpenStore, tmp_path: Path) -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))

        def listener(events: Sequence[StoredEvent]) -> None:
            raise Oops

        store = await opens(tmp_path / "another.db", on_commit=listener, new_id=Bench().new_id)
        await store.write(lambda tx: tx.put(SESSION), actor=OPERATOR, now=NOW)
        assert reported == []
        done = await store.write(lambda tx: tx.append("s", Done(ok=True)), actor=OPERATOR, now=NOW)
        assert done.cursor == 1
        assert [type(context["exception"]) for context in reported] == [Oops]
        await store.close()

    async def test_two_hundred_writers_some_failing_leave_no_hole(self, bench: Bench) -> None:
        sessions = [f"s{n}" for n in range(5)]
        await bench.put(*(msgspec.structs.replace(SESSION, id=name) for name in sessions))
        acknowledged: list[tuple[str, int]] = []

        async def writer(number: int) -> None:
            for turn in range(5):
                mine = sessions[(number + turn) % 5]

                def work(tx: Tx, mine: str = mine, turn: int = turn) -> list[int]:
                    cursors = [tx.append(mine, Message(text=f"{number}")).cursor for _ in range(turn)]
                    if (number + turn) % 4 == 0:
                        tx.put(job(f"job-{number}-{turn}"))
                    if (number * turn) % 7 == 3:
                        raise Oops
                    return cursors

                with suppress(Oops):
                    acknowledged.extend((mine, cursor) for cursor in await bench.write(work))

        await asyncio.gather(*(writer(number) for number in range(200)))

        kept = [
            (event.session_id, event.cursor)
            for name in sessions
            for event in await bench.store.reader.events(name, limit=10**6)
        ]
        by_session = [
            (session.id, cursor)
            for session in await bench.store.reader.find(Session)
            for cursor in range(1, session.last + 1)
        ]
        assert kept == by_session
        assert sorted(kept) == sorted(acknowledged)
        assert sorted((e.session_id, e.cursor) for e in bench.committed) == sorted(acknowledged)
        assert await bench.store.check() == []

    async def test_readers_see_committed_facts_only(self, bench: Bench) -> None:
        """A reader that looks while a write waits or runs sees the facts before it or after it."""

        def work(tx: Tx) -> None:
            tx.put(job("a"))
            tx.put(job("b"))
            tx.append("s", Done(ok=True))

        writing = asyncio.ensure_future(bench.write(work))
        seen = set()
        while not writing.done():
            seen.add(len(await bench.store.reader.find(Job)))
            await asyncio.sleep(0)
        await writing
        assert seen <= {0, 2}

    async def test_a_cancelled_caller_breaks_nothing(self, bench: Bench) -> None:
        calls = [asyncio.ensure_future(bench.say(str(n))) for n in range(20)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        await bench.say("last")
        cursors = [event.cursor for event in await bench.store.reader.events("s")]
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False] * 10
        assert cursors == list(range(1, len(cursors) + 1))
        assert len(cursors) >= 11

    async def test_check_misses_the_lease_of_a_claimed_job(self, bench: Bench) -> None:
        await bench.put(
            job("fine", "claimed", worker_id="w", lease_until=STAMP),
            job("no-worker", "claimed", lease_until=STAMP),
            job("no-lease", "claimed", worker_id="w"),
            job("waits"),
        )
        assert await bench.store.check() == [
            "job no-worker is claimed, but nobody holds its lease",
            "job no-lease is claimed, but nobody holds its lease",
        ]

    # --- answers ------------------------------------------------------------------------------------

    async def test_the_first_answer_to_a_key_is_remembered(self, bench: Bench) -> None:
        first = Remembered(fingerprint="POST /x 123", answer=b'{"ok":true}\x00\xff')
        second = Remembered(fingerprint="other", answer=b"")

        def twice(tx: Tx) -> Remembered | None:
            tx.remember("key", first)
            tx.remember("key", second)
            return tx.recall("key")

        assert await bench.write(lambda tx: tx.recall("key")) is None
        assert await bench.write(twice) == first
        await bench.write(lambda tx: tx.remember("key", second))
        assert await bench.write(lambda tx: tx.recall("key")) == first
        assert await bench.write(lambda tx: tx.recall("another")) is None

    async def test_an_answer_has_its_day(self, bench: Bench) -> None:
        first = Remembered(fingerprint="f", answer=b"1")
        second = Remembered(fingerprint="f", answer=b"2")
        day = timedelta(seconds=ANSWERS_KEPT_S)
        await bench.write(lambda tx: tx.remember("key", first))
        assert await bench.write(lambda tx: tx.recall("key"), now=NOW + day) == first
        after = NOW + day + timedelta(seconds=1)
        assert await bench.write(lambda tx: tx.recall("key"), now=after) is None
        await bench.write(lambda tx: tx.remember("key", second), now=after)
        assert await bench.write(lambda tx: tx.recall("key"), now=after + day) == second

    # --- bounds and ends ----------------------------------------------------------------------------

    async def test_a_full_queue_says_so_at_once(self, opens: OpenStore, tmp_path: Path) -> None:
        bench = Bench()
        await bench.open(opens, tmp_path / "another.db", max_waiting=3)
        results = await asyncio.gather(
            *(bench.write(lambda tx: tx.new_id("x")) for _ in range(300)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, BaseException)]
        assert refused
        assert {type(error) for error in refused} == {StoreBusy}
        assert len(refused) < 300
        await bench.put(SESSION)
        await bench.store.close()

    async def test_a_heavy_queue_says_so_at_once(self, opens: OpenStore, tmp_path: Path) -> None:
        bench = Bench()
        await bench.open(opens, tmp_path / "another.db", max_weight=1_000)
        with pytest.raises(StoreBusy):
            await bench.store.write(lambda tx: None, actor=OPERATOR, now=NOW, weight=1_001)
        await bench.store.write(lambda tx: None, actor=OPERATOR, now=NOW, weight=1_000)
        await bench.store.write(lambda tx: None, actor=OPERATOR, now=NOW, weight=1_000)
        await bench.store.close()

    async def test_closing_finishes_what_waits(self, bench: Bench) -> None:
        writing = [asyncio.ensure_future(bench.say(str(n))) for n in range(50)]
        await asyncio.sleep(0)
        await bench.store.close()
        assert all(call.done() and call.exception() is None for call in writing)
        assert [event.cursor for event in bench.committed] == list(range(1, 51))

    async def test_a_closed_store_is_closed(self, bench: Bench, tmp_path: Path) -> None:
        await asyncio.gather(bench.store.close(), bench.store.close())
        await bench.store.close()
        reader = bench.store.reader
        for call in (
            lambda: bench.put(SESSION),
            lambda: reader.get(Session, "s"),
            lambda: reader.find(Session),
            lambda: reader.count(Job, "state"),
            lambda: reader.events("s"),
            lambda: reader.tail("s"),
            lambda: reader.total_events(),
            lambda: reader.head("s"),
            lambda: bench.store.backup(tmp_path / "copy"),
            lambda: bench.store.check(),
        ):
            with pytest.raises(StoreClosed):
                await call()

    async def test_a_backup_never_overwrites(self, bench: Bench, tmp_path: Path) -> None:
        await bench.say("1")
        await bench.store.backup(tmp_path / "copy")
        copied = (tmp_path / "copy").read_bytes()
        assert copied
        with pytest.raises(FileExistsError):
            await bench.store.backup(tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == copied

    # --- for engines that keep what they were given ---------------------------------------------------

    async def keeps_everything_over_a_restart(self, opens: OpenStore, path: Path) -> None:
        bench = Bench()
        await bench.open(opens, path)
        await bench.put(*one_of_each())
        await bench.say("1", "2")
        await bench.write(lambda tx: tx.remember("key", Remembered(fingerprint="f", answer=b"a")))
        before = await everything(bench.store)
        await bench.store.close()

        await bench.open(opens, path)
        assert await everything(bench.store) == before
        assert await bench.write(lambda tx: tx.recall("key")) == Remembered(fingerprint="f", answer=b"a")
        await bench.say("3")
        assert [event.cursor for event in bench.committed] == [1, 2, 3]
        assert await bench.store.check() == []
        await bench.store.close()

    # --- pages, search, retention, adopted events ---------------------------------------------------

    async def test_pages_lead_on_without_a_repeat_while_records_come(self, bench: Bench) -> None:
        await bench.put(SESSION, *(job(f"job-{n}") for n in range(5)))
        first = await bench.store.reader.page(Job, limit=2)
        await bench.put(job("job-new"))
        second = await bench.store.reader.page(Job, limit=2, before=first.next)
        third = await bench.store.reader.page(Job, limit=2, before=second.next, state="pending")

        pages = [[each.id for each in page.items] for page in (first, second, third)]
        assert pages == [["job-4", "job-3"], ["job-2", "job-1"], ["job-0"]]
        assert third.next is None

    async def test_words_are_found_newest_first_and_in_their_session_only(self, bench: Bench) -> None:
        await bench.put(SESSION, Session(id="other", created_at=STAMP, epoch="e2"))
        await bench.say("Fix the Parser", "the parser's café", "nothing", "PARSER-fix again")
        await bench.say("fix the parser here", session="other")
        while await bench.write(lambda tx: tx.index(limit=2)):
            pass

        async def search(query: str, **options: Any) -> list[int]:
            return [e.cursor for e in await bench.store.reader.search("s", query, **options)]

        assert await search("parser fix") == [4, 1]
        assert await search("parser", before=4) == [2, 1]
        assert await search("parser", limit=1) == [4]
        assert await search("cafe") == [2]
        assert await search("pars") == []
        assert await search("pars*") == [4, 2, 1]
        assert await search("parser", types=("error",)) == []
        assert await search('" OR NEAR(place) -') == []
        assert await search("") == []
        assert await bench.store.reader.search("unknown", "parser") == []

    async def test_what_is_given_up_is_gone_from_every_read_and_the_chain_still_holds(
        self, bench: Bench
    ) -> None:
        await bench.put(SESSION)
        await bench.say(*(f"text {n}" for n in range(1, 8)))
        while await bench.write(lambda tx: tx.index()):
            pass
        head = await bench.store.reader.head("s")

        erased = [await bench.write(lambda tx: tx.erase("s", 5, limit=3)) for _ in range(3)]

        reader = bench.store.reader
        session = await reader.get(Session, "s")
        assert session is not None
        assert (erased, session.first, session.last) == ([3, 1, 0], 5, 7)
        assert [e.cursor for e in await reader.events("s")] == [5, 6, 7]
        assert [e.cursor for e in await reader.tail("s")] == [5, 6, 7]
        assert [e.cursor for e in await reader.search("s", "text")] == [7, 6, 5]
        assert await reader.head("s") == head
        assert await bench.store.check() == []
        assert await bench.write(lambda tx: tx.erase("s", 2)) == 0
        assert await bench.write(lambda tx: tx.erase("s", 99)) == 3
        session = await reader.get(Session, "s")
        assert session is not None
        assert session.first == 8
        await bench.say("goes on")
        assert [e.cursor for e in await reader.events("s")] == [8]
        assert await bench.store.check() == []
        with pytest.raises(NotFound):
            await bench.write(lambda tx: tx.erase("unknown", 1))

    async def test_what_could_not_be_erased_is_still_there(self, bench: Bench) -> None:
        await bench.put(SESSION)
        await bench.say("one", "two")

        def work(tx: Tx) -> None:
            tx.erase("s", 2)
            raise Oops

        with pytest.raises(Oops):
            await bench.write(work)
        session = await bench.store.reader.get(Session, "s")
        assert session is not None
        assert session.first == 1
        assert len(await bench.store.reader.events("s")) == 2

    async def test_an_adopted_event_keeps_its_id_its_time_and_its_speaker(self, bench: Bench) -> None:
        await bench.put(SESSION, Session(id="fork", created_at=STAMP, epoch="e2"))
        await bench.say("hello")
        (stored,) = await bench.store.reader.events("s")
        event = read_event(stored.data, stored.cursor)

        put = await bench.write(lambda tx: tx.adopt("fork", event), now=NOW + timedelta(hours=1))

        (copy,) = await bench.store.reader.events("fork")
        assert read_event(copy.data, 1) == msgspec.structs.replace(event, session_id="fork")
        assert (put.cursor, put.event_id) == (1, event.id)

    async def test_the_ends_of_a_history_are_the_stores_own(self, bench: Bench) -> None:
        await bench.put(SESSION)
        await bench.say("one", "two")
        await bench.put(msgspec.structs.replace(SESSION, first=2, last=77))
        session = await bench.store.reader.get(Session, "s")
        assert session is not None
        assert (session.first, session.last) == (1, 2)

    async def test_the_writer_says_how_it_does(self, bench: Bench) -> None:
        await bench.put(SESSION)
        health = bench.store.health()
        assert (health.waiting, health.stuck_s) == (0, 0.0)
        assert health.commits >= 1
        assert health.writes >= 1


async def everything(store: Store) -> dict[str, Any]:
    """All facts of a small store, for comparing whole states."""
    facts: dict[str, Any] = {RECORDS[kind].name: await store.reader.find(kind) for kind in RECORDS}
    for session in facts["sessions"]:
        facts[f"events of {session.id}"] = await store.reader.events(session.id, limit=10**6)
        facts[f"head of {session.id}"] = await store.reader.head(session.id)
    facts["total"] = await store.reader.total_events()
    return facts
