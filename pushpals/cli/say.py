"""``pushpals say``: post a message; ``--wait`` stays until the team has done what it can by itself."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import Literal

import click

from pushpals.cli.app import App, command, json_option, print_json, session_option
from pushpals.cli.errors import NEGATIVE, USAGE, Failed
from pushpals.cli.render import Lines
from pushpals.client import HubClient
from pushpals.protocol.commands import Posted
from pushpals.protocol.errors import NotFound
from pushpals.protocol.events import (
    ApprovalRequired,
    AssistantMessage,
    JobEnqueued,
    TaskCompleted,
    TaskFailed,
)

Ended = Literal["done", "failed", "approval"]


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--to", metavar="AGENT", help="Who should answer, e.g. local for the Local Buddy.")
@click.option("--wait", is_flag=True, help="Follow until it is done, or waits for your approval.")
@session_option
@json_option
@command
async def say(
    hub: HubClient, app: App, text: tuple[str, ...], to: str | None, wait: bool, as_json: bool
) -> None:
    """Say something to the team. The message is durable when this returns.

    A single dash reads the text from standard input.

    \b
    Examples:
      pushpals say "run the tests"
      pushpals say fix the lint --wait
      git diff | pushpals say -          a pasted patch is applied
      pushpals say --to local "what changed here?"

    Exit codes with --wait: 0 done or waiting for approval, 1 the task failed.
    """
    words = sys.stdin.read() if text == ("-",) else " ".join(text)
    if not words.strip():
        raise Failed("there is nothing to say", USAGE, "usage")
    posted = await post(hub, app.session, words, to)
    if not wait:
        if as_json:
            print_json(posted)
        else:
            click.echo(f"said, at {posted.cursor}. Watch: pushpals tail --after {posted.cursor}")
        return
    ended = await follow_turn(hub, app.session, posted, None if as_json else Lines())
    if as_json:
        print_json({"posted": posted, "ended": ended})
    if ended == "failed":
        raise Failed("the team did not reach the goal; pushpals log tells why", NEGATIVE, "turn.failed")


async def post(hub: HubClient, session_id: str, text: str, to: str | None = None) -> Posted:
    """Post a message, making the session where it does not exist yet."""
    try:
        return await hub.say(session_id, text, to=to)
    except NotFound:
        await hub.create_session(session_id)
        return await hub.say(session_id, text, to=to)


async def follow_turn(hub: HubClient, session_id: str, posted: Posted, lines: Lines | None) -> Ended:
    """Follow a message's turn to where the team goes no further by itself.

    The buddy's first answer names a task if there will be one; without a task the answer is the end.
    """
    task: str | None = None
    jobs: set[str] = set()
    async with aclosing(hub.follow(session_id, after=posted.cursor - 1)) as events:
        async for event in events:
            if lines is not None and (line := lines.line(event)):
                click.echo(line)
            match event.payload:
                case AssistantMessage() if task is None and event.turn_id == posted.event_id:
                    task = event.correlation_id
                    if task is None:
                        return "done"
                case JobEnqueued(job_id=job_id, task_id=task_id) if task_id == task:
                    jobs.add(job_id)
                case TaskCompleted(task_id=task_id) if task_id == task:
                    return "done"
                case TaskFailed(task_id=task_id) if task_id == task:
                    return "failed"
                case ApprovalRequired(details=details) if details.get("jobId") in jobs:
                    return "approval"
                case _:
                    pass
    return "done"
