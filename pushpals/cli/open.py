"""``pushpals open``: the address of the hub that runs here, and a fresh one-time code for a browser."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import click

from pushpals.cli.app import App, json_option, pass_app, print_json
from pushpals.cli.errors import NotRunning

_WAIT_S = 3.0


@click.command("open")
@json_option
@pass_app
def open_(app: App, as_json: bool) -> None:
    """Print the address to open in a browser, and a code to log in with: once, within ten minutes.

    The code comes from the hub that runs for this repository. For a hub elsewhere, log in with a token:
    pushpals token new operator --label browser
    """
    running = app.running
    url = app.settings.url or (running.url if running else None)
    if url is None:
        raise NotRunning("nothing runs here; start it with: pushpals up")
    code = _fresh_code(app, running.pids.get("hub")) if running is not None and url == running.url else None
    if as_json:
        print_json({"url": url, "code": code})
        return
    click.echo(url)
    click.echo(f"code {code}" if code else "log in with a token: pushpals token new operator --label browser")


def _fresh_code(app: App, hub_pid: int | None) -> str | None:
    """Ask the hub for a new code by signal: only the person who owns the process can."""
    if hub_pid is None:
        return None
    old = app.state.login_code()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(hub_pid, signal.SIGUSR1)
        until = time.monotonic() + _WAIT_S
        while time.monotonic() < until:
            if (code := app.state.login_code()) and code != old:
                return code
            time.sleep(0.02)
    return None
