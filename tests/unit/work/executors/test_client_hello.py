from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.work.executors.client_hello import MAX_BYTES, NoName, server_name


def hello(host: str | None = "a.test") -> bytes:
    """What a real client says first."""
    context = ssl.create_default_context()
    if host is None:
        context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=host)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(data: bytes, size: int) -> bytes:
    """The same handshake message cut into records of ``size`` bytes."""
    message = data[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(data[:3] + len(part).to_bytes(2, "big") + part for part in parts)


def test_the_name_is_found_once_the_message_is_whole() -> None:
    whole = hello()
    assert server_name(whole) == "a.test"
    assert server_name(whole + b"and more") == "a.test"
    assert {server_name(whole[:end]) for end in range(len(whole))} == {None}


@given(st.integers(1, 600))
def test_records_may_cut_the_message_anywhere(size: int) -> None:
    assert server_name(in_records(hello(), size)) == "a.test"


def test_a_client_that_names_nobody_is_told_apart() -> None:
    assert server_name(hello(None)) == NoName(why="no server name")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "not TLS"),
        (b"SSH-2.0-x\r\n", "not TLS"),
        (b"\x16\x02\x00\x00\x05", "not TLS"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "not TLS"),
        (b"\x16\x03\x01\x00\x00", "not a TLS record"),
        (b"\x16\x03\x01\x40\x01", "not a TLS record"),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "not a client hello"),
        (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", "the client hello is too long"),
        (b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03", "the client hello contradicts itself"),
        (b"\x16" * (MAX_BYTES + 1), "the client hello is too long"),
    ],
)
def test_what_is_no_client_hello_is_refused(data: bytes, why: str) -> None:
    assert server_name(data) == NoName(why=why)


def test_two_names_are_as_good_as_none() -> None:
    whole = hello()
    extension = whole[whole.index(b"a.test") - 9 : whole.index(b"a.test") + 6]
    assert extension[:2] == b"\0\0"
    entry = extension[6:]
    doubled = extension[:2] + (2 + 2 * len(entry)).to_bytes(2, "big") + (2 * len(entry)).to_bytes(2, "big")
    body = whole[9:].replace(extension, doubled + entry + entry)
    grown = len(body) - len(whole[9:])
    # The length of all extensions stands where they begin, right after the compression methods.
    at = 2 + 32
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    at += 1 + body[at]
    total = int.from_bytes(body[at : at + 2], "big") + grown
    body = body[:at] + total.to_bytes(2, "big") + body[at + 2 :]
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    record = whole[:3] + len(message).to_bytes(2, "big") + message
    assert server_name(record) == NoName(why="several server names")


@given(st.binary(max_size=400))
def test_garbage_never_raises(data: bytes) -> None:
    assert not isinstance(server_name(data), str)
    server_name(b"\x16\x03\x01" + len(data).to_bytes(2, "big") + data)
    server_name(hello()[:60] + data)
