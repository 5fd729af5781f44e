"""A database file from outside of the process that owns it: copied and checked, also while a hub runs."""

from __future__ import annotations

from pathlib import Path

from pushpals.store.sqlite.store import _back_up, _check


def back_up(source: Path, target: Path) -> None:
    """A consistent copy in one step. Raises ``FileExistsError`` when ``target`` exists."""
    _back_up(source, target)


def check(source: Path) -> list[str]:
    """What is wrong with the stored facts; an empty list means nothing is."""
    return _check(source)
