"""``pushpals workers``: who works here, and who should stop for a while."""

from __future__ import annotations

from typing import Literal

import click

from pushpals.cli.app import App, command, json_option, pick, print_json, safe_line, short, table
from pushpals.cli.render import clock
from pushpals.client import HubClient
from pushpals.protocol.commands import SetWorkerState
from pushpals.protocol.records import Worker


@click.group(invoke_without_command=True)
@click.option("--all", "every", is_flag=True, help="Also the ones that are gone.")
@json_option
@click.pass_context
def workers(ctx: click.Context, every: bool, as_json: bool) -> None:
    """List workers; drain, pause or resume one.

    \b
    Examples:
      pushpals workers
      pushpals workers drain w1     finish its job, then stop
      pushpals workers pause w1     take no new job
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(_list, every=every, as_json=as_json)


@click.command()
@click.option("--all", "every", is_flag=True)
@json_option
@command
async def _list(hub: HubClient, app: App, every: bool, as_json: bool) -> None:
    page = await hub.workers()
    found = [one for one in page.items if every or one.state != "gone"]
    if as_json:
        print_json(found)
    elif not found:
        click.echo("no workers; start one with: pushpals worker")
    else:
        rows = [
            [
                one.id,
                one.state,
                ", ".join(short(job) for job in one.jobs),
                one.sandbox,
                one.host,
                clock(one.seen_at),
            ]
            for one in found
        ]
        table(rows, ["id", "state", "jobs", "sandbox", "host", "seen"])
        for one in found:
            if one.sandbox != "full" and one.sandbox_reason:
                click.echo(f"{one.id}: {safe_line(one.sandbox_reason, 400)}")


def _state(name: str, state: Literal["idle", "draining", "paused"], says: str) -> None:
    @workers.command(name, help=says)
    @click.argument("worker")
    @click.option("--reason", metavar="TEXT", help="Why, for the history.")
    @json_option
    @command
    async def set_state(hub: HubClient, app: App, worker: str, reason: str | None, as_json: bool) -> None:
        known: list[Worker] = [one for one in (await hub.workers()).items if one.state != "gone"]
        found = pick("worker", worker, [one.id for one in known])
        changed = await hub.set_worker_state(found, SetWorkerState(state=state, note=reason))
        if as_json:
            print_json(changed)
        else:
            click.echo(f"{changed.id} {changed.state}")


_state("drain", "draining", "Finish the job at hand, take no other, and stop.")
_state("pause", "paused", "Take no new job until resumed.")
_state("resume", "idle", "Take jobs again.")
