"""``pushpals search`` and ``pushpals fork``: find what was said, and begin again from there."""

from __future__ import annotations

import click

from pushpals.cli.app import App, command, json_option, print_json, print_json_line, session_option
from pushpals.cli.history import entry
from pushpals.cli.render import Lines
from pushpals.client import HubClient
from pushpals.protocol.wire import read_event


@click.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--types", metavar="A,B", help="Only these event types.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="At most so many."
)
@session_option
@json_option
@command
async def search(
    hub: HubClient, app: App, words: tuple[str, ...], types: str | None, limit: int, as_json: bool
) -> None:
    """Find what people and agents said: events with all of WORDS, oldest of the newest first.

    The last word may end with a star. Output lines of commands are not searched; they are in `log`.

    \b
    Examples:
      pushpals search flaky parser
      pushpals search 'land*' --types message
      pushpals search parser --json | jq .cursor
    """
    wanted = types.split(",") if types else None
    found = await hub.search(app.session, " ".join(words), limit=limit, types=wanted)
    lines = Lines(quiet=False)
    for item in reversed(found.items):
        event = read_event(bytes(item.envelope), item.cursor)
        if as_json:
            print_json_line(entry(event))
        elif line := lines.line(event):
            click.echo(f"{item.cursor:>6}  {line}")
    if not found.items and not as_json:
        click.echo(f"nothing in session {app.session!r} has all of these words")


@click.command()
@click.argument("cursor", type=click.IntRange(min=0))
@click.option(
    "--id", "new_id", metavar="SESSION", help="The name of the new session; a fresh one without it."
)
@click.option("--label", default="", help="What it is for.")
@session_option
@json_option
@command
async def fork(hub: HubClient, app: App, cursor: int, new_id: str | None, label: str, as_json: bool) -> None:
    """Begin a new session with the conversation of this one up to CURSOR.

    What was said and planned is taken over. Jobs, approvals and landings are not: nothing happens twice.
    `pushpals search` and `pushpals tail --json` show cursors.

    \b
    Examples:
      pushpals fork 120 --id another-way
    """
    made = await hub.fork(app.session, cursor, new_id=new_id, label=label)
    if as_json:
        print_json({"sessionId": made.session_id, "cursor": made.cursor})
    else:
        click.echo(f"{made.session_id} begins with {made.cursor} events of {app.session}")
