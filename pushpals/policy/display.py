"""Text from agents, commands and repositories, made safe to look at.

What a person sees must be what is there. Three forms, from loose to strict:

- :func:`colours` keeps foreground colours and weight (SGR), line breaks and tabs, and nothing else of
  the terminal's language: no cursor moves, no titles, links or clipboard writes (OSC), no concealed
  text, no backgrounds (text in the colour of its background is hidden text);
- :func:`plain` drops the colours too;
- :func:`escaped` is printable ASCII only and can be read back: for the arguments of an approval.

All of them leave nothing out silently that could hide something: a carriage return becomes a line
break, so that the overwritten text stays, and characters that are invisible, reorder text or pretend
to be another script's letters are written as ``<U+202E>``. :func:`visible` does that last step alone;
:func:`is_suspicious` says what it would have changed, in stable codes.

It does not judge whole words of another script that happen to look like Latin, and the set of
"unassigned" code points is that of the running Python.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

SUSPICIONS: dict[str, str] = {
    "control-chars": "a control character other than line break and tab",
    "bidi": "a character that changes the direction in which text is shown",
    "zero-width": "a character that takes no room: joiner, filler, variation selector, tag, soft hyphen",
    "mixed-script": "a word with letters of two scripts that look alike",
    "separator": "a line or paragraph separator that is not a line break",
    "unassigned": "a private, unassigned or surrogate code point",
    "combining": "more than four combining marks on one letter",
}
"""The codes of :func:`is_suspicious` and what each means."""

Kept = Literal["colours", "none"]

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f")
_LOOKALIKE_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "DESERET")
_MATHS = range(0x1D400, 0x1D800)
_WORD = re.compile(r"\w+")
_ASCII_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_CSI = r"(?:\x1b\[|\x9b)(?P<params>[0-?]{0,256})[ -/]{0,16}(?P<final>[@-~])"
_STRING = r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]{0,8192}(?:\x07|\x1b\\|\x9c)"
_TERMINAL = re.compile(
    rf"{_CSI}|{_STRING}"
    r"|(?:\x1b\[|\x9b)[0-?]{0,256}[ -/]{0,16}"  # cut off
    r"|\x1b[ -/]{0,16}[0-~]?"
    r"|\r+\n|(?P<cr>\r+)"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_UNFINISHED = re.compile(
    r"(?:\x1b(?:\[[0-?]{0,256}[ -/]{0,16}|[\]PX^_][^\x07\x1b\x9c\n]{0,8192}\x1b?|[ -/]{0,16})"
    r"|\x9b[0-?]{0,256}[ -/]{0,16}|[\x9d\x90\x98\x9e\x9f][^\x07\x1b\x9c\n]{0,8192}\x1b?|\r+)\Z"
)
_MAX_UNFINISHED = 8192 + 64


def colours(text: str) -> str:
    """``text`` with foreground colours and weight kept, everything else of a terminal removed."""
    return visible(_strip(text, "colours"), keep_sgr=True)


def plain(text: str) -> str:
    """``text`` without any terminal sequence, with hidden characters made visible."""
    return visible(_strip(text, "none"))


def visible(text: str, *, keep_sgr: bool = False) -> str:
    """``text`` with every suspicious character written as ``<U+XXXX>``. Line breaks and tabs stay.

    ``keep_sgr`` leaves complete SGR sequences as they are; use it on the result of :func:`colours` only.
    """
    if keep_sgr:
        pieces = re.split(r"(\x1b\[[0-9;]*m)", text)
        return "".join(piece if index % 2 else visible(piece) for index, piece in enumerate(pieces))
    if text.isascii():
        return _ASCII_CONTROL.sub(lambda found: _name(found[0]), text)
    marked = _marked(text)
    if not marked:
        return text
    return "".join(_name(char) if index in marked else char for index, char in enumerate(text))


def escaped(text: str) -> str:
    """``text`` in printable ASCII, reversible: backslash escapes as in JSON, ``\\u{...}`` for the rest."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape(char) for char in text)


def is_suspicious(text: str) -> tuple[str, ...]:
    """Why ``text`` might not be what it looks like: codes of :data:`SUSPICIONS`, sorted, often empty."""
    if text.isascii():
        return ("control-chars",) if _ASCII_CONTROL.search(text) else ()
    return tuple(sorted(set(_marked(text).values())))


