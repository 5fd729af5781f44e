"""What every command needs: the settings, the checkout, the data directory, a client, and safe output.

An :class:`App` reads nothing until it is asked. Text that an agent, a command or a repository wrote goes
through :func:`safe` or :func:`safe_line` before it reaches the terminal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property, update_wrapper
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from pushpals import config
from pushpals.cli import checkout
from pushpals.cli.errors import NEGATIVE, Failed, NotRunning
from pushpals.cli.state import Running, State
from pushpals.client import Backoff, HubClient
from pushpals.policy import display

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_PATIENCE = Backoff(first_s=0.1, most_s=1.0, tries=5)
"""About two seconds: a hub that restarts is waited for, one that is not there is reported soon."""


class App:
    """One call of the command line."""

    def __init__(self, *, start: Path, env: Mapping[str, str], flags: Mapping[str, Any]):
        self.start = start
        self.env = env
        self.flags = dict(flags)

    @cached_property
    def repository(self) -> Path:
        """The top of the checkout; raises ``CheckoutError`` outside of one."""
        return checkout.find(self.start)

    @cached_property
    def repository_if_any(self) -> Path | None:
        try:
            return self.repository
        except checkout.CheckoutError:
            return None

    @cached_property
    def loaded(self) -> config.Loaded:
        return config.load(repository=self.repository_if_any, env=self.env, flags=self.flags)

    @property
    def settings(self) -> config.Settings:
        return self.loaded.settings

    @property
    def session(self) -> str:
        return self.settings.session_id

    @cached_property
    def state(self) -> State:
        """The data directory: the one that is named, else the repository's."""
        settings = self.settings
        if self.repository_if_any is None and settings.data_dir:
            return State(Path(settings.data_dir).expanduser().absolute())
        return State(config.data_dir(settings, self.repository, self.env))

    @property
    def running(self) -> Running | None:
        """The hub of this data directory; None also where there is no repository."""
        if self.repository_if_any is None and not self.settings.data_dir:
            return None
        return self.state.running()

    def client(self, role: str = "operator", backoff: Backoff = _PATIENCE) -> HubClient:
        """A connection to the hub of the settings, or to the one that runs for this repository."""
        settings = self.settings
        url = settings.url
        if url is None:
            running = self.running
            if running is None:
                where = self.start.absolute() if settings.data_dir else self.repository
                raise NotRunning(f"nothing runs for {where}; start it with: pushpals up")
            url = running.url
        return HubClient(url, settings.token or self._kept_token(role), backoff=backoff)

    def _kept_token(self, role: str) -> str | None:
        if self.repository_if_any is None and not self.settings.data_dir:
            return None
        return self.state.token(role)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end. Ctrl-C cancels it."""
    return asyncio.run(work)


pass_app = click.make_pass_decorator(App)


def json_option(command: F) -> F:
    """``--json``: the answer as data, in the words of the wire, for programs."""

    def keep(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
        ctx.meta["pushpals.json"] = value
        return value

    return click.option("--json", "as_json", is_flag=True, callback=keep, is_eager=True, help="Print JSON.")(
        command
    )


def session_option(command: F) -> F:
    """``--session`` again on the command, because people put it there."""

    def keep(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        app = ctx.find_object(App)
        if value is not None and app is not None:
            app.flags["session_id"] = value
            app.__dict__.pop("loaded", None)

    return click.option(
        "-s",
        "--session",
        metavar="ID",
        expose_value=False,
        callback=keep,
        help="Another session than the usual one.",
    )(command)


def command(work: F) -> F:
    """Turn ``async def f(hub, app, ...)`` into a click callback that connects and runs it."""

    @pass_app
    def call(app: App, /, *args: Any, **kwargs: Any) -> Any:
        async def connected() -> Any:
            async with app.client() as hub:
                return await work(hub, app, *args, **kwargs)

        return run(connected())

    return update_wrapper(call, work)  # type: ignore[return-value]


# --- output -------------------------------------------------------------------------------------------


def print_json(value: Any) -> None:
    """Records as indented JSON with the names of the wire."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_json_line(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())


def safe(text: str) -> str:
    """Foreign text with colours and line breaks, and nothing else of a terminal's language."""
    return display.colours(text)


def safe_line(text: str, width: int = 200) -> str:
    """Foreign text as one plain line of at most ``width`` characters."""
    line = " ".join(display.plain(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def table(rows: list[list[str]], heads: list[str]) -> None:
    """Columns as wide as their widest cell; cells are already safe."""
    widths = [max(len(click.unstyle(row[n])) for row in [heads, *rows]) for n in range(len(heads))]
    for row, styled in [(heads, True), *((row, False) for row in rows)]:
        cells = [
            cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)
        ]
        line = "  ".join(cells).rstrip()
        click.echo(click.style(line, dim=True) if styled else line)


def short(identifier: str) -> str:
    """An id as people see it: the prefix and six characters, still accepted by every command."""
    prefix, dash, rest = identifier.partition("-")
    return f"{prefix}-{rest[:6]}" if dash and len(rest) > 8 else identifier


def pick(what: str, text: str, known: list[str]) -> str:
    """The one id that ``text`` is, or begins, with or without its prefix."""
    if text in known:
        return text
    found = sorted({one for one in known if one.startswith(text) or one.partition("-")[2].startswith(text)})
    if len(found) == 1:
        return found[0]
    if not found:
        raise Failed(f"no {what} begins with {text!r}", NEGATIVE, "not_found")
    raise Failed(
        f"{text!r} begins more than one {what}: {', '.join(short(one) for one in found[:8])}",
        NEGATIVE,
        "ambiguous",
    )
