"""Named parts, found by entry point: job kinds, executors, stores, hosting services.

Built-in parts are registered the same way as a stranger's, in ``pyproject.toml``; nothing here knows any
of them. A part is loaded when it is asked for, so that a broken plug-in costs only those who name it. An
unknown name is answered with what exists and what is close.

Of two distributions that register one name, neither wins: :class:`AmbiguousPart` names both.
"""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

KINDS: Final = "pushpals.kinds"
EXECUTORS: Final = "pushpals.executors"
STORES: Final = "pushpals.stores"
HOSTS: Final = "pushpals.hosts"
GROUPS: Final = (KINDS, EXECUTORS, STORES, HOSTS)

_WORDS: Final = {KINDS: "job kind", EXECUTORS: "executor", STORES: "store", HOSTS: "host"}


class UnknownPart(LookupError):
    """No part of that name is registered; the message lists what is."""


class AmbiguousPart(LookupError):
    """Two installed distributions register the same name; remove one of them."""


class BrokenPart(RuntimeError):
    """The part is registered but does not load; the cause is chained."""


def names(group: str) -> list[str]:
    """Every registered name of a group, sorted."""
    return sorted({entry.name for entry in entry_points(group=group)})


def load(group: str, name: str) -> Any:
    """The object behind a name. Raises :class:`UnknownPart`, :class:`AmbiguousPart`, :class:`BrokenPart`."""
    entry = find(group, name)
    try:
        return entry.load()
    except Exception as error:
        raise BrokenPart(f"{_word(group)} {name!r} ({entry.value}) does not load: {error}") from error


def load_all(group: str) -> dict[str, Any]:
    """Every part of a group by name."""
    return {name: load(group, name) for name in names(group)}


def find(group: str, name: str) -> EntryPoint:
    """The entry point of a name, not yet loaded."""
    found = {entry.value: entry for entry in entry_points(group=group, name=name)}
    if len(found) > 1:
        raise AmbiguousPart(
            f"{_word(group)} {name!r} is registered more than once: {', '.join(sorted(found))}"
        )
    if not found:
        raise UnknownPart(_unknown(group, name))
    return next(iter(found.values()))


def closest(name: str, known: list[str]) -> str | None:
    """The known name that was probably meant."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return close[0] if close else None


def _unknown(group: str, name: str) -> str:
    known = names(group)
    guess = closest(name, known)
    hint = f" Did you mean {guess!r}?" if guess else ""
    listed = ", ".join(known) or "none; is pushpals installed (pip install -e .)?"
    return f"there is no {_word(group)} {name!r}.{hint} Registered under {group}: {listed}"


def _word(group: str) -> str:
    return _WORDS.get(group, f"part of {group}")
