"""``pushpals audit``: whether the history is what was written, and a copy that others can verify.

All three read the files of the data directory, not the hub: they work when nothing runs, and do not ask the
program that is being checked.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import msgspec
from msgspec.structs import replace

from pushpals.cli.app import App, json_option, pass_app, print_json, safe_line
from pushpals.cli.errors import NEGATIVE, USAGE, Failed
from pushpals.cli.state import State
from pushpals.hub.verify import Finding, History, Row, Verified, verify_all
from pushpals.protocol.events import Event
from pushpals.protocol.times import stamp, utc_now
from pushpals.protocol.wire import read_event
from pushpals.store.base import StoreUnreadable
from pushpals.store.sqlite.auditing import Auditor, open_auditor

EXPORT_FORMAT = "pushpals.audit.v1"

SHOWN = (
    "approval_required", "approval_decided", "approval_consumed", "approval_expired", "approval_void",
    "rule_changed", "token_changed", "sandbox_probed", "worker_changed", "network_used", "job_claimed",
    "job_lease_lost", "job_cancelled", "committed", "landing_moved", "lane_changed",
)  # fmt: skip
"""What `show` shows: who was let in, what was let through, and what became of it."""


@click.group()
def audit() -> None:
    """Verify, export and show the audit trail."""


@audit.command("verify")
@click.option("--db", "database", type=click.Path(path_type=Path), help="Another database.")
@click.option(
    "--checkpoint", "checkpoints", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Another file of checkpoints, e.g. a copy kept elsewhere.",
)  # fmt: skip
@click.option("--key", "public_key", metavar="HEX", help="The public key; default: the one beside it.")
@click.option(
    "--export", "exported", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Verify an export instead of the database.",
)  # fmt: skip
@click.option(
    "--witness", "witnesses", multiple=True, metavar="SESSION:CURSOR:DIGEST",
    help="A head that a device has seen (X-Audit-Head); may be repeated.",
)  # fmt: skip
@json_option
@pass_app
def verify(
    app: App,
    database: Path | None,
    checkpoints: Path | None,
    public_key: str | None,
    exported: Path | None,
    witnesses: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check every event against its chain, and every chain against the signed checkpoints.

    The damage is named: edited, missing, reordered, truncated, forked, bad-signature, unknown-format.

    Exit codes: 0 nothing is wrong, 1 something is (the first place is printed), 2 it cannot be read.
    """
    seen = _seen(witnesses)
    try:
        if exported is not None:
            verified = verify_export(exported, public_key, seen)
        else:
            verified = _verify_database(app, database, checkpoints, public_key, seen)
    except (StoreUnreadable, OSError) as error:
        raise Failed(str(error), USAGE, "audit.unreadable") from None
    if as_json:
        print_json(verified)
    else:
        for finding in verified.findings:
            where = f"session {safe_line(finding.session_id, 64)}, " if finding.session_id else ""
            detail = safe_line(finding.detail, 300)
            click.echo(f"{click.style(finding.damage, fg='red')}  {where}{finding.seq}: {detail}")
        if verified.ok:
            anchored = (
                f"{verified.checkpoints} signed checkpoints"
                if verified.checkpoints
                else click.style("no checkpoints: an end that was cut off would not show", fg="yellow")
            )
            click.echo(f"ok  {verified.events} events in {verified.sessions} sessions, {anchored}")
            if verified.unanchored:
                click.echo(f"    {verified.unanchored} events are newer than the last checkpoint")
            click.echo(f"    head {verified.head}")
    if not verified.ok:
        raise click.exceptions.Exit(NEGATIVE)


