"""The command line: one group, whose commands are loaded when they are called.

A command is a module below ``pushpals.cli`` and a row of :data:`COMMANDS`; nothing else knows it. The
help page is written from the rows, so that ``pushpals --help`` imports no command.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from pushpals import __version__


class Row(NamedTuple):
    """A command: where it is, under which heading it stands, and its help in one line."""

    at: str
    heading: str
    help: str


_RUN, _TALK, _LOOK, _DECIDE, _OPERATE, _SETUP = (
    "Run", "Talk", "Look", "Decide and land", "Operate", "Set up and check",
)  # fmt: skip

COMMANDS: dict[str, Row] = {
    "up": Row("up:up", _RUN, "Start everything for this repository: hub, buddy, workers, pusher."),
    "down": Row("up:down", _RUN, "End what `up` started for this repository."),
    "demo": Row("demo:demo", _RUN, "Show the whole loop on a small repository that it makes."),
    "hub": Row("parts:hub", _RUN, "Run only the hub."),
    "buddy": Row("parts:buddy", _RUN, "Run only the Remote Buddy."),
    "worker": Row("parts:worker", _RUN, "Run only one worker."),
    "pusher": Row("parts:pusher", _RUN, "Run only the serial-pusher."),
    "lab": Row("lab:lab", _RUN, "Start JupyterLab on this repository, with the console open."),
    "local": Row("parts:local", _RUN, "Run the Local Buddy: answers about your checkout, changes nothing."),
    "say": Row("say:say", _TALK, "Say something to the team."),
    "tail": Row("tail:tail", _TALK, "Follow the conversation and the work, live."),
    "search": Row("search:search", _TALK, "Find what people and agents said."),
    "fork": Row("search:fork", _TALK, "Begin a session where another one stood."),
    "log": Row("log:log", _LOOK, "Tell the story of a job, or of the session."),
    "status": Row("status:status", _LOOK, "Who is here, what waits, what main is."),
    "jobs": Row("jobs:jobs", _LOOK, "List jobs."),
    "job": Row("jobs:job", _LOOK, "Show, cancel or retry one job."),
    "diff": Row("jobs:diff", _LOOK, "Show the change that a job made."),
    "export": Row("export:export", _LOOK, "Write a run as a notebook that can be checked again."),
    "approvals": Row("approvals:approvals", _DECIDE, "List what waits for your word."),
    "approve": Row(
        "approvals:approve", _DECIDE, "See the exact diff and its evidence, say yes, and watch it land."
    ),
    "deny": Row("approvals:deny", _DECIDE, "Say no; nothing moves."),
    "revoke": Row("approvals:revoke", _DECIDE, "Take a yes to a command back."),
    "landing": Row("landing:landing", _DECIDE, "List, show, cancel, retry or revert landings."),
    "why": Row("why:why", _LOOK, "Tell where a line of main comes from: job, words, approval, receipts."),
    "queue": Row("queue:queue", _OPERATE, "Show, pause, drain, freeze or resume the merge queue."),
    "workers": Row("workers:workers", _OPERATE, "List workers; drain, pause or resume one."),
    "token": Row("token:token", _OPERATE, "Make, list and revoke tokens."),
    "sandbox": Row("sandbox:sandbox", _OPERATE, "Probe the sandbox, or run a command in it."),
    "rules": Row("rules:rules", _DECIDE, "List, try, add and revoke standing answers to commands."),
    "pair": Row("pair:pair", _OPERATE, "Log a phone in with a one-time code or QR code."),
    "audit": Row("audit:audit", _OPERATE, "Verify, export and show the audit trail."),
    "policy": Row("policy:policy", _OPERATE, "Check, show, test and explain the policy."),
    "db": Row("db:db", _OPERATE, "Back up, check, restore and compact the hub's database."),
    "open": Row("open:open_", _OPERATE, "Print the address to open in a browser."),
    "init": Row("init:init", _SETUP, "Find this repository's checks and write pushpals.toml."),
    "doctor": Row("doctor:doctor", _SETUP, "Look for what is missing or wrong, with a remedy for each."),
    "config": Row("settings:config", _SETUP, "Show the settings and where each came from."),
    "completion": Row("completion:completion", _SETUP, "Set up tab completion for your shell."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        row = COMMANDS.get(name)
        if row is None:
            return None
        module, _, attribute = row.at.partition(":")
        command = getattr(importlib.import_module(f"pushpals.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not close:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{close[0]}'?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, row in COMMANDS.items():
            headings.setdefault(row.heading, []).append((name, row.help))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        return ended_well(ctx, lambda: super(LazyGroup, self).invoke(ctx))


def ended_well(ctx: click.Context, call: Callable[[], Any]) -> Any:
    """Call, and turn an error that means something to a person into an exit code and a sentence."""
    try:
        return call()
    except (click.UsageError, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        from pushpals.cli.errors import as_failure

        leaves = _leaves(error) if isinstance(error, ExceptionGroup) else [error]
        failure = next((found for leaf in leaves if (found := as_failure(leaf)) is not None), None)
        if failure is None:
            raise
        failure.as_json = bool(ctx.meta.get("pushpals.json"))
        if failure is error:
            raise
        raise failure from error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command explains itself: pushpals COMMAND --help. "
    "Exit codes: 0 done, 1 the answer is no, 2 usage, "
    "3 no hub runs, 4 refused, 78 no sandbox.",
)
@click.version_option(__version__, prog_name="pushpals")
@click.option("-C", "--repo", metavar="PATH", default=".", help="The repository; default: where you are.")
@click.option("--data-dir", metavar="PATH", help="Where state lives.  [env: PUSHPALS_DATA_DIR]")
@click.option("--url", metavar="URL", help="The hub to speak to.  [env: PUSHPALS_URL]")
@click.option("-s", "--session", metavar="ID", help="The session.  [env: PUSHPALS_SESSION_ID]")
@click.option(
    "--color/--no-color", default=None, help="Colours; by default on a terminal unless NO_COLOR is set."
)
@click.pass_context
def cli(
    ctx: click.Context,
    repo: str,
    data_dir: str | None,
    url: str | None,
    session: str | None,
    color: bool | None,
) -> None:
    """Push Pals: a coding team that lives beside a repository.

    \b
    In a git repository:
      pushpals up                  start the team
    From another terminal:
      pushpals say "fix the lint"  ask for something
      pushpals tail                watch the work
      pushpals approve             see the diff and its evidence, say yes, land it
    """
    import os
    from pathlib import Path

    from pushpals.cli.app import App

    if color is None and os.environ.get("NO_COLOR"):
        color = False
    ctx.color = color
    flags = {"data_dir": data_dir, "url": url, "session_id": session}
    ctx.obj = App(start=Path(repo), env=dict(os.environ), flags=flags)


def main() -> None:
    """The console script ``pushpals``."""
    cli.main(prog_name="pushpals", args=sys.argv[1:])


def _leaves(group: ExceptionGroup[Exception]) -> list[Exception]:
    """What went wrong inside of a task group."""
    found: list[Exception] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, ExceptionGroup) else [error]
    return found
