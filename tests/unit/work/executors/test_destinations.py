from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.work.executors.destinations import (
    Grant,
    Refused,
    judge,
    judge_addresses,
    parse_grant,
    parse_name,
    public,
)

DENIED, BAD = "net.denied-address", "net.bad-name"


@pytest.mark.parametrize(
    ("spelling", "meaning"),
    [
        ("a.test", "a.test"),
        ("a.test.", "a.test"),
        ("A.TEST", "a.test"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a-b.c1.example", "a-b.c1.example"),
        ("127.0.0.1.example.org", "127.0.0.1.example.org"),
        ("127.0.0.1", DENIED),
        ("127.0.0.1.", DENIED),
        ("127.1", DENIED),
        ("2130706433", DENIED),
        ("0x7f.1", DENIED),
        ("0x7f000001", DENIED),
        ("0177.0.0.1", DENIED),
        ("a.0x", DENIED),
        ("1.2.3.4", DENIED),
        ("[::1]", DENIED),
        ("::1", DENIED),
        ("[::ffff:127.0.0.1]", DENIED),
        ("fe80::1%eth0", DENIED),
        ("localhost", DENIED),
        ("LOCALHOST.", DENIED),
        ("x.localhost", DENIED),
        ("", BAD),
        (".", BAD),
        ("intranet", BAD),
        ("a..test", BAD),
        (".a.test", BAD),
        ("a.test..", BAD),
        ("-a.test", BAD),
        ("a-.test", BAD),
        ("a_b.test", BAD),
        ("*.a.test", BAD),
        ("evil\0.a.test", BAD),
        ("a.test\n", BAD),
        ("user@a.test", BAD),
        ("a%2etest", BAD),
        ("a.test/x", BAD),
        ("b\u00fccher.example", BAD),
        ("a\u3002test", BAD),
        ("\u212a.test", BAD),
        ("\uff41.test", BAD),
        (f"{'a' * 64}.test", BAD),
        (".".join(["a" * 49] * 6), BAD),
    ],
)
def test_a_name_has_one_meaning_or_none(spelling: str, meaning: str) -> None:
    parsed = parse_name(spelling)
    assert (parsed.code if isinstance(parsed, Refused) else parsed) == meaning


@given(st.text(max_size=300))
def test_what_is_accepted_is_lower_case_ascii_and_stays_the_same(text: str) -> None:
    parsed = parse_name(text)
    if not isinstance(parsed, Refused):
        assert parsed == parse_name(parsed)
        assert set(parsed) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
        assert parsed == text.lower().removesuffix(".")


@given(st.ip_addresses())
def test_no_address_is_a_name(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    for spelling in (str(address), f"[{address}]", str(int(address)), hex(int(address))):
        assert isinstance(parse_name(spelling), Refused)


@pytest.mark.parametrize(
    ("text", "grant"),
    [
        ("pypi.example.org:443", Grant(host="pypi.example.org", port=443)),
        ("*.example.org:443", Grant(host="example.org", port=443, below=True)),
        ("A.Test.:1", Grant(host="a.test", port=1)),
        ("a.test", "net.bad-grant"),
        ("a.test:", "net.bad-port"),
        ("a.test:0", "net.bad-port"),
        ("a.test:65536", "net.bad-port"),
        ("a.test:0443", "net.bad-port"),
        ("a.test:+443", "net.bad-port"),
        ("a.test:443\n", "net.bad-port"),
        ("a.test:\u0664", "net.bad-port"),
        ("a.test:*", "net.bad-port"),
        ("*:443", "net.bad-name"),
        ("*.org:443", "net.bad-name"),
        ("*.*.example.org:443", "net.bad-name"),
        ("127.0.0.1:443", "net.denied-address"),
        ("[::1]:443", "net.denied-address"),
        ("", "net.bad-grant"),
    ],
)
def test_a_grant_is_exact_or_nothing(text: str, grant: Grant | str) -> None:
    parsed = parse_grant(text)
    assert (parsed.code if isinstance(parsed, Refused) else parsed) == grant


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("a.test", 443, True),
        ("a.test", 80, False),
        ("b.a.test", 443, False),
        ("xa.test", 443, False),
        ("w.test", 443, False),
        ("b.w.test", 443, True),
        ("c.b.w.test", 443, True),
        ("xw.test", 443, False),
    ],
)
def test_only_what_is_granted_passes(host: str, port: int, allowed: bool) -> None:
    grants = [Grant(host="a.test", port=443), Grant(host="w.test", port=443, below=True)]
    assert (judge(host, port, grants) is None) == allowed
    assert judge(host, port, []) is not None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("0.0.0.0", False),
        ("127.0.0.1", False),
        ("127.255.255.254", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("172.32.0.1", True),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("100.128.0.1", True),
        ("192.0.0.170", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("::127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b:1::1", False),
        ("2002:7f00:1::", False),
        ("2001::1", False),
        ("2001:db8::1", False),
        ("fc00::1", False),
        ("fd12:3456::1", False),
        ("fe80::1", False),
        ("fe80::1%2", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("100::1", False),
    ],
)
def test_only_addresses_of_the_public_network_are_public(address: str, expected: bool) -> None:
    assert public(ipaddress.ip_address(address)) is expected


@pytest.mark.parametrize(
    ("addresses", "outcome"),
    [
        (["93.184.216.34", "93.184.216.35"], "93.184.216.34"),
        (["93.184.216.34", "127.0.0.1"], "net.denied-address"),
        (["::1"], "net.denied-address"),
        ([], "net.resolve"),
        (["nonsense"], "net.resolve"),
    ],
)
def test_one_inward_address_speaks_against_the_name(addresses: list[str], outcome: str) -> None:
    chosen = judge_addresses("a.test", addresses)
    assert (chosen.code if isinstance(chosen, Refused) else str(chosen)) == outcome
