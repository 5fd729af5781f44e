from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pushpals.work.executors.capture import Capture


def fed(limit: int, chunks: list[bytes]) -> Capture:
    capture = Capture(limit)
    for chunk in chunks:
        capture.feed(chunk)
    return capture


@given(st.integers(0, 200), st.lists(st.binary(max_size=90), max_size=20))
def test_what_fits_is_kept_whole_and_what_does_not_keeps_its_ends(limit: int, chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    capture = fed(limit, chunks)
    kept = capture.kept()
    assert capture.total == len(whole)
    assert len(kept) <= limit
    if len(whole) <= limit:
        assert kept == whole
    else:
        assert whole.startswith(kept[: limit // 2])


@given(st.integers(80, 300), st.binary(min_size=301, max_size=2000), st.integers(1, 97))
def test_head_tail_and_the_counted_middle_add_up(limit: int, whole: bytes, step: int) -> None:
    capture = fed(limit, [whole[at : at + step] for at in range(0, len(whole), step)])
    kept = capture.kept()
    head = kept[: limit // 2]
    marker = re.match(rb"\n\[(\d+) bytes not kept\]\n+", kept[limit // 2 :])
    assert marker is not None
    dropped = int(marker[1])
    tail = whole[len(head) + dropped :]
    assert kept.startswith(whole[: limit // 2])
    assert kept.endswith(tail)
    assert len(head) + dropped + len(tail) == len(whole)


def test_memory_stays_near_the_cap() -> None:
    capture = Capture(1000)
    for _ in range(10_000):
        capture.feed(b"x" * 999)
    assert len(capture._head) + len(capture._tail) <= 1500 + 999
