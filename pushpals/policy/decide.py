"""The decision: allow, ask or deny, with the codes that led to it.

Everything that matches counts, and the strictest verdict wins: deny before ask before allow, over all
rules and all parts of an action, in whatever order they are written. An allow rule speaks only where
nothing else did: it can turn the preset's question about an unlisted command into a yes, never a rule's.

``full`` is the level the presets are written for. At ``partial``, ``standard`` behaves as ``strict``; at
``none`` everything is asked, read-only commands too.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from pushpals.policy.actions import Action, ExecAction, LandAction, Level
from pushpals.policy.analysis import Analysis, Facts, analyse, analyse_land
from pushpals.policy.argv import Command
from pushpals.policy.globs import matches
from pushpals.policy.plain import Pipeline
from pushpals.policy.reasons import REASONS
from pushpals.policy.rules import Policy, Rule, Source, Verdict

_RANK: dict[Verdict, int] = {"allow": 0, "ask": 1, "deny": 2}


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that spoke, and the part of the action it spoke about."""

    rule: str
    decision: Verdict
    source: Source
    argv: tuple[str, ...]
    because: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to an action."""

    decision: Verdict
    reasons: tuple[str, ...]
    """Codes of :data:`pushpals.policy.reasons.REASONS` or of added rules, those of the verdict first."""
    capabilities: tuple[str, ...]
    """What the action needs; what a yes would give it."""
    policy_version: str
    level: Level
    matched: tuple[Match, ...] = ()
    plain: tuple[Pipeline, ...] | None = None
    """For an allowed script that needs no shell: run this and not the script."""


def decide(
    policy: Policy,
    action: Action,
    level: Level | None = None,
    *,
    facts: Facts | None = None,
    held: Collection[str] | None = None,
    grants: Collection[str] = (),
) -> Decision:
    """Judge an action. ``level`` is the sandbox's; by default the one written in the action.

    ``held`` are the capabilities the job was created with (None: all that the policy itself allows);
    what goes beyond them is asked. ``grants`` are capabilities a person has already said yes to for this
    job; they answer the questions about exactly those, and nothing else.
    """
    if isinstance(action, LandAction):
        level = level or "full"
        analysis = analyse_land(action)
    else:
        level = level or action.sandbox
        analysis = analyse(action, policy.variables, facts)
    matched = _matches(policy, analysis, grants)
    codes: dict[Verdict, list[str]] = {"deny": list(analysis.refusals), "ask": [], "allow": []}
    for match in matched:
        codes[match.decision].append(match.rule)
    if isinstance(action, ExecAction) and not analysis.refusals:
        _judge_class(policy, analysis, level, codes)
        _judge_capabilities(analysis, level, held, grants, codes)
    _judge_widenings(policy, analysis, codes)
    verdict: Verdict = max((key for key in codes if codes[key]), key=_RANK.__getitem__, default="ask")
    reasons = codes[verdict]
    if verdict != "deny" and not analysis.readonly:
        reasons = [*reasons, *analysis.classes]
    capabilities = analysis.capabilities
    if level == "none" and isinstance(action, ExecAction):
        capabilities = (*capabilities, "host.unsandboxed")
    return Decision(
        decision=verdict,
        reasons=tuple(dict.fromkeys(reasons)),
        capabilities=capabilities,
        policy_version=policy.version,
        level=level,
        matched=tuple(matched),
        plain=analysis.plain,
    )


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One program of an action, as the policy read it."""

    argv: tuple[str, ...]
    exec_class: str
    readonly: bool
    guess: bool
    needs: tuple[str, ...]
    rules: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with its workings."""

    decision: Decision
    sentences: tuple[str, ...]
    """One for each reason, in its order."""
    parts: tuple[Part, ...]


def explain(
    policy: Policy, action: Action, level: Level | None = None, *, facts: Facts | None = None
) -> Explanation:
    """:func:`decide`, with what was seen and which rule spoke about which part."""
    decision = decide(policy, action, level, facts=facts)
    analysis = (
        analyse_land(action) if isinstance(action, LandAction) else analyse(action, policy.variables, facts)
    )
    because = {match.rule: match.because for match in decision.matched if match.because}
    return Explanation(
        decision=decision,
        sentences=tuple(
            f"{code}: {because.get(code) or REASONS.get(code, 'a rule')}" for code in decision.reasons
        ),
        parts=tuple(
            Part(
                argv=tuple(map(str, command.argv)),
                exec_class=command.exec_class,
                readonly=command.readonly,
                guess=command.guess,
                needs=command.needs,
                rules=tuple(
                    rule.code
                    for rule in (*policy.deny, *policy.ask, *policy.allow)
                    if rule.covers(command, analysis.suspicions)
                ),
            )
            for command in analysis.commands
        ),
    )


def _matches(policy: Policy, analysis: Analysis, grants: Collection[str]) -> list[Match]:
    found: dict[tuple[str, Verdict], Match] = {}
    verdicts: tuple[tuple[Verdict, tuple[Rule, ...]], ...] = (("deny", policy.deny), ("ask", policy.ask))
    for verdict, rules in verdicts:
        for rule in rules:
            for command in analysis.commands:
                seen = _ungranted(command, grants) if verdict == "ask" else command
                if rule.covers(seen, analysis.suspicions):
                    found.setdefault(
                        (rule.code, verdict),
                        Match(
                            rule=rule.code,
                            decision=verdict,
                            source=rule.source,
                            argv=tuple(map(str, command.argv)),
                            because=rule.because,
                        ),
                    )
                    break
    return list(found.values())


def _ungranted(command: Command, grants: Collection[str]) -> Command:
    if not grants or not command.needs:
        return command
    return msgspec.structs.replace(command, needs=tuple(need for need in command.needs if need not in grants))


def _judge_class(policy: Policy, analysis: Analysis, level: Level, codes: dict[Verdict, list[str]]) -> None:
    if level == "none":
        codes["ask"].append("level.none")
    if analysis.readonly:
        codes["allow"].append("readonly")
        return
    if analysis.plain is not None or (analysis.classes and "exec.shell" not in analysis.classes):
        spoken = [command for command in analysis.commands if not command.guess and not command.readonly]
        known = all(command.exec_class != "exec.opaque" for command in spoken)
        if known and spoken and all(any(rule.covers(part) for rule in policy.allow) for part in spoken):
            codes["allow"].append("rule.allowed")
            return
    other = policy.other(level)
    code: dict[Verdict, tuple[str, ...]] = {
        "deny": ("preset.locked",),
        "ask": ("not-readonly",),
        "allow": analysis.classes,
    }
    codes[other] += code[other]


def _judge_capabilities(
    analysis: Analysis,
    level: Level,
    held: Collection[str] | None,
    grants: Collection[str],
    codes: dict[Verdict, list[str]],
) -> None:
    if held is not None:
        known = (*held, *grants)
        if any(
            not any(matches(one.replace("*", "**"), need) for one in known) for need in analysis.capabilities
        ):
            codes["ask"].append("capability.missing")
    if level != "full" and any(need.startswith("net:") for need in analysis.needs):
        codes["ask"].append("net.not-offered")


def _judge_widenings(policy: Policy, analysis: Analysis, codes: dict[Verdict, list[str]]) -> None:
    """A repository that tries to allow what is not allowed anyway is named; a capability, it loses."""
    if not codes["deny"] and not codes["ask"]:
        return
    tried = [
        widening.rule
        for widening in policy.widenings
        if widening.rule
        and any(widening.rule.covers(command, analysis.suspicions) for command in analysis.commands)
    ]
    if any(rule.needs for rule in tried) or (tried and codes["deny"]):
        codes["deny"].append("policy.widening-ignored")
    elif tried:
        codes["ask"].append("policy.widening-ignored")
