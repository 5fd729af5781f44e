"""``pushpals log``: the story, from the message to the landed commit, from history alone."""

from __future__ import annotations

import click

from pushpals.cli.app import App, command, json_option, print_json_line, session_option, short
from pushpals.cli.find import find_job
from pushpals.cli.history import Story, entry, past
from pushpals.cli.render import Lines
from pushpals.client import HubClient


@click.command()
@click.option(
    "--job", "job_id", metavar="JOB", help="Only the story of this job. A unique beginning will do."
)
@click.option("--quiet", "-q", is_flag=True, help="Without the output of commands.")
@session_option
@json_option
@command
async def log(hub: HubClient, app: App, job_id: str | None, quiet: bool, as_json: bool) -> None:
    """Tell the story of a job: message, plan, commands and outputs, diff, checks, approval, landing.

    Without --job it tells the whole session.

    \b
    Examples:
      pushpals log --job job-5x0g4d
      pushpals log --json > session.ndjson
    """
    lines = Lines(quiet=quiet)
    session_id, story = app.session, None
    if job_id is not None:
        job = await find_job(hub, job_id)
        landings = (await hub.landings(job_id=job.id)).items
        session_id, story = job.session_id, Story(job, landings)
    told = 0
    async for event in past(hub, session_id):
        if story is not None and not story.has(event):
            lines.line(event)  # titles of tasks and jobs are learned on the way
            continue
        told += 1
        if as_json:
            print_json_line(entry(event))
        elif line := lines.line(event):
            click.echo(line)
    if not told and not as_json:
        click.echo(f"nothing has happened in session {session_id!r} yet")
    if job_id is not None and not as_json:
        for landing in landings:
            if landing.landed_commit:
                click.echo(f"{short(landing.id)} landed as {landing.landed_commit} on {landing.target}")
