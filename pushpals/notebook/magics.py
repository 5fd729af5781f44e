"""The magics: ``%load_ext pushpals``, then ``%%ppsql``, ``%pptables``, ``%pushpals`` and ``%%ask``.

A magic parses words and hands them on; what it does is in :mod:`.asking` and :mod:`.session`. Mistakes are
``UsageError``: one readable message, the cell still fails, and no trace of ours hides it.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import (
    Magics,
    cell_magic,
    line_cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
)

from pushpals.client.discovery import NothingFound
from pushpals.config import ConfigError
from pushpals.notebook.asking import AskError, Where, ask, tables
from pushpals.notebook.completing import complete_sql
from pushpals.notebook.result import Result
from pushpals.notebook.saved import Saved, is_name
from pushpals.notebook.session import NoSuch, Session
from pushpals.notebook.shown import Shown, Told
from pushpals.policy.display import plain
from pushpals.protocol.errors import PushPalsError

_KEEP = re.compile(r"\s*([A-Za-z_]\w*)\s*<<\s*")
_OPTION = re.compile(r"\s*--([a-z]+)(?:[= ]\s*(?!--)('[^']*'|\"[^\"]*\"|\S+))?")
_TAKES = {"limit", "timeout", "file", "url", "session", "save"}

SQL_HELP = (
    "%%ppsql [name <<] [--limit N] [--timeout S] [--session ID | --file PATH | --url URL] [--save NAME]\n"
    "and a SELECT below, or %ppsql and a SELECT, or %ppsql and the name of a saved one (--list names them)"
)
VERBS = {
    "status": "the team in figures",
    "say": "say something: %pushpals say run the tests",
    "jobs": "the session's jobs; a state narrows them: %pushpals jobs failed",
    "job": "the story of one: %pushpals job job-5x0g",
    "diff": "the change that a job made: %pushpals diff job-5x0g",
    "cancel": "stop a job: %pushpals cancel job-5x0g",
    "retry": "run it again: %pushpals retry job-5x0g",
    "approvals": "what waits for your word",
    "landings": "what was asked to land",
    "workers": "who works here",
    "tail": "the last lines: %pushpals tail 40",
    "watch": "what happens, until you interrupt the kernel",
    "session": "use another session from now on: %pushpals session ops",
}


@magics_class
class PushPalsMagics(Magics):
    """All magics; ``session`` is the one that ``%pushpals`` talks to."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._names: dict[str, Any] = shell.user_ns
        self.session = Session()
        self.saved = Saved(os.environ)

    @no_var_expand
    @line_cell_magic
    def ppsql(self, line: str, cell: str | None = None) -> Result | None:
        """Ask the history in SQL. ``{name}`` is filled in within options, and never within a statement."""
        keep, options, rest = parse(line)
        options = {name: self._filled(value) for name, value in options.items()}
        if "list" in options:
            return Result(
                ["name", "statement"], [[name, self.saved.get(name)] for name in self.saved.names()]
            )
        sql = "\n".join(part for part in (rest, cell or "") if part.strip()).strip()
        if cell is None and is_name(sql) and (found := self.saved.get(sql)) is not None:
            sql = found
        if not sql:
            raise UsageError(SQL_HELP)
        where = Where(file=options.get("file"), url=options.get("url"), session=options.get("session"))
        try:
            result = ask(
                sql,
                self._names,
                where=where,
                limit=int(_number(options, "limit", 1_000)),
                timeout_s=_number(options, "timeout", 5.0),
            )
            if "save" in options:
                self.saved.save(options["save"], sql)
        except (AskError, ValueError) as error:
            raise UsageError(str(error)) from None
        if keep is not None:
            self._names[keep] = result
            return None
        return result

    @line_magic
    def pptables(self, line: str) -> Result:
        """The views that can be asked, or the columns of one: %pptables v_jobs."""
        try:
            return tables(line.strip() or None)
        except AskError as error:
            raise UsageError(str(error)) from None

    @line_magic
    def pushpals(self, line: str) -> Shown | None:
        """Act from a cell: %pushpals alone lists what there is."""
        verb, _, rest = line.strip().partition(" ")
        words = rest.strip()
        if not verb:
            return Told(f"%pushpals {name:<10} {what}" for name, what in VERBS.items())
        if verb in ("approve", "deny"):
            raise UsageError(
                "a notebook decides nothing, because an agent may have written what runs in it; "
                "decide in the panel of JupyterLab, on the hub's page (pushpals open), "
                "or with: pushpals approve"
            )
        if verb not in VERBS:
            raise UsageError(f"there is no %pushpals {verb}; there is {', '.join(VERBS)}")
        try:
            return self._do(verb, words)
        except (PushPalsError, NothingFound, ConfigError, NoSuch) as error:
            raise UsageError(str(error.args[0] if error.args else error)) from None

    @cell_magic
    def ask(self, line: str, cell: str) -> None:
        """Say what is in the cell and show what happens, until the team is done or waits for you."""
        options = shlex.split(line)
        to = options[options.index("--to") + 1] if "--to" in options[:-1] else None
        if not cell.strip():
            raise UsageError("there is nothing to ask: write it below %%ask")
        try:
            self._show(cell.strip(), to)
        except (PushPalsError, NothingFound, ConfigError) as error:
            raise UsageError(str(error.args[0] if error.args else error)) from None

    def _filled(self, option: str) -> str:
        """An option with ``{name}`` replaced, as IPython does for the lines of other magics."""
        return str(self.shell.var_expand(option, depth=2)) if self.shell else option  # type: ignore[no-untyped-call]

    def _show(self, text: str, to: str | None) -> None:
        """Lines as they happen. Printed, not updated in place: every front end and nbval keep that whole."""
        try:
            conversation = self.session.ask(text, to=to, on_line=lambda line: print(plain(line), flush=True))
        except KeyboardInterrupt:
            print("(you stopped watching; the team goes on: %pushpals tail, %pushpals cancel)")
            return
        if conversation.closing:
            print(f"({conversation.closing})")

    def _do(self, verb: str, words: str) -> Shown | None:
        session = self.session
        match verb:
            case "status":
                return session.status()
            case "say":
                if not words:
                    raise UsageError("there is nothing to say")
                return session.say(words)
            case "jobs":
                return session.jobs(words or None)
            case "approvals":
                return session.approvals(words or "open")
            case "landings":
                return session.landings(words or None)
            case "workers":
                return session.workers()
            case "tail":
                if words and not words.isdigit():
                    raise UsageError("%pushpals tail takes a number of lines")
                return session.tail(int(words or 20))
            case "watch":
                session.watch()
                return None
            case "session":
                self.session = Session(words or None)
                return Told([f"the session is {self.session.id}"])
            case _:
                if not words:
                    raise UsageError(f"%pushpals {verb} needs a job; %pushpals jobs lists them")
                return getattr(session, verb)(words)  # type: ignore[no-any-return]


