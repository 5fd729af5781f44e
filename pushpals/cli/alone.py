"""A part as a program of its own: the options of ``pushpals`` and of the part, on one command line."""

from __future__ import annotations

from typing import Any

import click

from pushpals.cli.main import cli, ended_well


class Alone(click.Command):
    """``part`` with the options of ``pushpals`` before its own."""

    def __init__(self, name: str, part: click.Command) -> None:
        super().__init__(
            name,
            params=[*cli.params, *part.params],
            help=part.help,
            context_settings=cli.context_settings,
        )
        self.part = part

    def invoke(self, ctx: click.Context) -> Any:
        shared = {param.name for param in cli.params}
        ours = {name: value for name, value in ctx.params.items() if name in shared}
        theirs = {name: value for name, value in ctx.params.items() if name not in shared}
        assert cli.callback is not None
        with ctx:
            cli.callback(**ours)
            return ended_well(ctx, lambda: ctx.invoke(self.part, **theirs))
