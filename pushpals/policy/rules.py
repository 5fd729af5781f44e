"""Policies: rules as read from ``[policy]`` of ``pushpals.toml``, checked, versioned and merged.

Three sources, each in one direction only. Built-in rules come with the preset. The operator's table may
add rules of every kind and drop built-in ones by id. A repository's table, read from the base commit,
may add denials, questions and protected paths; whatever else it says is ignored and reported.

Loading is strict: an unknown key, a rule without a condition, or an example that a rule does not treat
as it says raises :class:`PolicyError`, and a worker without a policy does not work. There are no
defaults to fall back on. The version is the hash of the canonical form of all that was loaded.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from pushpals.policy import presets
from pushpals.policy.actions import ExecAction, LandAction, canonical_json
from pushpals.policy.analysis import Analysis, analyse, analyse_land
from pushpals.policy.argv import Command
from pushpals.policy.globs import matches
from pushpals.policy.limits import ApprovalTable, LimitTable, SandboxTable
from pushpals.policy.presets import PresetName
from pushpals.policy.tools import ENV_ALLOWED

Verdict = Literal["allow", "ask", "deny"]
Source = Literal["builtin", "operator", "repository"]

T = TypeVar("T")

MAX_RULES = 200
MAX_EXAMPLES = 50

Identifier = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class PolicyError(Exception):
    """The policy cannot be used; the message says which part. Correct it: nothing runs without one."""


class ExampleAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An example that is more than a command: its directory, its environment, or a landing."""

    argv: tuple[str, ...] | None = None
    script: str | None = None
    cwd: str = "/repo"
    env: dict[str, str] = {}
    land: str | None = None


Example = str | tuple[str, ...] | ExampleAction
"""A script, an argument list, or a table."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule. It matches a command when every condition given has an alternative that holds."""

    id: Identifier
    """The reason code of the rule."""
    exe: tuple[str, ...] = ()
    """Globs over the program's base name."""
    sub: tuple[str, ...] = ()
    """Sub-commands, for tools other than git; with ``exe``."""
    git: tuple[str, ...] = ()
    """Git sub-commands, with an optional second word: ``config --global``."""
    git_global: tuple[str, ...] = ()
    """Git flags before the sub-command; ``-C outside /repo`` is one."""
    path: tuple[str, ...] = ()
    """Globs over paths among the words and redirections."""
    env: tuple[str, ...] = ()
    """Globs over names of assigned variables."""
    needs: tuple[str, ...] = ()
    """Globs over capabilities."""
    when: tuple[str, ...] = ()
    """Traits of a command or codes of suspicious text."""
    because: str = ""
    """A sentence for the person who is asked."""
    match: tuple[Example, ...] = ()
    not_match: tuple[Example, ...] = ()
    source: Source = "operator"

    @property
    def code(self) -> str:
        return f"repo.{self.id}" if self.source == "repository" else self.id

    def covers(self, command: Command, suspicions: Sequence[str] = ()) -> bool:
        """Whether the rule matches one command of an action."""
        conditions: tuple[tuple[tuple[str, ...], Callable[[], bool]], ...] = (
            (self.exe, lambda: any(matches(glob, command.name) for glob in self.exe)),
            (self.sub, lambda: any(word in self.sub for word in command.sub)),
            (self.git, lambda: any(_git_matches(words, command) for words in self.git)),
            (self.git_global, lambda: any(flag in self.git_global for flag in command.git_globals)),
            (self.path, lambda: _any_glob(self.path, command.paths)),
            (self.env, lambda: _any_glob(self.env, command.env)),
            (self.needs, lambda: _any_capability(self.needs, command.needs)),
            (self.when, lambda: any(code in self.when for code in (*command.traits, *suspicions))),
        )
        return all(holds() for given, holds in conditions if given)


