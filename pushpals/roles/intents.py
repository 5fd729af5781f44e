"""What a message can mean: one type per intent, and the documented list of requests.

:data:`REQUESTS` is what a person may count on without a model; ``docs/reference/requests.md`` is checked
against it, and so is the parser. How text becomes an intent is in ``parsing.py``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Area = Literal["tests", "lint", "format", "types", "spelling", "all"]
Fixer = Literal["ruff", "format", "typos"]
Topic = Literal["requests", "connect"]


class Intent(msgspec.Struct, frozen=True, kw_only=True, tag_field="intent"):
    """The base of everything a message can mean."""


class RunChecks(Intent, frozen=True, kw_only=True):
    """Run one area of the repository's checks, or all; ``paths`` narrow it."""

    area: Area
    paths: tuple[str, ...] = ()


class Fix(Intent, frozen=True, kw_only=True):
    """Run a named fixer, safe fixes only."""

    fixer: Fixer
    force: bool = False
    """Format also a repository that does not say it is formatted."""
    paths: tuple[str, ...] = ()


class ApplyPatch(Intent, frozen=True, kw_only=True):
    diff: str


class RunCommand(Intent, frozen=True, kw_only=True):
    argv: tuple[str, ...]


class Look(Intent, frozen=True, kw_only=True):
    """Report lint, types and test results without changing anything."""

    area: Area = "all"
    paths: tuple[str, ...] = ()


class AskAgent(Intent, frozen=True, kw_only=True):
    """Hand a brief to the coding agent that a person configured."""

    brief: str


class Land(Intent, frozen=True, kw_only=True):
    job_id: str | None = None


class Stop(Intent, frozen=True, kw_only=True):
    job_id: str | None = None


class Retry(Intent, frozen=True, kw_only=True):
    job_id: str | None = None


class Status(Intent, frozen=True, kw_only=True):
    job_id: str | None = None


class Approve(Intent, frozen=True, kw_only=True):
    """The person says yes or no in words. Only the approval itself takes an answer."""


class Help(Intent, frozen=True, kw_only=True):
    topic: Topic = "requests"


class Greeting(Intent, frozen=True, kw_only=True):
    thanks: bool = False


class Choice(Intent, frozen=True, kw_only=True):
    """An answer to the last question: the number of a choice, from 1, or a plain yes (0)."""

    number: int


class Question(Intent, frozen=True, kw_only=True):
    """More than one meaning, or a slot is missing. ``choices`` are requests as a person would write them."""

    text: str
    choices: tuple[str, ...] = ()


class Refused(Intent, frozen=True, kw_only=True):
    """Understood, and not possible as asked. ``remedy`` says what is."""

    reason: str
    remedy: str = ""


class Beyond(Intent, frozen=True, kw_only=True):
    """Understood as work that needs a mind: a model or an agent. ``goal`` in the person's words."""

    goal: str


class Unknown(Intent, frozen=True, kw_only=True):
    text: str


Work = RunChecks | Fix | ApplyPatch | RunCommand | Look | AskAgent
Control = Land | Stop | Retry | Status | Approve | Help | Greeting | Choice
Answer = Question | Refused | Beyond | Unknown
AnyIntent = Work | Control | Answer


class Request(msgspec.Struct, frozen=True):
    """A row of the documentation: what it is called, how people may write it, what comes of it."""

    name: str
    phrasings: tuple[str, ...]
    result: str


REQUESTS: tuple[Request, ...] = (
    Request(
        "run the tests",
        ("run the tests", "run tests in tests/test_x.py", "do the tests pass?", "pytest"),
        "A `check` job. Nothing is changed.",
    ),
    Request(
        "run the checks",
        ("run all checks", "check everything"),
        "A `check` job with every check of the repository.",
    ),
    Request(
        "check the lint",
        ("check the lint", "run ruff", "lint src/"),
        "A `check` job with the linter. Nothing is changed.",
    ),
    Request(
        "check types",
        ("check types", "run mypy", "type check"),
        "A `check` job with the type checker.",
    ),
    Request(
        "fix the lint",
        ("fix the lint", "fix lint errors in src/app.py", "clean up the style"),
        "A `fix` job with ruff's safe fixes. The change waits for a yes.",
    ),
    Request(
        "format",
        ("format", "format the code", "run the formatter on src/", "format anyway"),
        "A `fix` job with the formatter. A repository that is not formatted so far is left alone unless you "
        "say `format anyway`. The change waits for a yes.",
    ),
    Request(
        "fix typos",
        ("fix typos", "correct the spelling in docs/"),
        "A `fix` job with typos. The change waits for a yes.",
    ),
    Request(
        "apply this patch",
        ("apply this patch", "(with a diff in the message)"),
        "A `patch` job. The change waits for a yes.",
    ),
    Request(
        "run: <command>",
        ("run: pytest -x tests", "$ git log -3", "run `make docs`"),
        "A `command` job with exactly these words, no shell. A change that it makes waits for a yes.",
    ),
    Request(
        "what is failing?",
        ("what is failing?", "which tests fail?", "is anything broken?"),
        "A `look` job: what fails in tests, lint and types. Nothing is changed.",
    ),
    Request(
        "look",
        ("look", "take a look around", "how is the code?"),
        "A `look` job: tests, lint, types and spelling, counted. Nothing is changed.",
    ),
    Request(
        "agent: <what to do>",
        ("agent: make the parser accept tabs", "ask the agent: …"),
        "An `agent` job for the coding agent that you configured.",
    ),
    Request("status", ("status", "what is going on?", "what is running?"), "An answer from the hub."),
    Request(
        "land it",
        ("land it", "merge it", "land job-7"),
        "The newest change that can land is submitted; you approve it.",
    ),
    Request(
        "stop", ("stop", "cancel", "stop job-7"), "Running and waiting jobs and landings of this session end."
    ),
    Request("retry", ("retry", "try again", "retry job-7"), "The newest failed job runs again."),
    Request("help", ("help", "what can you do?"), "This list."),
)