@audit.command("export")
@click.option("--db", "database", type=click.Path(path_type=Path), help="Another database.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="A new file; default: standard output."
)
@pass_app
def export(app: App, database: Path | None, out: Path | None) -> None:
    """Write everything as JSON lines: the same history gives the same bytes.

    Verify it anywhere, without Push Pals, with docs/reference/verify_export.py. Each export is itself noted
    in
    the data directory (audit/exports.jsonl).
    """
    root = _root(app, database)
    try:
        with _writer(out) as file, open_auditor(database or root / "hub.db") as auditor:
            digest = write_export(auditor, root / "audit", file)
    except (StoreUnreadable, OSError) as error:
        raise Failed(str(error), USAGE, "audit.unreadable") from None
    _note_export(root / "audit", digest, str(out) if out else "-")
    if out is not None:
        click.echo(f"{out}  sha256 {digest}")


@audit.command("show")
@click.option("--db", "database", type=click.Path(path_type=Path), help="Another database.")
@click.option("-s", "--session", "only", metavar="ID", help="Only this session.")
@click.option("--types", metavar="A,B", help="Other event types than those that matter most.")
@click.option("--last", type=click.IntRange(1, 100_000), default=100, show_default=True)
@json_option
@pass_app
def show(
    app: App, database: Path | None, only: str | None, types: str | None, last: int, as_json: bool
) -> None:
    """Show who decided, what was let through, and what became of it, oldest first."""
    wanted = frozenset(types.split(",")) if types else frozenset(SHOWN)
    root = _root(app, database)
    found: list[Event] = []
    try:
        with open_auditor(database or root / "hub.db") as auditor:
            for history in auditor.histories():
                if only is None or history.session_id == only:
                    found += [
                        event
                        for link in auditor.links(history)
                        if link.data and (event := read_event(link.data, link.seq)).type in wanted
                    ]
    except (StoreUnreadable, OSError) as error:
        raise Failed(str(error), USAGE, "audit.unreadable") from None
    found.sort(key=lambda event: (event.ts, event.session_id, event.cursor))
    for event in found[-last:]:
        payload = msgspec.to_builtins(event.payload)
        if as_json:
            print_json({"session": event.session_id, "cursor": event.cursor, "ts": event.ts, "from":
            event.from_,
                        "type": event.type, "payload": payload})  # fmt: skip
        else:
            words = " ".join(
                f"{name}={safe_line(str(value), 120)}"
                for name, value in payload.items()
                if value not in (None, "", [], {})
            )
            click.echo(
                f"{event.ts}  {safe_line(event.session_id, 20):<10} {event.type:<18} "
                f"{safe_line(event.from_ or '', 30):<18} {words}"
            )


def write_export(auditor: Auditor, folder: Path, file: BinaryIO) -> str:
    """The export's lines; returns the SHA-256 of all of them."""
    whole = hashlib.sha256()

    def put(line: object) -> None:
        data = msgspec.json.encode(line, order="deterministic") + b"\n"
        whole.update(data)
        file.write(data)

    histories = sorted(auditor.histories(), key=lambda one: one.session_id)
    key = folder / "key.pub"
    put(
        {
            "format": EXPORT_FORMAT,
            "public_key": key.read_text("ascii").strip() if key.exists() else None,
            "sessions": len(histories),
        }
    )
    for history in histories:
        put(
            {
                "session": history.session_id,
                "epoch": history.epoch,
                "first": history.first,
                "last": history.last,
                "head": history.head.hex(),
            }
        )
        for link in auditor.links(history):
            put({"seq": link.seq, "data": link.data.decode("utf-8"), "h": link.h.hex()})
    checkpoints = folder / "checkpoints.jsonl"
    if checkpoints.exists():
        for line in checkpoints.read_bytes().split(b"\n"):
            if line:
                put({"checkpoint": line.decode("utf-8", "replace")})
    put({"end": whole.hexdigest()})
    return whole.hexdigest()


