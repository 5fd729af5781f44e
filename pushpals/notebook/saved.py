"""Questions with a name: a few that everybody asks, and a person's own, one file each.

Own ones lie in ``~/.config/pushpals/queries/NAME.sql`` and go before those that come with the program.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

OURS: dict[str, str] = {
    "failures": "SELECT id, kind, title, error_class, error FROM v_jobs WHERE state = 'failed'"
    " ORDER BY finished_at DESC",
    "open": "SELECT id, kind, summary, requested_by, created_at, expires_at FROM v_approvals"
    " WHERE state = 'open' ORDER BY created_at",
    "red": "SELECT ts, name, verdict, failed, failures, commit_id, landing_id, job_id FROM v_checks"
    " WHERE verdict <> 'passed' ORDER BY ts DESC",
    "slowest": "SELECT id, kind, title, worked_s, waited_s FROM v_jobs WHERE worked_s IS NOT NULL"
    " ORDER BY worked_s DESC LIMIT 20",
    "waiting": "SELECT id, kind, title, state, created_at FROM v_jobs"
    " WHERE state IN ('blocked', 'pending', 'scheduled') ORDER BY created_at",
    "who-decided": "SELECT decided_at, decided_by, state, summary, reason, device FROM v_approvals"
    " WHERE decided_at IS NOT NULL ORDER BY decided_at DESC",
}

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


class Saved:
    """The questions of one person. ``env`` says where their configuration lives."""

    def __init__(self, env: Mapping[str, str]):
        base = env.get("XDG_CONFIG_HOME") or f"{env.get('HOME', '/')}/.config"
        self._folder = Path(base, "pushpals", "queries")

    def names(self) -> list[str]:
        own = [file.stem for file in self._folder.glob("*.sql") if is_name(file.stem)]
        return sorted({*OURS, *own})

    def get(self, name: str) -> str | None:
        if not is_name(name):
            return None
        file = self._folder / f"{name}.sql"
        return file.read_text("utf-8") if file.is_file() else OURS.get(name)

    def save(self, name: str, sql: str) -> None:
        """Keep a question. Raises ``ValueError`` for a name that is none."""
        if not is_name(name):
            raise ValueError(f"{name!r} is no name: lower-case letters, digits, - and _, a letter first")
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{name}.sql").write_text(sql.strip() + "\n", "utf-8")
