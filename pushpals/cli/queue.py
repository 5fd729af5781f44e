"""``pushpals queue``: the merge queue of a branch."""

from __future__ import annotations

import click

from pushpals.cli.app import App, command, json_option, print_json, safe_line, short
from pushpals.cli.find import find_lane
from pushpals.cli.render import LANDING_STATES, clock
from pushpals.client import HubClient
from pushpals.protocol.commands import SetLaneMode
from pushpals.protocol.landings import UNFINISHED, Lane, LaneMode, place


@click.group()
def queue() -> None:
    """Show, pause, drain, freeze or resume the merge queue.

    \b
    paused: nothing new begins.        frozen: nothing is pushed.
    draining: what is in it lands.     resume: all that is over.
    """


@queue.command("show")
@click.argument("lane", required=False)
@json_option
@command
async def show(hub: HubClient, app: App, lane: str | None, as_json: bool) -> None:
    """Show the queue of a branch in the order in which it will land."""
    found = await find_lane(hub, lane)
    waiting = [one for one in (await hub.landings(lane=found.id, limit=500)).items if one.state in UNFINISHED]
    waiting.sort(key=lambda one: (place(one), one.number))
    if as_json:
        print_json({"lane": found, "landings": waiting})
        return
    cause = f": {safe_line(found.cause)}" if found.cause else ""
    head = f" at {found.head[:10]}" if found.head else ""
    click.echo(f"{safe_line(found.id, 100)}{head}  {found.mode}{cause}, pusher {found.holder or 'none'}")
    for number, one in enumerate(waiting, 1):
        state = click.style(one.state, fg=LANDING_STATES.get(one.state))
        click.echo(
            f"  {number:>3}  {short(one.id)}  {state}  {safe_line(one.title, 60)}  since {clock(one.since)}"
        )
        if one.cause and one.state != "needs_approval":
            click.echo(f"       {safe_line(one.cause, 160)}")
        for other, conflict in one.facts.get("overlaps", {}).items():
            if any(x.id == other for x in waiting):
                words = "does not merge with" if conflict else "touches the same lines as"
                click.echo(f"       {words} {short(other)}")
    if not waiting:
        click.echo("  nothing waits")
    for line in _checks(found):
        click.echo(line)


def _checks(lane: Lane) -> list[str]:
    """How the checks behave: one line for each that ever ran."""
    rows = lane.facts.get("checks") or {}
    lines = []
    for name, record in sorted(rows.items()):
        runs = record.get("runs", 0)
        line = f"  check {safe_line(name, 40)}: {runs} runs, {record.get('failed', 0)} red"
        if runs:
            line += f", {record.get('seconds', 0.0) / runs:.1f} s each"
        if flaked := record.get("flaked", 0):
            flaky = ", ".join(safe_line(one, 60) for one in record.get("flaky", [])[:3])
            line += f", {flaked} flakes" + (f" ({flaky})" if flaky else "")
        if lost := record.get("lost", 0):
            line += f", {lost} could not run"
        lines.append(line)
    return lines


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


drain = _mode("drain", "draining", "Land what is in it, hold what comes later, then pause.")
pause = _mode("pause", "paused", "Begin nothing new; what is under way goes on.")
freeze = _mode("freeze", "frozen", "Push nothing at all until the queue is resumed.")
resume = _mode("resume", "open", "Go on, and try again what is held.")
