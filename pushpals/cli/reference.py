"""The reference pages that follow from the code: commands, settings, events.

``python -m pushpals.cli.reference docs/reference`` writes them (``make docs``); a test compares them.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import msgspec

from pushpals import config
from pushpals.cli import errors
from pushpals.cli.main import COMMANDS, cli
from pushpals.protocol import events

_NOTE = "<!-- Written by `make docs` from {source}; a test compares them. -->\n"


def cli_page() -> str:
    """Every command with its options, as its own help says it."""
    parts = [
        _NOTE.format(source="the commands"),
        "# Commands\n",
        _exit_codes(),
        "## pushpals\n",
        _help(cli, ["pushpals"]),
    ]
    context = click.Context(cli, info_name="pushpals")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        parts += _section(command, ["pushpals", name])
    return "\n".join(parts)


def settings_page() -> str:
    """Every setting: key, variable, who may set it, default, meaning."""
    rows = [
        "| key | variable | who may set it | default | allowed | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for field in config.fields():
        env = f"`{field.env}`" if field.env else "—"
        default = (
            "—" if field.default in (None, (), {}, "") else f"`{msgspec.json.encode(field.default).decode()}`"
        )
        who = "repository, operator" if field.scope == "repository" else "operator"
        rows.append(f"| `{field.key}` | {env} | {who} | {default} | {field.allowed} | {field.help} |")
    return "\n".join(
        [
            _NOTE.format(source="`pushpals/config.py`"),
            "# Settings\n",
            inspect.cleandoc(config.__doc__ or "").replace("``", "`"),
            "\nA variable that holds a list is split into words like a command line. "
            "`pushpals config show --origin` shows what is in force and why.\n",
            *rows,
            "\n`[[checks]]` in `pushpals.toml` names the repository's checks ([how](../howto/checks.md)).",
            "",
        ]
    )


def events_page() -> str:
    """Every event type with its fields."""
    parts = [
        _NOTE.format(source="`pushpals/protocol/events.py`"),
        "# Events\n",
        inspect.cleandoc(events.__doc__ or "").replace("``", "`"),
        f"\nProtocol version {events.PROTOCOL_VERSION}. A field in *italics* is optional.\n",
        "## The envelope\n",
        _fields(events.Envelope),
        "## The original types\n",
    ]
    parts += [_event(kind) for kind in events.ORIGINAL]
    parts.append("## Ours\n")
    parts += [_event(kind) for kind in events.OURS]
    return "\n".join(parts)


def sql_page() -> str:
    """Every view with its columns, and what a question may cost."""
    from pushpals.store import asking
    from pushpals.store.sqlite.guard import FUNCTIONS
    from pushpals.store.sqlite.views import VERSION, VIEWS

    parts = [
        _NOTE.format(source="`pushpals/store/sqlite/views.sql`"),
        "# SQL\n",
        "The history can be asked in SQL: from a cell (`%%ppsql`), through the hub (`POST /query`), or with "
        "any program that reads SQLite. What can be asked are these views. They stay what they are when "
        f"tables change below them; this is version {VERSION}, and renaming or removing a column makes the "
        "next one.\n",
        "How to is in [Query the history](../howto/query-the-history.md).\n",
        "## Bounds\n",
        "| bound | usual | at most |",
        "| --- | --- | --- |",
        f"| rows | 1,000 | {asking.MAX_ROWS:,} |",
        f"| seconds | 5 | {asking.MAX_TIMEOUT_S:g} |",
        f"| bytes of an answer | | {asking.MAX_ANSWER_BYTES:,} |",
        f"| bytes of a statement | | {asking.MAX_SQL_BYTES:,} |",
        f"| bound values | | {asking.MAX_VALUES} |\n",
        "An answer that was cut says `truncated`. One statement at a time, and it only reads: no PRAGMA, no "
        "ATTACH, no table, no token. Times are RFC 3339 in UTC, durations are seconds, JSON comes as text "
        "(`json_extract`, `json_each`).\n",
        "Functions: " + ", ".join(f"`{name}`" for name in sorted(FUNCTIONS)) + ".\n",
    ]
    for view in VIEWS.values():
        parts += [f"## {view.name}\n", f"{view.about}\n", "| column | meaning |", "| --- | --- |"]
        parts += [f"| `{name}` | {about.removesuffix('.')} |" for name, about in view.columns.items()]
        parts.append("")
    return "\n".join(parts).rstrip("\n") + "\n"


def openapi_page() -> str:
    """The HTTP interface for programs. Without a version, so that a release changes nothing in it."""
    from pushpals.server.openapi import document

    return json.dumps(msgspec.to_builtins(document("")), indent=1, ensure_ascii=False) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "openapi.json": openapi_page,
    "cli.md": cli_page,
    "settings.md": settings_page,
    "events.md": events_page,
    "sql.md": sql_page,
}


def _section(command: click.Command, path: list[str]) -> Iterator[str]:
    yield f"## {' '.join(path)}\n"
    yield _help(command, path)
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _section(inner, [*path, name])


def _help(command: click.Command, path: list[str]) -> str:
    context = click.Context(cli, info_name=path[0], terminal_width=100, **cli.context_settings)
    for name in path[1:-1]:
        context = click.Context(cli, info_name=name, parent=context)
    if command is not cli:
        context = click.Context(command, info_name=path[-1], parent=context)
    return f"```text\n{command.get_help(context)}\n```\n"


def _exit_codes() -> str:
    lines = inspect.cleandoc(errors.__doc__ or "").splitlines()
    ruled = [n for n, line in enumerate(lines) if line.startswith("====")]
    rows = [line.split(None, 1) for line in lines[ruled[1] + 1 : ruled[2]]]
    return "\n".join(
        ["| exit code | meaning |", "| --- | --- |", *(f"| {code} | {says} |" for code, says in rows), ""]
    )


def _event(kind: type[events.Payload]) -> str:
    return f"### {kind.TYPE}\n\n{inspect.cleandoc(kind.__doc__ or '').replace('``', '`')}\n\n{_fields(kind)}"


def _fields(kind: type[msgspec.Struct]) -> str:
    rows = []
    for field in msgspec.structs.fields(kind):
        name = f"`{field.encode_name}`" if field.required else f"*`{field.encode_name}`*"
        rows.append(f"| {name} | {_type(field.type)} |")
    return "\n".join(["| field | type |", "| --- | --- |", *rows, ""]) if rows else "No fields.\n"


def _type(kind: Any) -> str:
    origin, args = get_origin(kind), get_args(kind)
    if kind is type(None):
        return "null"
    if origin is list:
        return f"list of {_type(args[0])}"
    if origin is dict:
        return "object"
    if origin is not None and args and not isinstance(args[0], str):
        return " or ".join(_type(arg) for arg in args if arg is not type(None))
    if args:
        return " or ".join(f"`{arg}`" for arg in args)
    words = {
        str: "string",
        int: "integer",
        float: "number",
        bool: "boolean",
        Any: "anything",
        msgspec.Raw: "object",
    }
    return words.get(kind, getattr(kind, "__name__", str(kind)))


def write(folder: Path) -> None:
    for name, page in PAGES.items():
        (folder / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
