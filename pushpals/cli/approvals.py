"""``pushpals approvals``, ``approve`` and ``deny``: a person's word, about one exact action.

``approve`` shows what the hub says would happen (never an agent's description of it), the exact diff by
its content address, and the evidence with the commit that each check ran on. The yes names the action's
hash: if what would happen has changed meanwhile, the hub refuses it.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import click
import msgspec

from pushpals.cli.app import (
    App,
    command,
    json_option,
    print_json,
    safe_line,
    session_option,
    short,
    table,
)
from pushpals.cli.errors import NEGATIVE, REFUSED, USAGE, Failed
from pushpals.cli.find import find_approval
from pushpals.cli.render import LANDING_STATES, Lines, clock, receipt
from pushpals.cli.render import diff as colour_diff
from pushpals.client import HubClient
from pushpals.policy import display
from pushpals.policy.actions import ExecAction
from pushpals.policy.rendering import render
from pushpals.protocol.approvals import Approval, Scope
from pushpals.protocol.commands import Decide
from pushpals.protocol.events import LandingMoved
from pushpals.protocol.landings import Landing

DEVICE = "terminal"
QUIET_S = 3.0


@click.command()
@click.option("--all", "every", is_flag=True, help="Also the ones that are decided.")
@session_option
@json_option
@command
async def approvals(hub: HubClient, app: App, every: bool, as_json: bool) -> None:
    """List what waits for your word."""
    page = await hub.approvals(state="" if every else "open")
    if as_json:
        print_json(page)
    elif not page.items:
        click.echo("nothing waits for your word")
    else:
        rows = [
            [
                short(one.id),
                one.state,
                one.kind,
                safe_line(one.summary, 70),
                one.session_id,
                clock(one.created_at),
            ]
            for one in page.items
        ]
        table(rows, ["id", "state", "kind", "what", "session", "since"])


@click.command()
@click.argument("approval_id", metavar="[ID]", required=False)
@click.option("--yes", "-y", is_flag=True, help="Do not ask. What is approved is still shown.")
@click.option(
    "--for", "scope", type=click.Choice(["once", "job", "session"]), default="once", show_default=True,
    help="How long a yes to a command lasts; a session's is for network hosts only, at most eight hours.",
)  # fmt: skip
@click.option("--no-wait", is_flag=True, help="Do not follow the landing to its end.")
@click.option("--reason", metavar="TEXT", help="Why, for the history.")
@json_option
@command
async def approve(
    hub: HubClient,
    app: App,
    approval_id: str | None,
    yes: bool,
    scope: Scope,
    no_wait: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """See the exact diff and its evidence, say yes, and watch it land.

    Without an ID the only open approval is meant.

    \b
    Examples:
      pushpals approve
      pushpals approve ap-5x0g4d --yes

    Exit codes: 0 landed, 1 it did not land (the reason is printed), 4 you said no.
    """
    approval = await find_approval(hub, approval_id)
    if approval.state != "open":
        raise Failed(f"{short(approval.id)} is {approval.state} already", NEGATIVE, "approval.state")
    landing = (await hub.landing(approval.landing_id)).landing if approval.landing_id else None
    if not as_json:
        await show(hub, approval, landing)
    elif not yes:
        raise Failed("--json cannot ask; add --yes", USAGE, "usage")
    if not yes and not click.confirm("Approve exactly this?", default=False):
        raise Failed("not approved; it still waits. To refuse it: pushpals deny", REFUSED, "not_approved")
    start = (await hub.snapshot(approval.session_id)).cursor
    decide = Decide(
        decision="approve", action_hash=approval.action_hash, reason=reason, device=DEVICE, scope=scope
    )
    decided = await hub.decide(approval.id, decide)
    if landing is None or no_wait:
        if as_json:
            print_json(decided)
        else:
            click.echo(f"{short(decided.id)} {decided.state}")
        return
    ended = await follow_landing(hub, landing, start, None if as_json else Lines(quiet=True))
    if as_json:
        print_json(ended)
    if ended.state not in ("landed", "noop"):
        raise Failed(f"it has not landed: {ended.state}: {safe_line(ended.cause or 'no cause given', 600)}")
    if not as_json:
        click.echo(landed(ended))


@click.command()
@click.argument("approval_id", metavar="ID")
@click.option("--reason", metavar="TEXT", help="Why; it goes into the history.")
@json_option
@command
async def revoke(hub: HubClient, app: App, approval_id: str, reason: str | None, as_json: bool) -> None:
    """Take a yes to a command back. What it let run may have run; connections that it opened end."""
    approval = await find_approval(hub, approval_id)
    gone = await hub.revoke_approval(approval.id, reason)
    if as_json:
        print_json(gone)
    else:
        click.echo(f"{short(gone.id)} {gone.state}: {safe_line(gone.summary)}")


@click.command()
@click.argument("approval_id", metavar="[ID]", required=False)
@click.option("--reason", metavar="TEXT", help="Why; the team reads it.")
@json_option
@command
async def deny(hub: HubClient, app: App, approval_id: str | None, reason: str | None, as_json: bool) -> None:
    """Say no. Nothing moves, and the session says so."""
    approval = await find_approval(hub, approval_id)
    decided = await hub.decide(approval.id, Decide(decision="deny", reason=reason, device=DEVICE))
    if as_json:
        print_json(decided)
    else:
        click.echo(f"{short(decided.id)} {decided.state}: {safe_line(decided.summary)}")


async def show(hub: HubClient, approval: Approval, landing: Landing | None) -> None:
    """Everything that a yes would stand for."""
    click.echo(
        f"{click.style(safe_line(approval.summary, 400), bold=True)}  ({short(approval.id)}, {approval.kind})"
    )
    command_shown = _exec_action(approval)
    if command_shown is not None:
        show_command(command_shown, approval)
    for name, value in approval.action.items() if command_shown is None else ():
        if value not in (None, "", [], {}):
            click.echo(f"  {safe_line(name, 20):<12} {_value(value)}")
    if approval.says:
        click.echo(f"  {'it says':<12} {click.style(safe_line(approval.says, 500), italic=True)}")
    click.echo(f"  {'asked by':<12} {safe_line(approval.requested_by, 60)}, until {approval.expires_at}")
    if landing is None:
        return
    if landing.worker_evidence:
        click.echo("\nEvidence")
        for evidence in landing.worker_evidence:
            stale = (
                "" if evidence.commit == landing.head else click.style("  (not on this head)", fg="yellow")
            )
            click.echo(f"  {receipt(evidence)}{stale}")
    else:
        click.echo(click.style("\nNo check ran on this change before now.", fg="yellow"))
    if landing.files:
        click.echo("\nFiles")
        for file in landing.files:
            note = click.style("  protected", fg="yellow") if file.protected else ""
            mode = (
                f"  mode {file.old_mode} → {file.new_mode}"
                if file.new_mode and file.new_mode != file.old_mode
                else ""
            )
            counts = "binary" if file.binary else f"+{file.added} -{file.deleted}"
            was = f" (was {display.escaped(file.old_path)})" if file.old_path else ""
            click.echo(f"  {file.status}  {display.escaped(file.path)}{was}  {counts}{mode}{note}")
    if landing.patch:
        patch = (await hub.get_artifact(landing.patch)).decode("utf-8", "replace")
        suspicious = display.is_suspicious(patch)
        click.echo(f"\n{colour_diff(patch)}")
        if suspicious:
            words = "; ".join(display.SUSPICIONS[code] for code in suspicious)
            click.echo(click.style(f"Look closely, the change contains: {words}", fg="yellow"))


async def follow_landing(hub: HubClient, landing: Landing, after: int, lines: Lines | None) -> Landing:
    """Follow a landing to its end, or to where it waits for something that only a person can change.

    That is ``held``, and a queue that is not open: it is looked at whenever nothing has happened for a while,
    since a queue's changes are told in no session.
    """
    async with aclosing(hub.follow(landing.session_id, after=after)) as events:
        coming = asyncio.ensure_future(anext(events))
        try:
            while True:
                done, _ = await asyncio.wait({coming}, timeout=QUIET_S)
                if done:
                    event = coming.result()
                    if lines is not None and (line := lines.line(event)):
                        click.echo(line)
                    coming = asyncio.ensure_future(anext(events))
                    if not (
                        isinstance(event.payload, LandingMoved) and event.payload.landing_id == landing.id
                    ):
                        continue
                current = (await hub.landing(landing.id)).landing
                if current.ended or current.state == "held":
                    return current
                if not done and current.state == "queued" and (why := await _closed(hub, current)):
                    return msgspec.structs.replace(current, cause=why)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _closed(hub: HubClient, landing: Landing) -> str | None:
    """Why the landing's queue does not move, if it does not."""
    lane = next((lane for lane in (await hub.lanes()).items if lane.id == landing.lane), None)
    if lane is None or lane.holder is None:
        return "no serial-pusher works on this queue; start one with: pushpals pusher"
    if lane.mode == "open":
        return None
    return f"the queue is {lane.mode}: {lane.cause or 'no cause given'}; it goes on when the queue does"


