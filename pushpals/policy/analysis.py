"""An action taken apart, before any rule is asked: its commands, its class, its capabilities, its refusals.

The facts here are the same for every policy, apart from the variables it lets a command assign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import join, normpath

import msgspec

from pushpals.policy.actions import MAX_ACTION_BYTES, ExecAction, LandAction, canonical
from pushpals.policy.argv import ROOT, Command, ExecClass, Reading, View, read, shell_commands
from pushpals.policy.display import is_suspicious
from pushpals.policy.plain import Pipeline
from pushpals.policy.shell import Refused, Script, ShellCommand, parse
from pushpals.policy.tools import ENV_ALLOWED


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What only the machine knows; the worker looks it up before it asks."""

    cwd_real: str | None = None
    """Inside path of the working directory with links resolved."""
    resolved: Mapping[str, str] = {}
    """Where the look-up of bare names ends, as inside paths."""


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """An action as the rules see it."""

    commands: tuple[Command, ...]
    refusals: tuple[str, ...] = ()
    """Codes that deny whatever the policy says."""
    suspicions: tuple[str, ...] = ()
    """Codes of :func:`pushpals.policy.display.is_suspicious`."""
    classes: tuple[ExecClass, ...] = ()
    readonly: bool = False
    needs: tuple[str, ...] = ()
    plain: tuple[Pipeline, ...] | None = None
    """For a script that needs no shell: what to run instead of it."""

    @property
    def capabilities(self) -> tuple[str, ...]:
        if not self.classes:
            return self.needs
        files = ("fs.read",) if self.readonly else ("fs.read", "fs.write")
        return (*files, *self.classes, *self.needs)


def analyse(
    action: ExecAction, variables: frozenset[str] = ENV_ALLOWED, facts: Facts | None = None
) -> Analysis:
    """Take a command apart. Never raises."""
    facts = facts or Facts()
    refusals = _refusals(action, facts)
    parsed: Script | Refused | None = None
    if refusals and refusals[0].startswith(("parse.", "action.")):
        return Analysis(commands=(Command(argv=(), name=""),), refusals=refusals)
    if action.script is not None:
        parsed = parse(action.script)
        suspicions = is_suspicious(action.script)
        if isinstance(parsed, Refused):
            paths = _raw_paths(action.script)
            command = Command(argv=(), name="", paths=paths, env=tuple(name for name, _ in action.env))
            return Analysis(commands=(command,), refusals=(parsed.code, *refusals), suspicions=suspicions)
        reading, plain = _read_script(parsed, action, variables, facts)
    else:
        argv = action.argv or ()
        suspicions = tuple(sorted({code for word in argv for code in is_suspicious(word)}))
        view = View(at_root=_at_root(action.cwd), resolved=facts.resolved, env_allowed=variables)
        reading = read([ShellCommand(argv=argv, env=action.env)], view)
        plain = None
    suspicions = tuple(
        sorted({*suspicions, *(code for pair in action.env for code in is_suspicious(pair[1]))})
    )
    commands = reading.commands
    needs_shell = action.script is not None and plain is None
    found: set[ExecClass] = {command.exec_class for command in commands if not command.guess}
    classes: set[ExecClass] = (found - {"exec.plain"}) | ({"exec.shell"} if needs_shell else set())
    denied = {host.verdict for command in commands for host in command.hosts} & {"denied"}
    return Analysis(
        commands=commands,
        refusals=tuple(
            dict.fromkeys((*refusals, *reading.refusals, *(("net.denied-address",) if denied else ())))
        ),
        suspicions=suspicions,
        classes=tuple(sorted(classes)) or ("exec.plain",),
        readonly=not needs_shell and all(command.readonly for command in commands),
        needs=tuple(sorted({need for command in commands for need in command.needs})),
        plain=plain,
    )


def analyse_land(action: LandAction) -> Analysis:
    """A landing needs one capability and runs nothing."""
    needs = (action.capability,)
    return Analysis(commands=(Command(argv=(), name="", needs=needs),), needs=needs)


def _read_script(
    script: Script, action: ExecAction, variables: frozenset[str], facts: Facts
) -> tuple[Reading, tuple[Pipeline, ...] | None]:
    view = View(
        at_root=_at_root(action.cwd),
        resolved=facts.resolved,
        env_allowed=variables,
        shell=script.plain is None,
    )
    if script.plain is None:
        return read(_with_env(shell_commands(script), action), view), None
    steps = [step.argv for pipeline in script.plain for step in pipeline.steps]
    commands = [ShellCommand(argv=argv) for argv in steps if argv[0] != "cd"]
    if len(commands) < len(steps):
        # After a `cd` git may meet another repository than the one the sandbox prepared.
        view = msgspec.structs.replace(view, at_root=False)
    return read(_with_env(commands, action), view), script.plain


def _with_env(commands: list[ShellCommand], action: ExecAction) -> list[ShellCommand]:
    if not action.env:
        return commands
    return [msgspec.structs.replace(command, env=(*action.env, *command.env)) for command in commands]


def _refusals(action: ExecAction, facts: Facts) -> tuple[str, ...]:
    if (action.argv is None) == (action.script is None) or action.argv == ():
        return ("parse.empty",)
    words = [*(action.argv or ()), action.cwd, *(part for pair in action.env for part in pair)]
    if any("\0" in word for word in words):
        return ("parse.nul",)
    try:
        if len(canonical(action)) > MAX_ACTION_BYTES:
            return ("action.too-large",)
    except ValueError:
        return ("parse.encoding",)
    cwd = _inside(action.cwd)
    if cwd is None:
        return ("cwd.outside",)
    if facts.cwd_real is not None and normpath(facts.cwd_real) != cwd:
        return ("cwd.symlink",)
    return ()


def _inside(cwd: str) -> str | None:
    """The absolute inside path of ``cwd``; None outside, also when ``..`` would lead back in."""
    path = normpath(join(ROOT, cwd))
    if ".." in cwd.split("/") or not cwd or not (path == ROOT or path.startswith(ROOT + "/")):
        return None
    return path


def _at_root(cwd: str) -> bool:
    return _inside(cwd) == ROOT


def _raw_paths(script: str) -> tuple[str, ...]:
    """Device and /proc paths of a script that could not be read, so that its denial says so."""
    return tuple(re.findall(r"/(?:dev/(?:tcp|udp)|proc/[\w/*-]{1,80}/(?:root|cwd))(?=/|\b)", script[:65536]))[
        :16
    ]
