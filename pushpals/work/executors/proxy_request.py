"""The few requests a network grant's proxy understands; every other byte is a refusal.

``CONNECT host:port`` for a tunnel, and ``GET`` or ``HEAD`` of a full ``http://`` address. The second is
written anew before it is passed on, from the parsed parts, so what was judged is what is sent.
"""

from __future__ import annotations

import re

import msgspec

from pushpals.work.executors.destinations import Refused, parse_name, parse_port

_REQUEST = re.compile(rb"([A-Z]+) ([\x21-\x7e]+) HTTP/1\.[01]")
_HEADER = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\x20-\x7e\t\x80-\xff]*)")
_URL = re.compile(r"http://([^/?@#]+)((?:[/?][^#]*)?)")
_HOP = frozenset((b"connection", b"host", b"keep-alive", b"te", b"trailer"))
MAX_HEADERS = 100


class Request(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    port: int
    forward: bytes | None
    """What to send to the host for plain HTTP; ``None`` for a tunnel."""


def parse_request(head: bytes) -> Request | Refused:
    """The request line and headers of a client, up to and with the empty line."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _REQUEST.fullmatch(lines[0])
    if line is None or len(lines) > MAX_HEADERS:
        return Refused(code="net.bad-request", why="not a request to a proxy")
    method, target = line[1], line[2].decode("ascii")
    headers = [_HEADER.fullmatch(text) for text in lines[1:]]
    if not all(headers):
        return Refused(code="net.bad-request", why="a header is malformed")
    fields = [(header[1].lower(), header[2]) for header in headers if header is not None]
    if method == b"CONNECT":
        host, colon, port = target.rpartition(":")
        return _addressed(host if colon else target, port if colon else "", None)
    if method not in (b"GET", b"HEAD"):
        return Refused(code="net.bad-request", why=f"{method.decode('ascii')} is not passed on; use TLS")
    url = _URL.fullmatch(target)
    if url is None:
        return Refused(code="net.bad-request", why="only http:// addresses are passed on in the clear")
    names = {name for name, _ in fields}
    if names & {b"content-length", b"transfer-encoding", b"upgrade", b"expect"}:
        return Refused(code="net.bad-request", why="a request with a body or an upgrade is not passed on")
    host, colon, port = url[1].rpartition(":")
    if not colon:
        host, port = url[1], "80"
    path = url[2] if url[2].startswith("/") else f"/{url[2]}"
    kept = [
        b"%s: %s" % field for field in fields if field[0] not in _HOP and not field[0].startswith(b"proxy-")
    ]
    first = [b"%s %s HTTP/1.1" % (method, path.encode("ascii")), b"host: " + url[1].encode("ascii")]
    return _addressed(host, port, b"\r\n".join([*first, *kept, b"connection: close", b"", b""]))


def _addressed(host: str, port: str, forward: bytes | None) -> Request | Refused:
    name = parse_name(host)
    if isinstance(name, Refused):
        return name
    number = parse_port(port)
    if isinstance(number, Refused):
        return number
    return Request(host=name, port=number, forward=forward)
