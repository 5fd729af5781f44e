"""``pushpals tail``: the session, live. It resumes by itself after every cut, without a gap or a repeat."""

from __future__ import annotations

from contextlib import aclosing

import click

from pushpals.cli.app import App, command, json_option, print_json_line, session_option
from pushpals.cli.history import entry, past
from pushpals.cli.render import Lines
from pushpals.client import HubClient, State
from pushpals.protocol.events import PAYLOADS, Event


@click.command()
@click.option(
    "--after",
    type=click.IntRange(min=0),
    metavar="CURSOR",
    help="Start behind this cursor; 0 is the beginning.",
)
@click.option(
    "--last", type=click.IntRange(min=0), default=20, show_default=True, help="Start with so many old events."
)
@click.option("--types", metavar="A,B", help="Only these event types.")
@click.option("--quiet", "-q", is_flag=True, help="Without the output of commands.")
@click.option("--once", is_flag=True, help="Print what there is and stop.")
@session_option
@json_option
@command
async def tail(
    hub: HubClient,
    app: App,
    after: int | None,
    last: int,
    types: str | None,
    quiet: bool,
    once: bool,
    as_json: bool,
) -> None:
    """Follow the conversation and the work, live. Ctrl-C ends it; nothing else does.

    \b
    Examples:
      pushpals tail                                  the last 20 events, then live
      pushpals tail --after 0                        everything, then live
      pushpals tail --types message,assistant_message
      pushpals tail --json --after 0 | jq .envelope  one JSON object for each line
    """
    wanted = _types(types)
    lines = Lines(quiet=quiet)

    def show(event: Event) -> None:
        if as_json:
            print_json_line(entry(event))
        elif line := lines.line(event):
            click.echo(line)

    snapshot = await hub.snapshot(app.session)
    start = max(0, snapshot.cursor - last) if after is None else after
    if once:
        async for event in past(hub, app.session, start, wanted):
            show(event)
        return

    seen: list[State] = []

    def tell(state: State) -> None:
        if not as_json and (state == "offline" or (seen and seen[-1] == "offline")):
            click.echo(click.style(f"          — {state.replace('_', ' ')} —", dim=True), err=True)
        seen.append(state)

    async with aclosing(hub.follow(app.session, after=start, types=wanted, on_state=tell)) as events:
        async for event in events:
            show(event)


def _types(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(PAYLOADS))
    if unknown or not names:
        raise click.BadParameter(
            f"no such event type: {', '.join(unknown)}. There are: {', '.join(PAYLOADS)}"
        )
    return names
