"""What a job's result is worth, from its receipts alone. Pure.

The rule is not "all green": two of five real repositories are red before anything is touched. It is
"nothing that passed before fails now, and nothing vanished". A check that could not run is neither a pass
nor a fail and is said to be so. What an agent or a summary claims plays no part.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pushpals.protocol.jobs import Evidence

Standing = Literal["passed", "red_before", "broken", "unknown"]
"""``red_before``: fails, and failed the same way on the base. ``unknown``: it could not run."""


class CheckVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One check beside its baseline. ``broken`` and ``vanished`` are names of tests that passed before."""

    evidence: Evidence
    same = (before == "failed" and not broken and not vanished) or (
        before == "timed_out" and evidence.verdict == "timed_out"
    )
    standing: Standing
    if evidence.verdict == "passed":
        standing = "passed"
    elif evidence.verdict == "could_not_run":
        standing = "unknown"
    elif not changed or same:
        standing = "red_before"
    else:
        # Without a baseline nothing shows that it failed before, so the change answers for it.
        standing = "broken"
    return CheckVerdict(evidence=evidence, standing=standing, broken=broken, vanished=vanished, fixed=fixed)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()
