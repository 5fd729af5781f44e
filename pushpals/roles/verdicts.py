"""What a job's result is worth, from its receipts alone. Pure.

The rule is not "all green": two of five real repositories are red before anything is touched. It is
"nothing that passed before fails now, and nothing vanished". A check that could not run is neither a pass
nor a fail and is said to be so. What an agent or a summary claims plays no part.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pushpals.protocol.jobs import Evidence, JobResult

Standing = Literal["passed", "red_before", "broken", "unknown"]
"""``red_before``: fails, and failed the same way on the base. ``unknown``: it could not run."""


class CheckVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One check beside its baseline. ``broken`` and ``vanished`` are names of tests that passed before."""

    evidence: Evidence
    standing: Standing
    broken: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """A whole result. ``lands`` says that the buddy may ask for a landing by itself."""

    changed: bool
    checks: tuple[CheckVerdict, ...] = ()

    @property
    def broken(self) -> tuple[CheckVerdict, ...]:
        return tuple(check for check in self.checks if check.standing == "broken")

    @property
    def unknown(self) -> tuple[CheckVerdict, ...]:
        return tuple(check for check in self.checks if check.standing == "unknown")

    @property
    def lands(self) -> bool:
        return self.changed and not self.broken


def assess(result: JobResult) -> Assessment:
    """``result`` judged by its evidence. Receipts for another commit than the head do not count."""
    changed = result.head is not None and result.head != result.base
    on = result.head if changed else (result.base or None)
    baselines = result.output.get("baseline")
    known = baselines if isinstance(baselines, dict) else {}
    newest = {evidence.check: evidence for evidence in result.evidence if on is None or evidence.commit == on}
    bases = {evidence.check: evidence for evidence in result.evidence if changed and evidence.commit != on}
    return Assessment(
        changed=changed,
        checks=tuple(
            _verdict(evidence, known.get(check), bases.get(check), changed)
            for check, evidence in newest.items()
        ),
    )


def _verdict(evidence: Evidence, facts: Any, base: Evidence | None, changed: bool) -> CheckVerdict:
    facts = facts if isinstance(facts, dict) else {}
    before = facts.get("verdict") or (base.verdict if base else None)
    broken, vanished, fixed = (_names(facts.get(name)) for name in ("broken", "vanished", "fixed"))
    if not facts and base is not None and evidence.verdict == "failed":
        broken = tuple(name for name in evidence.failures if name not in base.failures)
        fixed = tuple(name for name in base.failures if name not in evidence.failures)
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
