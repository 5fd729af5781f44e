"""A command line as a person writes it, turned into an argument list, or refused by name.

There is no shell behind it. What a shell would do with the text (pipes, redirections, variables, patterns,
several commands) is therefore found and said, never passed on as if it were plain words.
"""

from __future__ import annotations

import re
import shlex

import msgspec

MAX_COMMAND = 8 * 1024
MAX_WORDS = 200


class Argv(msgspec.Struct, frozen=True):
    words: tuple[str, ...]


class BadCommand(msgspec.Struct, frozen=True):
    """Why there is no command in this text, and what to write instead."""

    reason: str
    remedy: str


_BUILTINS = frozenset(
    {"cd", "export", "source", ".", "alias", "unset", "set", "eval", "exec", "ulimit", "umask"}
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_MEANINGS = {
    "|": "a pipe (`|`)",
    "&": "`&`",
    ";": "several commands (`;`)",
    "<": "a redirection (`<`)",
    ">": "a redirection (`>`)",
    "(": "a subshell (`(`)",
    ")": "a subshell (`)`)",
    "\n": "several lines",
    "$": "a variable (`$`)",
    "`": "command substitution",
    "*": "a file pattern (`*`)",
    "?": "a file pattern (`?`)",
    "~": "a home directory (`~`)",
}


def parse_command(line: str) -> Argv | BadCommand:
    """``line`` as argv. Quotes work as in a shell; nothing else of a shell does."""
    line = line.strip()
    if len(line) > MAX_COMMAND:
        return BadCommand("This command is too long.", f"At most {MAX_COMMAND} characters are taken.")
    if any(ord(c) < 32 and c not in "\t\n" for c in line):
        return BadCommand("This command holds control characters.", "Write it as plain text.")
    sign = _shell_sign(line)
    if sign is not None:
        return BadCommand(
            f"That needs a shell, for {_MEANINGS[sign]}, and commands run without one.",
            "Send one plain command, or put the line into a script of the repository and run that.",
        )
    try:
        words = shlex.split(line)
    except ValueError:
        return BadCommand("A quote in this command is not closed.", "Close it and send the command again.")
    if not words or not words[0]:
        return BadCommand(
            "There is no command here.", "Write it after the colon, for example `run: pytest -x`."
        )
    if len(words) > MAX_WORDS:
        return BadCommand("This command has too many words.", f"At most {MAX_WORDS} are taken.")
    if _ASSIGNMENT.match(words[0]):
        return BadCommand(
            f"`{words[0]}` sets a variable, which is a shell's work.",
            f"Write `run: env {line}` instead.",
        )
    if words[0] in _BUILTINS:
        return BadCommand(
            f"`{words[0]}` is a word of the shell, not a program, and commands run without a shell.",
            "Commands start at the root of the repository; name paths from there.",
        )
    return Argv(tuple(words))


def _shell_sign(line: str) -> str | None:
    """The first character that a shell would act on, outside quotes that protect it."""
    quote = ""
    escaped = False
    before = " "
    for char in line:
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            if char == quote:
                quote = ""
            elif quote == '"' and char in "$`":
                return char
        elif char in "'\"":
            quote = char
        elif char in "|&;<>()\n$`*?" or (char == "~" and before.isspace()):
            return char
        before = char
    return None
