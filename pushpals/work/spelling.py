"""Which misspellings may be corrected without a person, and the exact edits.

typos finds; this decides. A name in code is part of an interface, so only prose is corrected: documents
outside of code spans, and in Python the comments and docstrings that are no doctests. Everything else is
reported. A capital letter inside a sentence makes a name too. Only findings with exactly one correction
count.

Pure: bytes in, a zero-context diff out, which git applies inside the sandbox.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import msgspec

PROSE = frozenset({".md", ".markdown", ".rst", ".txt", ".adoc", ".asciidoc"})
_DATA = frozenset(
    {"fixtures", "testdata", "data", "tests", "test", "snapshots", "locale", "vendor", "licenses"}
)
_DATA_NAMES = re.compile(r"(?i)(requirements|licen[sc]e|copying|authors|contributors|constraints)")
MAX_FILE_BYTES = 2 * 1024 * 1024


class Typo(msgspec.Struct, frozen=True, kw_only=True):
    """One finding of typos. ``offset`` counts bytes from the start of the line."""

    path: str
    line: int
    offset: int
    word: str
    corrections: list[str]


class _Row(msgspec.Struct, frozen=True):
    type: str
    path: str = ""
    line_num: int = 0
    byte_offset: int = 0
    typo: str = ""
    corrections: list[str] = []


def read_typos(data: bytes) -> list[Typo]:
    """The output of ``typos --format json``: one object a line; other lines are left out."""
    found = []
    for line in data.splitlines():
        try:
            row = msgspec.json.decode(line, type=_Row)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if row.type == "typo" and row.line_num > 0:
            found.append(
                Typo(
                    path=row.path.removeprefix("./"),
                    line=row.line_num,
                    offset=row.byte_offset,
                    word=row.typo,
                    corrections=row.corrections,
                )
            )
    return found


def may_read(path: str) -> bool:
    """Whether anything in this file could be corrected at all."""
    where = PurePosixPath(path)
    if where.suffix == ".py":
        return True
    return where.suffix.lower() in PROSE and not (
        _DATA & {part.lower() for part in where.parts[:-1]}
        or any(part.endswith(".egg-info") for part in where.parts)
        or _DATA_NAMES.match(where.name)
    )


def safe(typos: Iterable[Typo], contents: Mapping[str, bytes]) -> list[Typo]:
    """Those that are in prose, with one correction, where the file still says so."""
    kept: list[Typo] = []
    prose: dict[str, frozenset[tuple[int, int]] | None] = {}
    for typo in typos:
        data = contents.get(typo.path)
        if data is None or len(typo.corrections) != 1 or len(data) > MAX_FILE_BYTES:
            continue
        lines = data.split(b"\n")
        word = typo.word.encode()
        if typo.line > len(lines):
            continue
        line = lines[typo.line - 1]
        if line[typo.offset : typo.offset + len(word)] != word or _in_code_span(line, typo.offset):
            continue
        if typo.word != typo.word.lower() and not _begins_sentence(line, typo.offset):
            continue
        if typo.path.endswith(".py"):
            if typo.path not in prose:
                prose[typo.path] = python_prose(data)
            spans = prose[typo.path]
            if spans is None or not _within(spans, typo.line, typo.offset):
                continue
        elif _in_fence(lines, typo.line - 1):
            continue
        kept.append(typo)
    return kept


def python_prose(data: bytes) -> frozenset[tuple[int, int]] | None:
    """Lines of comments and docstrings as (line, first byte); None if the file cannot be tokenized."""
    spans: set[tuple[int, int]] = set()
    before = tokenize.NEWLINE
    try:
        for token in tokenize.tokenize(io.BytesIO(data).readline):
            if token.type == tokenize.COMMENT:
                spans.add((token.start[0], len(token.line[: token.start[1]].encode())))
            elif token.type == tokenize.STRING and before in _STATEMENT_STARTS:
                for number, text in enumerate(token.string.split("\n")):
                    if not text.lstrip(" \t\"'rRuUbBfF").startswith((">>>", "...")):
                        spans.add((token.start[0] + number, token.start[1] if number == 0 else 0))
            if token.type not in (tokenize.NL, tokenize.COMMENT):
                before = token.type
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError):
        return None
    return frozenset(spans)


def as_diff(typos: Sequence[Typo], contents: Mapping[str, bytes]) -> bytes:
    """The corrections as a unified diff without context."""
    out: list[bytes] = []
    for path in dict.fromkeys(typo.path for typo in typos):
        data = contents[path]
        lines = data.split(b"\n")
        by_line: dict[int, list[Typo]] = {}
        for typo in typos:
            if typo.path == path:
                by_line.setdefault(typo.line, []).append(typo)
        name = path.encode("utf-8", "surrogateescape")
        out.append(b"--- a/" + name + b"\n+++ b/" + name + b"\n")
        for number in sorted(by_line):
            old = new = lines[number - 1]
            for typo in sorted(by_line[number], key=lambda one: -one.offset):
                end = typo.offset + len(typo.word.encode())
                new = new[: typo.offset] + typo.corrections[0].encode() + new[end:]
            last = b"" if number < len(lines) else b"\\ No newline at end of file\n"
            at = str(number).encode()
            out.append(b"@@ -" + at + b" +" + at + b" @@\n")
            out.append(b"-" + old + b"\n" + last + b"+" + new + b"\n" + last)
    return b"".join(out)


_STATEMENT_STARTS = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)


def _within(spans: frozenset[tuple[int, int]], line: int, offset: int) -> bool:
    return any(number == line and offset >= first for number, first in spans)


def _in_code_span(line: bytes, offset: int) -> bool:
    before = line[:offset]
    if before.count(b"`") % 2 or re.search(rb"(https?://|www\.|[\w.-]+@)\S*$", before):
        return True
    # A path, an option or a dotted name: something refers to it by this spelling.
    return re.search(rb"[/\\_=.:-]$", before) is not None


def _begins_sentence(line: bytes, offset: int) -> bool:
    """A capital letter anywhere else makes a word a name: of a person, a product, a constant."""
    return re.search(rb"(?:^|[.!?:]\s+|[\"'#*>-]\s*)\s*$", line[:offset]) is not None


def _in_fence(lines: Sequence[bytes], index: int) -> bool:
    fences = sum(1 for line in lines[:index] if line.lstrip().startswith((b"```", b"~~~")))
    # An indented block is code in every one of the formats.
    return fences % 2 == 1 or lines[index].startswith((b"    ", b"\t"))
