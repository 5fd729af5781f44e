"""Hosts named on a command line: which may be asked for, and which never.

Grants are for names. An address in any spelling (dotted, decimal, octal, hex, IPv6, mapped), this
machine, and names that only resolve inside somebody's network are refused whatever a policy says; a
host that cannot be read is refused as well. The proxy checks the resolved address again.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import Literal
from urllib.parse import unquote

import msgspec

from pushpals.policy.words import Dynamic

DEFAULT_PORTS: dict[str, int] = {
    "http": 80, "https": 443, "ftp": 21, "ftps": 990, "ssh": 22, "git": 9418, "sftp": 22, "scp": 22,
    "ws": 80, "wss": 443, "gopher": 70, "telnet": 23, "ldap": 389, "ldaps": 636, "rsync": 873,
    "svn": 3690, "smtp": 25, "smtps": 465, "imap": 143, "imaps": 993, "redis": 6379, "dict": 2628, "tftp": 69,
}  # fmt: skip

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20}):(?:[/\\]{1,3})(?P<authority>[^/\\?#\s\"'<>]*)", re.ASCII
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")
_DENIED_SUFFIXES = ("localhost", "localdomain", "local", "internal", "lan", "home.arpa", "intranet", "corp")
_DENIED_NAMES = frozenset(
    {
        "localhost",
        "localhost4",
        "localhost6",
        "ip6-localhost",
        "ip6-loopback",
        "broadcasthost",
        "instance-data",
    }
)


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A host somebody wants to reach. ``port`` 0 means the scheme has none that is known."""

    host: str
    port: int = 0
    verdict: Literal["named", "denied", "unknown"] = "named"

    @property
    def capability(self) -> str:
        if self.verdict == "unknown":
            return "net:*"
        return f"net:{self.host}:{self.port or '*'}"


def urls_in(word: str) -> tuple[Host, ...]:
    """The hosts of the addresses with a scheme in ``word``."""
    found = []
    for match in _URL.finditer(unicodedata.normalize("NFKC", word)):
        scheme = match["scheme"].lower().rsplit("+", 1)[-1]
        if scheme == "file":
            continue
        found.append(host_of(match["authority"], DEFAULT_PORTS.get(scheme, 0), isinstance(word, Dynamic)))
    return tuple(found)


def host_of(authority: str, port: int = 0, dynamic: bool = False) -> Host:
    """The host of ``[user@]host[:port]``. A host that cannot be read is denied."""
    if dynamic and re.search(r"[$`*?{}~]", authority):
        return Host(host=authority, verdict="unknown")
    name = unquote(unicodedata.normalize("NFKC", authority)).rsplit("@", 1)[-1].lower()
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(\d{1,5}))?", name)
    if bracketed:
        return Host(host=bracketed[1], port=int(bracketed[2] or port), verdict="denied")
    host, colon, given = name.rpartition(":")
    if colon and given.isascii() and (given.isdigit() or not given):
        port = int(given[:5] or port)
    elif colon:
        host = name
    else:
        host = given
    host = host[:-1] if host.endswith(".") else host
    return Host(host=host, port=port, verdict="denied" if denied_host(host) else "named")


def denied_host(host: str) -> bool:
    """Whether ``host`` (lower case) is an address, this machine, a private name, or unreadable."""
    if len(host) > 253 or is_address(host):
        return True
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return True
    if host in _DENIED_NAMES or len(labels) == 1:
        return True
    return any(host == suffix or host.endswith("." + suffix) for suffix in _DENIED_SUFFIXES)


def is_address(host: str) -> bool:
    """Whether a resolver would take ``host`` for an IP address in any of its spellings."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        parts = host.removesuffix(".").split(".")
        return 1 <= len(parts) <= 4 and all(_NUMBER.fullmatch(part) for part in parts)
    return True


def is_metadata(host: str) -> bool:
    """Whether ``host`` is a cloud's metadata service: nothing but an attack names one."""
    if host in ("metadata.google.internal", "fd00:ec2::254", "100.100.100.200"):
        return True
    try:
        parts = [_number(part) for part in host.removesuffix(".").split(".")]
    except ValueError:
        return "169.254." in host
    if not 1 <= len(parts) <= 4:
        return False
    value = sum(part << 8 * (3 - index) for index, part in enumerate(parts[:-1])) + parts[-1]
    return value >> 16 == 169 << 8 | 254


def _number(part: str) -> int:
    """One part as a C library reads it: hex after ``0x``, octal after ``0``, else decimal."""
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") and part.isdigit() else 10)
