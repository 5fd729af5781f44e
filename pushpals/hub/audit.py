"""The audit trail's anchor: signed checkpoints in a file of their own, beside the database.

Each session's events are a hash chain (:mod:`pushpals.store.chain`), which shows a change in the middle and
nothing else: who rewrites all of it, or cuts its end, leaves a chain that is whole. So the heads of the
chains
are noted in an append-only file, one line each half minute in which something happened::

    {"at": …, "events": …, "heads": {session: [cursor, digest]}, "key": …, "n": …, "prev": …, "v": …, "sig":
    …}

``heads`` are those that moved since the line before, ``prev`` is the SHA-256 of that line, ``sig`` the
Ed25519
signature over everything else in canonical form. The private key is in a file that only the hub's user reads;
the public one is exported with every export. A line that a crash cut short is followed by a whole one that
does not count it.

Not promised: protection from somebody who has the hub's own account, and so the key. Whoever wants that keeps
the heads elsewhere too: every stream and every ``GET /audit/head`` shows them, and landed commits carry one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pushpals.hub.feed import Feed
from pushpals.hub.signing import KEY_BYTES, public_key, sign
from pushpals.protocol.records import Session
from pushpals.protocol.times import Clock, stamp
from pushpals.store.base import MAX_FIND, Reader

CHECKPOINT_FORMAT = "pushpals.checkpoint.v1"
EVERY_S = 30.0
EVERY_EVENTS = 1_000
FIRST_PREV = "0" * 64


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the file. ``heads`` holds ``(cursor, digest)`` by session."""

    v: str
    n: int
    at: str
    events: int
    heads: dict[str, tuple[int, str]]
    key: str
    prev: str
    sig: str = ""

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is about."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        del plain["sig"]
        return CHECKPOINT_FORMAT.encode() + b"\0" + msgspec.json.encode(plain, order="deterministic")

    @property
    def line(self) -> bytes:
        """As it stands in the file, without the line's end."""
        return msgspec.json.encode(msgspec.to_builtins(self), order="deterministic")

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.line).hexdigest()


class Noted(msgspec.Struct, kw_only=True):
    """What a checkpoint file adds up to."""

    last: Checkpoint | None = None
    heads: dict[str, tuple[int, str]] = {}


class Notary:
    """Writes the checkpoints of one hub. ``open`` first; then ``step`` now and then, or ``run``."""

    def __init__(self, folder: Path, reader: Reader, feed: Feed, clock: Clock) -> None:
        self.folder = folder
        self._reader = reader
        self._feed = feed
        self._clock = clock
        self._noted = Noted()
        self._seed = b""
        self._at_events = 0
        self._writing = asyncio.Lock()
        self.public_key = ""

    @property
    def last(self) -> Checkpoint | None:
        """The newest checkpoint."""
        return self._noted.last

    @property
    def key_id(self) -> str:
        return key_id(bytes.fromhex(self.public_key))

    async def open(self) -> None:
        """Find or make the key, read what was noted, and note what happened since."""
        self._seed, self._noted = await asyncio.to_thread(self._open)
        self.public_key = public_key(self._seed).hex()
        await self.step(everything=True)

    async def step(self, *, everything: bool = False) -> Checkpoint | None:
        """Note the heads that moved; None if none did."""
        async with self._writing:
            moved: dict[str, tuple[int, str]] = {}
            at_events = self._feed.published
            for session_id in await self._sessions() if everything else self._feed.positions():
                head = await self._reader.head(session_id)
                if head is not None and self._noted.heads.get(session_id) != (head.cursor, head.digest):
                    moved[session_id] = (head.cursor, head.digest)
            self._at_events = at_events
            if not moved:
                return None
            last = self._noted.last
            unsigned = Checkpoint(
                v=CHECKPOINT_FORMAT,
                n=last.n + 1 if last else 1,
                at=stamp(self._clock()),
                events=await self._reader.total_events(),
                heads=moved,
                key=self.key_id,
                prev=last.digest if last else FIRST_PREV,
            )
            made = msgspec.structs.replace(
                unsigned, sig=(await asyncio.to_thread(sign, self._seed, unsigned.signed)).hex()
            )
            await asyncio.to_thread(_append, self.folder / "checkpoints.jsonl", made.line)
            self._noted.last = made
            self._noted.heads |= moved
            return made

    async def run(self, stopping: asyncio.Event, every_s: float = EVERY_S) -> None:
        """``step`` every half minute, or after :data:`EVERY_EVENTS` events, and once more at the end."""
        waited = 0.0
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await stopping.wait()
            waited += 1.0
            if waited >= every_s or self._feed.published - self._at_events >= EVERY_EVENTS:
                waited = 0.0
                with contextlib.suppress(OSError):
                    await self.step()
        with contextlib.suppress(OSError):
            await self.step()

    async def _sessions(self) -> list[str]:
        found: list[str] = []
        while True:
            page = await self._reader.find(Session, limit=MAX_FIND, skip=len(found))
            found += [session.id for session in page]
            if len(page) < MAX_FIND:
                return found

    def _open(self) -> tuple[bytes, Noted]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        seed = _key(self.folder / "key")
        public = self.folder / "key.pub"
        public.write_text(f"{public_key(seed).hex()}\n", encoding="ascii")
        path = self.folder / "checkpoints.jsonl"
        data = path.read_bytes() if path.exists() else b""
        if data and not data.endswith(b"\n"):
            # A crash cut the last line short. What is appended next must not become part of it.
            _write(path, b"\n")
        return seed, fold_checkpoints(data)


def fold_checkpoints(data: bytes) -> Noted:
    """The newest checkpoint and the heads by session. Lines that cannot be read are passed over."""
    noted = Noted()
    heads: dict[str, tuple[int, str]] = {}
    for line in data.splitlines():
        with contextlib.suppress(msgspec.DecodeError):
            checkpoint = msgspec.json.decode(line, type=Checkpoint)
            noted.last = checkpoint
            heads |= checkpoint.heads
    noted.heads = heads
    return noted


def key_id(public: bytes) -> str:
    """A short name of a public key: 16 hex digits."""
    return hashlib.sha256(public).hexdigest()[:16]


def _key(path: Path, draw: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    try:
        return bytes.fromhex(path.read_text("ascii").strip())
    except FileNotFoundError:
        seed = draw(KEY_BYTES)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(f"{seed.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        return seed


def _append(path: Path, line: bytes) -> None:
    _write(path, line + b"\n")


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
