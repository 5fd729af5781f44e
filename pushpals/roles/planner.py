"""What to do about a message, by rules: pure, total, honest.

``plan(text, context)`` parses the message and turns its intents into a :class:`Plan`: one line to say, what
was understood, the jobs to enqueue with their scope, or an action (land, stop, retry, status). It knows the
repository only as far as the hub does. It never plans a job for words that it did not understand whole, and
never claims to be able to do what only a model or an agent can.

The shape of a plan is the one that a model-driven planner fills as well; ``planner`` names who made it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any, assert_never

import msgspec

from pushpals.protocol.jobs import Budget, CheckSpec
from pushpals.roles import words
from pushpals.roles.intents import (
    AnyIntent,
    ApplyPatch,
    Approve,
    Area,
    AskAgent,
    Beyond,
    Choice,
    Fix,
    Greeting,
    Help,
    Land,
    Look,
    Question,
    Refused,
    Retry,
    RunChecks,
    RunCommand,
    Status,
    Stop,
    Unknown,
)
from pushpals.roles.parsing import parse

MAX_STEPS = 5
TITLE = 120
"""Characters of a title."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the planner may know. ``checks`` is ``None`` while nobody has reported the repository."""

    base: str | None = None
    checks: tuple[CheckSpec, ...] | None = None
    agents: tuple[str, ...] = ()
    """Names of configured coding agents that a live worker offers."""
    workers: bool = True
    """Whether any worker is connected."""
    last_request: str = ""
    """The message that the buddy's last words answered: planned again, it tells the choices they offered."""
    open_approvals: tuple[str, ...] = ()


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One job, complete but for its ids."""

    kind: str
    title: str
    params: dict[str, Any]
    changes: bool
    """May end in a commit that wants to land."""
    paths: tuple[str, ...] = ()
    """Globs that the change must stay within."""
    checks: tuple[str, ...] | None = None
    needs: tuple[str, ...] = ()
    """Capabilities that the worker must have."""
    budget: Budget = Budget()


Action = Land | Stop | Retry | Status


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the buddy says and does about one message. No steps and no action: it only says."""

    say: str
    understanding: str
    title: str = ""
    steps: tuple[Step, ...] = ()
    action: Action | None = None
    choices: tuple[str, ...] = ()
    """Requests to choose from, when ``say`` is a question."""
    planner: str = "rules"


def plan(text: str, context: Context) -> Plan:
    """The plan for ``text``. Never raises."""
    intents = parse(text)
    if len(intents) == 1 and isinstance(intents[0], Choice):
        chosen = _chosen(intents[0], context)
        if isinstance(chosen, Plan):
            return chosen
        intents = parse(chosen)
    plans = [_plan_one(intent, context) for intent in intents[:MAX_STEPS]]
    if len(plans) == 1:
        return _with_worker_note(plans[0], context)
    idle = [one for one in plans if not one.steps]
    if idle:
        return idle[0]
    titles = [one.title for one in plans]
    return _with_worker_note(
        Plan(
            say=words.will_do_all([one.say for one in plans]),
            understanding="; ".join(one.understanding for one in plans),
            title=_title(" and ".join(titles)),
            steps=tuple(step for one in plans for step in one.steps),
        ),
        context,
    )


