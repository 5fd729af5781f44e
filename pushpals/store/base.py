"""The store port: where facts live, and what every engine promises.

Writes
    A write is a plain function of a :class:`Tx`. The store runs it on its single writer, inside a
    transaction; several waiting writes share one commit. A write that raises leaves no trace and does not
    disturb the others of its group. ``write`` returns after the commit is durable.

Events
    ``tx.append`` is the only way an event is born. Cursors are per session, start at 1 and have no holes.
    Committed events are handed to ``on_commit`` on the event loop, in order, before any ``write`` of the
    group returns; nothing is ever handed over that a crash could take back.

Reads
    A :class:`Reader` sees only committed facts and never blocks the writer. No read transaction outlives
    one call.

Chain
    Each event carries ``SHA-256(previous || length || data)``; a session's :class:`Head` is the newest of
    them and stands for its whole history (see :mod:`pushpals.store.chain`).

Records (:data:`RECORDS`) are kept whole, as JSON, beside the columns they are found by. ``find`` filters
by those columns only; a value may be a plain one, a tuple (any of them), ``None`` (unset) or
:class:`Before`. ``order`` names columns, ``-`` first for descending; ``n`` is the order of first insertion
and breaks ties. Unset values come first (last when descending).

``Session.last`` and ``Session.first`` belong to the store: ``put`` does not change them, every read fills
them in. A session that has events cannot be deleted, and the ``epoch`` it was first put with is what its
chain begins from.

Retention
    :meth:`Tx.erase` gives up the oldest events of a session: their bodies go, their links of the chain stay,
    and ``Session.first`` says where the readable history begins. No read returns them any more.

Search
    :meth:`Tx.index` takes in what was said since it was last called (see :mod:`pushpals.store.words`); it is
    a write of its own, so that appending costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from pushpals.protocol.approvals import Approval, RememberedRule
from pushpals.protocol.events import Event, Payload
from pushpals.protocol.jobs import RANK, Attempt, Job, Wire
from pushpals.protocol.landings import Landing, Lane
from pushpals.protocol.records import Actor, Mark, Repository, Session, StoredArtifact, Token, Worker
from pushpals.store.asking import Answer, Question

R = TypeVar("R", bound=Wire)
T = TypeVar("T")

MAX_FIND = 1_000
"""The most records one ``find`` returns."""

ANSWERS_KEPT_S = 86_400.0
"""How long an answer to an idempotency key is recalled, in seconds."""

DEFAULT_WEIGHT = 1_024
"""What a waiting write is taken to hold on to, in bytes, unless its caller knows better."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """How a record type is kept: its table, key attribute and the attributes that are columns."""

    name: str
    key: str = "id"
    columns: tuple[str, ...] = ()


RECORDS: dict[type[Wire], Table] = {
    Session: Table(name="sessions", columns=("created_at",)),
    Job: Table(
        name="jobs",
        columns=(
            "session_id", "task_id", "kind", "state", "rank", "worker_id", "lease_until", "run_at",
            "created_at", "updated_at", "due", "repository",
        ),
    ),
    Attempt: Table(name="attempts", columns=("job_id", "worker_id", "started_at")),
    Approval: Table(
        name="approvals", columns=("session_id", "state", "expires_at", "job_id", "landing_id", "created_at")
    ),
    Landing: Table(
        name="landings",
        columns=(
            "session_id", "lane", "state", "job_id", "head", "branch", "rank", "created_at", "updated_at",
        ),
    ),
    Lane: Table(name="lanes", columns=("repository", "lease_until")),
    Repository: Table(name="repositories"),
    Worker: Table(name="workers", columns=("state", "seen_at")),
    Token: Table(name="tokens", columns=("role",)),
    StoredArtifact: Table(name="artifacts", key="sha256", columns=("job_id", "session_id", "created_at")),
    Mark: Table(name="marks", columns=("session_id",)),
    RememberedRule: Table(name="rules", columns=("shape_hash",)),
}  # fmt: skip


def column(record: Wire, name: str) -> Any:
    """The value of a column for a record. ``rank`` is the only derived one."""
    if name == "rank":
        return RANK[record.priority]  # type: ignore[attr-defined]
    return getattr(record, name)


class Before(msgspec.Struct, frozen=True):
    """A filter: the column is set and less than ``value``."""

    value: str | int


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """Where an event went."""

    cursor: int
    event_id: str


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a session's chain: the newest cursor and the hex digest over everything up to it."""

    cursor: int
    digest: str


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as kept: ``data`` is the envelope's JSON, byte for byte what goes out."""

    session_id: str
    cursor: int
    type: str
    data: bytes


