"""``pushpals db``: a copy of the hub's database, and a look at what it holds. The hub may run meanwhile."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import click

from pushpals.cli.app import App, json_option, pass_app, print_json, safe_line
from pushpals.cli.errors import NEGATIVE, USAGE, Failed
from pushpals.store.base import StoreUnreadable
from pushpals.store.sqlite import files


@click.group()
def db() -> None:
    """Back up and check the hub's database."""


@db.command("backup")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=True))
@pass_app
def backup(app: App, target: Path) -> None:
    """Copy the database, in one consistent step, while the hub runs or not.

    TARGET is a file that does not exist yet, or a folder. Artifacts lie beside the database as plain
    files, named by their hash: copy the folder with any tool, before or after.

    \b
    Examples:
      pushpals db backup ~/backups/
      pushpals db backup /mnt/disk/hub-copy.db
    """
    source = _database(app)
    if target.is_dir():
        target = target / source.name
    try:
        files.back_up(source, target)
    except FileExistsError:
        raise Failed(f"{target} exists; name a file that does not", USAGE, "exists") from None
    except (OSError, sqlite3.Error, StoreUnreadable) as error:
        raise Failed(f"{source} could not be copied: {error}", NEGATIVE, "db.backup") from None
    click.echo(f"{target}  {target.stat().st_size / 2**20:.1f} MiB. Artifacts: {app.state.artifacts}")


@db.command("check")
@json_option
@pass_app
def check(app: App, as_json: bool) -> None:
    """Look for damage: the file's own checks, and whether every history is whole.

    Exit codes: 0 nothing is wrong, 1 something is.
    """
    source = _database(app)
    try:
        wrong = files.check(source)
    except (sqlite3.Error, StoreUnreadable) as error:
        wrong = [str(error)]
    if as_json:
        print_json({"ok": not wrong, "wrong": wrong})
    for line in [] if as_json else wrong:
        click.echo(safe_line(line, 400))
    if wrong:
        raise Failed(f"{source} is damaged; see docs/howto/back-up.md", NEGATIVE, "db.damaged")
    if not as_json:
        click.echo(f"{source}: nothing is wrong")


def _database(app: App) -> Path:
    path = app.state.database
    if not path.exists():
        raise Failed(f"there is no database at {path} yet; it begins with: pushpals up", NEGATIVE, "db.none")
    return path