def _plan_one(intent: AnyIntent, context: Context) -> Plan:
    agent = bool(context.agents)
    match intent:
        case RunChecks():
            return _checks(intent, context)
        case Fix(fixer=fixer, paths=paths, force=force):
            title = _title(_FIX_TITLES[fixer] + words.on(paths))
            params: dict[str, Any] = {"fixer": fixer} | ({"force": True} if force else {})
            step = Step(kind="fix", title=title, params=params, changes=True, paths=_globs(paths))
            return _work(words.will_fix(fixer, paths, context.base), title, step)
        case ApplyPatch(diff=diff):
            files = patched_files(diff)
            title = _title(f"Apply a patch to {words.listed(files, 3) or 'the repository'}")
            step = Step(kind="patch", title=title, params={"diff": diff}, changes=True)
            return _work(words.will_patch(files, context.base), title, step)
        case RunCommand(argv=argv):
            line = shlex.join(argv)
            title = _title(f"Run {line}")
            step = Step(kind="command", title=title, params={"argv": list(argv)}, changes=True)
            return _work(words.will_run(_cut(line), context.base), title, step)
        case Look(area=area, paths=paths):
            title = "Find what fails" if area == "tests" else "Look at the repository"
            about: dict[str, Any] = {"about": ["tests", "lint", "types"]} if area == "tests" else {}
            step = Step(kind="look", title=title, params=about, changes=False)
            return _work(words.will_look(area, paths, context.base), title, step)
        case AskAgent(brief=brief):
            return _agent(brief, context)
        case Land():
            return Plan(say="", understanding="Land the newest change that can land", action=intent)
        case Stop():
            return Plan(say="", understanding="Stop what is running", action=intent)
        case Retry():
            return Plan(say="", understanding="Try the last failure again", action=intent)
        case Status():
            return Plan(say="", understanding="Say where things are", action=intent)
        case Approve():
            return _answer(words.approve_yourself(context.open_approvals), "A yes in words")
        case Help(topic="connect"):
            return _answer(words.connect_text(agent), "How to connect an agent")
        case Help():
            return _answer(words.help_text(agent), "What can be asked for")
        case Greeting(thanks=thanks):
            return _answer(words.welcome() if thanks else words.greeting(), "A greeting")
        case Choice():
            return _answer(words.nothing_to_choose(), "An answer without a question")
        case Question(text=text, choices=choices):
            return _question(text, choices, "More than one meaning")
        case Refused(reason=reason, remedy=remedy):
            return _answer(words.refused(reason, remedy), "Not possible as asked")
        case Beyond(goal=goal):
            choices = (f"agent: {goal}",) if agent else ()
            return _question(words.beyond(goal, agent), choices, "Work that needs a mind")
        case Unknown():
            return _answer(words.unknown(agent), "Not understood")
        case _:
            assert_never(intent)


# --- work -------------------------------------------------------------------------------------------

_FIX_TITLES = {"ruff": "Fix the lint", "format": "Format", "typos": "Fix typos"}
_AREA_TITLES: dict[Area, str] = {
    "tests": "Run the tests",
    "lint": "Check the lint",
    "format": "Check the formatting",
    "types": "Check types",
    "spelling": "Check the spelling",
    "all": "Run all checks",
}
_AREA_NAMES: dict[Area, re.Pattern[str]] = {
    "tests": re.compile(r"\b(tests?|pytest|unittest|specs?|tox|nox|vitest|jest|nextest)\b"),
    "lint": re.compile(r"\b(lint|linter|flake8|pylint|eslint|clippy|ruff(?! format)|biome)\b"),
    "format": re.compile(r"\b(format|fmt|black|prettier)\b"),
    "types": re.compile(r"\b(types?|typecheck|mypy|pyright|tsc|pyre|ty)\b"),
    "spelling": re.compile(r"\b(typos|spelling|codespell|cspell)\b"),
    "all": re.compile(r""),
}
_NARROWABLE = frozenset({"pytest", "ruff", "mypy", "pyright", "typos", "flake8"})


def checks_of(area: Area, checks: Sequence[CheckSpec]) -> tuple[CheckSpec, ...]:
    """The repository's checks of an area: by their names, else by the command they run."""
    if area == "all":
        return tuple(checks)
    pattern = _AREA_NAMES[area]
    named = tuple(check for check in checks if pattern.search(check.name.lower()))
    return named or tuple(check for check in checks if pattern.search(" ".join(check.argv).lower()))


def _checks(intent: RunChecks, context: Context) -> Plan:
    area, paths = intent.area, intent.paths
    title = _title(_AREA_TITLES[area] + words.on(paths))
    if context.checks is None and not paths:
        step = Step(kind="check", title=title, params={}, changes=False)
        return _work(words.will_check_unnamed(area, context.base), title, step)
    found = checks_of(area, context.checks or ())
    if paths:
        return _narrowed(area, paths, found, title, context)
    if not found:
        names = [check.name for check in context.checks or ()]
        return _answer(words.no_such_check(area, names), f"{_AREA_TITLES[area]}, which is not possible here")
    names = [check.name for check in found]
    params: dict[str, Any] = {} if area == "all" else {"names": names}
    budget = Budget(run_s=max(1_800.0, sum(check.timeout_s for check in found) + 300.0))
    step = Step(kind="check", title=title, params=params, changes=False, budget=budget)
    return _work(words.will_check(area, names, (), context.base), title, step)


