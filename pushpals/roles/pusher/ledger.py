"""How the checks of a repository behave: how often each ran, failed, flaked or could not run.

Kept beside the memo and reported with the lane, so that a console can show which check wastes whose time. A
name that once failed and passed on the same tree is *known to flake*: it alone condemns nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

MAX_FLAKY = 200


class CheckRecord(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """One check. ``seconds`` is the wall time of all its runs. ``names`` counts what flaked, by name."""

    runs: int = 0
    failed: int = 0
    flaked: int = 0
    lost: int = 0
    reused: int = 0
    seconds: float = 0.0
    last_flake: str | None = None
    """The commit it flaked on last."""
    names: dict[str, int] = {}


class Ledger:
    """The records of all checks, in one small file."""

    def __init__(self, file: Path):
        self._file = file
        try:
            self._checks = msgspec.json.decode(file.read_bytes(), type=dict[str, CheckRecord])
        except (OSError, msgspec.DecodeError):
            self._checks = {}
        self._written = msgspec.json.encode(self._checks)

    def of(self, check: str) -> CheckRecord:
        return self._checks.setdefault(check, CheckRecord())

    def ran(self, check: str, verdict: str, seconds: float) -> None:
        record = self.of(check)
        record.runs += 1
        record.seconds += seconds
        record.failed += verdict in ("failed", "timed_out")
        record.lost += verdict == "could_not_run"

    def flaked(self, check: str, commit: str, names: frozenset[str]) -> None:
        """A failure that did not repeat on the same tree."""
        record = self.of(check)
        record.flaked += 1
        record.last_flake = commit
        for name in names:
            if name in record.names or len(record.names) < MAX_FLAKY:
                record.names[name] = record.names.get(name, 0) + 1

    def steady(self, check: str, names: frozenset[str]) -> frozenset[str]:
        """Those of the names that are not known to flake."""
        return names - self.of(check).names.keys()

    def shown(self) -> dict[str, Any]:
        """What goes to the hub: the counts, and the ten names that flake most."""
        return {
            name: {
                **msgspec.to_builtins(msgspec.structs.replace(record, names={})),
                "flaky": [n for n, _ in sorted(record.names.items(), key=lambda item: -item[1])[:10]],
            }
            for name, record in list(self._checks.items())[:100]
        }

    def save(self) -> bool:
        """Write it down. True if there was anything new."""
        raw = msgspec.json.encode(self._checks)
        if raw == self._written:
            return False
        aside = self._file.with_suffix(".new")
        aside.write_bytes(raw)
        aside.replace(self._file)
        self._written = raw
        return True
