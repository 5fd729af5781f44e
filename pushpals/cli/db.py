"""``pushpals db``: the hub's database, from outside: copied and checked beside a hub, restored without one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import click

from pushpals.cli.app import App, json_option, pass_app, print_json, safe_line
from pushpals.cli.errors import NEGATIVE, USAGE, Failed
from pushpals.store.base import StoreLocked, StoreUnreadable
from pushpals.store.sqlite import files


@click.group()
def db() -> None:
    """Back up, check, restore and compact the hub's database."""


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


@db.command("restore")
@click.argument("backup", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_app
def restore(app: App, backup: Path, yes: bool) -> None:
    """Put BACKUP in the place of the database. The hub must not run.

    The backup is checked first. The database that is there now is kept beside it, under another name.
    Clients that come back with a cursor from after the backup are told that the history was replaced.

    \b
    Examples:
      pushpals db restore ~/backups/hub.db
    """
    target = app.state.database
    if target.exists() and not yes:
        click.confirm(f"Replace {target}? It is kept beside it.", abort=True)
    try:
        old = files.restore(backup, target)
    except StoreLocked:
        raise Failed("the hub is running; stop it first: pushpals down", NEGATIVE, "db.in_use") from None
    except (OSError, sqlite3.Error, StoreUnreadable) as error:
        raise Failed(f"{backup} could not be restored: {error}", NEGATIVE, "db.restore") from None
    click.echo(f"{target} is as it was in {backup}" + (f"; the old one is {old}" if old else ""))


@db.command("vacuum")
@pass_app
def vacuum(app: App) -> None:
    """Give free room in the file back to the disk. The hub must not run.

    Not needed in daily life: a hub uses free room again. It helps after much was erased.
    """
    source = _database(app)
    try:
        before, after = files.vacuum(source)
    except StoreLocked:
        raise Failed("the hub is running; stop it first: pushpals down", NEGATIVE, "db.in_use") from None
    except (OSError, sqlite3.Error, StoreUnreadable) as error:
        raise Failed(f"{source} could not be compacted: {error}", NEGATIVE, "db.vacuum") from None
    click.echo(f"{source}: {before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB now")


def _database(app: App) -> Path:
    path = app.state.database
    if not path.exists():
        raise Failed(f"there is no database at {path} yet; it begins with: pushpals up", NEGATIVE, "db.none")
    return path
