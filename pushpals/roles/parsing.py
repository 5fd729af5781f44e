"""Text in, intents out: rules only. Pure, total, and never a guess.

A message is cut into clauses (at "and", "then", commas, line ends). A clause counts only when *all* of its
words are understood: polite words are dropped, near misses of known words are mended, paths become slots,
and what is left must match one of the patterns whole. A word that nobody knows makes the clause unknown,
so "do not run the tests" or "why did you fix the lint" never runs or fixes anything.

Diffs and commands are taken from the message as written. A command becomes an argument list; whatever
would need a shell is refused by name instead of being half-understood.
"""

from __future__ import annotations

import re

from pushpals.roles.commandline import Argv, BadCommand, parse_command
from pushpals.roles.intents import (
    AnyIntent,
    ApplyPatch,
    AskAgent,
    Beyond,
    Fix,
    Greeting,
    Help,
    Land,
    Look,
    Question,
    Refused,
    Retry,
    RunChecks,
    RunCommand,
    Status,
    Stop,
    Unknown,
)
from pushpals.roles.patterns import PATTERNS
from pushpals.roles.wording import canonical, mend

MAX_WORDS = 60
"""A longer message without a diff, a command or a brief is prose, not a request."""
MAX_CLAUSES = 5


def parse(text: str) -> tuple[AnyIntent, ...]:
    """The intents of a message, in order: several pieces of work, or exactly one of anything else."""
    text = text.strip()
    if not text:
        return (Unknown(text=""),)
    if not text.strip(" ?!."):
        return (Help(),) if "?" in text else (Unknown(text=text),)
    special = _diff(text) or _command(text) or _brief(text)
    if special is not None:
        return (special,)
    if len(text.split()) > MAX_WORDS:
        return (Unknown(text=text),)
    return _clauses(text)


# --- whole-message forms: diffs, commands, briefs ----------------------------------------------------

