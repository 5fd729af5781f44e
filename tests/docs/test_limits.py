"""The page of limits says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from pushpals.hub import feed, forks, hub, jobs, sessions, tokens, workers
from pushpals.protocol import commands, wire
from pushpals.protocol.jobs import Budget
from pushpals.server import tickets
from pushpals.server.handlers import lists
from pushpals.server.site import Options
from pushpals.server.sse import MAX_SESSIONS
from pushpals.store import base, words
from pushpals.store.sqlite import checkpoint, connecting, waiting

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "limits.md").read_text("utf-8")
OPTIONS = Options(data_dir=Path())
MIB = 1024 * 1024


def longest(kind: type, field: str) -> int:
    (found,) = (f for f in msgspec.structs.fields(kind) if f.name == field)
    info = msgspec.inspect.type_info(found.type)
    return int(info.max_length or 0)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("row", "figures"),
    [
        ("body", [f"{OPTIONS.body_bytes // MIB} MiB"]),
        ("nesting of a body", [f"{wire.MAX_DEPTH} levels"]),
        ("artifact", [f"{OPTIONS.artifact_bytes // MIB} MiB"]),
        ("idempotency key", [f"{hub.KEY_LENGTH} characters"]),
        ("how long an answer is recalled for its key", [f"{base.ANSWERS_KEPT_S / 3600:.0f} h"]),
        ("page of a list", [f"{lists.MAX_PAGE:,} records"]),
        ("a request that is held open (`waitS`)", [f"{OPTIONS.wait_s:.0f} s"]),
        ("sessions", [f"{sessions.MAX_SESSIONS:,}"]),
        ("events that one token posts", [f"{OPTIONS.events_per_s:,.0f} a", f"{OPTIONS.events_burst:,.0f} at once"]),
        ("events in one batch", [f"{longest(commands.PostEvents, 'events'):,}"]),
        ("events that a fork takes over", [f"{forks.MAX_EVENTS:,}"]),
        ("characters of one event that a search finds", [f"{words.MAX_TEXT:,}"]),
        ("words of a search", [f"{words.MAX_WORDS}"]),
        ("open streams", [f"{OPTIONS.streams:,}"]),
        ("open streams of one token", [f"{OPTIONS.streams_per_token}"]),
        ("sessions in one stream", [f"{MAX_SESSIONS}"]),
        ("unsent bytes of one stream", [f"{OPTIONS.backlog_bytes // MIB} MiB"]),
        ("no byte taken although some wait", [f"{OPTIONS.stall_s:.0f} s"]),
        ("pages of history read at once", [f"{OPTIONS.replays}"]),
        ("events kept in memory, for each of 256 sessions", [f"{feed.KEPT_EVENTS:,}", f"{feed.KEPT_BYTES // MIB} MiB"]),
        ("life of a stream ticket", [f"{tickets.LIFE_S:.0f} s"]),
        ("unfinished jobs of a session", [f"{jobs.MAX_OPEN_JOBS:,}"]),
        ("output lines of an attempt", [f"{jobs.MAX_LOG_LINES:,}"]),
        ("log lines in one report", [f"{longest(commands.Progress, 'log'):,}"]),
        ("events in one report", [f"{longest(commands.Progress, 'events'):,}"]),
        ("claims of one job, released leases included", [f"{jobs.MAX_CLAIMS}"]),
        ("wait for a worker (`budget.queueS`)", [f"{Budget().queue_s / 3600:.0f} h"]),
        ("run and finish (`budget.runS`, `budget.finalS`)", [f"{Budget().run_s / 60:.0f} min", f"{Budget().final_s / 60:.0f} min"]),
        ("pause before another try", [f"{jobs.MAX_BACKOFF_S / 60:.0f} min"]),
        ("workers", [f"{workers.MAX_WORKERS:,}"]),
        ("tokens", [f"{tokens.MAX_TOKENS:,}"]),
        ("writes in one commit", [f"{waiting.GROUP}", f"{waiting.GROUP_WEIGHT // MIB} MiB"]),
        ("wait for another program's lock", [f"{connecting.BUSY_S:.0f} s"]),
        ("the log before it is copied into the database", [f"{checkpoint.LOG_BYTES // MIB} MiB"]),
    ],
)  # fmt: skip
def test_a_limit_is_what_the_page_says(row: str, figures: list[str]) -> None:
    found = re.search(rf"^\| {re.escape(row)} \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert found is not None
    for figure in figures:
        assert figure in found.group(1)
