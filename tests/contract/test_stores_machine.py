"""Any sequence of writes leaves the memory store, the SQLite store and a plain model alike."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pushpals.protocol.errors import NotFound
from pushpals.protocol.events import Message
from pushpals.protocol.jobs import Job, JobState
from pushpals.protocol.records import Session
from pushpals.protocol.wire import read_event
from pushpals.store import memory, sqlite
from pushpals.store.base import Before, Remembered, Tx
from pushpals.testing.contracts.store import STAMP, Bench, Oops, everything, job

SESSIONS = st.sampled_from(["s1", "s2", "s3"])
JOBS = st.sampled_from(["a", "b", "c", "d", "e"])
STATES: st.SearchStrategy[JobState] = st.sampled_from(["pending", "blocked", "scheduled", "failed"])
WORKERS = st.sampled_from([None, "w1", "w2"])

Change = tuple[Any, ...]
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.tuples(st.just("session"), SESSIONS, st.sampled_from(["e1", "e2"])),
    st.tuples(st.just("no session"), SESSIONS),
    st.tuples(st.just("event"), SESSIONS, st.text(max_size=3)),
    st.tuples(st.just("job"), JOBS, STATES, WORKERS, st.sampled_from(["normal", "interactive"])),
    st.tuples(st.just("no job"), JOBS),
    st.tuples(st.just("answer"), st.sampled_from(["k1", "k2"]), st.binary(max_size=2)),
    st.tuples(st.just("fail")),
)


class Model:
    """What the facts should be, in the simplest words."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.sessions: dict[str, list[str]] = {}
        self.answers: dict[str, bytes] = {}

    def copy(self) -> "Model":
        other = Model()
        other.jobs = dict(self.jobs)
        other.sessions = {name: list(texts) for name, texts in self.sessions.items()}
        other.answers = dict(self.answers)
        return other

    def apply(self, change: Change) -> None:
        match change:
            case ("session", name, _):
                self.sessions.setdefault(name, [])
            case ("no session", name):
                if self.sessions.get(name):
                    raise ValueError
                self.sessions.pop(name, None)
            case ("event", name, text):
                if name not in self.sessions:
                    raise NotFound("")
                self.sessions[name].append(text)
            case ("job", name, state, worker, priority):
                self.jobs[name] = job(name, state, worker_id=worker, priority=priority)
            case ("no job", name):
                self.jobs.pop(name, None)
            case ("answer", key, answer):
                self.answers.setdefault(key, answer)
            case ("fail",):
                raise Oops


def apply(tx: Tx, change: Change) -> None:
    match change:
        case ("session", name, epoch):
            tx.put(Session(id=name, created_at=STAMP, epoch=epoch))
        case ("no session", name):
            tx.delete(Session, name)
        case ("event", name, text):
            tx.append(name, Message(text=text))
        case ("job", name, state, worker, priority):
            tx.put(job(name, state, worker_id=worker, priority=priority))
        case ("no job", name):
            tx.delete(Job, name)
        case ("answer", key, answer):
            tx.remember(key, Remembered(fingerprint="f", answer=answer))
        case ("fail",):
            raise Oops


def performing(changes: list[Change]) -> Callable[[Tx], None]:
    def work(tx: Tx) -> None:
        for change in changes:
            apply(tx, change)

    return work


class Stores(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pushpals-store-"))
        self.runner = asyncio.Runner()
        self.model = Model()
        self.benches = [Bench(), Bench()]
        self.run(self.benches[0].open(memory.open_store, self.folder / "unused"))
        self.run(self.benches[1].open(sqlite.open_store, self.folder / "hub.db"))

    def run(self, what: Any) -> Any:
        return self.runner.run(what)

    @rule(group=st.lists(st.lists(CHANGES, min_size=1, max_size=4), min_size=1, max_size=5))
    def write(self, group: list[list[Change]]) -> None:
        """Several writes at once; each is kept whole or not at all."""
        expected: list[type[BaseException]] = []
        for changes in group:
            after = self.model.copy()
            try:
                for change in changes:
                    after.apply(change)
            except (NotFound, ValueError, Oops) as error:
                expected.append(type(error))
            else:
                self.model = after
                expected.append(type(None))  # type: ignore[arg-type]

        async def all_at_once(bench: Bench) -> list[Any]:
            return await asyncio.gather(
                *(bench.write(performing(changes)) for changes in group), return_exceptions=True
            )

        for bench in self.benches:
            assert [type(answer) for answer in self.run(all_at_once(bench))] == expected

    @rule(key=st.sampled_from(["k1", "k2"]))
    def recall(self, key: str) -> None:
        known = self.model.answers.get(key)
        wanted = None if known is None else Remembered(fingerprint="f", answer=known)
        for bench in self.benches:
            assert self.run(bench.write(lambda tx: tx.recall(key))) == wanted

    @rule(
        state=st.one_of(STATES, st.lists(STATES, max_size=3).map(tuple)),
        worker=st.one_of(WORKERS, st.lists(WORKERS, max_size=3).map(tuple), st.just(Before("w2"))),
        order=st.sampled_from([("n",), ("-n",), ("-rank", "n"), ("worker_id", "-id"), ("-worker_id",)]),
        limit=st.integers(0, 6),
        skip=st.integers(0, 3),
    )
    def find(self, state: Any, worker: Any, order: Any, limit: int, skip: int) -> None:
        in_memory, on_disk = (
            self.run(
                bench.store.reader.find(
                    Job, state=state, worker_id=worker, order=order, limit=limit, skip=skip
                )
            )
            for bench in self.benches
        )
        assert in_memory == on_disk

    @rule()
    def open_again(self) -> None:
        async def again() -> None:
            await self.benches[1].store.close()
            await self.benches[1].open(sqlite.open_store, self.folder / "hub.db")

        self.run(again())

    @invariant()
    def are_alike(self) -> None:
        if not hasattr(self, "benches"):
            return
        facts = [self.run(everything(bench.store)) for bench in self.benches]
        for found, bench in zip(facts, self.benches, strict=True):
            assert {each.id: each for each in found["jobs"]} == self.model.jobs
            texts = {
                session.id: [
                    getattr(read_event(event.data, event.cursor).payload, "text", None)
                    for event in found[f"events of {session.id}"]
                ]
                for session in found["sessions"]
            }
            assert texts == self.model.sessions
            assert {session.id: session.last for session in found["sessions"]} == {
                name: len(said) for name, said in self.model.sessions.items()
            }
            assert len(bench.committed) == found["total"]
            assert self.run(bench.store.check()) == []
        orders = [[each.id for each in found["jobs"]] for found in facts]
        assert orders[0] == orders[1]

    def teardown(self) -> None:
        if hasattr(self, "benches"):
            for bench in self.benches:
                self.run(bench.store.close())
            self.runner.close()
            shutil.rmtree(self.folder)


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
