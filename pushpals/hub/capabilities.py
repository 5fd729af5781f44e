"""What a job may be given: never more than the session has, and no more than whoever asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from pushpals.policy.globs import matches
from pushpals.protocol.errors import Forbidden
from pushpals.protocol.records import Session
from pushpals.store.base import Tx


def given(tx: Tx, session: Session, wanted: Sequence[str] | None) -> list[str] | None:
    """The capabilities of a new job. A buddy passes on a subset of the session's; an operator may give
    any."""
    if wanted is None:
        return session.capabilities
    if tx.actor.role != "operator" and session.capabilities is not None:
        beyond = [one for one in wanted if not _has(session.capabilities, one)]
        if beyond:
            raise Forbidden(
                f"the session does not have {', '.join(beyond)}, so it cannot be passed on",
                code="capability.not_yours",
                beyond=beyond,
            )
    if tx.actor.role != "operator" and session.capabilities is None:
        # Without a set of its own the session has what the policy allows unasked, which holds no network.
        beyond = [one for one in wanted if not one.startswith(("fs.", "exec."))]
        if beyond:
            raise Forbidden(
                f"only an operator can give {', '.join(beyond)}", code="capability.not_yours", beyond=beyond
            )
    return list(wanted)


def _has(held: Sequence[str], one: str) -> bool:
    return any(known == one or matches(known.replace("*", "**"), one) for known in held)