def landed(landing: Landing) -> str:
    """The receipt of a landing: which commit, on what, checked how, approved by whom."""
    state = click.style(landing.state, fg=LANDING_STATES.get(landing.state))
    lines = [f"{state}  {landing.landed_commit or landing.head} on {safe_line(landing.target, 100)}"]
    lines += [f"  {receipt(evidence)}" for evidence in landing.evidence]
    if landing.approved_by:
        lines.append(f"  approved by {safe_line(landing.approved_by, 60)}, who saw head {landing.head[:12]}")
    return "\n".join(lines)


def _exec_action(approval: Approval) -> ExecAction | None:
    """The command that is asked about, if that is what it is."""
    if approval.action.get("kind") != "exec" or "tool" in approval.action:
        return None
    try:
        return msgspec.convert(approval.action, ExecAction)
    except msgspec.ValidationError:
        return None


def show_command(action: ExecAction, approval: Approval) -> None:
    """A command, whole: one line for each argument, nothing cut, nothing that could pass for something
    else."""
    rendering = render(action)
    for number, word in enumerate(rendering.words):
        click.echo(f"  {'argv' if action.script is None else 'script':<12} {number:>3}  {word}")
    click.echo(f"  {'cwd':<12} {display.escaped(action.cwd)}")
    for name, value in action.env:
        click.echo(f"  {'env':<12} {display.escaped(name)}={display.escaped(value)}")
    for one in action.executables:
        click.echo(f"  {'program':<12} {display.escaped(one.path or 'not found')}  {one.sha256[:16]}")
    click.echo(f"  {'tree':<12} {action.tree}")
    click.echo(f"  {'sandbox':<12} {action.sandbox}   policy {action.policy_version[:16]}")
    for sentence in rendering.enables:
        click.echo(f"  {'it could':<12} {sentence}")
    if approval.reasons:
        click.echo(f"  {'asked for':<12} {', '.join(display.escaped(code) for code in approval.reasons)}")
    for reason in rendering.suspicious:
        click.echo(click.style(f"Look closely, it contains {reason}", fg="yellow"))


def _value(value: object) -> str:
    if isinstance(value, str):
        return display.escaped(value)
    return display.escaped(msgspec.json.encode(value).decode())
