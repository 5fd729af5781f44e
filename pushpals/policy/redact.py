"""Secrets taken out of output before it is stored, streamed or shown.

Two stages over bytes, in this order: values that are known (as they are, base64 in its three
alignments, hex, URL- and JSON-escaped), then the shapes of :mod:`pushpals.policy.patterns` and private
key blocks. Each find becomes ``[REDACTED:kind:6hex]``, where the six digits begin the SHA-256 of the
value, so that equal values can be recognised without being known.

Promises:

- the result does not depend on how the stream was cut: a value split over writes or chunks is found;
- time is linear in the input and the bytes held back are bounded (a line up to 8 KiB, or a private key
  block up to 12 KiB, or the longest known value);
- nothing is raised for any input.

It cannot see a value that was transformed in another way, and it does not guess: checksums, UUIDs and
package hashes pass. ``flush`` ends a stream; a secret split over a ``flush`` is not found.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_from_bytes, quote_plus

import msgspec

from pushpals.policy.patterns import (
    PATTERNS,
    PEM_BEGIN,
    PEM_BODY,
    PEM_END,
    PEM_KIND,
    PEM_MAX,
    REACH,
    SecretPattern,
)

MIN_VALUE_BYTES = 8
"""Shorter known values are ignored: they would turn up by chance."""
MAX_VALUE_BYTES = 16 * 1024
"""Of a longer known value the first part is looked for."""

_CONTEXT = 32  # bytes kept for look-behinds; the longest in the table is 8
_FORCE = 64 * 1024
_ANCHOR = 8


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A value that must not appear in output. ``name`` does appear, in its place."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"Secret(name={self.name!r})"


class Redactor:
    """One stream of bytes. Not for use from two threads."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        known = _KnownValues(secrets)
        self._known = known if known.variants else None
        self._shapes = _Shapes()

    def feed(self, data: bytes) -> bytes:
        """What can be said about the stream so far; the rest is held back."""
        if self._known:
            data = self._known.feed(data)
        return self._shapes.feed(data)

    def flush(self) -> bytes:
        """The rest. The redactor can be used for another stream afterwards."""
        held = self._known.flush() if self._known else b""
        return self._shapes.feed(held) + self._shapes.flush()

    def redact(self, data: bytes) -> bytes:
        """A whole stream at once. Only between streams."""
        return self.feed(data) + self.flush()


def redact_text(text: str, secrets: Iterable[Secret] = ()) -> str:
    """:meth:`Redactor.redact` for text; lone surrogates pass unchanged."""
    data = text.encode("utf-8", "surrogatepass")
    return Redactor(secrets).redact(data).decode("utf-8", "surrogatepass")


def redact_plain(value: Any, hide: Callable[[str], str]) -> Any:
    """Plain data with every text in it hidden, keys too. Nothing else changes."""
    match value:
        case str():
            return hide(value)
        case dict():
            return {
                hide(key) if isinstance(key, str) else key: redact_plain(one, hide)
                for key, one in value.items()
            }
        case list() | tuple():
            return [redact_plain(one, hide) for one in value]
        case _:
            return value


def replacement(kind: str, value: bytes) -> bytes:
    return f"[REDACTED:{kind}:{hashlib.sha256(value).hexdigest()[:6]}]".encode()


