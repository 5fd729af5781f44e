"""Whether an audit trail is what was written: chains, and the checkpoints that were signed over them.

Findings name the first place where something is wrong, and what kind of wrong it is:

================  ==============================================================================
``edited``        an event is not the one that was written, or was put in
``missing``       an event is gone from the middle
``reordered``     two events changed places
``truncated``     the end is gone: a checkpoint, or the session itself, knows of later events
``forked``        the chain is whole, and another one than was signed
``bad-signature`` a checkpoint was not signed with the key, or does not follow the one before
``unknown-format``  written by something that we do not know
================  ==============================================================================

Everything here is a function of bytes; reading a database or an export is the caller's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from pushpals.hub.audit import CHECKPOINT_FORMAT, FIRST_PREV, Checkpoint, key_id
from pushpals.hub.signing import verify as signature_holds
from pushpals.store.chain import genesis, link

Damage = Literal["edited", "missing", "reordered", "truncated", "forked", "bad-signature", "unknown-format"]

MAX_HELD = 50_000
"""Events of one session held in memory to tell a swap from an edit; beyond it, it is called an edit."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing that is wrong somewhere. ``seq`` is an event's, or a checkpoint's number."""

    damage: Damage
    session_id: str | None
    seq: int
    detail: str


class Row(msgspec.Struct, frozen=True):
    """One event as stored. ``h`` is the digest beside it; empty where only the events are at hand."""

    seq: int
    data: bytes
    h: bytes = b""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """One session as stored. ``last`` and ``head`` are what the session itself says about its end."""

    session_id: str
    epoch: str
    last: int
    head: bytes
    first: int = 1
    """Events before it may have lost their bodies; their links stay, and the chain goes on over them."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a verification. ``unanchored`` counts events newer than any checkpoint."""

    events: int
    sessions: int
    checkpoints: int
    unanchored: int
    head: str
    """SHA-256 over all session heads: one value that stands for everything."""
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.findings


class Anchors:
    """What checkpoints say: for each session, the digest at certain cursors."""

    def __init__(self) -> None:
        self.count = 0
        self.by_session: dict[str, dict[int, str]] = {}

    def at(self, session_id: str) -> dict[int, str]:
        return self.by_session.get(session_id, {})


def verify_all(
    histories: Iterable[tuple[History, Iterable[Row]]],
    checkpoints: bytes | None,
    public_key: str | None,
    witnessed: Mapping[str, Mapping[int, str]] | None = None,
) -> Verified:
    """Everything, against everything. ``checkpoints`` is the content of the file, None if there is none;
    ``witnessed`` are heads that somebody else has seen: digest by cursor by session."""
    findings: list[Finding] = []
    anchors = Anchors()
    if checkpoints is not None:
        findings += read_anchors(checkpoints, public_key, anchors)
    for session_id, heads_seen in (witnessed or {}).items():
        anchors.by_session.setdefault(session_id, {}).update(heads_seen)
    total = unanchored = 0
    heads = hashlib.sha256()
    seen: set[str] = set()
    for history, rows in sorted(histories, key=lambda pair: pair[0].session_id):
        seen.add(history.session_id)
        at = anchors.at(history.session_id)
        found, count, digest = verify_history(history, rows, at)
        findings += found
        total += count
        unanchored += max(0, count - max(at, default=0)) if checkpoints is not None else 0
        heads.update(f"{history.session_id}\0{count}\0{digest}\n".encode())
    for session_id in sorted(set(anchors.by_session) - seen):
        newest = max(anchors.at(session_id))
        if newest:
            findings.append(
                Finding(damage="truncated", session_id=session_id, seq=1, detail="the whole session is gone")
            )
    return Verified(
        events=total,
        sessions=len(seen),
        checkpoints=anchors.count,
        unanchored=unanchored,
        head=heads.hexdigest(),
        findings=tuple(findings),
    )


