"""What a person sees is what is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.policy.display import (
    SUSPICIONS,
    TerminalCleaner,
    colours,
    escaped,
    is_suspicious,
    plain,
    visible,
)

RED = "\x1b[31mred\x1b[0m"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("one\rtwo", "one\ntwo"),
        ("one\r\ntwo\r\r\nthree", "one\ntwo\nthree"),
        ("ab\x08c", "abc"),
        ("a\x1b[2Kb", "ab"),
        ("\x1b]8;;http://evil/\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]8;;http://evil/\x07link\x1b]8;;\x07", "link"),
        ("\x1b]52;c;ZXZpbA==\x07after", "after"),
        ("\x9b2Jafter", "after"),
        ("\x9d52;c;ZXZpbA==\x9cafter", "after"),
        ("\x1bPdevice\x1b\\after", "after"),
        ("\x1bcafter", "after"),
        ("\x1b]0;unfinished\nnext line", "0;unfinished\nnext line"),
        ("tab\tand\nbreak", "tab\tand\nbreak"),
        ("nul\x00del\x7f", "nuldel"),
        (RED, "red"),
        ("user\u202etxt.exe", "user<U+202E>txt.exe"),
        ("zero\u200bwidth", "zero<U+200B>width"),
        ("p\u0430ypal", "p<U+0430>ypal"),
        ("\U000e0041hidden tag", "<U+E0041>hidden tag"),
    ],
)
def test_j02_terminal_tricks_are_removed(text: str, seen: str) -> None:
    assert plain(text) == seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (RED, RED),
        ("\x1b[1;31;47mx\x1b[m", "\x1b[1;31mx\x1b[0m"),
        ("\x1b[38;5;196mx", "\x1b[38;5;196mx"),
        ("\x1b[38;2;1;2;3;48;2;1;2;3mx", "\x1b[38;2;1;2;3mx"),
        ("\x1b[8mhidden", "hidden"),
        ("\x1b[?31mx", "x"),
        ("\x1b[2K\x1b[1Ax\x1b]52;c;a\x07", "x"),
    ],
)
def test_j02_colours_are_kept_unless_they_could_hide_text(text: str, seen: str) -> None:
    assert colours(text) == seen


@given(st.text(alphabet=st.sampled_from("a\x1b[]0;m31\r\n\x07\x9b\x9c\\\u202e "), max_size=60), st.data())
def test_the_cuts_of_a_stream_never_change_what_is_shown(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    cleaner = TerminalCleaner("colours")

    parts = [cleaner.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert "".join(parts) + cleaner.flush() == colours(text)


@given(st.text())
def test_nothing_dangerous_is_left_in_any_text(text: str) -> None:
    assert not set(plain(text)) & set("\x1b\r\x08\x9b\u202e\u200b\x00")
    assert is_suspicious(plain(text)) == ()
    assert is_suspicious(visible(text)) == ()


@given(st.text())
def test_escaped_is_printable_ascii_and_tells_texts_apart(text: str) -> None:
    assert escaped(text).isascii()
    assert escaped(text).isprintable()
    assert escaped(escaped(text)) != escaped(text) or "\\" not in escaped(text)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("plain words, größe, 漢字かな, عربى, שלום", ()),
        ("👩\u200d💻 and ❤\ufe0f and 🏳\ufe0f\u200d🌈", ()),
        ("می\u200cخواهم", ()),
        ("line\nbreak\tand tab", ()),
        ("a\u202eb", ("bidi",)),
        ("a\u200bb", ("zero-width",)),
        ("a\u200db", ("zero-width",)),
        ("a\xadb", ("zero-width",)),
        ("a\u3164b", ("zero-width",)),
        ("a\x1bb", ("control-chars",)),
        ("é\x85", ("control-chars",)),
        ("a\u2028b", ("separator",)),
        ("a\ue000b", ("unassigned",)),
        ("a\udc80b", ("unassigned",)),
        ("s\u0443do", ("mixed-script",)),
        ("привет hello", ()),
        ("\U0001d42c\U0001d42ed\U0001d428", ("mixed-script",)),
        ("z\u0301\u0302\u0303\u0304\u0305\u0306", ("combining",)),
    ],
)
def test_suspicions(text: str, codes: tuple[str, ...]) -> None:
    assert is_suspicious(text) == codes
    assert set(codes) <= set(SUSPICIONS)