class Page(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """Some records, newest first. ``next`` is the ``before`` of the page that follows, if there is one."""

    items: list[R]
    next: int | None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the writer does. Times in seconds."""

    waiting: int = 0
    """Writes that wait."""
    stuck_s: float = 0.0
    """How long the group under way has taken, and 0 when there is none."""
    commits: int = 0
    writes: int = 0
    commit_s: float = 0.0
    """Time spent in all commits."""
    slowest_s: float = 0.0
    size_bytes: int = 0
    """Of the files."""


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """The first answer to an idempotency key. ``fingerprint`` identifies the request."""

    fingerprint: str
    answer: bytes


class StoreClosed(Exception):
    """The store was closed; open it again to use it."""


class StoreBusy(Exception):
    """The writer's queue is full; try again in a moment."""


class StoreFull(Exception):
    """The disk is full; nothing of this write was kept."""


class StoreLocked(Exception):
    """Another process holds the database; the message says which."""


class StoreUnreadable(Exception):
    """The file is damaged, of a newer version, or not ours; it was left as it is."""


class Tx(Protocol):
    """One transaction. ``now`` and ``actor`` are the same for all of it; events carry both."""

    @property
    def now(self) -> datetime: ...

    @property
    def actor(self) -> Actor: ...

    def new_id(self, prefix: str) -> str: ...

    def get(self, kind: type[R], key: str) -> R | None: ...

    def find(
        self,
        kind: type[R],
        /,
        *,
        order: Sequence[str] = ("n",),
        limit: int = MAX_FIND,
        **where: Any,
    ) -> list[R]: ...

    def scan(self, kind: type[R], /, *, order: Sequence[str] = ("n",), **where: Any) -> Iterator[R]:
        """Like ``find`` without a limit, lazily. Do not write while scanning."""
        ...

    def count(self, kind: type[Wire], by: str, /, **where: Any) -> dict[str, int]:
        """How many records for each value of the column ``by``."""
        ...

    def put(self, record: Wire) -> None:
        """Insert or replace by key."""
        ...

    def delete(self, kind: type[Wire], key: str) -> None: ...

    def append(
        self,
        session_id: str,
        payload: Payload,
        *,
        from_: str | None = None,
        to: str | None = None,
        correlation_id: str | None = None,
        turn_id: str | None = None,
        parent_id: str | None = None,
        trace_id: str | None = None,
    ) -> Appended:
        """Append to an existing session; raises ``NotFound`` otherwise. ``from_`` defaults to the actor."""
        ...

    def head(self, session_id: str) -> Head | None:
        """Where the chain of a session stands, with what this transaction appended."""
        ...

    def adopt(self, session_id: str, event: Event) -> Appended:
        """Append an event of another session as it was: its id, its time and who said it stay."""
        ...

    def erase(self, session_id: str, first: int, *, limit: int = 500) -> int:
        """Give up events before the cursor ``first``, at most all there are and at most ``limit`` at once.

        Raises ``Session.first`` by as many as it erases, and says how many; call it again until that is 0.
        """
        ...

    def index(self, *, limit: int = 1_000) -> int:
        """Make up to ``limit`` more events searchable; how many were looked at, and 0 at the end."""
        ...

    def recall(self, key: str) -> Remembered | None:
        """The answer remembered for a key within the last :data:`ANSWERS_KEPT_S`."""
        ...

    def remember(self, key: str, remembered: Remembered) -> None:
        """Remember the answer to a key; the first one stays."""
        ...


class Reader(Protocol):
    """Committed facts, asynchronously."""

    async def get(self, kind: type[R], key: str) -> R | None: ...

    async def find(
        self,
        kind: type[R],
        /,
        *,
        order: Sequence[str] = ("n",),
        limit: int = MAX_FIND,
        skip: int = 0,
        **where: Any,
    ) -> list[R]: ...

    async def page(
        self, kind: type[R], /, *, before: int | None = None, limit: int = 100, **where: Any
    ) -> Page[R]:
        """The newest records that pass, by the order of first insertion, older than ``before``.

        Unlike skipping, it neither repeats nor leaves out a record when others are put meanwhile.
        """
        ...

    async def count(self, kind: type[Wire], by: str, /, **where: Any) -> dict[str, int]: ...

    async def search(
        self,
        session_id: str,
        query: str,
        *,
        before: int | None = None,
        limit: int = 50,
        types: Sequence[str] | None = None,
    ) -> list[StoredEvent]:
        """Events with all words of the query, newest first. A query without a word finds nothing."""
        ...

    async def events(
        self, session_id: str, *, after: int = 0, limit: int = 500, types: Sequence[str] | None = None
    ) -> list[StoredEvent]:
        """The next events after a cursor, oldest first. Unknown sessions have none."""
        ...

    async def tail(
        self, session_id: str, *, before: int | None = None, limit: int = 500
    ) -> list[StoredEvent]:
        """The newest events (before a cursor), oldest first."""
        ...

    async def total_events(self) -> int:
        """How many events were ever appended, over all sessions."""
        ...

    async def head(self, session_id: str) -> Head | None:
        """Where the chain of a session stands; ``None`` for an unknown session."""
        ...


OnCommit = Callable[[Sequence[StoredEvent]], None]


class Store(Protocol):
    """An open store. One process owns it."""

    @property
    def reader(self) -> Reader: ...

    async def write(
        self,
        work: Callable[[Tx], T],
        *,
        actor: Actor,
        now: datetime,
        weight: int = DEFAULT_WEIGHT,
    ) -> T:
        """Run ``work`` on the writer and return its result once it is durable.

        ``weight`` is what the write holds on to while it waits, in bytes (the size of its request body, say).
        A caller that is cancelled while its write waits takes it back; later, the write happens anyway.

        Raises what ``work`` raises, :class:`StoreBusy` at once when the queue is full,
        :class:`StoreFull` when the disk is, and :class:`StoreClosed` after ``close``.
        """
        ...

    def health(self) -> Health:
        """How the writer does, at once."""
        ...

    async def backup(self, target: Path) -> None:
        """A consistent copy, made in one step while writes go on. ``target`` must not exist."""
        ...

    async def check(self) -> list[str]:
        """What is wrong with the stored facts; an empty list means nothing is."""
        ...

    async def ask(self, question: Question) -> Answer:
        """Answer a question in SQL over the documented views, away from the writer and the reader.

        A caller that is cancelled ends its question. Raises :class:`~pushpals.store.asking.AskRefused`,
        :class:`~pushpals.store.asking.AskStopped`, and :class:`~pushpals.store.asking.AskUnsupported`
        where facts are not kept in SQL.
        """
        ...

    async def close(self) -> None:
        """Finish queued writes, then close. May be called twice."""
        ...


OpenStore = Callable[..., Coroutine[Any, Any, Store]]
"""The factory registered under ``pushpals.stores``: ``open_store(path, *, on_commit, new_id, **options)``."""
