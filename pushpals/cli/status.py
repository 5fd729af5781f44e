"""``pushpals status``: one page about everything."""

from __future__ import annotations

from typing import Any

import click

from pushpals.cli.app import App, command, json_option, print_json, safe_line, short
from pushpals.cli.render import LANDING_STATES
from pushpals.client import HubClient
from pushpals.protocol.commands import SystemStatus


@click.command()
@json_option
@command
async def status(hub: HubClient, app: App, as_json: bool) -> None:
    """Who is here, what waits, what main is.

    Exit code 3 when no hub runs here.
    """
    found = await hub.status()
    if as_json:
        print_json(found)
        return
    click.echo(f"hub       {hub.url}  version {found.version}, since {found.started_at}")
    click.echo(f"session   {app.session}  ({found.events} events in {found.sessions} sessions)")
    for repository in found.repositories:
        head = (repository.head or "")[:10] or "not seen yet"
        click.echo(f"main      {safe_line(repository.upstream, 100)} {repository.branch} at {head}")
        if repository.checks:
            click.echo(f"checks    {', '.join(safe_line(check.name, 40) for check in repository.checks)}")
    for worker in found.workers:
        if worker.state == "gone":
            continue
        doing = f", {', '.join(short(one) for one in worker.jobs)}" if worker.jobs else ""
        click.echo(f"worker    {worker.id}  {worker.state}{doing}, sandbox {worker.sandbox}")
    for lane in found.lanes:
        cause = f": {safe_line(lane.cause)}" if lane.cause else ""
        holder = f", {lane.holder}" if lane.holder else ", no pusher"
        click.echo(f"queue     {safe_line(lane.id, 80)}  {lane.mode}{holder}{cause}")
    click.echo(f"jobs      {_counts(found.jobs)}")
    click.echo(f"landings  {_counts(found.landings, LANDING_STATES)}")
    if found.approvals_open:
        click.echo(
            click.style(f"{found.approvals_open} waiting for your word: pushpals approvals", fg="yellow")
        )
    for line in _hints(found):
        click.echo(line)


def _counts(counts: dict[str, int], colors: dict[str, Any] | None = None) -> str:
    shown = [
        f"{number} {click.style(state, fg=(colors or {}).get(state))}"
        for state, number in counts.items()
        if number
    ]
    return ", ".join(shown) or "none"


def _hints(found: SystemStatus) -> list[str]:
    hints = []
    if not any(worker.state in ("idle", "busy") for worker in found.workers):
        hints.append(click.style("no worker takes jobs; start one with: pushpals worker", fg="yellow"))
    return hints
