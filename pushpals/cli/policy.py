"""``pushpals policy``: what would be allowed, asked or denied, and by which rule.

The operator's rules are the ``[policy]`` table of ``~/.config/pushpals/config.toml``. The repository's, in
``pushpals.toml``, can only tighten them; jobs take it from their base commit, these commands from your
checkout.
"""

from __future__ import annotations

import shlex
from typing import get_args

import click

from pushpals import config
from pushpals.cli.app import App, json_option, pass_app, print_json, safe_line, table
from pushpals.cli.errors import NEGATIVE, OK, REFUSED, USAGE, Failed
from pushpals.policy import api, display
from pushpals.policy.actions import ExecAction, Level
from pushpals.policy.presets import PresetName
from pushpals.policy.rules import Policy, PolicyError

_COLORS = {"allow": "green", "ask": "yellow", "deny": "red"}
_EXIT = {"allow": OK, "ask": NEGATIVE, "deny": REFUSED}

_preset = click.option(
    "--preset", type=click.Choice(get_args(PresetName)), help="Try another preset than the one set."
)
_level = click.option(
    "--level",
    type=click.Choice(get_args(Level)),
    default="full",
    show_default=True,
    help="The sandbox's level.",
)
_script = click.option("--script", is_flag=True, help="The words are one shell script, not an argument list.")
_argv = click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True)


@click.group()
def policy() -> None:
    """Check, show, test and explain the policy."""


@policy.command("check", context_settings={"ignore_unknown_options": True})
@_preset
@_level
@_script
@json_option
@_argv
@pass_app
def check(
    app: App, preset: PresetName | None, level: Level, script: bool, as_json: bool, words: tuple[str, ...]
) -> None:
    """Say whether a command would run, be asked about, or be denied.

    \b
    Examples:
      pushpals policy check -- pytest -q
      pushpals policy check --script -- 'curl https://x | sh'

    Exit codes: 0 it would run, 1 a person would be asked, 4 it would be denied.
    """
    found = api.check(_policy(app, preset), _action(words, script), level)
    if as_json:
        print_json(found)
    else:
        click.echo(
            click.style(found.decision, fg=_COLORS[found.decision], bold=True)
            + f"  {', '.join(found.reasons)}"
        )
    raise click.exceptions.Exit(_EXIT[found.decision])


@policy.command("explain", context_settings={"ignore_unknown_options": True})
@_preset
@_level
@_script
@json_option
@_argv
@pass_app
def explain(
    app: App, preset: PresetName | None, level: Level, script: bool, as_json: bool, words: tuple[str, ...]
) -> None:
    """Say how a command was understood, which rules matched, and what decided."""
    found = api.explain(_policy(app, preset), _action(words, script), level)
    if as_json:
        print_json(found)
        return
    decision = found.decision.decision
    click.echo(click.style(decision, fg=_COLORS[decision], bold=True))
    for sentence in found.sentences:
        click.echo(f"  {safe_line(sentence, 400)}")
    for part in found.parts:
        click.echo(f"  {display.escaped(shlex.join(part.argv))}  {part.exec_class}  {', '.join(part.rules)}")


@policy.command("show")
@_preset
@json_option
@pass_app
def show(app: App, preset: PresetName | None, as_json: bool) -> None:
    """Show every rule that is in force, in the order in which they are asked."""
    shown = api.show(_policy(app, preset))
    if as_json:
        print_json(shown)
        return
    click.echo(f"preset {shown.preset}, version {shown.version}")
    rows = [
        [
            click.style(rule.decision, fg=_COLORS[rule.decision]),
            rule.id,
            rule.source,
            safe_line(
                "; ".join(f"{name} {' '.join(values)}" for name, values in rule.conditions.items()), 110
            ),
        ]
        for rule in shown.rules
    ]
    table(rows, ["", "rule", "from", "when"])
    click.echo(f"protected: {safe_line(' '.join(shown.protected), 2_000)}")
    for widening in shown.widenings:
        click.echo(
            click.style(
                f"the repository tried to relax, and did not: {safe_line(widening, 200)}", fg="yellow"
            )
        )


@policy.command("test")
@_preset
@json_option
@pass_app
def test(app: App, preset: PresetName | None, as_json: bool) -> None:
    """Try the examples that each rule carries. Exit code 1 when one does not hold."""
    tested = api.test(_policy(app, preset))
    if as_json:
        print_json(tested)
    else:
        for result in tested.failed:
            example = safe_line(str(result.example), 300)
            click.echo(f"{click.style('does not hold', fg='red')}  {result.rule}: {example}")
        click.echo(f"{tested.passed} passed, {len(tested.failed)} failed")
    if not tested.ok:
        raise click.exceptions.Exit(NEGATIVE)


def _policy(app: App, preset: PresetName | None) -> Policy:
    person = config.user_config(app.env)
    repository = app.repository_if_any
    try:
        return api.policy_for(
            config.read_table(person, "policy") if person else None,
            preset=preset,
            repository=config.read_table(repository / config.REPOSITORY_FILE, "policy")
            if repository
            else None,
        )
    except PolicyError as error:
        raise Failed(str(error), USAGE, "policy") from None


def _action(words: tuple[str, ...], script: bool) -> ExecAction:
    return api.action_for(script=" ".join(words)) if script else api.action_for(argv=words)
