"""Which names and addresses a granted command may be connected to. Pure; every doubt is a refusal.

A grant is ``host:port`` or ``*.domain:port``; the star stands for one or more labels and never for the domain
itself. Names are compared after lower-casing and dropping one trailing dot. An IP address is never
a name, in no spelling that any resolver accepts: dotted, short, decimal, octal, hexadecimal, version 6.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

import msgspec

MAX_NAME = 253

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_FORBIDDEN = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
"""From IANA's special-purpose registries; the last v4 entry is multicast, reserved and broadcast at once."""

_EMBEDS_V4 = {
    ipaddress.IPv6Network("::ffff:0:0/96"): 0,
    ipaddress.IPv6Network("64:ff9b::/96"): 0,
    ipaddress.IPv6Network("2002::/16"): 80,
}
"""Networks whose addresses stand for a version 4 address, and how many bits lie to the right of it."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A stable code and a sentence for a person."""

    code: str
    why: str


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """One destination. ``host`` is without the star when ``below`` says that it stands for what is below."""

    host: str
    port: int
    below: bool = False

    def covers(self, host: str, port: int) -> bool:
        named = host.endswith(f".{self.host}") if self.below else host == self.host
        return named and port == self.port

    def __str__(self) -> str:
        return f"{'*.' if self.below else ''}{self.host}:{self.port}"


def parse_grant(text: str) -> Grant | Refused:
    host, colon, port = text.rpartition(":")
    if not colon:
        return Refused(code="net.bad-grant", why=f"a grant is host:port, not {text!r}")
    below = host.startswith("*.")
    name = parse_name(host[2:] if below else host)
    number = parse_port(port)
    if isinstance(name, Refused):
        return name
    if isinstance(number, Refused):
        return number
    return Grant(host=name, port=number, below=below)


def parse_port(text: str) -> int | Refused:
    if _PORT.fullmatch(text) and int(text) < 65536:
        return int(text)
    return Refused(code="net.bad-port", why=f"not a port: {text!r}")


def parse_name(text: str) -> str | Refused:
    """The one spelling of a host name that is compared and resolved."""
    name = text.lower()
    if not name.isascii() or name != text.translate(_LOWER):
        return Refused(code="net.bad-name", why=f"not a host name: {text!r}")
    name = name.removesuffix(".")
    labels = name.split(".")
    if name.startswith("[") or ":" in name or _NUMBER.fullmatch(labels[-1]):
        return Refused(code="net.denied-address", why=f"an address is not a name: {text!r}")
    if labels[-1] == "localhost":
        return Refused(code="net.denied-address", why=f"{text!r} is this machine")
    if len(name) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return Refused(code="net.bad-name", why=f"not a host name: {text!r}")
    if len(labels) < 2:
        return Refused(
            code="net.bad-name", why=f"a name of one part means something else everywhere: {text!r}"
        )
    return name


_LOWER = {ord(upper): ord(upper) + 32 for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def judge(host: str, port: int, grants: Iterable[Grant]) -> Refused | None:
    """Whether a name in its one spelling is granted. No grants means nothing is."""
    if any(grant.covers(host, port) for grant in grants):
        return None
    return Refused(code="net.not-granted", why=f"{host}:{port} is not granted to this command")


def judge_addresses(host: str, addresses: Iterable[str]) -> Address | Refused:
    """The address to connect to, if everything the name resolved to is out on the public network.

    One address that is not speaks against the name as a whole: a name that means this machine to some
    connections and another to the rest is what rebinding looks like.
    """
    found: list[Address] = []
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return Refused(code="net.resolve", why=f"{host} resolved to {text!r}, which is no address")
        if not public(address):
            return Refused(code="net.denied-address", why=f"{host} is at {address}, which is not public")
        found.append(address)
    if not found:
        return Refused(code="net.resolve", why=f"{host} has no address")
    return found[0]


def public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        for network, shift in _EMBEDS_V4.items():
            if address in network:
                return public(ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF))
    return address.is_global and not any(address in network for network in _FORBIDDEN)