def parse(line: str) -> tuple[str | None, dict[str, str], str]:
    """``(name before <<, options, the rest)`` of a magic's line. Raises ``UsageError``."""
    keep: str | None = None
    if match := _KEEP.match(line):
        keep, line = match.group(1), line[match.end() :]
    options: dict[str, str] = {}
    while match := _OPTION.match(line):
        name, value = match.group(1), match.group(2)
        if name == "list":
            options[name] = ""
            line = line[match.end(1) :]
            continue
        if name not in _TAKES:
            raise UsageError(f"there is no --{name}\n{SQL_HELP}")
        if value is None:
            raise UsageError(f"--{name} needs a value\n{SQL_HELP}")
        options[name] = value.strip("'\"")
        line = line[match.end() :]
    return keep, options, line.strip()


def _number(options: dict[str, str], name: str, default: float) -> float:
    try:
        return float(options.get(name, default))
    except ValueError:
        raise UsageError(f"--{name} takes a number") from None


def load(shell: InteractiveShell) -> None:
    """``%load_ext pushpals``"""
    shell.register_magics(PushPalsMagics)
    if shell.Completer is not None and complete_sql not in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.append(complete_sql)


def unload(shell: InteractiveShell) -> None:
    """``%unload_ext pushpals``"""
    for kind in ("line", "cell"):
        for name in ("ppsql", "pptables", "pushpals", "ask"):
            shell.magics_manager.magics[kind].pop(name, None)
    if shell.Completer is not None and complete_sql in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(complete_sql)
