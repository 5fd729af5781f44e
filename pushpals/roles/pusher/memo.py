"""Results of checks, kept by what they are results of: tree, check, environment.

A run is never repeated for the same three, also after a restart. Only verdicts count: what could not run
is not remembered. One small file per result, written aside and renamed; the oldest are dropped.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pushpals.protocol.jobs import CheckSpec, Evidence

KEPT = 5_000
REMEMBERED = frozenset({"passed", "failed", "timed_out"})


class Memo:
    """Evidence by (tree, check, environment) under ``directory``."""

    def __init__(self, directory: Path):
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def recall(self, tree: str, check: CheckSpec, environment: str) -> Evidence | None:
        """The earlier result, or ``None``. An unreadable file is no result."""
        try:
            return msgspec.json.decode(self._file(tree, check, environment).read_bytes(), type=Evidence)
        except (OSError, msgspec.DecodeError):
            return None

    def keep(self, check: CheckSpec, environment: str, evidence: Evidence) -> None:
        if evidence.verdict not in REMEMBERED:
            return
        target = self._file(evidence.tree, check, environment)
        aside = target.with_suffix(f".{os.getpid()}")
        aside.write_bytes(msgspec.json.encode(evidence))
        aside.replace(target)
        self._prune()

    def forget(self, tree: str, check: CheckSpec, environment: str) -> None:
        """A run that was confirmed to be a flake says nothing about the tree."""
        self._file(tree, check, environment).unlink(missing_ok=True)

    def forget_all(self, tree: str, checks: Sequence[CheckSpec], environment: str) -> None:
        for check in checks:
            self.forget(tree, check, environment)

    def _file(self, tree: str, check: CheckSpec, environment: str) -> Path:
        spec = msgspec.json.encode(check, order="deterministic")
        name = hashlib.sha256(b"\0".join((tree.encode(), spec, environment.encode()))).hexdigest()
        return self._directory / f"{name}.json"

    def _prune(self) -> None:
        files = list(self._directory.glob("*.json"))
        if len(files) > KEPT:
            files.sort(key=lambda file: file.stat().st_mtime)
            for file in files[: len(files) - KEPT]:
                file.unlink(missing_ok=True)
