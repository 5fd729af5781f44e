"""``pushpals doctor``: what is missing or wrong here, each with what to do about it."""

from __future__ import annotations

import shutil
import socket
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import click
import msgspec

from pushpals import __version__, config, registry
from pushpals.cli import checkout
from pushpals.cli.app import App, json_option, pass_app, print_json, run, safe_line
from pushpals.cli.errors import NEGATIVE, Failed, NotRunning
from pushpals.cli.init import look
from pushpals.client import Backoff
from pushpals.protocol.errors import PushPalsError
from pushpals.work.executors.choose import probe_executor
from pushpals.work.git.errors import GitError
from pushpals.work.git.runner import MINIMUM, Git

Verdict = Literal["ok", "note", "bad"]
_COLORS = {"ok": "green", "note": "yellow", "bad": "red"}
_LOW_DISK = 512 * 1024 * 1024


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. ``remedy`` is set when there is something to do."""

    about: str
    verdict: Verdict
    says: str
    remedy: str = ""


@click.command()
@json_option
@pass_app
def doctor(app: App, as_json: bool) -> None:
    """Look for what is missing or wrong, with a remedy for each.

    Exit codes: 0 everything that is needed is there, 1 something is wrong.
    """
    findings = run(_all(app, None if as_json else _print))
    if as_json:
        print_json(findings)
    bad = sum(one.verdict == "bad" for one in findings)
    if bad:
        raise Failed(f"{bad} thing{'s' if bad > 1 else ''} to mend", NEGATIVE, "doctor.bad")
    if not as_json:
        click.echo("Nothing is wrong.")


async def _all(app: App, tell: object) -> list[Finding]:
    findings = []
    async for finding in examine(app):
        findings.append(finding)
        if tell is not None:
            _print(finding)
    return findings


def _print(finding: Finding) -> None:
    mark = click.style(f"{finding.verdict:<5}", fg=_COLORS[finding.verdict])
    click.echo(f"{mark} {finding.about:<12} {finding.says}")
    if finding.remedy:
        click.echo(f"                   → {finding.remedy}")


async def examine(app: App) -> AsyncIterator[Finding]:
    """Look at everything in the order in which a person would mend it."""
    yield _python()
    yield await _git()
    yield _parts()
    yield await _sandbox()
    settings = _settings(app)
    yield settings
    if settings.verdict == "bad":
        return
    try:
        repository = app.repository
    except checkout.CheckoutError as error:
        yield Finding(about="repository", verdict="bad", says=str(error), remedy="cd into a git repository")
        return
    yield Finding(about="repository", verdict="ok", says=str(repository))
    yield _main(app, repository)
    yield _checks(repository)
    yield _data(app)
    for role in ("operator", "buddy", "worker", "pusher"):
        if (found := _token(app, role)) is not None:
            yield found
    yield _disk(app)
    yield await _hub(app)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info < (3, 14)
    says = f"{version} at {sys.executable}, pushpals {__version__}"
    return Finding(
        about="python",
        verdict="ok" if fits else "bad",
        says=says,
        remedy="" if fits else "use Python 3.11 to 3.13",
    )


async def _git() -> Finding:
    try:
        git = await Git.find()
        major, minor = await git.version()
    except GitError as error:
        return Finding(
            about="git", verdict="bad", says=str(error), remedy=f"install git {_dots(MINIMUM)} or newer"
        )
    return Finding(about="git", verdict="ok", says=f"{major}.{minor} at {git.program}")


def _parts() -> Finding:
    missing = [group for group in registry.GROUPS if not registry.names(group)]
    if missing:
        says = f"nothing is registered under {', '.join(missing)}"
        return Finding(
            about="parts", verdict="bad", says=says, remedy="install the package: pip install -e ."
        )
    kinds = ", ".join(registry.names(registry.KINDS))
    return Finding(about="parts", verdict="ok", says=f"job kinds: {kinds}")


async def _sandbox() -> Finding:
    report = await probe_executor()
    held = sum(probe.held for probe in report.probes)
    says = f"{report.level}: {safe_line(report.reason, 300)}" + (
        f" ({held} of {len(report.probes)} probes held)" if report.probes else ""
    )
    return Finding(
        about="sandbox", verdict="ok" if report.level == "full" else "bad", says=says,
        remedy=safe_line(report.remedy, 400) if report.level != "full" else "",
    )  # fmt: skip


def _settings(app: App) -> Finding:
    try:
        loaded = app.loaded
    except config.ConfigError as error:
        return Finding(about="settings", verdict="bad", says=str(error), remedy=f"mend {error.where}")
    changed = {name: where for name, where in loaded.origin.items() if where != "default"}
    says = ", ".join(f"{name} from {where}" for name, where in changed.items()) or "all defaults"
    return Finding(about="settings", verdict="ok", says=safe_line(says, 300))


def _main(app: App, repository: Path) -> Finding:
    try:
        upstream = checkout.resolve(repository, app.state.upstream, app.settings)
    except checkout.CheckoutError as error:
        return Finding(
            about="main", verdict="bad", says=str(error), remedy="see docs/howto/connect-a-remote.md"
        )
    where = (
        "a repository of our own (there is no remote)"
        if upstream.own
        else f"{upstream.name}, {upstream.shown}"
    )
    return Finding(about="main", verdict="ok", says=f"{upstream.branch} in {safe_line(where, 200)}")


def _checks(repository: Path) -> Finding:
    try:
        detected = look(repository)
    except Failed as error:
        return Finding(
            about="checks",
            verdict="bad",
            says=error.message,
            remedy="mend pushpals.toml; see docs/howto/checks.md",
        )
    if not detected.found:
        return Finding(
            about="checks", verdict="note", says="; ".join(detected.notes), remedy="name them: pushpals init"
        )
    names = ", ".join(check.name for check in detected.checks)
    return Finding(
        about="checks",
        verdict="ok",
        says=f"{safe_line(names, 200)} ({'configured' if detected.configured else 'detected'})",
    )


def _data(app: App) -> Finding:
    root = app.state.root
    if not root.exists():
        return Finding(about="data", verdict="ok", says=f"{root} (made at the first start)")
    if stat.S_IMODE(root.stat().st_mode) & 0o077:
        return Finding(
            about="data", verdict="bad", says=f"others may enter {root}", remedy=f"chmod 700 {root}"
        )
    return Finding(about="data", verdict="ok", says=str(root))


def _token(app: App, role: str) -> Finding | None:
    path = app.state.token_file(role)
    if not path.exists():
        return None
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Finding(
            about="token", verdict="bad", says=f"others may read the {role}'s token",
            remedy=f"chmod 600 {path}; then make a new one: pushpals token revoke, and start again",
        )  # fmt: skip
    return Finding(about="token", verdict="ok", says=f"{role}: readable by you only")


def _disk(app: App) -> Finding:
    root = app.state.root
    while not root.exists():
        root = root.parent
    free = shutil.disk_usage(root).free
    low = free < _LOW_DISK
    return Finding(
        about="disk", verdict="bad" if low else "ok", says=f"{free / 2**30:.1f} GiB free at {root}",
        remedy="free some space, or set PUSHPALS_DATA_DIR to another disk" if low else "",
    )  # fmt: skip


async def _hub(app: App) -> Finding:
    try:
        async with app.client(backoff=Backoff(tries=1)) as hub:
            status = await hub.status()
    except NotRunning:
        return _ports(app)
    except PushPalsError as error:
        return Finding(
            about="hub", verdict="bad", says=error.message, remedy="see the log, or start again: pushpals up"
        )
    alive = [worker for worker in status.workers if worker.state in ("idle", "busy")]
    if not alive:
        return Finding(
            about="hub", verdict="note", says=f"runs at {hub.url}, without workers", remedy="pushpals worker"
        )
    return Finding(about="hub", verdict="ok", says=f"runs at {hub.url} with {len(alive)} workers")


def _ports(app: App) -> Finding:
    wanted = app.settings.port
    if wanted:
        with socket.socket() as probe:
            if probe.connect_ex((app.settings.host, wanted)) == 0:
                return Finding(
                    about="hub", verdict="bad", says=f"port {wanted} is taken",
                    remedy="set PUSHPALS_PORT=0 to take a free one",
                )  # fmt: skip
    return Finding(about="hub", verdict="note", says="does not run", remedy="pushpals up")


def _dots(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
