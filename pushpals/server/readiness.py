"""Whether the hub gets on: what a probe may act on.

``/healthz`` fails when only a restart helps: the writer has been in one commit for too long. ``/readyz``
fails also while it would help to ask somebody else or to wait: the hub stops, or upkeep (which rescues jobs
and expires approvals) makes no progress.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushpals.server.site import Site

STUCK_S = 30.0
"""A commit that takes longer is stuck: SQLite gives up on a lock after 5 s, and a flush takes less."""

STALLED_S = 30.0
"""Upkeep has a round a second."""


def dead(site: Site) -> str | None:
    """Why only a restart helps, in words."""
    stuck_s = site.hub.store.health().stuck_s
    return f"the writer has been in one commit for {stuck_s:.0f} s" if stuck_s > STUCK_S else None


def unready(site: Site) -> str | None:
    """Why requests should wait or go elsewhere, in words."""
    if site.stopping:
        return "the hub is stopping"
    if site.upkeep is not None and site.upkeep.stalled_s() > STALLED_S:
        return f"upkeep has made no progress for {site.upkeep.stalled_s():.0f} s"
    return dead(site)