class _KnownValues:
    """Stage one. A match may touch another: overlapping finds are hidden as one."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        table: dict[bytes, bytes] = {}
        for secret in secrets:
            value = secret.value.encode("utf-8", "surrogatepass")[:MAX_VALUE_BYTES]
            if len(value) < MIN_VALUE_BYTES:
                continue
            kind = re.sub(r"[^A-Za-z0-9_.-]", "-", secret.name)[:64] or "secret"
            for variant in _variants(value):
                table.setdefault(variant, replacement(kind, value))
        self.variants = sorted(table.items(), key=lambda item: (-len(item[0]), item[0]))
        self._starts = {variant[:size] for variant in table for size in range(1, _ANCHOR)}
        self._anchored: dict[bytes, list[bytes]] = {}
        for variant in table:
            self._anchored.setdefault(variant[:_ANCHOR], []).append(variant)
        self._longest = max(map(len, table), default=0)
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        return self._run(data, final=False)

    def flush(self) -> bytes:
        return self._run(b"", final=True)

    def _run(self, data: bytes, *, final: bool) -> bytes:
        buffer = self._buffer + data
        limit = len(buffer)
        if not final and limit < _FORCE + self._longest:
            limit = self._held_from(buffer)
        out: list[bytes] = []
        at = 0
        present = [item for item in self.variants if item[0] in buffer]
        while found := self._next(buffer, at, present):
            start, end, text = found
            if end > limit and not final and len(buffer) < _FORCE + self._longest:
                limit = min(limit, start)
            if start >= limit:
                break
            out += (buffer[at:start], text)
            at = end
        limit = max(limit, at)
        out.append(buffer[at:limit])
        self._buffer = buffer[limit:]
        return b"".join(out)

    def _next(
        self, buffer: bytes, at: int, present: list[tuple[bytes, bytes]]
    ) -> tuple[int, int, bytes] | None:
        best: tuple[int, int, bytes] | None = None
        for variant, text in present:
            # The list is longest first, so at an equal start the first one found stays.
            stop = len(buffer) if best is None else min(len(buffer), best[0] + len(variant) - 1)
            start = buffer.find(variant, at, stop)
            if start >= 0:
                best = (start, start + len(variant), text)
        if best is None:
            return None
        start, end, text = best
        cursor = start + 1
        while cursor < end:
            reaches = [
                (found, found + len(variant))
                for variant, _ in present
                if (found := buffer.find(variant, cursor, end - 1 + len(variant))) >= 0
            ]
            further = [reach for reach in reaches if reach[1] > end]
            if not further:
                break
            cursor, end = min(further)[0] + 1, max(end, max(reach for _, reach in further))
        return start, end, text

    def _held_from(self, buffer: bytes) -> int:
        """The first place from which the buffer's end could be the beginning of a known value."""
        held = len(buffer)
        for size in range(min(_ANCHOR - 1, len(buffer)), 0, -1):
            if buffer[-size:] in self._starts:
                held = len(buffer) - size
                break
        low = max(0, len(buffer) - self._longest)
        for anchor, variants in self._anchored.items():
            at = buffer.find(anchor, low)
            while 0 <= at < held:
                tail = buffer[at:]
                if any(len(tail) < len(variant) and variant.startswith(tail) for variant in variants):
                    held = at
                    break
                at = buffer.find(anchor, at + 1)
        return held


def _variants(value: bytes) -> set[bytes]:
    """The forms in which a value is looked for. All at least as long as the value."""
    text = value.decode("utf-8", "replace")
    plain = {value, value.strip()}
    plain |= {line.strip() for line in value.splitlines() if len(line.strip()) >= 16}
    forms: set[bytes] = set()
    for form in plain:
        if len(form) < MIN_VALUE_BYTES or form.startswith(b"-----"):
            continue
        forms |= {form, form.hex().encode(), form.hex().upper().encode()}
        forms |= set(_base64(form))
        percent = quote_from_bytes(form, safe="").encode()
        forms |= {percent, re.sub(rb"%..", lambda found: found[0].lower(), percent)}
        forms |= {quote_from_bytes(form).encode(), percent.replace(b"%20", b"+")}
    if "\ufffd" not in text:
        forms |= {json.dumps(text)[1:-1].encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode()}
        forms |= {quote(text, safe="~()*!'").encode(), quote_plus(text, safe="~").encode()}
        forms.add(json.dumps(text)[1:-1].replace("/", "\\/").encode())
    return {form for form in forms if len(form) >= MIN_VALUE_BYTES}


