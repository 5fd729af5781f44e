"""What the team works on, as its pusher and workers report it."""

from __future__ import annotations

import re
from datetime import datetime

from msgspec.structs import replace

from pushpals.hub.of import Of
from pushpals.protocol.errors import BadRequest
from pushpals.protocol.ids import is_commit
from pushpals.protocol.records import Repository
from pushpals.protocol.times import stamp
from pushpals.store.base import Tx

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def report(tx: Tx, ask: Of[Repository], now: datetime) -> Repository:
    """Keep what is newly known; what the reporter leaves out stays."""
    if _NAME.fullmatch(ask.id) is None:
        raise BadRequest(
            "a repository id is 1 to 100 letters, digits, '.', '_' or '-'", code="repository.bad_id"
        )
    body = ask.body
    if body.head is not None and not is_commit(body.head):
        raise BadRequest("`head` must be a full commit id", code="repository.bad_head")
    known = tx.get(Repository, ask.id)
    kept = replace(
        body,
        id=ask.id,
        upstream=_CREDENTIALS.sub("", body.upstream),
        head=body.head or (known.head if known else None),
        checks=body.checks or (known.checks if known else []),
        fixers=body.fixers or (known.fixers if known else []),
        updated_at=stamp(now),
    )
    tx.put(kept)
    return kept
