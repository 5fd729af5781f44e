"""``pushpals landing``: requests to land, and what became of each."""

from __future__ import annotations

import click

from pushpals.cli.app import App, command, json_option, print_json, safe_line, session_option, short, table
from pushpals.cli.approvals import landed
from pushpals.cli.errors import NEGATIVE, Failed
from pushpals.cli.find import find_landing
from pushpals.cli.render import LANDING_STATES, Lines, clock, receipt
from pushpals.cli.say import follow_turn, post
from pushpals.client import HubClient


@click.group()
def landing() -> None:
    """List, show, cancel, retry or revert landings. Any unique beginning of an id will do."""


@landing.command("list")
@click.option("--state", metavar="STATE", help="Only landings in this state.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@session_option
@json_option
@command
async def list_(hub: HubClient, app: App, state: str | None, limit: int, as_json: bool) -> None:
    """List landings, newest first."""
    page = await hub.landings(state=state, limit=limit)
    if as_json:
        print_json(page)
    elif not page.items:
        click.echo("nothing was asked to land yet")
    else:
        rows = [
            [
                short(one.id),
                click.style(one.state, fg=LANDING_STATES.get(one.state)),
                one.head[:10],
                safe_line(one.target, 30),
                safe_line(one.title, 50),
                (one.landed_commit or "")[:10],
                clock(one.updated_at or one.created_at),
            ]
            for one in page.items
        ]
        table(rows, ["id", "state", "head", "onto", "title", "landed as", "since"])


@landing.command("show")
@click.argument("landing_id", metavar="LANDING")
@json_option
@command
async def show(hub: HubClient, app: App, landing_id: str, as_json: bool) -> None:
    """Show a landing: its head, its checks, who approved it, why it stands where it stands."""
    one = await find_landing(hub, landing_id)
    if as_json:
        print_json(one)
        return
    click.echo(landed(one))
    facts = {
        "title": safe_line(one.title, 200),
        "cause": safe_line(one.cause or "", 1_000),
        "branch": f"{safe_line(one.branch, 100)} at {one.head}",
        "job": short(one.job_id) if one.job_id else "",
        "approval": short(one.approval_id) if one.approval_id else "",
        "candidate": one.candidate.commit if one.candidate else "",
        "conflicts": ", ".join(safe_line(path, 100) for path in one.conflict_paths),
        "since": one.since,
        "takes back": short(one.reverts) if one.reverts else "",
        "confirmed": safe_line(str(one.facts.get("confirmedBy", "")), 100),
    }
    for name, value in facts.items():
        if value:
            click.echo(f"  {name:<10} {value}")
    if both := one.facts.get("both"):
        click.echo("\n" + "\n".join(f"  {safe_line(line, 160)}" for line in str(both).split("\n")[:60]))
    for evidence in one.worker_evidence:
        click.echo(f"  before     {receipt(evidence)}")


@landing.command("cancel")
@click.argument("landing_id", metavar="LANDING")
@click.option("--reason", metavar="TEXT", help="Why, for the history.")
@json_option
@command
async def cancel(hub: HubClient, app: App, landing_id: str, reason: str | None, as_json: bool) -> None:
    """Take a landing out of the queue. One that is being pushed has left already."""
    one = await hub.cancel_landing((await find_landing(hub, landing_id)).id, reason)
    if as_json:
        print_json(one)
    else:
        click.echo(f"{short(one.id)} {one.state}")


@landing.command("retry")
@click.argument("landing_id", metavar="LANDING")
@json_option
@command
async def retry(hub: HubClient, app: App, landing_id: str, as_json: bool) -> None:
    """Submit the head of an ended landing again. It needs its own approval."""
    reply = await hub.retry_landing((await find_landing(hub, landing_id)).id)
    if as_json:
        print_json(reply)
    else:
        click.echo(f"{short(reply.landing.id)} {reply.landing.state}")


@landing.command("revert")
@click.argument("landing_id", metavar="LANDING")
@click.option("--wait", is_flag=True, help="Follow until the reverse change waits for your approval.")
@json_option
@command
async def revert(hub: HubClient, app: App, landing_id: str, wait: bool, as_json: bool) -> None:
    """Take back what a landing brought. A worker makes the reverse change and checks it; it lands with a yes.

    Later landings that touch the same files are listed with the change. If they build on it, nothing is
    made, and you are told which.
    """
    one = await find_landing(hub, landing_id)
    if one.state != "landed":
        raise Failed(
            f"it has not landed (it is {one.state}); there is nothing to take back", NEGATIVE, "state"
        )
    posted = await post(hub, one.session_id, f"undo {one.id}")
    if not wait:
        if as_json:
            print_json(posted)
        else:
            click.echo(f"asked to take back {short(one.id)}. Watch: pushpals tail --after {posted.cursor}")
        return
    ended = await follow_turn(hub, one.session_id, posted, None if as_json else Lines())
    if as_json:
        print_json({"posted": posted, "ended": ended})
    if ended == "failed":
        raise Failed("it could not be taken back; pushpals log tells why", NEGATIVE, "turn.failed")
