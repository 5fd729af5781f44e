"""Glob patterns over paths and names, in one meaning everywhere.

``*`` and ``?`` stay within a path component, ``**`` crosses them, ``dir/**`` also means ``dir`` itself,
``[abc]`` is a class. Nothing else is special. Matching is on the text as given; nothing is read from a
disk.
"""

from __future__ import annotations

import re
from functools import lru_cache


def matches(pattern: str, text: str) -> bool:
    """Whether the whole of ``text`` matches ``pattern``; linear in the text for any pattern."""
    regex = compiled(pattern)
    if regex is not None:
        return regex.fullmatch(text) is not None
    return _simulated(_tokens(pattern), text)


_REGEX_STARS = 2
"""A backtracking match takes the text's length to the power of its stars; repositories write globs too."""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern as a regular expression; None when it has too many stars for one."""
    tokens = _tokens(pattern)
    if sum(token in ("*", "**", "**/", "/**") for token in tokens) > _REGEX_STARS:
        return None
    return re.compile("".join(_REGEX.get(token) or _single(token) for token in tokens), re.DOTALL)


_REGEX = {"*": "[^/]*", "**": ".*", "**/": "(?:.*/)?", "/**": "(?:/.*)?", "?": "[^/]"}


@lru_cache(maxsize=1024)
def _tokens(pattern: str) -> tuple[str, ...]:
    out: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("/**", at) and at + 3 == len(pattern):
            token = "/**"
        elif pattern.startswith("**/", at):
            token = "**/"
        elif pattern.startswith("**", at):
            token = "**"
        elif pattern[at] == "[" and "]" in pattern[at + 2 :]:
            token = pattern[at : pattern.index("]", at + 2) + 1]
        else:
            token = pattern[at]
        at += len(token)
        out.append(token)
    return tuple(out)


def _single(token: str) -> str:
    """The expression of one character or class."""
    if len(token) == 1:
        return re.escape(token)
    inner = token[1:-1].replace("\\", "\\\\").replace("[", "\\[")
    return f"[{'^' + inner[1:] if inner[0] in '!^' else inner}]"


def _simulated(tokens: tuple[str, ...], text: str) -> bool:
    """All places in the pattern that the text read so far could be at.

    ``~place`` stands for "within the ``**/`` at ``place``": entered, so no longer to be skipped.
    """
    places = _skipped(tokens, {0})
    for char in text:
        following: set[int] = set()
        for place in places:
            inside = place < 0
            index = ~place if inside else place
            token = tokens[index] if index < len(tokens) else ""
            if token == "**/":
                following |= {~index, index + 1} if char == "/" else {~index}
            elif token == "/**":
                if char == "/":
                    return True
            elif token == "**" or (token == "*" and char != "/"):
                following.add(index)
            elif token and token != "*" and (char != "/" if token == "?" else _fits(token, char)):
                following.add(index + 1)
        places = _skipped(tokens, following)
        if not places:
            return False
    return len(tokens) in places


def _skipped(tokens: tuple[str, ...], places: set[int]) -> set[int]:
    reached = set(places)
    waiting = list(places)
    while waiting:
        place = waiting.pop()
        if (
            0 <= place < len(tokens)
            and tokens[place] in ("*", "**", "**/", "/**")
            and place + 1 not in reached
        ):
            reached.add(place + 1)
            waiting.append(place + 1)
    return reached


@lru_cache(maxsize=4096)
def _fits(token: str, char: str) -> bool:
    return re.fullmatch(_single(token), char, re.DOTALL) is not None
