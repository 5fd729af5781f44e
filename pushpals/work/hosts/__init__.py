"""Hosting services: show a landing as a pull request where a remote has such things.

A host is a class found by name under the entry point ``pushpals.hosts``. It promises:

- ``propose`` opens a pull request for a branch, or finds the open one, and says where it is;
- asking again changes nothing but its text; it never merges, closes or comments;
- a host that is away or refuses is a :class:`HostTrouble`, and never keeps a landing from landing.

What lands is decided by the push alone. A pull request whose branch is deleted by that push is closed by the
host; whether it is shown as merged is the host's own matter.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What to show: ``branch`` onto ``target``."""

    branch: str
    target: str
    title: str
    body: str = ""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Where it is shown. ``reused``: it was open already."""

    number: int
    url: str
    reused: bool


class HostTrouble(Exception):
    """The host did not do it; the message says why, without any credential."""


class Host(Protocol):
    """A hosting service of one repository."""

    async def propose(self, proposal: Proposal) -> Shown:
        """Open a pull request, or find the open one. Raises :class:`HostTrouble`."""
        ...

    async def close(self) -> None: ...
