"""Logs for machines: one JSON object a line."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from pushpals.protocol.times import stamp

PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """``ts``, ``level``, ``logger``, ``message``, and ``error`` with the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": stamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def formatter(kind: str | None) -> logging.Formatter:
    """``json`` or, for everything else, plain text."""
    return JsonLines() if kind == "json" else logging.Formatter(PLAIN)
