"""``pushpals sandbox``: what a command of a job could reach here, tried for real."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import click

from pushpals.cli.app import json_option, print_json, run, safe_line
from pushpals.cli.errors import NO_SANDBOX, Failed
from pushpals.work.environment import build_environment
from pushpals.work.executors.base import Command, ExecutorUnavailable, Limits, Outcome, Place
from pushpals.work.executors.choose import choose_executor, probe_executor


@click.group()
def sandbox() -> None:
    """Probe the sandbox, or run a command in it."""


@sandbox.command("probe")
@json_option
def probe(as_json: bool) -> None:
    """Try to break out of the sandbox, and say what held.

    Exit codes: 0 the sandbox is full, 78 it is not (the remedy is printed).
    """
    report = run(probe_executor())
    if as_json:
        print_json(report)
    else:
        click.echo(f"{report.executor}: {report.level}. {safe_line(report.reason, 400)}")
        for one in report.probes:
            mark = click.style("held", fg="green") if one.held else click.style("broke", fg="red")
            click.echo(f"  {mark:<5} {safe_line(one.name, 60)}  {safe_line(one.detail, 200)}")
    if report.level != "full":
        raise Failed(safe_line(report.remedy or report.reason, 400), NO_SANDBOX, "sandbox.not_full")


@sandbox.command("run", context_settings={"ignore_unknown_options": True})
@click.option(
    "--copy",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Give it a copy of this folder.",
)
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 86_400), default=60.0, show_default=True)
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, required=True)
def run_(copy: Path | None, timeout_s: float, argv: tuple[str, ...]) -> None:
    """Run a command the way a job's command runs: in a throw-away tree, without network, without your files.

    \b
    Examples:
      pushpals sandbox run -- id
      pushpals sandbox run --copy . -- python -c "print(open('README.md').read())"

    Exits with the command's own code; 78 when there is no sandbox.
    """
    outcome = run(_run(copy, argv, timeout_s))
    if outcome.error:
        raise Failed(outcome.error)
    if outcome.timed_out:
        raise Failed(f"it did not end within {timeout_s:g} s")
    sys.exit(outcome.exit_code if outcome.exit_code is not None else 128 + (outcome.signal or 0))


async def _run(copy: Path | None, argv: tuple[str, ...], timeout_s: float) -> Outcome:
    try:
        executor, report = await choose_executor(allow_unsandboxed=False)
    except ExecutorUnavailable as error:
        raise Failed(str(error), NO_SANDBOX, "sandbox.not_full") from None
    with tempfile.TemporaryDirectory(prefix="pushpals-sandbox-") as folder:
        tree = Path(folder) / "tree"
        if copy is None:
            tree.mkdir()
        else:
            shutil.copytree(
                copy, tree, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", "node_modules")
            )
        environment = build_environment()
        command = Command(
            argv=argv,
            env=environment.variables(argv, level=report.level, tree=tree, home=Path(folder), src=False),
            limits=Limits(wall_s=timeout_s),
        )
        place = Place(tree=tree, toolchain=environment.toolchain)

        def show(stream: str, data: bytes) -> None:
            click.echo(data, nl=False, err=stream == "stderr")

        try:
            return await executor.run(place, command, show)
        finally:
            await executor.close()
