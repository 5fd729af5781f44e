"""What a train runs on: the lane, the repository, the remote, the checks and the policy."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from pushpals.protocol.landings import Landing
from pushpals.protocol.times import parse_stamp
from pushpals.roles.pusher.checking import Checker, Red
from pushpals.roles.pusher.lane import HeldLane
from pushpals.work.git.names import Sha
from pushpals.work.git.remotes import Remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity
from pushpals.work.landing.gates import GatePolicy, Protected, Scan
from pushpals.work.landing.message import Receipt, landing_message

Fetch = Callable[[Sequence[Landing]], Awaitable[Mapping[str, str]]]
"""Bring objects of landings here. Returns why that is impossible for ever, by landing id."""
Find = Callable[[str], Awaitable[Landing | None]]
"""A landing by id, ended ones too."""

KEPT_REDS = 200


class Yard(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. ``reds`` are the red runs of late, over several trains: what was seen to fail."""

    lane: HeldLane
    repo: BareRepo
    remote: Remote
    checker: Checker
    scan: Scan
    fetch: Fetch
    find: Find
    committer_name: str
    committer_email: str
    slots: int = 1
    people: Mapping[str, str] = {}
    protected: Protected | None = None
    policy: GatePolicy = GatePolicy()
    signing_key: Path | None = None
    reds: deque[Red] = msgspec.field(default_factory=lambda: deque(maxlen=KEPT_REDS))

    @property
    def target(self) -> str:
        return f"refs/heads/{self.lane.branch}"

    def committer(self, landing: Landing) -> Identity:
        """With a date that is the same each time the landing is composed: when it was submitted."""
        when: datetime = parse_stamp(landing.created_at)
        return Identity(name=self.committer_name, email=self.committer_email, when=when)

    def message(self, landing: Landing, checks: str, reverts_job: str) -> str:
        return landing_message(
            landing.title,
            landing.body,
            Receipt(
                job_id=landing.job_id or landing.id,
                session_id=landing.session_id,
                agent=landing.agent,
                approved_by=landing.approved_by or "",
                audit_head=landing.audit_head or "",
                approved_head=landing.head,
                checks=checks,
                co_authors=tuple(self._authors(landing)),
                reverts_job=reverts_job,
            ),
        )

    def _authors(self, landing: Landing) -> list[str]:
        """The person who asked and the agent that worked, as far as they are known."""
        found = []
        if person := landing.asked_by.removeprefix("client:"):
            found.append(f"{person} <{self.people.get(person, f'{_word(person)}@pushpals.invalid')}>")
        if landing.agent:
            found.append(f"{landing.agent} <agent+{_word(landing.agent)}@pushpals.invalid>")
        return found


def _word(text: str) -> str:
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "-._") else "-" for char in text)
    return kept.strip("-.")[:60] or "unknown"


class Member(msgspec.Struct, kw_only=True):
    """A landing in a train: judged, and fit to be composed. ``landing`` is replaced with each step."""

    landing: Landing
    base: Sha
    paths: frozenset[str]
    """What its branch touches."""
    renames: bool
    flags: tuple[str, ...]
    message: str
    record_old: Sha | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A member's commit in the chain."""

    commit: Sha
    tree: Sha