class Widening(msgspec.Struct, frozen=True, kw_only=True):
    """Something in a repository's policy that would have relaxed it, and was ignored."""

    what: str
    """The key, and for a rule its id, e.g. ``allow.curl``."""
    rule: Rule | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded policy. Make one with :func:`load_policy`."""

    preset: PresetName
    deny: tuple[Rule, ...]
    ask: tuple[Rule, ...]
    allow: tuple[Rule, ...]
    protected: tuple[str, ...]
    env_allowed: tuple[str, ...] = ()
    accepted_findings: tuple[str, ...] = ()
    """Fingerprints of the secret scan that the operator accepts."""
    limits: LimitTable = LimitTable()
    approvals: ApprovalTable = ApprovalTable()
    sandbox: SandboxTable = SandboxTable()
    index_hosts: tuple[str, ...] = ()
    """``host:port`` of the package indexes that an approved installation may reach."""
    widenings: tuple[Widening, ...] = ()

    @property
    def version(self) -> str:
        """64 hex digits over the canonical form; part of every action hash."""
        plain = msgspec.to_builtins(self)
        return hashlib.sha256(b"pushpals.policy.v1\0" + canonical_json(plain)).hexdigest()

    @property
    def variables(self) -> frozenset[str]:
        return ENV_ALLOWED | frozenset(self.env_allowed)

    def other(self, level: str) -> Verdict:
        """What happens to a command that no rule matches and that is not read-only."""
        if self.preset == "locked":
            return "deny"
        return "allow" if self.preset == "standard" and level == "full" else "ask"


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    preset: PresetName = "standard"
    without: tuple[str, ...] = ()
    env_allowed: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    protected_without: tuple[str, ...] = ()
    accepted_findings: tuple[str, ...] = ()
    limits: LimitTable = LimitTable()
    approvals: ApprovalTable = ApprovalTable()
    sandbox: SandboxTable = SandboxTable()
    index_hosts: tuple[str, ...] = ()
    deny: tuple[Rule, ...] = ()
    ask: tuple[Rule, ...] = ()
    allow: tuple[Rule, ...] = ()


def load_policy(table: Mapping[str, Any] | None = None, *, preset: PresetName | None = None) -> Policy:
    """The operator's policy from its table. ``preset`` overrides the table's. Raises :class:`PolicyError`."""
    given = _convert({**(table or {}), **({"preset": preset} if preset else {})}, _Table, "policy")
    builtin = builtin_policy(given.preset)
    known = {rule.id for rule in (*builtin.deny, *builtin.ask)}
    if unknown := set(given.without) - known:
        raise PolicyError(f"policy.without names no built-in rule: {', '.join(sorted(unknown))}")
    if unknown := set(given.protected_without) - set(builtin.protected):
        raise PolicyError(f"policy.protected_without is not protected: {', '.join(sorted(unknown))}")
    policy = msgspec.structs.replace(
        builtin,
        deny=(*_without(builtin.deny, given.without), *_from(given.deny, "operator")),
        ask=(*_without(builtin.ask, given.without), *_from(given.ask, "operator")),
        allow=_from(given.allow, "operator"),
        protected=(
            *(path for path in builtin.protected if path not in given.protected_without),
            *given.protected,
        ),
        env_allowed=given.env_allowed,
        accepted_findings=given.accepted_findings,
        limits=given.limits,
        approvals=given.approvals,
        sandbox=given.sandbox,
        index_hosts=given.index_hosts,
    )
    _check(policy, (*given.deny, *given.ask, *given.allow))
    return policy


def load_policy_text(text: str) -> Policy:
    """The policy in the ``[policy]`` table of a TOML text; other tables are not looked at."""
    return load_policy(_policy_table(text))


def load_repository_policy(base: Policy, table: Mapping[str, Any] | str) -> Policy:
    """``base`` tightened by what a repository says. ``widenings`` of the result is what was ignored.

    Raises :class:`PolicyError` for a table that cannot be read: a repository's denial that cannot be
    understood must not be dropped.
    """
    given = dict(_policy_table(table) if isinstance(table, str) else table)
    added: dict[str, tuple[Rule, ...]] = {}
    for kind in ("deny", "ask"):
        rules = _convert(given.pop(kind, ()), tuple[Rule, ...], f"policy.{kind} of the repository")
        added[kind] = _from(rules, "repository")
    protected = _convert(given.pop("protected", ()), tuple[str, ...], "policy.protected of the repository")
    limits = _repository_limits(given.pop("limits", {}))
    sandbox = _convert(given.pop("sandbox", {}), SandboxTable, "policy.sandbox of the repository")
    widenings: list[Widening] = []
    for entry in given.pop("allow", ()) or ():
        widenings.append(_widening(entry))
    widenings += [Widening(what=key) for key in sorted(given)]
    tightened = msgspec.structs.replace(
        base,
        deny=(*base.deny, *added["deny"]),
        ask=(*base.ask, *added["ask"]),
        protected=(*base.protected, *protected),
        limits=base.limits.lowered(limits),
        sandbox=sandbox if sandbox.required == "full" else base.sandbox,
        widenings=(*base.widenings, *widenings[:MAX_RULES]),
    )
    _check(tightened, (*added["deny"], *added["ask"]))
    return tightened


@lru_cache(maxsize=4)
def builtin_policy(preset: PresetName) -> Policy:
    """A preset as it comes. In ``locked`` the questions are denials: there is nobody to ask."""
    deny = _from(_convert(presets.DENY, tuple[Rule, ...], "built-in rules"), "builtin")
    ask = _from(_convert(presets.ASK, tuple[Rule, ...], "built-in rules"), "builtin")
    if preset == "locked":
        landing = tuple(rule for rule in ask if rule.id == "land")
        deny, ask = (*deny, *(rule for rule in ask if rule.id != "land")), landing
    policy = Policy(preset=preset, deny=deny, ask=ask, allow=(), protected=tuple(presets.PROTECTED))
    _check(policy, (*deny, *ask))
    return policy


class ExampleResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a rule treats one of its examples."""

    rule: str
    example: Example
    expected: bool
    held: bool


