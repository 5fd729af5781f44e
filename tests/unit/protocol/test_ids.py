"""Names of things, and instants."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.protocol.ids import is_commit, is_session_id, is_sha256, is_worker_id, random_id
from pushpals.protocol.times import parse_stamp, stamp


@pytest.mark.parametrize("text", ["a", "dev", "A.b_c-9", ".", "..", "_hub", "x" * 64])
def test_session_ids(text: str) -> None:
    assert is_session_id(text)


@pytest.mark.parametrize("text", ["", "x" * 65, "a b", "a/b", "é", "a\n", "a\0", "%2e", None, 5, b"dev"])
def test_no_session_ids(text: object) -> None:
    assert not is_session_id(text)


@pytest.mark.parametrize("text", ["w", "worker-1", "a.b_c", "0", "x" * 48])
def test_worker_ids(text: str) -> None:
    assert is_worker_id(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 49, "W", "-w", ".w", "a..b", "w.", "w.lock", "a/b", "a b", "a\n", "a~1", "a@{1}", None]
)
def test_no_worker_ids(text: object) -> None:
    assert not is_worker_id(text)


@pytest.mark.parametrize(
    ("text", "commit", "sha256"),
    [
        ("0" * 40, True, False),
        ("abcdef0123" * 4, True, False),
        ("a" * 64, True, True),
        ("a" * 63, False, False),
        ("A" * 40, False, False),
        ("g" * 40, False, False),
        ("a" * 40 + "\n", False, False),
        ("HEAD", False, False),
        (None, False, False),
    ],
)
def test_object_ids(text: object, commit: bool, sha256: bool) -> None:
    assert (is_commit(text), is_sha256(text)) == (commit, sha256)


def test_random_ids_are_prefixed_and_all_different() -> None:
    ids = [random_id("job") for _ in range(2_000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"job-[0-9a-hjkmnp-tv-z]{26}", id) for id in ids)


def test_random_ids_use_their_whole_alphabet_everywhere() -> None:
    ids = [random_id("")[1:] for _ in range(2_000)]
    assert {len(set(column)) for column in zip(*ids, strict=True)} == {32}


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC)))
def test_a_stamp_is_an_instant_to_the_millisecond(moment: datetime) -> None:
    text = stamp(moment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert timedelta(0) <= moment - parse_stamp(text) < timedelta(milliseconds=1)


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
)
def test_stamps_sort_as_time_does(one: datetime, other: datetime) -> None:
    if one <= other:
        assert stamp(one) <= stamp(other)


def test_a_stamp_is_utc_wherever_it_was_made() -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    assert stamp(datetime(2026, 1, 31, 17, 30, tzinfo=there)) == "2026-01-31T12:00:00.000Z"


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00", "yesterday", "", "2026-13-01T00:00:00Z"])
def test_no_instants(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_stamp(text)
