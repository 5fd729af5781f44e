"""Reading a stream of bytes: the same frames however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.client.stream import BrokenStream, Frame, FrameReader, Note

TEXT = (
    b": connected\nretry: 1500\n\n"
    b"id: 1\ndata: {\"a\":1}\n\n"
    b"id:2\r\ndata:{\"b\":2}\r\n\r\n"
    b"data: no id of its own\rdata: second line\r\r"
    b"event: reset\nid: 9\ndata: {}\n\n"
    b"event: ignored because there is no data\n\n"
    b"unknown: field\nid: 10\ndata\ndata: after an empty one\n\n"
    b": live 9\n\n: at 10\n\n: something else\n\n:live\n\n"
    b"data: never finished"
)  # fmt: skip
ITEMS = [
    Frame(data=b'{"a":1}', id=b"1"),
    Frame(data=b'{"b":2}', id=b"2"),
    Frame(data=b"no id of its own\nsecond line", id=b"2"),
    Frame(data=b"{}", id=b"9", event="reset"),
    Frame(data=b"\nafter an empty one", id=b"10"),
    Note(kind="live", cursor=9),
    Note(kind="at", cursor=10),
]


@given(st.lists(st.integers(min_value=0, max_value=len(TEXT)), max_size=40))
def test_frames_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    reader, found = FrameReader(), []
    edges = [0, *sorted(cuts), len(TEXT)]
    for start, end in pairwise(edges):
        found += reader.feed(TEXT[start:end])

    assert found == ITEMS
    assert reader.retry_ms == 1500


def test_bytes_one_by_one_are_no_different() -> None:
    reader, found = FrameReader(), []
    for byte in TEXT:
        found += reader.feed(bytes([byte]))
    assert found == ITEMS


@pytest.mark.parametrize("text", [b"data: " + b"x" * 200, (b"data: " + b"x" * 40 + b"\n") * 5])
def test_a_frame_without_an_end_is_given_up(text: bytes) -> None:
    reader = FrameReader(max_frame=100)
    with pytest.raises(BrokenStream):
        list(reader.feed(text))


def test_an_absurd_wish_for_a_pause_is_bounded() -> None:
    reader = FrameReader()
    list(reader.feed(b"retry: 99999999\nretry: soon\n\n"))
    assert reader.retry_ms == 60_000
