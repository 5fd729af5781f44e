"""``pushpals lab``: JupyterLab, connected to the team that runs here, with the console open.

It becomes the Jupyter server, so Ctrl-C and signals reach that. The hub is found through the data
directory: the server reads the person's token there, kernels a notebook's, and none is on a command line.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import click

import pushpals
from pushpals.cli.app import App, pass_app
from pushpals.cli.errors import USAGE, Failed, NotRunning

_EXTENSIONS = Path(pushpals.__file__).parent / "labextensions"
_GIVEN = ("PUSHPALS_TOKEN", "PUSHPALS_URL")


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--port", type=click.IntRange(1, 65_535), help="JupyterLab's port; default: its own choice.")
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening it.")
@click.option("--no-decisions", is_flag=True, help="Approvals are decided on the hub's own page only.")
@click.argument("jupyter_args", nargs=-1, type=click.UNPROCESSED)
@pass_app
def lab(
    app: App, port: int | None, no_browser: bool, no_decisions: bool, jupyter_args: tuple[str, ...]
) -> None:
    """Start JupyterLab in this repository, connected to the team that runs here, with the console open.

    What follows `--` goes to JupyterLab as it is.

    \b
    Examples:
      pushpals up --detach && pushpals lab
      pushpals lab --no-browser -- --ip=0.0.0.0

    Exit codes: those of JupyterLab; 2 it is not installed, 3 no hub runs here.
    """
    for module in ("jupyterlab", "anywidget"):
        if importlib.util.find_spec(module) is None:
            raise Failed(f'{module} is not installed; run: pip install "pushpals[lab]"', USAGE, "lab.missing")
    running = app.running
    if app.settings.url is None and running is None:
        raise NotRunning("nothing runs here; start it with: pushpals up --detach")
    folder = app.repository_if_any or app.start.absolute()
    argv = [
        sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}",
        "--ServerApp.jpserver_extensions=pushpals=True", "--PushPals.open_console=True",
    ]  # fmt: skip
    if _EXTENSIONS.is_dir():  # a checkout; a wheel has put it where JupyterLab looks
        argv.append(f"--LabApp.extra_labextensions_path={_EXTENSIONS}")
    argv += [f"--port={port}"] if port else []
    argv += ["--no-browser"] if no_browser else []
    argv += ["--PushPals.decisions=False"] if no_decisions else []
    sys.stdout.flush()
    os.chdir(folder)
    os.execve(sys.executable, [*argv, *jupyter_args], environment(app))


def environment(app: App) -> dict[str, str]:
    """What Jupyter and its kernels inherit: where the hub is, and no token unless the person gave one."""
    given = dict(app.env) | {"PUSHPALS_SESSION_ID": app.session}
    if app.settings.url is not None:
        return given | {"PUSHPALS_URL": app.settings.url}
    return {name: value for name, value in given.items() if name not in _GIVEN} | {
        "PUSHPALS_DATA_DIR": str(app.state.root)
    }
