"""What is in the content-addressed store. The bytes are files; here are the facts about them."""

from __future__ import annotations

from datetime import datetime

from pushpals.hub.jobs import visible
from pushpals.hub.of import Of, session_of
from pushpals.protocol.errors import BadRequest
from pushpals.protocol.events import ArtifactStored
from pushpals.protocol.ids import is_sha256
from pushpals.protocol.jobs import Wire
from pushpals.protocol.records import StoredArtifact
from pushpals.protocol.times import stamp
from pushpals.store.base import Tx


class Stored(Wire, frozen=True, kw_only=True):
    size: int
    kind: str
    media_type: str = "application/octet-stream"
    session_id: str | None = None
    job_id: str | None = None


def record(tx: Tx, ask: Of[Stored], now: datetime) -> StoredArtifact:
    """The bytes with this digest are stored. The first record of a digest stays."""
    if not is_sha256(ask.id):
        raise BadRequest("an artifact is named by its lower-case hex SHA-256", code="artifact.bad_name")
    known = tx.get(StoredArtifact, ask.id)
    if known is not None:
        return known
    session_id = ask.body.session_id
    if ask.body.job_id is not None:
        session_id = visible(tx, ask.body.job_id).session_id
    elif session_id is not None:
        session_of(tx, session_id)
    artifact = StoredArtifact(
        sha256=ask.id,
        size=ask.body.size,
        kind=ask.body.kind[:64],
        media_type=ask.body.media_type[:128],
        created_at=stamp(now),
        session_id=session_id,
        job_id=ask.body.job_id,
    )
    tx.put(artifact)
    if session_id is not None:
        tx.append(
            session_id,
            ArtifactStored(sha256=ask.id, size=artifact.size, kind=artifact.kind, job_id=artifact.job_id),
        )
    return artifact