_DEFAULT_ARGV: dict[Area, tuple[str, ...]] = {
    "tests": ("pytest", "-q"),
    "lint": ("ruff", "check", "--no-cache"),
    "format": ("ruff", "format", "--check", "--no-cache"),
    "types": ("mypy",),
}


def _narrowed(
    area: Area, paths: tuple[str, ...], found: Sequence[CheckSpec], title: str, context: Context
) -> Plan:
    """A check takes no paths, so its command is run with them; what it prints is the answer."""
    argv = found[0].argv if found else list(_DEFAULT_ARGV.get(area, ()))
    program = next((word.rpartition("/")[2] for word in argv if word.rpartition("/")[2] in _NARROWABLE), None)
    if program is None or argv[0] in ("make", "just", "npm", "tox", "nox"):
        text = words.cannot_narrow(area, shlex.join(argv)) if argv else words.no_such_check(area, [])
        choices = (_AREA_TITLES[area].lower(),) if argv else ()
        return _question(text, choices, "A part of a check that has no parts")
    command = [word for word in argv if word != "."] + list(paths)
    step = Step(kind="command", title=title, params={"argv": command, "keep": False}, changes=False)
    return _work(words.will_check(area, (), paths, context.base), title, step)


def _agent(brief: str, context: Context) -> Plan:
    if not context.agents:
        return _answer(words.no_agent(brief), "Work for an agent, and there is none")
    title = _title(f"Agent: {brief}")
    name = context.agents[0]
    step = Step(
        kind="agent",
        title=title,
        params={"brief": brief, "agent": name},
        changes=True,
        needs=(f"agent:{name}",),
        budget=Budget(run_s=3_600.0),
    )
    return _work(words.will_ask_agent(brief, context.base), title, step)


def patched_files(diff: str) -> list[str]:
    """The paths that a diff names, in order, without ``a/`` and ``b/``."""
    found: dict[str, None] = {}
    for line in diff.splitlines():
        if line.startswith("+++ ") or line.startswith("--- "):
            name = line[4:].split("\t")[0].strip().strip('"')
            if name != "/dev/null":
                found.setdefault(re.sub(r"^[ab]/", "", name))
    return list(found)


# --- pieces -----------------------------------------------------------------------------------------


def _work(say: str, title: str, step: Step) -> Plan:
    return Plan(say=say, understanding=title, title=title, steps=(step,))


def _answer(say: str, understanding: str) -> Plan:
    return Plan(say=say, understanding=understanding)


def _question(text: str, choices: Sequence[str], understanding: str) -> Plan:
    return Plan(say=words.question(text, choices), understanding=understanding, choices=tuple(choices))


def _with_worker_note(made: Plan, context: Context) -> Plan:
    if not made.steps or context.workers:
        return made
    return msgspec.structs.replace(made, say=f"{made.say} {words.no_worker()}")


def _chosen(choice: Choice, context: Context) -> str | Plan:
    """The request behind an answer.

    The choices come from planning the last request again, not from what stands in the history: a command's
    output may look like a list of choices.
    """
    last = context.last_request
    asked = "" if isinstance(parse(last)[0], Choice) else last
    choices = plan(asked, context).choices if asked else ()
    if not choices:
        return _answer(words.nothing_to_choose(), "An answer without a question")
    number = choice.number or (1 if len(choices) == 1 else 0)
    if not 1 <= number <= len(choices):
        return _answer(words.no_such_choice(len(choices)), "An answer that is no choice")
    return choices[number - 1]


def _globs(paths: Sequence[str]) -> tuple[str, ...]:
    """A folder stands for everything below it."""
    return tuple(f"{path.rstrip('/')}/**" if path.endswith("/") else path for path in paths)


def _cut(line: str, most: int = 200) -> str:
    return line if len(line) <= most else line[: most - 1] + "…"


def _title(text: str) -> str:
    return _cut(" ".join(text.split()), TITLE)
