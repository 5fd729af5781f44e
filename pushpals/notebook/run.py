"""A run that is carried around: the facts of a session or of one job, in a file of its own.

``pushpals export`` packs them into a notebook's cell as text; :meth:`Run.decode` puts them back into a
small database with the usual views, which only questions can reach. Nothing of it needs the hub that the
run came from. :meth:`Run.verify` looks whether the facts still fit together.

It proves that the pieces belong to each other, not who wrote them: for that, compare with the hub's chain.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import sqlite3
import tempfile
import weakref
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pushpals.notebook.asking import Where, ask
from pushpals.notebook.result import Result
from pushpals.notebook.shown import Listing, Shown, Told
from pushpals.notebook.telling import line
from pushpals.protocol.approvals import Approval, action_hash
from pushpals.protocol.events import Event
from pushpals.protocol.fold import fold
from pushpals.protocol.jobs import Attempt, Job, Wire
from pushpals.protocol.landings import Landing
from pushpals.protocol.records import Session
from pushpals.protocol.story import story
from pushpals.protocol.wire import envelope_bytes, read_event
from pushpals.store.base import RECORDS, column
from pushpals.store.sqlite import finding
from pushpals.store.sqlite.migrate import migrate

MAX_PACKED = 4 * 1024 * 1024
"""Bytes of a packed run. A longer history is exported job by job."""

WIDTH = 100


class TooLong(Exception):
    """The run does not fit into a notebook."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a run consists of. ``patches`` are unified diffs by the SHA-256 of their bytes."""

    session: Session
    events: Sequence[Event]
    jobs: Sequence[Job]
    attempts: Sequence[Attempt]
    approvals: Sequence[Approval]
    landings: Sequence[Landing]
    patches: Mapping[str, bytes] = {}
    job_id: str | None = None
    """The job that it is about; ``None`` means the whole session."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at again."""

    what: str
    ok: bool
    why: str


def pack(facts: Facts) -> str:
    """The facts as text: a database, compressed, in lines. Raises :class:`TooLong`."""
    with tempfile.TemporaryDirectory(prefix="pushpals-run-") as folder:
        path = Path(folder) / "run.db"
        _write(path, facts)
        data = zlib.compress(path.read_bytes(), 9)
    if len(data) > MAX_PACKED:
        raise TooLong(f"this run has {len(data):,} bytes; export one job of it instead")
    text = base64.b85encode(data).decode()
    return "\n".join(text[start : start + WIDTH] for start in range(0, len(text), WIDTH))