def _base64(value: bytes) -> Iterator[bytes]:
    """Base64 of the value inside something longer: whichever of three offsets it starts at."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + value)
        first = (8 * offset + 5) // 6
        last = 8 * (offset + len(value)) // 6
        part = encoded[first:last]
        yield part
        yield part.replace(b"+", b"-").replace(b"/", b"_")
    whole = base64.b64encode(value)
    for width in (64, 76):  # PEM and MIME line lengths: what the common encoders break at
        if len(whole) > width:
            lines = [whole[at : at + width] for at in range(0, len(whole), width)]
            for line_end in (b"\n", b"\r\n", b"\\n"):
                yield line_end.join(lines).rstrip(b"=")[:-1]


class _Shapes:
    """Stage two: leftmost match of the table, the earlier entry at an equal start."""

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._swallowing: re.Pattern[bytes] | None = None

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        return self._run(final=False)

    def flush(self) -> bytes:
        rest = self._run(final=True)
        self._buffer, self._at, self._swallowing = b"", 0, None
        return rest

    def _run(self, *, final: bool) -> bytes:
        buffer, at = self._buffer, self._at
        out: list[bytes] = []
        if self._swallowing:
            at = self._swallow(buffer, at, self._swallowing, final=final)
        if final:
            limit = len(buffer)
        else:
            # Every match lies in one line and decides within REACH, so what starts before the last
            # line break, or REACH before the end, can no longer be changed by what follows.
            limit = buffer.rfind(b"\n", at) + 1
            if len(buffer) - max(at, limit) >= 2 * REACH:
                limit = len(buffer) - REACH
        if limit > at:
            at, limit = self._replace(buffer, at, limit, out, final=final)
        limit = max(limit, at)
        out.append(buffer[at:limit])
        kept = max(0, limit - _CONTEXT)
        self._buffer, self._at = buffer[kept:], limit - kept
        return b"".join(out)

    def _replace(
        self, buffer: bytes, at: int, limit: int, out: list[bytes], *, final: bool
    ) -> tuple[int, int]:
        finds = _Finds(buffer, at)
        while (found := finds.first(at)) and found[0] < limit:
            start, pattern, match = found
            if pattern is None:
                end = _pem_end(buffer, start, match.end(), final=final)
                if end is None:
                    return at, start
                hidden = (start, end)
                kind, rest = PEM_KIND, end
            else:
                hidden = match.span("secret" if "secret" in match.re.groupindex else 0)
                kind, rest = pattern.kind, match.end()
            out += (
                buffer[at : hidden[0]],
                replacement(kind, buffer[slice(*hidden)]),
                buffer[hidden[1] : rest],
            )
            at = rest
            if pattern is not None and pattern.tail and hidden[1] == rest:
                at = self._swallow(buffer, at, pattern.tail, final=final)
        return at, limit

    def _swallow(self, buffer: bytes, at: int, tail: re.Pattern[bytes], *, final: bool) -> int:
        found = tail.match(buffer, at)
        end = found.end() if found else at
        self._swallowing = tail if end == len(buffer) and not final else None
        return end


class _Finds:
    """The next match of every pattern that can match at all in a buffer."""

    def __init__(self, buffer: bytes, at: int) -> None:
        self._buffer = buffer
        active: list[SecretPattern | None] = [
            pattern for pattern in PATTERNS if any(anchor in buffer for anchor in pattern.anchors)
        ]
        if b"PRIVATE KEY" in buffer:
            active.insert(0, None)
        self._next: list[tuple[SecretPattern | None, re.Match[bytes]]] = []
        for pattern in active:
            if match := self._search(pattern, at):
                self._next.append((pattern, match))

    def first(self, at: int) -> tuple[int, SecretPattern | None, re.Match[bytes]] | None:
        fresh: list[tuple[SecretPattern | None, re.Match[bytes]]] = []
        best: tuple[int, SecretPattern | None, re.Match[bytes]] | None = None
        for pattern, match in self._next:
            current = match if match.start() >= at else self._search(pattern, at)
            if current is None:
                continue
            fresh.append((pattern, current))
            if best is None or current.start() < best[0]:
                best = (current.start(), pattern, current)
        self._next = fresh
        return best

    def _search(self, pattern: SecretPattern | None, at: int) -> re.Match[bytes] | None:
        return (PEM_BEGIN if pattern is None else pattern.regex).search(self._buffer, at)


def _pem_end(buffer: bytes, start: int, body: int, *, final: bool) -> int | None:
    """Where a private key block ends; None while that is not known."""
    last = start + PEM_MAX
    if end := PEM_END.search(buffer, body, last):
        return end.end()
    if len(buffer) < last and not final:
        return None
    run = PEM_BODY.match(buffer, body, last)
    return run.end() if run else body
