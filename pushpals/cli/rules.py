"""``pushpals rules``: standing answers to commands, tried on the history before they are kept."""

from __future__ import annotations

import click

from pushpals.cli.app import App, command, json_option, pick, print_json, safe_line, short, table
from pushpals.cli.errors import NEGATIVE, Failed
from pushpals.cli.find import find_approval
from pushpals.client import HubClient
from pushpals.protocol.approvals import RuleVerdict
from pushpals.protocol.commands import BackTest, MakeRule

_verdict = click.option(
    "--deny", "verdict", flag_value="deny", default=None, help="Always no. Without it: always yes."
)
_everywhere = click.option("--everywhere", is_flag=True, help="In every session, not only in this one.")
_approval = click.argument("approval_id", metavar="APPROVAL")


@click.group()
def rules() -> None:
    """List, try, add and revoke standing answers to commands.

    A rule is about one exact shape: argument list or script, directory, variables, programs with their
    digests, capabilities and sandbox level. A program that was updated is another shape, and asks again.
    """


@rules.command("list")
@json_option
@command
async def list_(hub: HubClient, app: App, as_json: bool) -> None:
    """List the rules and how often each answered."""
    page = await hub.rules()
    if as_json:
        print_json(page)
    elif not page.items:
        click.echo("no command is remembered; make a rule from a question: pushpals rules add APPROVAL")
    else:
        rows = [
            [
                short(one.id), one.verdict, "revoked" if one.revoked_at else "in force", str(one.used),
                one.session_id or "everywhere", safe_line(one.label, 70), safe_line(one.created_by, 30),
            ]
            for one in page.items
        ]  # fmt: skip
        table(rows, ["id", "answer", "state", "used", "session", "command", "made by"])


@rules.command("test")
@_approval
@_verdict
@_everywhere
@json_option
@command
async def test(
    hub: HubClient, app: App, approval_id: str, verdict: RuleVerdict | None, everywhere: bool, as_json: bool
) -> None:
    """Say what a rule would have answered so far. Nothing is kept.

    Exit codes: 0 nobody decided otherwise, 1 somebody did.
    """
    approval = await find_approval(hub, approval_id)
    wanted = MakeRule(approval_id=approval.id, verdict=verdict or "allow", everywhere=everywhere)
    tested = await hub.test_rule(wanted)
    if as_json:
        print_json(tested)
    else:
        say(tested, wanted.verdict)
    if tested.contradicted:
        raise click.exceptions.Exit(NEGATIVE)


@rules.command("add")
@_approval
@_verdict
@_everywhere
@click.option("--label", default="", metavar="TEXT", help="What it is for.")
@click.option("--despite", is_flag=True, help="Also when people decided such commands the other way.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@command
async def add(
    hub: HubClient,
    app: App,
    approval_id: str,
    verdict: RuleVerdict | None,
    everywhere: bool,
    label: str,
    despite: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remember the answer to a command that was asked about, for exactly that command."""
    approval = await find_approval(hub, approval_id)
    wanted = MakeRule(
        approval_id=approval.id,
        verdict=verdict or "allow",
        label=label,
        everywhere=everywhere,
        despite=despite,
    )
    if not as_json:
        say(await hub.test_rule(wanted), wanted.verdict)
        if not yes and not click.confirm("Remember this?", default=False):
            raise Failed("not remembered", NEGATIVE, "not_remembered")
    made = await hub.make_rule(wanted)
    if as_json:
        print_json(made)
    else:
        click.echo(f"{short(made.rule.id)}  always {made.rule.verdict}: {safe_line(made.rule.label, 200)}")


@rules.command("revoke")
@click.argument("rule_id", metavar="RULE")
@json_option
@command
async def revoke(hub: HubClient, app: App, rule_id: str, as_json: bool) -> None:
    """End a standing answer at once."""
    known = [one.id for one in (await hub.rules()).items]
    ended = await hub.revoke_rule(pick("rule", rule_id, known))
    if as_json:
        print_json(ended)
    else:
        click.echo(f"{short(ended.id)} revoked; it answered {ended.used} times")


def say(tested: BackTest, verdict: str) -> None:
    """A back-test in words."""
    for name, value in tested.shape.items():
        click.echo(f"  {name:<12} {safe_line(str(value), 2_000)}")
    click.echo(
        f"of {tested.looked_at} questions so far it would have answered {tested.matched} with {verdict}: "
        f"people agreed {tested.agreed} times, {tested.unanswered} were not answered"
    )
    for one in tested.contradicted:
        click.echo(click.style(f"  decided the other way: {short(one)}", fg="yellow"))