class Run(Shown):
    """The facts of a run. ``{run}`` in a magic's option is its file."""

    def __init__(self, data: bytes):
        folder = tempfile.mkdtemp(prefix="pushpals-run-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder) / "run.db"
        self.path.write_bytes(data)
        connection = self._open()
        try:
            self.session: str = connection.execute("SELECT id FROM sessions").fetchone()[0]
            self.job: str | None = connection.execute("SELECT job FROM run").fetchone()[0]
            self.jobs = _all(connection, Job)
            self.approvals = _all(connection, Approval)
            self.landings = _all(connection, Landing)
            rows = connection.execute("SELECT seq, data FROM events ORDER BY seq").fetchall()
            self.events = [read_event(data, seq) for seq, data in rows]
            self.patches: dict[str, bytes] = dict(connection.execute("SELECT sha256, patch FROM patches"))
        finally:
            connection.close()

    @classmethod
    def decode(cls, text: str) -> Run:
        """The run that :func:`pack` made text of. Raises ``ValueError`` for anything else."""
        try:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(base64.b85decode("".join(text.split())), 64 * 1024 * 1024)
            return cls(data)
        except (ValueError, TypeError, zlib.error, sqlite3.Error) as error:
            raise ValueError(f"this is no packed run: {error}") from None

    def sql(self, statement: str, **values: Any) -> Result:
        """Ask the run in SQL; ``:name`` is bound from the keywords."""
        return ask(statement, values, where=Where(file=str(self.path)))

    def timeline(self) -> Told:
        """What happened, a line each."""
        return Told(
            f"{event.ts[11:19]}  {said}" for event in self.events if (said := line(event)) is not None
        )

    def story(self, job_id: str) -> Told:
        """The way of one job."""
        return Told(f"{entry.step:<9} {entry.text}" for entry in story(self.events, job_id))

    def diff(self, job_id: str) -> Told:
        """The change that a job made."""
        job = next(job for job in self.jobs if job.id == job_id)
        patch = self.patches.get(job.result.patch or "") if job.result else None
        if patch is None:
            return Told([f"{job.id} ({job.state}) changed nothing that is kept here"])
        return Told(patch.decode("utf-8", "replace").splitlines(), diff=True)

    def at(self, cursor: int) -> Listing[Any]:
        """The console as it was at a cursor: jobs, approvals and landings with their states then."""
        view = fold(event for event in self.events if event.cursor <= cursor)
        things: list[Any] = [*view.jobs.values(), *view.approvals.values(), *view.landings.values()]
        cells = [[_kind(thing), thing.id, thing.state, thing.since[11:19]] for thing in things]
        return Listing(f"things at cursor {cursor}", ["what", "id", "state", "since"], things, cells)

    def verify(self) -> Listing[Verified]:
        """Look again whether everything that the run says is backed by what it holds."""
        found = [*self._actions(), *self._patches(), *self._receipts(), *self._landed()]
        cells = [["yes" if one.ok else "NO", one.what, one.why] for one in found]
        return Listing("statements", ["holds", "statement", "because"], found, cells)

    def text(self) -> str:
        what = f"job {self.job} of session {self.session}" if self.job else f"session {self.session}"
        return (
            f"Run of {what}: {len(self.events)} events, {len(self.jobs)} jobs, {len(self.landings)} landings"
        )

    def __format__(self, spec: str) -> str:
        return format(str(self.path), spec)

    def _actions(self) -> list[Verified]:
        return [
            Verified(
                what=f"{one.id} was asked about exactly this action",
                ok=action_hash(one.action) == one.action_hash,
                why=f"its hash is {action_hash(one.action)[:12]}",
            )
            for one in self.approvals
        ]

    def _patches(self) -> list[Verified]:
        return [
            Verified(
                what=f"the diff of {job.id} is the one that was reviewed",
                ok=hashlib.sha256(self.patches[job.result.patch]).hexdigest() == job.result.patch,
                why=f"SHA-256 {job.result.patch[:12]}",
            )
            for job in self.jobs
            if job.result is not None and job.result.patch in self.patches
        ]

    def _receipts(self) -> list[Verified]:
        found = []
        for landing in self.landings:
            if landing.landed_commit is None:
                continue
            receipts = [e for e in landing.evidence if e.commit == landing.landed_commit]
            found.append(
                Verified(
                    what=f"{landing.id} was checked as it landed",
                    ok=bool(receipts) and all(e.verdict == "passed" for e in receipts),
                    why=", ".join(f"{e.check} {e.verdict}" for e in receipts) or "no receipt for that commit",
                )
            )
        return found

    def _landed(self) -> list[Verified]:
        approved = {one.landing_id: one for one in self.approvals if one.state in ("approved", "consumed")}
        found = []
        for landing in self.landings:
            if landing.state != "landed":
                continue
            approval = approved.get(landing.id)
            found.append(
                Verified(
                    what=f"{landing.id} landed what a person approved",
                    ok=approval is not None and approval.action.get("head") == landing.head,
                    why=f"{approval.decided_by} saw head {landing.head[:12]}" if approval else "nobody did",
                )
            )
        return found

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)


def _write(path: Path, facts: Facts) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA page_size = 1024")
        migrate(connection)
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE run (job TEXT)")
        connection.execute("INSERT INTO run VALUES (?)", (facts.job_id,))
        connection.execute("CREATE TABLE patches (sha256 TEXT PRIMARY KEY, patch BLOB)")
        connection.executemany("INSERT INTO patches VALUES (?, ?)", sorted(facts.patches.items()))
        session = facts.session
        last = max((event.cursor for event in facts.events), default=0)
        connection.execute(
            "INSERT INTO sessions (n, id, created_at, last, epoch, head, doc) VALUES (1, ?, ?, ?, ?, ?, ?)",
            (session.id, session.created_at, last, session.epoch, bytes(32), _doc(session)),
        )
        for number, event in enumerate(facts.events, 1):
            connection.execute(
                "INSERT INTO events (session, seq, n, type, data, h) VALUES (1, ?, ?, ?, ?, ?)",
                (event.cursor, number, event.type, bytes(envelope_bytes(event)), bytes(32)),
            )
        for record in (*facts.jobs, *facts.attempts, *facts.approvals, *facts.landings):
            table = RECORDS[type(record)]
            values = [column(record, name) for name in (table.key, *table.columns)]
            connection.execute(finding.put(type(record)), (*values, _doc(record)))
        connection.execute("UPDATE migrations SET applied_at = ''")
        connection.execute("COMMIT")
        connection.execute("VACUUM")
    finally:
        connection.close()


def _doc(record: Wire) -> str:
    return msgspec.json.encode(record).decode()


def _all(connection: sqlite3.Connection, kind: type[Any]) -> list[Any]:
    rows = connection.execute(f"SELECT doc FROM {RECORDS[kind].name} ORDER BY n").fetchall()
    return [msgspec.json.decode(doc, type=kind) for (doc,) in rows]


def _kind(thing: Any) -> str:
    return type(thing).__name__.removesuffix("View").lower()
