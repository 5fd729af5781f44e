"""The hash chain: fixed by example, since other programs verify it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pushpals.store.chain import genesis, link


def test_the_chain_is_fixed() -> None:
    start = genesis("dev", "epoch-1")
    first = link(start, b'{"type":"message"}')
    assert [start.hex(), first.hex()] == [
        "6210ef25b1ff24a514044f9fa26190c99d87c36cbbb2f4f2e58c9f17e82e3841",
        "f33ba8a65a582a406df74f1cefd0a2e63f3784d33624e1cd068938c9644b1feb",
    ]


def test_the_beginning_depends_on_session_and_epoch() -> None:
    # A session id has no NUL, so two different pairs never make the same bytes.
    starts = [genesis(session, epoch) for session in ("a", "ab", "") for epoch in ("b", "bb", "")]
    assert len(set(starts)) == 9


@given(st.lists(st.binary(max_size=20), max_size=6), st.lists(st.binary(max_size=20), max_size=6))
def test_different_histories_have_different_heads(one: list[bytes], other: list[bytes]) -> None:
    heads = [
        list(itertools.accumulate(history, link, initial=genesis("s", "e")))[-1] for history in (one, other)
    ]
    assert (heads[0] == heads[1]) == (one == other)
