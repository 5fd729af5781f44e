"""One function for each of ``pushpals policy check|show|test|explain``; plain structs in, plain structs out.

Nothing here reads a file: the caller reads ``pushpals.toml`` and, for a repository's own policy, the
file at the base commit, and passes their tables or texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pushpals.policy.actions import ExecAction, Level
from pushpals.policy.analysis import Facts
from pushpals.policy.decide import Explanation, decide
from pushpals.policy.decide import explain as explain_decision
from pushpals.policy.presets import PresetName
from pushpals.policy.rules import (
    ExampleResult,
    Policy,
    Rule,
    Verdict,
    example_results,
    load_policy,
    load_repository_policy,
)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``policy check --json``."""

    decision: Verdict
    reasons: tuple[str, ...]
    caps: tuple[str, ...]
    policy_version: str
    level: Level
    widenings: tuple[str, ...] = ()
    """What the repository's policy tried to relax, and did not."""


class RuleLine(msgspec.Struct, frozen=True, kw_only=True):
    """One rule as shown: which verdict, from where, and its conditions."""

    id: str
    decision: Verdict
    source: str
    conditions: dict[str, tuple[str, ...]]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``policy show``."""

    preset: PresetName
    version: str
    rules: tuple[RuleLine, ...]
    protected: tuple[str, ...]
    env_allowed: tuple[str, ...]
    widenings: tuple[str, ...]


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``policy test``."""

    passed: int
    failed: tuple[ExampleResult, ...]

    @property
    def ok(self) -> bool:
        return not self.failed


def policy_for(
    table: Mapping[str, Any] | None = None,
    *,
    preset: PresetName | None = None,
    repository: Mapping[str, Any] | str | None = None,
) -> Policy:
    """The policy of an operator's table, tightened by a repository's. Raises ``PolicyError``."""
    policy = load_policy(table, preset=preset)
    return load_repository_policy(policy, repository) if repository is not None else policy


def action_for(
    *,
    argv: Sequence[str] | None = None,
    script: str | None = None,
    cwd: str = "/repo",
    env: Mapping[str, str] | None = None,
) -> ExecAction:
    return ExecAction(
        argv=None if argv is None else tuple(argv),
        script=script,
        cwd=cwd,
        env=tuple(sorted((env or {}).items())),
    )


def check(policy: Policy, action: ExecAction, level: Level = "full", facts: Facts | None = None) -> Check:
    found = decide(policy, action, level, facts=facts)
    return Check(
        decision=found.decision,
        reasons=found.reasons,
        caps=found.capabilities,
        policy_version=found.policy_version,
        level=found.level,
        widenings=tuple(widening.what for widening in policy.widenings),
    )


def show(policy: Policy) -> Shown:
    lines = [
        *(_line(rule, "deny") for rule in policy.deny),
        *(_line(rule, "ask") for rule in policy.ask),
        *(_line(rule, "allow") for rule in policy.allow),
    ]
    return Shown(
        preset=policy.preset,
        version=policy.version,
        rules=tuple(lines),
        protected=policy.protected,
        env_allowed=tuple(sorted(policy.variables)),
        widenings=tuple(widening.what for widening in policy.widenings),
    )


def test(policy: Policy) -> Tested:
    """Every example of every rule, tried again."""
    results = example_results((*policy.deny, *policy.ask, *policy.allow), policy.variables)
    failed = tuple(result for result in results if not result.held)
    return Tested(passed=len(results) - len(failed), failed=failed)


def explain(
    policy: Policy, action: ExecAction, level: Level = "full", facts: Facts | None = None
) -> Explanation:
    return explain_decision(policy, action, level, facts=facts)


def _line(rule: Rule, decision: Verdict) -> RuleLine:
    fields = ("exe", "sub", "git", "git_global", "path", "env", "needs", "when")
    conditions = {name: getattr(rule, name) for name in fields if getattr(rule, name)}
    return RuleLine(id=rule.code, decision=decision, source=rule.source, conditions=conditions)
