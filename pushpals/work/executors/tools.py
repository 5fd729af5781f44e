"""The small programs of util-linux that carry limits and a death signal through ``exec``.

Each sets one thing about itself and becomes the next program: no interpreter, about a millisecond for
the chain. The alternative, code between fork and exec in this process, is unsafe beside threads and turns
off ``vfork``.
"""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

from pushpals.work.executors.base import Command, Limits, Outcome

SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
"""Where helper programs are looked for. Never the inherited PATH, which a repository may have shaped."""


def find_tool(name: str) -> Path | None:
    for folder in SYSTEM_PATH.split(":"):
        path = Path(folder, name)
        if os.access(path, os.X_OK) and path.is_file():
            return path
    return None


def prlimit_argv(prlimit: Path, limits: Limits, mark: int | None = None) -> tuple[str, ...]:
    """``prlimit`` with the bounds of ``limits``, to be followed by a command.

    A bound above what this process may give is lowered to that: a limit that cannot be raised is no
    reason to run nothing.
    """
    wanted = {
        "core": (0, resource.RLIMIT_CORE),
        "cpu": (limits.cpu_s or None, resource.RLIMIT_CPU),
        "nproc": (limits.processes or None, resource.RLIMIT_NPROC),
        "nofile": (limits.open_files or None, resource.RLIMIT_NOFILE),
        "fsize": (limits.file_bytes or None, resource.RLIMIT_FSIZE),
        "as": (limits.memory_bytes or None, resource.RLIMIT_AS),
        "rttime": (mark, resource.RLIMIT_RTTIME),
    }
    options = []
    for name, (value, which) in wanted.items():
        if value is None:
            continue
        _, hard = resource.getrlimit(which)
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # SIGXCPU at the soft limit leaves a second to say goodbye before SIGKILL at the hard one.
        ceiling = soft + 1 if name == "cpu" and soft == value and soft != hard else soft
        options.append(f"--{name}={soft}:{ceiling}")
    return (str(prlimit), *options, "--")


_LISTENED = re.compile(r"LD_|GLIBC_|MALLOC_|LOCPATH|NLSPATH|GCONV_PATH|PATH$|ENV$|BASH_ENV|IFS")


def refused(tree: Path, command: Command) -> str | None:
    """Why ``command`` cannot be started in ``tree``, whatever the executor."""
    if not command.argv or not command.argv[0]:
        return "the command is empty"
    texts = [*command.argv, command.cwd, *command.env, *command.env.values()]
    texts += [*command.secret_env, *command.secret_env.values()]
    if any("\0" in text for text in texts):
        return "the command contains a NUL character"
    if any(_LISTENED.match(name) for name in command.secret_env):
        return "a secret has the name of a variable that changes which code runs"
    if any(not name or "=" in name for name in (*command.env, *command.secret_env)):
        return "the environment contains a name that is empty or holds '='"
    parts = Path(command.cwd).parts
    if Path(command.cwd).is_absolute() or ".." in parts:
        return f"the working directory is outside the workspace: {command.cwd}"
    walked = tree
    for part in parts:
        walked = walked / part
        if walked.is_symlink():
            return f"the working directory is a symbolic link: {command.cwd}"
    if not walked.is_dir():
        return f"the working directory does not exist: {command.cwd}"
    return None


_FAILED = re.compile(
    rb"(?:\S*(?:setpriv|prlimit): failed to execute .*|\S*env: '.*')"
    rb": (?P<why>[^\n:]*)\n(?:\S*env: use [^\n]*\n)?",
    re.DOTALL,
)


def told_apart(outcome: Outcome, program: str) -> Outcome:
    """``outcome``, or why ``program`` never started when the helper before it said so.

    The helpers report a failed ``exec`` by exit codes 126 and 127 and one line, as a shell does. A command
    that prints such a line and nothing else is taken for a program that was not found.
    """
    if outcome.exit_code not in (126, 127) or outcome.stdout:
        return outcome
    match = _FAILED.fullmatch(outcome.stderr)
    if match is None:
        return outcome
    why = match["why"].decode(errors="replace")
    missing = why == "No such file or directory"
    error = f"no such program: {program}" if missing else f"cannot start {program}: {why}"
    return Outcome(error=error, wall_s=outcome.wall_s)
