"""Words of a shell script: what quoting leaves of them, and whether they are known before the script runs.

:class:`Dynamic` marks a word whose value only the shell will know (an expansion, a glob, a tilde, a
brace). Its text is the best guess and may be used to be stricter, never to be laxer.
"""

from __future__ import annotations

import re


class Dynamic(str):
    """A word that is not known before the script runs; equal to its guessed text."""

    __slots__ = ()


def words_in(text: str) -> frozenset[str]:
    """The words of a table written as one text."""
    return frozenset(text.split())


_ANSI_C = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "?": "?",
}  # fmt: skip
_ANSI_C_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|c(.)|(.))", re.DOTALL
)
_EXPANDS = frozenset("*?[]~{}$`()<>")


def unquoted(text: str) -> str:
    """The word that ``text`` stands for in bash; a :class:`Dynamic` one if that depends on the run."""
    out: list[str] = []
    dynamic = False
    at = 0
    while at < len(text):
        char = text[at]
        if char == "'":
            end = text.find("'", at + 1)
            end = len(text) if end < 0 else end
            out.append(text[at + 1 : end])
            at = end + 1
        elif text.startswith("$'", at):
            end = _ansi_c_end(text, at + 2)
            out.append(_ansi_c(text[at + 2 : end]))
            at = end + 1
        elif char == '"':
            inner, at, expands = _double_quoted(text, at + 1)
            out.append(inner)
            dynamic = dynamic or expands
        elif char == "\\":
            following = text[at + 1 : at + 2]
            out.append("" if following == "\n" else following)
            at += 2
        else:
            dynamic = dynamic or char in _EXPANDS
            out.append(char)
            at += 1
    value = "".join(out)
    return Dynamic(value) if dynamic else value


def _double_quoted(text: str, at: int) -> tuple[str, int, bool]:
    out: list[str] = []
    dynamic = False
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and text[at + 1 : at + 2] in ("$", "`", '"', "\\", "\n"):
            out.append(text[at + 1].replace("\n", ""))
            at += 2
            continue
        dynamic = dynamic or text[at] in "$`"
        out.append(text[at])
        at += 1
    return "".join(out), at + 1, dynamic


def _ansi_c_end(text: str, at: int) -> int:
    while at < len(text) and text[at] != "'":
        at += 2 if text[at] == "\\" else 1
    return min(at, len(text))


def _ansi_c(text: str) -> str:
    def decode(found: re.Match[str]) -> str:
        octal, hexadecimal, short, long, control, plain = found.groups()
        if octal:
            return chr(int(octal, 8) & 0xFF)
        code = hexadecimal or short or long
        if code:
            value = int(code, 16)
            return chr(value) if value < 0x110000 and not 0xD800 <= value < 0xE000 else "\ufffd"
        if control:
            return chr(ord(control) & 0x1F)
        return _ANSI_C.get(plain, "\\" + plain)

    return _ANSI_C_ESCAPE.sub(decode, text)