def verify_export(path: Path, public_key: str | None, seen: dict[str, dict[int, str]]) -> Verified:
    """The same verification over an export."""
    sessions: list[tuple[History, list[Row]]] = []
    checkpoints: list[bytes] = []
    ended = False
    whole = hashlib.sha256()
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True)):
        try:
            entry = msgspec.json.decode(line, type=dict)
        except msgspec.DecodeError:
            return _bad("unknown-format", number, "a line is not JSON")
        if number == 0:
            if entry.get("format") != EXPORT_FORMAT:
                return _bad("unknown-format", 0, f"not an export of format {EXPORT_FORMAT}")
            public_key = public_key or entry.get("public_key")
        elif "session" in entry:
            head = bytes.fromhex(entry["head"])
            sessions.append(
                (
                    History(
                        session_id=entry["session"],
                        epoch=entry["epoch"],
                        last=entry["last"],
                        head=head,
                        first=entry["first"],
                    ),
                    [],
                )
            )
        elif "seq" in entry and sessions:
            row = Row(entry["seq"], entry["data"].encode(), bytes.fromhex(entry["h"]))
            sessions[-1][1].append(row)
        elif "checkpoint" in entry:
            checkpoints.append(entry["checkpoint"].encode())
        elif "end" in entry:
            ended = entry["end"] == whole.hexdigest()
        else:
            return _bad("unknown-format", number, "a line of an unknown kind")
        whole.update(line)
    lines = b"\n".join(checkpoints) + b"\n" if checkpoints else None
    verified = verify_all(sessions, lines, public_key, seen)
    if ended:
        return verified
    (cut,) = _bad("truncated", 0, "the last line of the export is missing, or not about these lines").findings
    return replace(verified, findings=(*verified.findings, cut))


def _verify_database(
    app: App,
    database: Path | None,
    checkpoints: Path | None,
    public_key: str | None,
    seen: dict[str, dict[int, str]],
) -> Verified:
    root = _root(app, database)
    path = checkpoints or root / "audit" / "checkpoints.jsonl"
    key = path.with_name("key.pub")
    if public_key is None:
        for place in (key, root / "audit" / "key.pub"):
            if place.exists():
                public_key = place.read_text("ascii").strip()
                break
    # The checkpoints first: what is appended meanwhile is newer than they are, never older.
    lines = path.read_bytes() if path.exists() else None
    with open_auditor(database or root / "hub.db") as auditor:
        return verify_all(_stored(auditor), lines, public_key, seen)


def _stored(auditor: Auditor) -> Iterator[tuple[History, Iterable[Row]]]:
    for stored in auditor.histories():
        history = History(
            session_id=stored.session_id,
            epoch=stored.epoch,
            last=stored.last,
            head=stored.head,
            first=stored.first,
        )
        yield history, (Row(link.seq, link.data, link.h) for link in auditor.links(stored))


def _root(app: App, database: Path | None) -> Path:
    return State(database.absolute().parent).root if database is not None else app.state.root


def _seen(witnesses: Iterable[str]) -> dict[str, dict[int, str]]:
    seen: dict[str, dict[int, str]] = {}
    for text in witnesses:
        session_id, cursor, digest = (*text.split(":"), "", "")[:3]
        if not (cursor.isdigit() and len(digest) == 64):
            raise Failed(f"not SESSION:CURSOR:DIGEST: {text}", USAGE, "usage")
        seen.setdefault(session_id, {})[int(cursor)] = digest
    return seen


def _bad(damage: str, number: int, detail: str) -> Verified:
    finding = msgspec.convert(
        {"damage": damage, "session_id": None, "seq": number, "detail": detail}, Finding
    )
    return Verified(events=0, sessions=0, checkpoints=0, unanchored=0, head="", findings=(finding,))


@contextmanager
def _writer(out: Path | None) -> Iterator[BinaryIO]:
    if out is None:
        yield sys.stdout.buffer
        return
    fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        yield file


def _note_export(folder: Path, digest: str, where: str) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    line = msgspec.json.encode(
        {"at": stamp(utc_now()), "by": getpass.getuser(), "sha256": digest, "to": where},
        order="deterministic",
    )
    fd = os.open(folder / "exports.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "ab") as file:
        file.write(line + b"\n")
