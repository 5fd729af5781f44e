"""What the pusher needs to know about checks: which there are at a commit, and whether they pass on one.

Checks and their definition come from the *base*, never from the branch: a change cannot weaken what
judges it. They run in the same sandbox as jobs do, without credentials.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import msgspec

from pushpals.protocol.jobs import CheckSpec, Evidence


class Verifier(Protocol):
    """Runs checks. ``environment`` identifies what they run in: another one voids earlier results."""

    @property
    def environment(self) -> str: ...

    async def checks_at(self, base: str) -> tuple[CheckSpec, ...]:
        """The checks that the tree of ``base`` names. Raises ``ValueError`` if it names them wrongly."""
        ...

    async def run(self, commit: str, check: CheckSpec) -> Evidence:
        """Run one check on exactly this commit. Being cancelled ends its process tree."""
        ...

    async def close(self) -> None: ...


def checks_digest(checks: Sequence[CheckSpec]) -> str:
    """Identifies a set of checks, in 16 hex digits."""
    return hashlib.sha256(msgspec.json.encode(list(checks), order="deterministic")).hexdigest()[:16]


def passes(evidence: Sequence[Evidence], checks: Sequence[CheckSpec]) -> bool:
    """Every required check ran and passed. What could not run is not a pass."""
    verdicts = {one.check: one.verdict for one in evidence}
    return all(verdicts.get(check.name) == "passed" for check in checks if check.required)