def verify_history(
    history: History, rows: Iterable[Row], anchored: dict[int, str]
) -> tuple[list[Finding], int, str]:
    """One session: what is wrong first, how many events there are, and the digest that they lead to."""
    digest = genesis(history.session_id, history.epoch)
    count = 0
    ahead = iter(rows)
    for row in ahead:
        if row.seq != count + 1:
            kind: Damage = "missing" if row.seq > count + 1 else "edited"
            detail = f"events {count + 1} to {row.seq - 1} are gone" if kind == "missing" else "one is double"
            return [_finding(history, kind, count + 1, detail)], count, digest.hex()
        erased = not row.data and row.h and row.seq < history.first
        following = row.h if erased else link(digest, row.data)
        if row.h and following != row.h:
            return [_tell_apart(history, digest, row, ahead)], count, digest.hex()
        digest, count = following, row.seq
        if count in anchored and anchored[count] != digest.hex():
            detail = "the chain up to here is whole, and not the one that was signed"
            return [_finding(history, "forked", count, detail)], count, digest.hex()
    if count < history.last or count < max(anchored, default=0):
        known = max(history.last, *anchored, 0)
        detail = f"events {count + 1} to {known} are gone from the end"
        return [_finding(history, "truncated", count + 1, detail)], count, digest.hex()
    if count > history.last or (history.head and digest != history.head):
        return [_finding(history, "edited", count, "the session's own head is another")], count, digest.hex()
    return [], count, digest.hex()


def read_anchors(data: bytes, public_key: str | None, anchors: Anchors) -> list[Finding]:
    """The checkpoints of a file, as far as they hold; what is wrong first."""
    prev, number = FIRST_PREV, 0
    lines = data.split(b"\n")
    for place, line in enumerate(lines):
        if not line:
            continue
        try:
            checkpoint = msgspec.json.decode(line, type=Checkpoint)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if _torn(lines[place + 1 :], prev):
                continue
            return [_broken(number + 1, "bad-signature", "a line cannot be read")]
        if checkpoint.v != CHECKPOINT_FORMAT:
            return [_broken(checkpoint.n, "unknown-format", f"the checkpoint is of format {checkpoint.v!r}")]
        if checkpoint.line != line:
            return [_broken(checkpoint.n, "bad-signature", "the line is not in canonical form")]
        if checkpoint.prev != prev or checkpoint.n != number + 1:
            return [_broken(checkpoint.n, "bad-signature", "it does not follow the checkpoint before it")]
        if public_key is not None and not _signed(checkpoint, public_key):
            return [_broken(checkpoint.n, "bad-signature", "the signature is not the key's")]
        prev, number = checkpoint.digest, checkpoint.n
        anchors.count += 1
        for session_id, (cursor, digest) in checkpoint.heads.items():
            anchors.by_session.setdefault(session_id, {})[cursor] = digest
    return []


def _signed(checkpoint: Checkpoint, public_key: str) -> bool:
    try:
        public, signature = bytes.fromhex(public_key), bytes.fromhex(checkpoint.sig)
    except ValueError:
        return False
    return checkpoint.key == key_id(public) and signature_holds(public, checkpoint.signed, signature)


def _torn(following: Sequence[bytes], prev: str) -> bool:
    """A line that a crash cut short: the next whole one does not count it, or there is none."""
    for line in following:
        if line:
            try:
                return msgspec.json.decode(line, type=Checkpoint).prev == prev
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
    return True


def _tell_apart(history: History, before: bytes, row: Row, ahead: Iterator[Row]) -> Finding:
    """Two that changed places, or one that was changed."""
    rest = [row]
    for later in ahead:
        rest.append(later)
        if len(rest) >= MAX_HELD:
            break
    stored = {one.h for one in rest}
    for place, other in enumerate(rest[1:], 1):
        if link(before, other.data) not in stored:
            continue
        # Put the two back and see whether the chain then leads where it was said to lead.
        swapped = [other, *rest[1:place], row, *rest[place + 1 :]]
        digest = before
        for one in swapped[: place + 1]:
            digest = link(digest, one.data)
        if digest in stored or (place + 1 == len(rest) and digest == history.head):
            detail = f"events {row.seq} and {other.seq} changed places"
            return _finding(history, "reordered", row.seq, detail)
    return _finding(history, "edited", row.seq, "it is not the event that was written")


def _finding(history: History, damage: Damage, seq: int, detail: str) -> Finding:
    return Finding(damage=damage, session_id=history.session_id, seq=seq, detail=detail)


def _broken(number: int, damage: Damage, detail: str) -> Finding:
    return Finding(damage=damage, session_id=None, seq=number, detail=f"checkpoint {number}: {detail}")
