"""SQL from a cell: where it is asked, which values are bound, and what a mistake looks like.

A question goes to the hub that the kernel finds, or to a database file under the same guard. ``:name`` is
bound to the variable of that name, a list as JSON text for ``json_each``; no value ever becomes part of a
statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path, PurePath
from typing import Any

import msgspec

from pushpals.client import Backoff, HubClient
from pushpals.client.discovery import NothingFound
from pushpals.config import ConfigError
from pushpals.notebook.discovery import find_hub
from pushpals.notebook.result import Result
from pushpals.notebook.waiting import in_thread, wait
from pushpals.protocol.errors import PushPalsError
from pushpals.protocol.times import stamp
from pushpals.store.asking import AskRefused, AskStopped, Question, Value
from pushpals.store.sqlite.guard import Asking
from pushpals.store.sqlite.views import VIEWS

PATIENCE = Backoff(first_s=0.1, most_s=1.0, tries=4)

_SKIP = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)
_PARAMETER = re.compile(r"(?<![:\w])[:@$]([A-Za-z_]\w*)")
_NEAR = re.compile(r'near "(.+?)"|no such (?:column|table|function): ([\w.]+)')


class AskError(Exception):
    """The question could not be answered; the message says why and shows where."""


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers: a ``file``, else the hub at ``url`` (or the one that is found)."""

    file: str | None = None
    url: str | None = None
    token: str | None = None
    session: str | None = None

    def __repr__(self) -> str:
        return f"Where(file={self.file!r}, session={self.session!r})"


def ask(
    sql: str,
    values: Mapping[str, Any] | None = None,
    *,
    where: Where | None = None,
    limit: int = 1_000,
    timeout_s: float = 5.0,
) -> Result:
    """The rows. ``values`` may hold more than the statement names. Raises :class:`AskError`."""
    where = where or Where()
    bound = bind(sql, values or {})
    try:
        if where.file is not None:
            return _file(Path(where.file).expanduser(), sql, bound, where.session, limit, timeout_s)
        return _hub(sql, bound, where, limit, timeout_s)
    except (AskRefused, AskStopped) as error:
        raise AskError(pointed(sql, str(error))) from None
    except PushPalsError as error:
        raise AskError(pointed(sql, error.message)) from None
    except (NothingFound, ConfigError) as error:
        raise AskError(str(error)) from None
    except OSError as error:
        raise AskError(f"{where.file} cannot be read: {error.strerror or error}") from None


def bind(sql: str, names: Mapping[str, Any]) -> dict[str, Value]:
    """The values that the statement asks for. Raises :class:`AskError` for one that is missing or unfit."""
    bound: dict[str, Value] = {}
    for name in parameters(sql):
        if name not in names:
            raise AskError(f"`:{name}` has no value: there is no variable {name!r}")
        bound[name] = _value(name, names[name])
    return bound


def parameters(sql: str) -> list[str]:
    """The names of a statement's parameters, in order; what stands in quotes and comments is none."""
    return list(dict.fromkeys(_PARAMETER.findall(_SKIP.sub(" ", sql))))


def pointed(sql: str, message: str) -> str:
    """The message, with the line of the statement that it is about and a mark below the word."""
    match = _NEAR.search(message)
    word = (match.group(1) or match.group(2)) if match else None
    if word is None:
        return message
    found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", sql)
    if found is None:
        return message
    start = sql.rfind("\n", 0, found.start()) + 1
    line = sql[start:].split("\n", 1)[0]
    return f"{message}\n  {line}\n  {' ' * (found.start() - start)}{'^' * min(len(word), 40)}"


def _value(name: str, value: Any) -> Value:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return stamp(value) if value.tzinfo is not None else value.isoformat()
        case date():
            return value.isoformat()
        case PurePath():
            return str(value)
        case list() | tuple() | set() | frozenset():
            try:
                return msgspec.json.encode(list(value)).decode()
            except (TypeError, ValueError):
                pass
    raise AskError(
        f"`:{name}` is a {type(value).__name__}, which cannot be bound; take text, a number, a time or a list"
    )


def _file(
    path: Path, sql: str, values: dict[str, Value], session: str | None, limit: int, timeout_s: float
) -> Result:
    import sqlite3

    if not path.is_file():
        raise AskError(f"there is no file {path}")
    sessions = None if session is None else (session,)
    question = Question(sql=sql, values=values, sessions=sessions, limit=limit, timeout_s=timeout_s)
    asking = Asking(path, question)
    try:
        answer = in_thread(asking.run, asking.stop)
    except sqlite3.Error as error:
        raise AskError(f"{path} cannot be asked: {error}") from None
    return Result(answer.columns, answer.rows, truncated=answer.truncated)


def _hub(sql: str, values: dict[str, Value], where: Where, limit: int, timeout_s: float) -> Result:
    found = find_hub(where.url, where.token)

    async def work() -> Result:
        async with HubClient(found.url, found.token, backoff=PATIENCE) as hub:
            if where.session is not None:
                rows = await hub.query_session(
                    where.session, sql, values=values, limit=limit, timeout_s=timeout_s
                )
            else:
                rows = await hub.query(sql, values=values, limit=limit, timeout_s=timeout_s)
            return Result(rows.columns, rows.rows, truncated=rows.truncated)

    return wait(work())


def tables(name: str | None = None) -> Result:
    """The views, or the columns of one."""
    if name is None:
        return Result(["view", "what"], [[view.name, view.about] for view in VIEWS.values()])
    if name not in VIEWS:
        raise AskError(f"there is no view {name!r}; there are {', '.join(VIEWS)}")
    return Result(["column", "what"], [[column, about] for column, about in VIEWS[name].columns.items()])
