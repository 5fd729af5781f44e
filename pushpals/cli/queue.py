"""``pushpals queue``: the merge queue of a branch."""

from __future__ import annotations

import click

from pushpals.cli.app import App, command, json_option, print_json, safe_line, short
from pushpals.cli.find import find_lane
from pushpals.cli.render import LANDING_STATES, clock
from pushpals.client import HubClient
from pushpals.protocol.commands import SetLaneMode
from pushpals.protocol.landings import UNFINISHED, LaneMode


@click.group()
def queue() -> None:
    """Show, pause, freeze or resume the merge queue.

    \b
    paused: nothing new begins.   frozen: nothing is pushed.   resume: both are over.
    """


@queue.command("show")
@click.argument("lane", required=False)
@json_option
@command
async def show(hub: HubClient, app: App, lane: str | None, as_json: bool) -> None:
    """Show the queue of a branch in the order in which it will land."""
    found = await find_lane(hub, lane)
    waiting = [one for one in (await hub.landings(lane=found.id, limit=500)).items if one.state in UNFINISHED]
    waiting.reverse()
    if as_json:
        print_json({"lane": found, "landings": waiting})
        return
    cause = f": {safe_line(found.cause)}" if found.cause else ""
    head = f" at {found.head[:10]}" if found.head else ""
    click.echo(f"{safe_line(found.id, 100)}{head}  {found.mode}{cause}, pusher {found.holder or 'none'}")
    for place, one in enumerate(waiting, 1):
        state = click.style(one.state, fg=LANDING_STATES.get(one.state))
        click.echo(
            f"  {place:>3}  {short(one.id)}  {state}  {safe_line(one.title, 60)}  {clock(one.created_at)}"
        )
    if not waiting:
        click.echo("  nothing waits")


def _mode(name: str, mode: LaneMode, says: str) -> click.Command:
    @queue.command(name, help=says)
    @click.argument("lane", required=False)
    @click.option("--reason", metavar="TEXT", help="Why, for the history.")
    @json_option
    @command
    async def set_mode(hub: HubClient, app: App, lane: str | None, reason: str | None, as_json: bool) -> None:
        changed = await hub.set_lane_mode(
            SetLaneMode(lane=(await find_lane(hub, lane)).id, mode=mode, cause=reason)
        )
        if as_json:
            print_json(changed)
        else:
            click.echo(f"{safe_line(changed.id, 100)} {changed.mode}")

    assert isinstance(set_mode, click.Command)
    return set_mode


pause = _mode("pause", "paused", "Begin nothing new; what is under way goes on.")
freeze = _mode("freeze", "frozen", "Push nothing at all until the queue is resumed.")
resume = _mode("resume", "open", "Go on.")