def example_results(rules: Iterable[Rule], variables: frozenset[str] = ENV_ALLOWED) -> list[ExampleResult]:
    """Every example of ``rules``, tried."""
    results = []
    for rule in rules:
        for expected, examples in ((True, rule.match), (False, rule.not_match)):
            for example in examples:
                analysis = analyse_example(example, variables)
                covered = any(rule.covers(command, analysis.suspicions) for command in analysis.commands)
                results.append(
                    ExampleResult(rule=rule.id, example=example, expected=expected, held=covered == expected)
                )
    return results


def analyse_example(example: Example, variables: frozenset[str] = ENV_ALLOWED) -> Analysis:
    match example:
        case str():
            return analyse(ExecAction(script=example), variables)
        case tuple():
            return analyse(ExecAction(argv=example), variables)
        case ExampleAction(land=str() as target):
            return analyse_land(LandAction(repository="", target=target, base="", head="", tree=""))
        case ExampleAction():
            action = ExecAction(
                argv=example.argv,
                script=example.script,
                cwd=example.cwd,
                env=tuple(sorted(example.env.items())),
            )
            return analyse(action, variables)


def _check(policy: Policy, rules: Sequence[Rule]) -> None:
    everything = (*policy.deny, *policy.ask, *policy.allow)
    if len(everything) > MAX_RULES:
        raise PolicyError(f"more than {MAX_RULES} rules")
    codes = [rule.code for rule in everything]
    if repeated := {code for code in codes if codes.count(code) > 1}:
        raise PolicyError(f"two rules have the id {', '.join(sorted(repeated))}")
    for rule in rules:
        if not (rule.exe or rule.git or rule.git_global or rule.path or rule.env or rule.needs or rule.when):
            raise PolicyError(f"rule {rule.id}: it has no condition, so it would match everything or nothing")
        if not rule.match or not rule.not_match:
            raise PolicyError(f"rule {rule.id}: give at least one example in match and one in not_match")
        if len(rule.match) + len(rule.not_match) > MAX_EXAMPLES:
            raise PolicyError(f"rule {rule.id}: more than {MAX_EXAMPLES} examples")
    for result in example_results(rules, policy.variables):
        if not result.held:
            word = "does not match" if result.expected else "matches"
            raise PolicyError(f"rule {result.rule}: it {word} its example {result.example!r}")


def _without(rules: tuple[Rule, ...], ids: Sequence[str]) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if rule.id not in ids)


def _from(rules: Iterable[Rule], source: Source) -> tuple[Rule, ...]:
    return tuple(msgspec.structs.replace(rule, source=source) for rule in rules)


def _widening(entry: Any) -> Widening:
    try:
        rule = msgspec.convert(entry, Rule)
    except msgspec.ValidationError:
        return Widening(what="allow")
    return Widening(what=f"allow.{rule.id}", rule=msgspec.structs.replace(rule, source="repository"))


def _policy_table(text: str) -> Mapping[str, Any]:
    try:
        table = tomllib.loads(text).get("policy", {})
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"not TOML: {error}") from error
    if not isinstance(table, dict):
        raise PolicyError("policy is not a table")
    return table


def _convert(value: Any, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise PolicyError(f"{where}: {error}") from error


def _repository_limits(given: Any) -> LimitTable:
    """What a repository does not name it does not bound."""
    zero = dict.fromkeys(LimitTable.__struct_fields__, 0)
    table = given if isinstance(given, Mapping) else {"": given}
    return _convert({**zero, **table}, LimitTable, "policy.limits of the repository")


def _git_matches(words: str, command: Command) -> bool:
    if command.name != "git" or not command.sub:
        return False
    first, _, second = words.partition(" ")
    if command.sub[0] != first:
        return False
    if not second:
        return True
    if second.startswith("--"):  # git accepts any unambiguous beginning of a long flag
        given = (word.partition("=")[0] for word in command.sub[1:])
        return any(len(word) > 2 and word.startswith("--") and second.startswith(word) for word in given)
    return second in command.sub[1:]


def _any_glob(globs: Sequence[str], texts: Sequence[str]) -> bool:
    return any(matches(glob, text) for glob in globs for text in texts)


def _any_capability(globs: Sequence[str], needs: Sequence[str]) -> bool:
    return any(matches(glob.replace("*", "**"), need) for glob in globs for need in needs)
