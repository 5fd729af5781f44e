"""Remembered rules: a person's standing answer to one exact shape of command.

A rule is made from a question that was asked, never typed in: so it is about something that happened, with
its programs and their digests, and not about a pattern that somebody hoped would fit. Before it is kept it is
tried on the whole history, in the same transaction; one that people's own answers speak against is refused
unless the person insists. Rules are listed with how often they answered, and can be revoked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from pushpals.hub.of import Of, sees
from pushpals.protocol.approvals import Approval, RememberedRule, shape_hash, shape_of
from pushpals.protocol.commands import BackTest, MakeRule, Ok, RuleMade
from pushpals.protocol.errors import Conflict, Forbidden, NotFound, TooMany
from pushpals.protocol.events import RuleChanged
from pushpals.protocol.ids import SYSTEM_SESSION
from pushpals.protocol.times import stamp
from pushpals.store.base import Tx

MAX_RULES = 1_000
NAMED = 100
"""Contradicting approvals named in an answer."""


def back_test(tx: Tx, ask: MakeRule, now: datetime) -> BackTest:
    """What the rule would have answered to everything that was ever asked."""
    approval = _asked(tx, ask.approval_id)
    return _try(tx, approval, ask)


def make(tx: Tx, ask: MakeRule, now: datetime) -> RuleMade:
    """Keep an answer for all later questions of the same shape."""
    approval = _asked(tx, ask.approval_id)
    _operator(tx)
    tested = _try(tx, approval, ask)
    if tested.contradicted and not ask.despite:
        raise Conflict(
            f"people decided {len(tested.contradicted)} such commands the other way; "
            "look at them, then insist with `despite`",
            code="rule.contradicted",
            contradicted=tested.contradicted,
        )
    session_id = None if ask.everywhere else approval.session_id
    known = [rule for rule in tx.find(RememberedRule, shape_hash=tested.shape_hash) if not rule.revoked_at]
    for rule in known:
        if rule.verdict == ask.verdict and rule.session_id in (None, session_id):
            return RuleMade(rule=rule, tested=tested)
    if sum(tx.count(RememberedRule, "shape_hash").values()) >= MAX_RULES:
        raise TooMany(f"there are {MAX_RULES} rules; revoke some", code="rule.too_many")
    rule = RememberedRule(
        id=tx.new_id("rule"),
        verdict=ask.verdict,
        shape=tested.shape,
        shape_hash=tested.shape_hash,
        label=ask.label or approval.summary[:200],
        created_at=stamp(now),
        created_by=tx.actor.name,
        session_id=session_id,
        approval_id=approval.id,
    )
    tx.put(rule)
    _tell(tx, rule, "created")
    return RuleMade(rule=rule, tested=tested)


def revoke(tx: Tx, ask: Of[Ok], now: datetime) -> RememberedRule:
    """The rule answers nothing any more. What it let run has run."""
    _operator(tx)
    rule = tx.get(RememberedRule, ask.id)
    if rule is None or (rule.session_id is not None and not sees(tx.actor, rule.session_id)):
        raise NotFound(f"there is no rule {ask.id!r}; `pushpals rules list` shows them", code="rule.unknown")
    if rule.revoked_at is None:
        rule = replace(rule, revoked_at=stamp(now), revoked_by=tx.actor.name)
        tx.put(rule)
        _tell(tx, rule, "revoked")
    return rule


def _asked(tx: Tx, approval_id: str) -> Approval:
    approval = tx.get(Approval, approval_id)
    if approval is None or not sees(tx.actor, approval.session_id):
        raise NotFound(f"there is no approval {approval_id!r}", code="approval.unknown")
    if approval.kind not in ("exec", "net", "unsandboxed") or "tool" in approval.action:
        raise Conflict(
            "only commands can be remembered; a landing is decided each time", code="rule.not_a_command"
        )
    return approval


def _try(tx: Tx, approval: Approval, ask: MakeRule) -> BackTest:
    shape = shape_of(approval.action)
    wanted = shape_hash(shape)
    looked = matched = agreed = unanswered = 0
    contradicted: list[str] = []
    stamps: list[str] = []
    for other in tx.scan(Approval):
        if other.kind == "land" or not (ask.everywhere or other.session_id == approval.session_id):
            continue
        looked += 1
        if shape_hash(shape_of(other.action)) != wanted:
            continue
        matched += 1
        stamps.append(other.created_at)
        said = _said(other)
        if said is None or other.basis is not None:
            unanswered += said is None
        elif said == ask.verdict:
            agreed += 1
        else:
            contradicted.append(other.id)
    return BackTest(
        shape_hash=wanted,
        shape=shape,
        looked_at=looked,
        matched=matched,
        agreed=agreed,
        contradicted=contradicted[:NAMED],
        unanswered=unanswered,
        first_at=min(stamps, default=None),
        last_at=max(stamps, default=None),
    )


def _said(approval: Approval) -> str | None:
    """What a person answered, if one did."""
    if approval.decided_at is None:
        return None
    return "deny" if approval.state == "denied" else "allow"


def _operator(tx: Tx) -> None:
    if tx.actor.role != "operator":
        raise Forbidden(f"a {tx.actor.role} can never make rules", code="rule.role")


def _tell(tx: Tx, rule: RememberedRule, change: Literal["created", "revoked"]) -> None:
    tx.append(
        rule.session_id or SYSTEM_SESSION,
        RuleChanged(
            rule_id=rule.id,
            change=change,
            verdict=rule.verdict,
            shape_hash=rule.shape_hash,
            by=tx.actor.name,
            label=rule.label or None,
        ),
    )
