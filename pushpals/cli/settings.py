"""``pushpals config``: what is in force, and why."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from pushpals import config as configuration
from pushpals.cli.app import App, json_option, pass_app, print_json, safe_line, table


@click.group()
def config() -> None:
    """Show the settings and where each came from."""


@config.command("show")
@click.option("--origin", is_flag=True, help="Say where each value came from.")
@json_option
@pass_app
def show(app: App, origin: bool, as_json: bool) -> None:
    """Show every setting that is in force.

    Flags are stronger than PUSHPALS_* variables, these than ~/.config/pushpals/config.toml, and that
    is stronger than pushpals.toml.
    """
    loaded = app.loaded
    if as_json:
        print_json(
            {
                field.key: {"value": _value(loaded, field), "origin": loaded.origin[field.name]}
                for field in configuration.fields()
            }
        )
        return
    rows = []
    for field in configuration.fields():
        row = [field.key, _words(_value(loaded, field))]
        rows.append([*row, loaded.origin[field.name]] if origin else row)
    table(rows, ["setting", "value", "origin"] if origin else ["setting", "value"])


def _value(loaded: configuration.Loaded, field: configuration.Field) -> Any:
    value = getattr(loaded.settings, field.name)
    if field.secret and value is not None:
        return "(set, not shown)"
    return msgspec.to_builtins(value)


def _words(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, str):
        return safe_line(value, 120)
    return safe_line(msgspec.json.encode(value).decode(), 120)
