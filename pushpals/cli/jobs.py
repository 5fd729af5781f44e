"""``pushpals jobs``, ``job`` and ``diff``: what was asked for, what became of it, what it changed."""

from __future__ import annotations

import click

from pushpals.cli.app import (
    App,
    command,
    json_option,
    print_json,
    safe,
    safe_line,
    session_option,
    short,
    table,
)
from pushpals.cli.errors import NEGATIVE, Failed
from pushpals.cli.find import find_job
from pushpals.cli.render import clock, receipt
from pushpals.cli.render import diff as colour_diff
from pushpals.client import HubClient
from pushpals.protocol.jobs import Job

STATES = ("blocked", "scheduled", "pending", "claimed", "completed", "failed", "cancelled")
COLORS = {
    "completed": "green",
    "failed": "red",
    "claimed": "cyan",
    "cancelled": "yellow",
    "blocked": "yellow",
}


@click.command()
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@click.option("--kind", metavar="KIND", help="Only jobs of this kind.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@session_option
@json_option
@command
async def jobs(
    hub: HubClient, app: App, state: str | None, kind: str | None, limit: int, as_json: bool
) -> None:
    """List jobs, newest first.

    \b
    Examples:
      pushpals jobs
      pushpals jobs --state failed --json
    """
    page = await hub.jobs(session_id=app.session, state=state, kind=kind, limit=limit)
    if as_json:
        print_json(page)
    elif not page.items:
        click.echo(
            "no jobs" + (f" that are {state}" if state else "") + "; ask for something: pushpals say …"
        )
    else:
        rows = [
            [
                short(job.id),
                _state(job),
                job.kind,
                safe_line(job.title, 50),
                job.worker_id or "",
                clock(job.created_at),
            ]
            for job in page.items
        ]
        table(rows, ["id", "state", "kind", "title", "worker", "since"])


@click.group()
def job() -> None:
    """Show, cancel or retry one job. Any unique beginning of an id will do."""


@job.command("show")
@click.argument("job_id", metavar="JOB")
@json_option
@command
async def show(hub: HubClient, app: App, job_id: str, as_json: bool) -> None:
    """Show a job: its order, its result, its evidence."""
    found = await find_job(hub, job_id)
    if as_json:
        print_json(found)
        return
    reply = await hub.job(found.id)
    click.echo(f"{click.style(found.id, bold=True)}  {_state(found)}  {safe_line(found.title)}")
    facts = {
        "kind": found.kind,
        "arguments": safe_line(str(found.params), 300) if found.params else "",
        "position": f"{reply.position} ahead" if reply.position is not None else "",
        "base": (found.base or "")[:12],
        "worker": f"{found.worker_id} (attempt {found.attempt} of {found.max_attempts})"
        if found.worker_id
        else "",
        "sandbox": found.sandbox or "",
        "asked by": safe_line(found.requested_by, 60),
        "created": found.created_at,
        "finished": found.finished_at or "",
        "note": safe_line(found.note or "", 400),
    }
    for name, value in facts.items():
        if value:
            click.echo(f"  {name:<10} {value}")
    if found.error is not None:
        click.echo(f"  {click.style('error', fg='red'):<10}      {safe_line(found.error.message, 600)}")
        if found.error.detail:
            click.echo(_indent(safe(found.error.detail)))
    if found.result is not None:
        click.echo(f"  {'result':<10} {safe_line(found.result.summary, 400)}")
        if found.result.head:
            click.echo(
                f"  {'branch':<10} {safe_line(found.result.branch or '', 100)} at {found.result.head[:12]}"
            )
        if found.result.diff_stat:
            click.echo(_indent(safe(found.result.diff_stat)))
        for evidence in found.result.evidence:
            click.echo(f"  {'check':<10} {receipt(evidence)}")
        if found.result.patch:
            click.echo(f"The change: pushpals diff {short(found.id)}")
    click.echo(f"The story:  pushpals log --job {short(found.id)}")


@job.command("cancel")
@click.argument("job_id", metavar="JOB")
@click.option("--reason", metavar="TEXT", help="Why, for the history.")
@json_option
@command
async def cancel(hub: HubClient, app: App, job_id: str, reason: str | None, as_json: bool) -> None:
    """Stop a job, whatever it is doing."""
    reply = await hub.cancel_job((await find_job(hub, job_id)).id, reason)
    if as_json:
        print_json(reply)
    else:
        word = "is asked to stop" if not reply.job.ended else reply.job.state
        click.echo(f"{short(reply.job.id)} {word}")


@job.command("retry")
@click.argument("job_id", metavar="JOB")
@click.option("--note", metavar="TEXT", help="What should be different this time.")
@json_option
@command
async def retry(hub: HubClient, app: App, job_id: str, note: str | None, as_json: bool) -> None:
    """Run a failed or cancelled job again."""
    reply = await hub.retry_job((await find_job(hub, job_id)).id, note)
    if as_json:
        print_json(reply)
    else:
        click.echo(f"{short(reply.job.id)} {reply.job.state}")


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--stat", is_flag=True, help="Only the summary.")
@command
async def diff(hub: HubClient, app: App, job_id: str, stat: bool) -> None:
    """Show the change that a job made, as a unified diff.

    \b
    Examples:
      pushpals diff job-5x0g4d
      pushpals --no-color diff 5x0g4d | git apply --check
    """
    found = await find_job(hub, job_id)
    if found.result is None or found.result.patch is None:
        raise Failed(f"{short(found.id)} ({found.state}) changed nothing", NEGATIVE, "no_change")
    if stat:
        click.echo(safe(found.result.diff_stat))
        return
    patch = (await hub.get_artifact(found.result.patch)).decode("utf-8", "replace")
    click.echo(colour_diff(patch), nl=not patch.endswith("\n"))


def _state(job: Job) -> str:
    return click.style(job.state, fg=COLORS.get(job.state))


def _indent(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.rstrip("\n").split("\n"))
