"""``pushpals init``: find how this repository is checked, show it, and write it down when told to."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from pushpals.cli import checkout
from pushpals.cli.app import App, json_option, pass_app, print_json, safe_line
from pushpals.cli.errors import NEGATIVE, REFUSED, USAGE, Failed
from pushpals.config import REPOSITORY_FILE
from pushpals.protocol.jobs import CheckSpec
from pushpals.work.checks import MAX_CONFIG_BYTES, READ, BadConfig, Detected, Files, detect


@click.command()
@click.option("--yes", "-y", is_flag=True, help="Do not ask before writing pushpals.toml.")
@click.option("--show", "only_show", is_flag=True, help="Only show what was found; write nothing.")
@json_option
@pass_app
def init(app: App, yes: bool, only_show: bool, as_json: bool) -> None:
    """Find this repository's checks, show them, and write pushpals.toml when you say yes.

    Nothing of the repository is run or imported for this. Push Pals works without the file: then the same
    checks are detected for every job. With the file, the list is yours: edit it, commit it.

    \b
    Examples:
      pushpals init --show
      pushpals init --yes
    """
    repository = app.repository
    detected = look(repository)
    if as_json:
        print_json({"found": detected.found, "fixers": detected.fixers, "notes": detected.notes})
        return
    describe(detected)
    path = repository / REPOSITORY_FILE
    if only_show:
        return
    if detected.configured:
        click.echo(f"{REPOSITORY_FILE} names the checks already; nothing was written.")
        return
    if path.exists():
        raise Failed(
            f"{path} exists and names no checks; add the lines above to it yourself", NEGATIVE, "exists"
        )
    text = write_toml(detected.checks)
    click.echo(f"\n{text}")
    if not yes and not click.confirm(f"Write this to {path}?", default=True):
        raise Failed("nothing was written", REFUSED, "not_written")
    path.write_text(text, "utf-8")
    click.echo(f"Wrote {path}. Checks are read from the base commit of each job, so commit it:")
    click.echo(f"  git add {REPOSITORY_FILE} && git commit -m 'Name the checks'")


def look(repository: Path) -> Detected:
    """What the working tree says about its checks. Reads names and a few files; runs nothing of it."""
    try:
        return detect(read_files(repository))
    except BadConfig as error:
        raise Failed(str(error), USAGE, "config") from None


def read_files(repository: Path) -> Files:
    """The tracked names of a checkout, and the text of the few files that say how it is checked."""
    texts: dict[str, str] = {}
    for name in READ:
        path = repository / name
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_CONFIG_BYTES:
            texts[name] = path.read_text("utf-8", "replace")
    return Files(paths=tuple(checkout.tracked(repository)), texts=texts)


def describe(detected: Detected) -> None:
    for one in detected.found:
        check = one.check
        optional = "" if check.required else "  (not required)"
        click.echo(
            f"{click.style('check', fg='green')}  {safe_line(check.name, 40):<12} {_line(check)}{optional}"
        )
        click.echo(f"       because of {safe_line(one.reason, 100)}")
    if detected.fixers:
        click.echo(f"fixers {', '.join(detected.fixers)}")
    for note in detected.notes:
        click.echo(f"{click.style('note', fg='yellow')}   {safe_line(note, 300)}")


def write_toml(checks: tuple[CheckSpec, ...]) -> str:
    """``pushpals.toml`` with these checks. Strings are written as JSON, which is valid TOML."""
    parts = ["# How Push Pals checks this repository. Read from the base commit of each job.\n"]
    for check in checks:
        parts.append(
            "[[checks]]\n"
            f"name = {json.dumps(check.name)}\n"
            f"argv = {json.dumps(check.argv)}\n"
            f"timeout_s = {check.timeout_s:g}\n"
            f"required = {str(check.required).lower()}\n"
            + (f"cwd = {json.dumps(check.cwd)}\n" if check.cwd != "." else "")
        )
    return "\n".join(parts)


def _line(check: CheckSpec) -> str:
    return safe_line(shlex.join(check.argv), 120)
