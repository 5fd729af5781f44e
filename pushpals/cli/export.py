"""``pushpals export``: a run as a notebook that tells itself and can be checked again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pushpals.cli.app import App, command, pick
from pushpals.cli.errors import USAGE, Failed
from pushpals.cli.history import Story, past
from pushpals.client import HubClient
from pushpals.protocol.errors import NotFound
from pushpals.protocol.jobs import Attempt, Job
from pushpals.protocol.landings import Landing

if TYPE_CHECKING:
    from pushpals.notebook.run import Facts

MOST = 500


@click.command()
@click.argument("what", metavar="SESSION|JOB")
@click.option("--notebook", is_flag=True, help="As a Jupyter notebook; the only form there is.")
@click.option("--replay", is_flag=True, help="Also the console at any cursor.")
@click.option(
    "-o", "--output", metavar="FILE", help="Where to; default: NAME.ipynb here. A dash: standard output."
)
@command
async def export(
    hub: HubClient, app: App, what: str, notebook: bool, replay: bool, output: str | None
) -> None:
    """Write a run as a notebook: timeline, plan, diffs, receipts, approvals, and the SQL that backs them.

    The facts are in the notebook, so it can be read and run without this hub. Secrets were taken out of
    outputs before they were stored; still, look at it before you hand it on.

    \b
    Examples:
      pushpals export --notebook dev
      pushpals export --notebook job-5x0g4d --replay -o incident.ipynb
    """
    from pushpals.notebook.exporting import notebook as write
    from pushpals.notebook.run import TooLong

    if not notebook:
        raise Failed("say what to write: --notebook", USAGE, "usage")
    facts = await gather(hub, what)
    try:
        text = write(facts, replay=replay)
    except TooLong as error:
        raise Failed(str(error), USAGE, "export.too_long") from None
    if output == "-":
        click.echo(text, nl=False)
        return
    path = Path(output or f"{facts.job_id or facts.session.id}.ipynb")
    await asyncio.to_thread(path.write_text, text, encoding="utf-8")
    click.echo(f"{path}  ({len(facts.events)} events, {len(facts.jobs)} jobs)")


async def gather(hub: HubClient, what: str) -> Facts:
    """The facts of a session, or of the job that ``what`` is or begins."""
    from pushpals.notebook.run import Facts

    job: Job | None = None
    try:
        session = (await hub.snapshot(what)).session
    except NotFound:
        every = (await hub.jobs(limit=MOST)).items
        job = (await hub.job(pick("session or job", what, [one.id for one in every]))).job
        session = (await hub.snapshot(job.session_id)).session
    jobs = [job] if job else list(reversed((await hub.jobs(session_id=session.id, limit=MOST)).items))
    landings = await _landings(hub, session.id, job)
    approvals = [
        one
        for one in reversed((await hub.approvals(state="", session_id=session.id, limit=MOST)).items)
        if job is None or one.job_id == job.id or one.landing_id in {landing.id for landing in landings}
    ]
    story = Story(job, landings) if job else None
    events = [event async for event in past(hub, session.id) if story is None or story.has(event)]
    patches = {
        one.result.patch: await hub.get_artifact(one.result.patch)
        for one in jobs
        if one.result is not None and one.result.patch is not None
    }
    return Facts(
        session=session,
        events=events,
        jobs=jobs,
        attempts=await _attempts(hub, session.id, jobs),
        approvals=approvals,
        landings=landings,
        patches=patches,
        job_id=job.id if job else None,
    )


async def _landings(hub: HubClient, session_id: str, job: Job | None) -> list[Landing]:
    found = await hub.landings(session_id=session_id, job_id=job.id if job else None, limit=MOST)
    return list(reversed(found.items))


async def _attempts(hub: HubClient, session_id: str, jobs: list[Job]) -> list[Attempt]:
    """Attempts have no list of their own; they are asked for in SQL."""
    sql = "SELECT id, job_id, attempt, worker_id, started_at, ended_at, outcome FROM v_attempts ORDER BY started_at"
    rows = await hub.query_session(session_id, sql, limit=10_000)
    wanted = {job.id for job in jobs}
    named = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]
    return [Attempt(**row) for row in named if row["job_id"] in wanted]  # type: ignore[arg-type]
