"""``pushpals open``: the address of the hub that runs here."""

from __future__ import annotations

import click

from pushpals.cli.app import App, json_option, pass_app, print_json
from pushpals.cli.errors import NotRunning


@click.command("open")
@json_option
@pass_app
def open_(app: App, as_json: bool) -> None:
    """Print the address to open in a browser, and how to log in there."""
    url = app.settings.url or (running.url if (running := app.running) else None)
    if url is None:
        raise NotRunning("nothing runs here; start it with: pushpals up")
    if as_json:
        print_json({"url": url})
        return
    click.echo(url)
    click.echo("Log in with a token: pushpals token new operator --label browser", err=True)
