"""A log line for machines is one object, whatever was logged."""

from __future__ import annotations

import json
import logging
import sys

from pushpals.cli.logs import formatter


def record(message: str, *args: object, exc_info: object = None) -> logging.LogRecord:
    made = logging.LogRecord("pushpals.hub", logging.WARNING, "", 0, message, args, exc_info)  # type: ignore[arg-type]
    made.created = 0.5
    return made


def test_a_line_is_one_object_with_what_is_needed_to_find_it() -> None:
    line = formatter("json").format(record('two\nlines and "%s"', "quotes"))
    assert "\n" not in line
    assert json.loads(line) == {
        "ts": "1970-01-01T00:00:00.500Z",
        "level": "warning",
        "logger": "pushpals.hub",
        "message": 'two\nlines and "quotes"',
    }


def test_an_exception_comes_with_its_traceback() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        line = formatter("json").format(record("failed", exc_info=sys.exc_info()))
    assert "ValueError: broken" in json.loads(line)["error"]


def test_people_get_plain_lines() -> None:
    assert formatter(None).format(record("hello")).endswith("WARNING pushpals.hub: hello")
