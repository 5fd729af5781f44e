"""Encoding and decoding: the only place where JSON meets types."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from pushpals.protocol.errors import BadRequest
from pushpals.protocol.events import PAYLOADS, PROTOCOL_VERSION, Envelope, Error, Event, Payload

T = TypeVar("T")

MAX_DEPTH = 32
"""Nesting allowed in a body. msgspec recurses in C and is safe far beyond it; folds and pages are not."""

_envelopes = msgspec.json.Decoder(Envelope)
_payloads = {name: msgspec.json.Decoder(kind) for name, kind in PAYLOADS.items()}


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON. Line breaks inside strings are escaped, so a value is always one line."""
    return msgspec.json.encode(value)


def decode(data: bytes | str, kind: type[T]) -> T:
    """``data`` as a ``kind``; raises :class:`BadRequest` naming the path that is wrong."""
    raw = data.encode() if isinstance(data, str) else data
    _refuse_deep(raw)
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{error}", code="body.invalid") from None


def decode_payload(kind: str, data: bytes) -> Payload:
    """The payload of an event type; raises :class:`BadRequest` for unknown types and wrong fields."""
    decoder = _payloads.get(kind)
    if decoder is None:
        raise BadRequest(
            f"there is no event type {kind!r}", code="event.unknown_type", known=sorted(PAYLOADS)
        )
    _refuse_deep(data)
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{kind}: {error}", code="event.invalid") from None


def payload_from(kind: str, value: Any) -> Payload:
    """The same from parsed JSON."""
    return decode_payload(kind, msgspec.json.encode(value))


def envelope_bytes(event: Event) -> bytes:
    """The JSON of an event as it is stored and sent; made once."""
    return msgspec.json.encode(
        Envelope(
            protocol_version=PROTOCOL_VERSION,
            id=event.id,
            ts=event.ts,
            session_id=event.session_id,
            type=event.payload.TYPE,
            payload=msgspec.Raw(msgspec.json.encode(event.payload)),
            trace_id=event.trace_id,
            from_=event.from_,
            to=event.to,
            correlation_id=event.correlation_id,
            parent_id=event.parent_id,
            turn_id=event.turn_id,
        )
    )


def read_event(data: bytes | str, cursor: int) -> Event:
    """An envelope's JSON as an :class:`Event`.

    A type that this version does not know is answered with an ``error`` payload that names it, so that an
    old reader goes on; a known type with wrong fields raises :class:`BadRequest`.
    """
    try:
        envelope = _envelopes.decode(data)
    except msgspec.DecodeError as error:
        raise BadRequest(f"not an event envelope: {error}", code="event.invalid") from None
    if envelope.type in PAYLOADS:
        payload = decode_payload(envelope.type, bytes(envelope.payload))
    else:
        payload = Error(
            message=f"unknown event type {envelope.type}", detail=bytes(envelope.payload).decode()
        )
    return Event(
        cursor=cursor,
        id=envelope.id,
        ts=envelope.ts,
        session_id=envelope.session_id,
        payload=payload,
        trace_id=envelope.trace_id,
        from_=envelope.from_,
        to=envelope.to,
        correlation_id=envelope.correlation_id,
        parent_id=envelope.parent_id,
        turn_id=envelope.turn_id,
    )


_BRACKETS = b"[]{}"
_OTHER = bytes(set(range(256)) - set(_BRACKETS + b'"'))
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_STRING = re.compile(rb'"[^"]*"')
_INNERMOST = re.compile(rb"\{\}|\[\]")


def _refuse_deep(data: bytes) -> None:
    """Count nesting without a walk over every character in Python: this is on every request's path."""
    if data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
        return
    if b"\\" in data:
        data = _ESCAPE.sub(b"", data)
    # Quotes and brackets are left. Two quotes side by side are an empty string, or the end of one and the
    # start of the next: without them every bracket is inside or outside of a string as before.
    left = brackets = _STRING.sub(b"", data.translate(None, _OTHER).replace(b'""', b""))
    for _ in range(MAX_DEPTH):
        left = _INNERMOST.sub(b"", left)
        if not left:
            return
    # Deeper, or brackets that do not match: the latter is the decoder's to say.
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise BadRequest(f"the body nests deeper than {MAX_DEPTH} levels", code="body.too_deep")
