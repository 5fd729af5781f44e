"""``pushpals demo``: the whole loop on a small real repository, with the real stack and its real output.

The repository has a failing test, a test that fails now and then, a type error and a lint finding. A
person asks what is failing, pastes a patch, has the lint fixed, and says yes twice. Nothing is staged:
what is printed is what the hub, the workers and the pusher report.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from pushpals.cli.app import App, pass_app, run, safe
from pushpals.cli.approvals import DEVICE, follow_landing, landed
from pushpals.cli.approvals import show as show_approval
from pushpals.cli.errors import NEGATIVE, REFUSED, USAGE, Failed
from pushpals.cli.render import Lines
from pushpals.cli.say import Ended, follow_turn, post
from pushpals.cli.up import start_detached, stop_detached
from pushpals.client import HubClient
from pushpals.protocol.commands import Decide
from pushpals.protocol.landings import Landing
from pushpals.testing.repos import Repository, make_demo_repository

CHECKS = """\
# The tests decide; lint and types are shown.

[[checks]]
name = "tests"
command = "pytest -q"

[[checks]]
name = "lint"
command = "ruff check --no-cache ."
required = false

[[checks]]
name = "types"
command = "mypy"
required = false
"""

MOST_S = 600.0
"""The longest that everything may take, on the slowest machine, with a person thinking it over."""

_LETTERS = (
    "    steps = -(-grams // STEP_GRAMS)\n    price = BASE_CENTS + steps * CENTS_PER_STEP\n",
    "    steps = -(-grams // STEP_GRAMS) if grams > LETTER_GRAMS else 0\n"
    "    price = BASE_CENTS + steps * CENTS_PER_STEP\n",
)


@click.command()
@click.option("--yes", "-y", is_flag=True, help="Approve without asking.")
@click.option("--keep", is_flag=True, help="Leave the team and the repository there at the end.")
@pass_app
def demo(app: App, yes: bool, keep: bool) -> None:
    """Show the whole loop on a small repository that it makes: ask, watch, approve, land.

    It takes less than a minute, and ends with the line `landed: COMMIT`.
    Nothing outside of a temporary folder changes.

    Exit codes: 0 it landed, 1 something failed, 4 you said no, 78 no sandbox.
    """
    if not yes and not sys.stdin.isatty():
        raise Failed("there is nobody to ask; add --yes (make demo YES=1)", USAGE, "usage")
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="pushpals-demo-"))
    try:
        commit = _show(app, folder, yes=yes, keep=keep)
    except BaseException:
        click.echo(f"\nWhat is left to look at: {folder}", err=True)
        raise
    if not keep:
        shutil.rmtree(folder)
    click.echo(f"\nThat took {time.monotonic() - began:.0f} s.")
    click.echo(f"landed: {commit}")


def _show(app: App, folder: Path, *, yes: bool, keep: bool) -> str:
    step = _Steps()
    step("A small repository: a failing test, a flaky one, a type error, a lint finding")
    checkout, upstream = make_demo_repository(folder, failing_test=True, type_error=True, flaky_test=True)
    person = Repository(checkout)
    person.commit("Name the checks", {"pushpals.toml": CHECKS})
    person.git("push", "--quiet", "origin", "main")
    click.echo(f"checkout  {checkout}\nmain      {upstream}")
    click.echo(person.git("log", "--oneline"))
    before = _fingerprint(checkout)

    step("The team starts: pushpals up")
    inner = App(
        start=checkout, env=app.env, flags={"data_dir": str(folder / "state"), "workers": 2, "port": 0}
    )
    with _team(inner, keep=keep):
        last = run(_talk(inner, step, person, yes=yes))

        step("Where everything is now")
        click.echo(_git(upstream, "log", "--graph", "--oneline", "--decorate", "main"))
        said = _git(upstream, "show", "--stat", "--format=%h %an%n%n%B", "main")
        click.echo(f"\nThe landed commit says:\n{_indent(said)}")
        if _fingerprint(checkout) != before:
            raise Failed("the checkout was touched; it must not be", NEGATIVE, "demo.checkout")
        click.echo(
            "\nYour checkout was not touched: not its files, index or branch. Get the work with: git pull"
        )
        if keep:
            call = f"{Path(sys.executable).with_name('pushpals')} -C {checkout} --data-dir {inner.state.root}"
            click.echo(
                f"\nEverything still runs.\n  {call} log --job {last.job_id}\n  {call} open\n  {call} down"
            )
        else:
            click.echo(
                "\nTo look around afterwards: make demo KEEP=1. For a repository of your own: pushpals up"
            )
    assert last.landed_commit is not None
    return last.landed_commit


async def _talk(app: App, step: _Steps, person: Repository, *, yes: bool) -> Landing:
    async with app.client() as hub, asyncio.timeout(MOST_S):
        step('pushpals say "what is failing?"')
        await _say(hub, app, "what is failing?", {"done"})

        step("pushpals say - < mend.patch: a person pastes a patch for the tests and the types")
        patch = await asyncio.to_thread(_patch, person)
        await _say(hub, app, f"apply this patch\n\n```diff\n{patch}\n```", {"approval"})
        await _decide(hub, step, yes=yes)

        step('pushpals say "fix the lint"')
        await _say(hub, app, "fix the lint", {"approval"})
        return await _decide(hub, step, yes=yes)


async def _say(hub: HubClient, app: App, text: str, expected: set[Ended]) -> None:
    ended = await follow_turn(hub, app.session, await post(hub, app.session, text), Lines(quiet=True))
    if ended not in expected:
        raise Failed(f"this should have ended with {' or '.join(sorted(expected))}, and ended with {ended}")


async def _decide(hub: HubClient, step: _Steps, *, yes: bool) -> Landing:
    step("pushpals approve: the exact change, its evidence, and your word")
    (asked,) = (await hub.approvals(state="open")).items
    assert asked.landing_id is not None
    landing = (await hub.landing(asked.landing_id)).landing
    await show_approval(hub, asked, landing)
    if yes:
        click.echo("Approve exactly this? [y/N]: y  (YES=1)")
    elif not await asyncio.to_thread(click.confirm, "Approve exactly this?"):
        await hub.decide(
            asked.id, Decide(decision="deny", reason="the person at the demo said no", device=DEVICE)
        )
        raise Failed("you said no, so nothing moved: main is where it was", REFUSED, "denied")
    start = (await hub.snapshot(asked.session_id)).cursor
    await hub.decide(asked.id, Decide(decision="approve", action_hash=asked.action_hash, device=DEVICE))
    ended = await follow_landing(hub, landing, start, Lines(quiet=True))
    if ended.state != "landed":
        raise Failed(f"it has not landed: {ended.state}: {ended.cause}")
    click.echo(landed(ended))
    await _until_main_is(hub, ended.landed_commit)
    return ended


async def _until_main_is(hub: HubClient, commit: str | None) -> None:
    """The pusher reports main right after the landing; the next request should start from there."""
    for _ in range(300):
        if any(one.head == commit for one in (await hub.repositories()).items):
            return
        await asyncio.sleep(0.1)


def _patch(person: Repository) -> str:
    """What a person might paste: made in a clone, so that the checkout stays as it is."""
    with tempfile.TemporaryDirectory(prefix="pushpals-demo-patch-") as folder:
        person.git("clone", "--quiet", "--no-local", str(person.path), folder)
        clone = Repository(Path(folder))
        files = clone.files()
        prices = files["parcels/prices.py"].replace(*_LETTERS)
        clone.write(
            {
                "parcels/prices.py": prices.replace(
                    "STEP_GRAMS = 500\n", "STEP_GRAMS = 500\nLETTER_GRAMS = 100\n"
                )
                + "\n",
                "parcels/tracking.py": files["parcels/tracking.py"].replace(
                    '"next: " + next_stop(stops, at)', "f\"next: {next_stop(stops, at) or 'none'}\""
                )
                + "\n",
                "tests/test_prices.py": files["tests/test_prices.py"].replace("[(1, 510)", "[(1, 390)")
                + "\n",
                "tests/test_queue.py": None,
            }
        )
        return clone.git("diff")


@contextmanager
def _team(app: App, *, keep: bool) -> Iterator[None]:
    app.state.make()
    start_detached(app, bound=not keep)
    try:
        yield
    except BaseException:
        stop_detached(app)
        raise
    if not keep:
        stop_detached(app)


class _Steps:
    """Numbered headings."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, title: str) -> None:
        self._number += 1
        click.echo(f"\n{click.style(f'{self._number}. {title}', bold=True, fg='blue')}")


def _fingerprint(checkout: Path) -> tuple[object, ...]:
    """Everything of a checkout that a careless tool might change: refs, HEAD, the index, every file."""
    files = sorted(path for path in checkout.rglob("*") if path.is_file() and ".git" not in path.parts)
    git = checkout / ".git"
    return (
        _git(checkout, "for-each-ref"),
        (git / "HEAD").read_bytes(),
        (git / "index").read_bytes(),
        [(str(path), path.read_bytes(), path.stat().st_mtime_ns) for path in files],
    )


def _git(where: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(where), *args], capture_output=True, text=True, check=True, timeout=60
    )
    return safe(done.stdout).rstrip()


def _indent(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
