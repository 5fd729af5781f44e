"""Bodies: decoding at the door."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.protocol.commands import Enqueue, PostMessage
from pushpals.protocol.errors import BadRequest
from pushpals.protocol.wire import MAX_DEPTH, decode, encode


def test_a_body_is_decoded_to_its_type() -> None:
    assert decode('{"text": "hello"}', PostMessage) == PostMessage(text="hello")
    assert decode(b'{"text": "hello", "of a newer client": 1}', PostMessage) == PostMessage(text="hello")
    assert encode(PostMessage(text="é", client_id="c")) == '{"text":"é","clientId":"c"}'.encode()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `text`"),
        (b'{"text": 1}', r"Expected `str`, got `int` - at `\$.text`"),
        (b'{"text": ""}', "length >= 1"),
        (b'{"text": "\xff"}', "utf-8"),
        (b'{"text": NaN}', "malformed"),
    ],
)
def test_a_wrong_body_is_refused_with_the_place(body: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=why) as refused:
        decode(body, PostMessage)
    assert refused.value.code == "body.invalid"


def nested(levels: int, open_: str = "[", close: str = "]") -> str:
    return open_ * levels + "1" + close * levels


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        (nested(MAX_DEPTH), True),
        (nested(MAX_DEPTH + 1), False),
        (nested(MAX_DEPTH, '{"a":', "}"), True),
        (nested(MAX_DEPTH + 1, '{"a":', "}"), False),
        (nested(100_000), False),
        ("[" + ",".join(["[[]]"] * 1_000) + "]", True),
        ('["' + "[" * 1_000 + '"]', True),
        ('["\\"' + "[" * 1_000 + '"]', True),
        ('["\\\\", ' + nested(MAX_DEPTH - 1) + ', "' + "[" * 1_000 + '"]', True),
        ('["\\\\", ' + nested(MAX_DEPTH) + ', "x"]', False),
        ('["a\\"b", ' + nested(MAX_DEPTH) + "]", False),
        ('["\\\\\\"[[[", ' + nested(MAX_DEPTH) + "]", False),
    ],
)
def test_depth_is_bounded_and_text_is_not_taken_for_depth(text: str, fine: bool) -> None:
    if fine:
        decode(text, list | dict)  # type: ignore[arg-type]
        return
    with pytest.raises(BadRequest) as refused:
        decode(text, Any)
    assert refused.value.code == "body.too_deep"


def depth(value: Any) -> int:
    match value:
        case list():
            return 1 + max(map(depth, value), default=0)
        case dict():
            return 1 + max(map(depth, value.values()), default=0)
        case _:
            return 0


TRICKY = st.text(alphabet='\\"[]{}a,', max_size=40)


@given(
    st.recursive(
        TRICKY,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TRICKY, inner, max_size=2),
        max_leaves=30,
    ),
    st.integers(0, MAX_DEPTH + 3),
)
def test_depth_is_counted_as_json_counts_it(value: Any, around: int) -> None:
    for _ in range(around):
        value = [value, "[[[" * 20]
    data = encode(value)
    if depth(value) <= MAX_DEPTH:
        assert decode(data, Any) == value
    else:
        with pytest.raises(BadRequest, match="deeper"):
            decode(data, Any)


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    with suppress(BadRequest):
        decode(data, Enqueue)
