"""The message of a landing commit: one line of subject, the body, then trailers that only we write.

Title and body come from a job, so from a model or a person, and may carry lines such as
``Approved-by: someone``. Those are taken out wherever they stand before ours are added.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

FACTS = (
    "Job-Id",
    "Session-Id",
    "Agent",
    "Approved-by",
    "Approved-Head",
    "Audit-Head",
    "Checks",
    "Check-Run",
    "Reverts-Job",
    "Lands-Head",
)
"""Trailers that only a landing commit carries. A branch whose commits carry one is refused."""

RESERVED = (*FACTS, "Co-authored-by", "Signed-off-by", "Reviewed-by", "Acked-by", "Tested-by", "Change-Id")
"""Trailers that state who answers for a commit. None is taken from a job's text. People may sign off
their own commits, so the persons' ones are no reason to refuse a branch."""

SUBJECT_LENGTH = 72
_BODY_LENGTH = 8000
_VALUE_LENGTH = 200


def _line_of(keys: Sequence[str]) -> re.Pattern[str]:
    # git takes "Key : value" too, and forgives case.
    return re.compile(rf"[ \t]*(?:{'|'.join(map(re.escape, keys))})[ \t]*[:=]", re.I)


_RESERVED_LINE = _line_of(RESERVED)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_BLANKS = re.compile(r"\n{3,}")


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that the trailers state. Empty fields are left out."""

    job_id: str
    session_id: str = ""
    agent: str = ""
    """Worker and model, e.g. ``worker-1 (ruff)``."""
    approved_by: str = ""
    audit_head: str = ""
    """Where the session's chain stood with the yes in it: whoever has the commit is a witness."""
    approved_head: str = ""
    checks: str = ""
    """Digest of the checks' definition."""
    check_runs: tuple[str, ...] = ()
    co_authors: tuple[str, ...] = ()
    reverts_job: str = ""


def landing_message(title: str, body: str, receipt: Receipt) -> str:
    """The whole message. The same facts give the same text, so the same commit id."""
    paragraphs = [_subject(title)]
    if text := strip_reserved(body):
        paragraphs.append(text)
    paragraphs.append("\n".join(f"{key}: {value}" for key, value in _trailers(receipt)))
    return "\n\n".join(paragraphs) + "\n"


def strip_reserved(text: str) -> str:
    """The text without reserved trailers, control and invisible characters, cut to a sane length."""
    kept: list[str] = []
    folded = False
    for line in _clean(text).split("\n"):
        if _RESERVED_LINE.match(line):
            folded = True
            continue
        # A folded value goes on in lines that begin with a blank.
        if folded and line[:1] in (" ", "\t") and line.strip():
            continue
        folded = False
        # A line of three dashes ends the message for some readers, and hides the trailers that follow.
        kept.append("- - -" if line.startswith("---") else line.rstrip())
    return _BLANKS.sub("\n\n", "\n".join(kept)).strip()[:_BODY_LENGTH].rstrip()


def reserved_trailers(message: str, keys: Sequence[str] = FACTS) -> tuple[str, ...]:
    """Those of ``keys`` that a message carries in any line, as written, in order."""
    wanted = _line_of(keys)
    lines = _clean(message).split("\n")
    return tuple(re.split(r"[ \t]*[:=]", line, maxsplit=1)[0].strip() for line in lines if wanted.match(line))


def _subject(title: str) -> str:
    first = next((line for line in _clean(title).split("\n") if line.strip()), "")
    words = " ".join(first.split()).rstrip(".")
    if _RESERVED_LINE.match(words) or not words:
        return "Land a change"
    words = words[0].upper() + words[1:]
    if len(words) <= SUBJECT_LENGTH:
        return words
    cut = words[: SUBJECT_LENGTH - 1]
    return (cut[: cut.rfind(" ")] if " " in cut[40:] else cut).rstrip(" ,;:") + "…"


def _trailers(receipt: Receipt) -> list[tuple[str, str]]:
    facts: Sequence[tuple[str, str]] = (
        ("Job-Id", receipt.job_id),
        ("Session-Id", receipt.session_id),
        ("Agent", receipt.agent),
        ("Reverts-Job", receipt.reverts_job),
        ("Approved-by", receipt.approved_by),
        ("Approved-Head", receipt.approved_head),
        ("Audit-Head", receipt.audit_head),
        ("Checks", receipt.checks),
        *(("Check-Run", run) for run in receipt.check_runs),
        *(("Co-authored-by", who) for who in dict.fromkeys(receipt.co_authors)),
    )
    return [(key, value) for key, raw in facts if (value := _value(raw))]


def _value(raw: str) -> str:
    return " ".join(_clean(raw).split())[:_VALUE_LENGTH]


def _clean(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def trailer(message: str, key: str) -> str | None:
    """The value of a trailer in the last paragraph of a landing commit's message, None without it."""
    last = message.rstrip().rsplit("\n\n", 1)[-1]
    for line in last.split("\n"):
        name, colon, value = line.partition(": ")
        if colon and name == key:
            return value.strip() or None
    return None