_FENCE = re.compile(r"^(```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n(.*?)^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_DIFF_START = re.compile(r"^(diff --git |--- [^\n]+\n\+\+\+ |Index: |From [0-9a-f]{40} )", re.MULTILINE)
_HUNK = re.compile(
    r"^@@ -\d+(,\d+)? \+\d+(,\d+)? @@|^GIT binary patch$|^(rename|new file|deleted file|old) ", re.M
)
_APPLY = re.compile(r"\b(apply|applying|patch|diff|use|take|try|try out|land)\b", re.IGNORECASE)
_DOUBT = re.compile(r"\?|\b(why|what|how|wrong|explain|review|not|don'?t|never|revert|undo)\b", re.IGNORECASE)


def _diff(text: str) -> AnyIntent | None:
    for fence in _FENCE.finditer(text):
        if _is_diff(fence[3]):
            around = text[: fence.start()] + text[fence.end() :]
            return _patch(fence[3], around)
    start = _DIFF_START.search(text)
    if start is not None and _is_diff(text[start.start() :]):
        return _patch(text[start.start() :], text[: start.start()])
    return None


def _is_diff(body: str) -> bool:
    return _DIFF_START.search(body) is not None and _HUNK.search(body) is not None


def _patch(diff: str, around: str) -> AnyIntent:
    words = " ".join(around.split()).strip(" :.!")
    if words and (_DOUBT.search(words) or not _APPLY.search(words)):
        return Question(
            text="There is a diff in your message, but I am not sure what to do with it. If I should apply "
            "it, send it with the words `apply this patch`."
        )
    return ApplyPatch(diff=diff if diff.endswith("\n") else diff + "\n")


_RUN = re.compile(
    r"^\s*(?:(?:please|pls|could you|can you|now|then)[\s,]+)*"
    r"(?:(?:run|execute|exec|command|cmd|run (?:the |this )?command)\s*:\s*|\$\s+)(.*)$",
    re.IGNORECASE | re.DOTALL,
)
_RUN_QUOTED = re.compile(
    r"^\s*(?:(?:please|pls|could you|can you|now|then)[\s,]+)*"
    r"(?:run|execute|exec)\s+(?:(?:the|this)\s+)?(?:command\s+)?`([^`\n]+)`\s*(?:please|pls|thanks)?[.!?]?\s*$",
    re.IGNORECASE,
)
_RUN_FENCED = re.compile(r"^\s*(?:run|execute)(?: this| the command| this command)?\s*:?\s*$", re.IGNORECASE)


def _command(text: str) -> AnyIntent | None:
    fence = _FENCE.search(text)
    if fence is not None and _RUN_FENCED.match(text[: fence.start()]) and not text[fence.end() :].strip():
        return _argv(fence[3])
    quoted = _RUN_QUOTED.match(text)
    if quoted is not None:
        return _argv(quoted[1])
    found = _RUN.match(text)
    if found is None:
        return None
    line = found[1].strip()
    inline = re.fullmatch(r"`([^`\n]+)`", line)
    return _argv(inline[1] if inline else line)


def _argv(line: str) -> AnyIntent:
    if not line.strip():
        return Question(text="Which command? Write it after the colon, for example `run: pytest -x`.")
    match parse_command(line.strip()):
        case Argv(words=words):
            return RunCommand(argv=words)
        case BadCommand(reason=reason, remedy=remedy):
            return Refused(reason=reason, remedy=remedy)


_BRIEF = re.compile(
    r"^\s*(?:(?:please|pls|could you|can you|now|then)[\s,]+)*"
    r"(?:(?:ask|tell|let)\s+(?:the|my|our)\s+(?:coding\s+)?agent(?:\s+to)?\s*:?|@?agent\s*:)\s*(.*)$",
    re.IGNORECASE | re.DOTALL,
)


def _brief(text: str) -> AnyIntent | None:
    found = _BRIEF.match(text)
    if found is None:
        return None
    brief = found[1].strip()
    if not brief:
        return Question(text="What should the agent do? Write it after the colon: `agent: <what to do>`.")
    return AskAgent(brief=brief)


# --- clauses ----------------------------------------------------------------------------------------

_CUT = re.compile(r"\s*(?:[;\n]|,(?:\s*(?:and|then)\b)*|\b(?:and )?then\b|\band(?: also)?\b|&|\+)\s*", re.I)
_WORK_TYPES = (RunChecks, Fix, Look)


def _clauses(text: str) -> tuple[AnyIntent, ...]:
    whole = _clause(text)
    if not isinstance(whole, Unknown):
        return (whole,)
    pieces = [piece for piece in _CUT.split(text) if piece and canonical(piece).words]
    if len(pieces) < 2:
        return (whole,)
    if len(pieces) > MAX_CLAUSES:
        return (Unknown(text=text),)
    found: list[AnyIntent] = []
    verb = ""
    for piece in pieces:
        intent = _clause(f"{verb} {piece}") if verb else Unknown(text=piece)
        if isinstance(intent, Unknown | Question | Beyond):
            intent = _clause(piece)
        else:
            piece = f"{verb} {piece}"
        found.append(intent)
        words = canonical(piece).words
        verb = words[0] if words else ""
    return _joined(text, pieces, found)


def _joined(text: str, pieces: list[str], found: list[AnyIntent]) -> tuple[AnyIntent, ...]:
    work = [intent for intent in found if isinstance(intent, _WORK_TYPES)]
    real = [intent for intent in found if not isinstance(intent, Greeting)]
    if len(real) == 1 and not isinstance(real[0], Unknown):
        return (real[0],)
    if work and len(work) == len(real):
        return tuple(dict.fromkeys(work))
    known = [
        piece.strip(" .!?")
        for piece, intent in zip(pieces, found, strict=True)
        if isinstance(intent, (*_WORK_TYPES, Land, Stop, Retry, Status))
    ]
    if not known:
        return (Unknown(text=text),)
    if any(isinstance(intent, Unknown | Beyond | Question | Refused) for intent in real):
        return (
            Question(text="I understand only a part of that. Shall I do this part?", choices=tuple(known)),
        )
    return (Question(text="One at a time, please. Which of these first?", choices=tuple(known)),)


def _clause(text: str) -> AnyIntent:
    clause = canonical(text)
    if clause.bad_path is not None:
        return Refused(
            reason=f"`{clause.bad_path}` leaves the repository.",
            remedy="Name a path inside the repository, relative to its root.",
        )
    line = " ".join(mend(clause.words))
    if not line:
        return Greeting() if clause.greeting else Unknown(text=text.strip())
    for pattern, make in PATTERNS:
        if pattern.fullmatch(line):
            return make(clause.paths, clause.job_id, text)
    return Unknown(text=text.strip())