class TerminalCleaner:
    """:func:`colours` or :func:`plain` over a stream: a sequence cut by a chunk border is still seen.

    Holds back at most 8 KiB (an unfinished sequence); ``flush`` ends the stream.
    """

    def __init__(self, keep: Kept = "none") -> None:
        self._keep: Kept = keep
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        tail = text[-_MAX_UNFINISHED:]
        found = _UNFINISHED.search(tail) if not tail.isascii() or "\x1b" in tail or "\r" in tail else None
        cut = len(text) - len(tail) + found.start() if found else len(text)
        self._held = text[cut:]
        return self._clean(text[:cut])

    def flush(self) -> str:
        held, self._held = self._held, ""
        return self._clean(held)

    def _clean(self, text: str) -> str:
        return colours(text) if self._keep == "colours" else plain(text)


def _strip(text: str, keep: Kept) -> str:
    def replace(found: re.Match[str]) -> str:
        if found["cr"]:
            return "\n"
        if found[0].endswith("\n"):
            return "\n"
        if keep == "colours" and found["final"] == "m":
            return _foreground(found["params"] or "")
        return ""

    return _TERMINAL.sub(replace, text)


def _foreground(params: str) -> str:
    """The part of an SGR sequence that cannot hide text."""
    if not re.fullmatch(r"[0-9;:]*", params):
        return ""
    if not params:
        return "\x1b[0m"
    numbers = [int(part[:4]) if part else 0 for part in params.replace(":", ";").split(";")]
    kept: list[int] = []
    at = 0
    while at < len(numbers):
        number = numbers[at]
        width = 1
        if number in (38, 48, 58):
            mode = numbers[at + 1] if at + 1 < len(numbers) else None
            width = 3 if mode == 5 else 5 if mode == 2 else len(numbers)
            group = numbers[at : at + width]
            if number == 38 and len(group) == width and all(part <= 255 for part in group):
                kept += group
        elif number in (0, 1, 2, 3, 4, 7, 21, 22, 23, 24, 27, 39) or 30 <= number <= 37 or 90 <= number <= 97:
            kept.append(number)
        at += width
    return f"\x1b[{';'.join(map(str, kept))}m" if kept else ""


def _marked(text: str) -> dict[int, str]:
    """Positions of suspicious characters, with the reason."""
    marked: dict[int, str] = {}
    combining = 0
    for index, char in enumerate(text):
        if char < "\x7f":
            combining = 0
            if char < " " and char not in "\n\t":
                marked[index] = "control-chars"
            continue
        reason = _reason(char)
        if reason == "combining":
            combining += 1
            if combining > 4:
                marked[index] = reason
            continue
        combining = 0
        if reason and not (char in "\u200c\u200d\ufe0f" and _joins(text, index)):
            marked[index] = reason
    for word in _WORD.finditer(text):
        if not word[0].isascii():
            marked.update(_foreign(word))
    return marked


@lru_cache(maxsize=4096)
def _reason(char: str) -> str:
    code = ord(char)
    category = unicodedata.category(char)
    if char in _BIDI:
        return "bidi"
    if char in _BLANK_LETTERS or category == "Cf" or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return "zero-width"
    if category == "Cc":
        return "control-chars"
    if category in ("Zl", "Zp"):
        return "separator"
    if category in ("Co", "Cn", "Cs"):
        return "unassigned"
    if category in ("Mn", "Me"):
        return "combining"
    return ""


def _joins(text: str, index: int) -> bool:
    """Joiners are how emoji families and several scripts are written; elsewhere they only hide."""
    before = text[index - 1] if index else ""
    after = text[index + 1] if index + 1 < len(text) else ""
    if text[index] == "\ufe0f":
        return bool(before) and (
            unicodedata.category(before) in ("So", "Sm", "Po") or before in "0123456789#*"
        )
    if before and after and all(0x0600 <= ord(char) <= 0x0DFF for char in (before, after)):
        return True
    emoji = ("So", "Sk")
    pictured = before == "\ufe0f" or (bool(before) and unicodedata.category(before) in emoji)
    return (
        text[index] == "\u200d" and pictured and bool(after) and unicodedata.category(after) in (*emoji, "Sm")
    )


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    if ord(char) in _MATHS or 0xFF00 <= ord(char) <= 0xFF5E:
        return "STYLED"
    name = unicodedata.name(char, "")
    return next((script for script in _LOOKALIKE_SCRIPTS if name.startswith(script + " ")), "")


def _foreign(word: re.Match[str]) -> dict[int, str]:
    scripts = {char: _script(char) for char in set(word[0])}
    if len({script for script in scripts.values() if script}) < 2:
        return {}
    return {
        word.start() + index: "mixed-script"
        for index, char in enumerate(word[0])
        if not char.isascii() and scripts[char] not in ("", "LATIN")
    }


def _name(char: str) -> str:
    return f"<U+{ord(char):04X}>"


def _escape(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if " " <= char <= "~":
        return char
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char) or f"\\u{{{ord(char):x}}}"
