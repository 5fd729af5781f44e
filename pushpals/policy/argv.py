"""Argument lists read as commands: what a command is, what it needs, and what it starts in turn.

:func:`read` takes the commands of an action and yields one :class:`Command` for each program that would
run as far as can be seen, inner ones of launchers (``timeout``, ``env``, ``sh -c``, ``find -exec``)
included, so that a rule against the inner one holds. A launcher that is not understood is
``exec.opaque``, and the words that could be its inner command are read as *guesses*: they can deny or
ask, never allow.

Knowing that a command only looks is left to :mod:`pushpals.policy.readonly`; which of all this is
allowed, to :mod:`pushpals.policy.decide`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from posixpath import basename, normpath
from typing import Literal

import msgspec

from pushpals.policy import tools
from pushpals.policy.addresses import Host
from pushpals.policy.reach import hosts_of, needs_of, paths_of
from pushpals.policy.readonly import GIT_GLOBAL, is_readonly
from pushpals.policy.shell import MAX_COMMANDS, Refused, Script, ShellCommand, parse
from pushpals.policy.words import Dynamic, words_in

ROOT = "/repo"
MAX_UNWRAP = 8
MAX_READ = 4 * MAX_COMMANDS
"""Commands read for one action, guesses included."""

ExecClass = Literal["exec.plain", "exec.interp", "exec.shell", "exec.opaque"]
_RANK: dict[ExecClass, int] = {"exec.plain": 0, "exec.interp": 1, "exec.shell": 2, "exec.opaque": 3}


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One program that would run."""

    argv: tuple[str, ...]
    name: str
    """The executable's base name, ``git`` for ``git-push``; empty when only the run will tell."""
    sub: tuple[str, ...] = ()
    """Words that may be its sub-command, the likeliest first."""
    git_globals: tuple[str, ...] = ()
    """For git: the flags before the sub-command, as written; ``-C outside`` for a directory elsewhere."""
    env: tuple[str, ...] = ()
    """Names of the variables assigned for it."""
    paths: tuple[str, ...] = ()
    exec_class: ExecClass = "exec.plain"
    needs: tuple[str, ...] = ()
    """Capabilities beyond ``exec.*`` and the files of the tree."""
    traits: tuple[str, ...] = ()
    hosts: tuple[Host, ...] = ()
    readonly: bool = False
    guess: bool = False


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Everything seen in an action. ``refusals`` are codes that no rule can relax."""

    commands: tuple[Command, ...] = ()
    refusals: tuple[str, ...] = ()


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader is told about the place of the command."""

    at_root: bool = True
    """Whether every command starts in the root of the repository."""
    resolved: Mapping[str, str] = {}
    """Where bare names lead, by the worker's look-up; a path below ``/repo`` shadows the system's."""
    env_allowed: frozenset[str] = tools.ENV_ALLOWED
    shell: bool = False
    """Whether a shell reads the words: builtins mean something and nothing is read-only."""


def read(commands: Iterable[ShellCommand], view: View) -> Reading:
    """Read commands and all that they start. Never raises."""
    reader = _Reader(view)
    for command in commands:
        reader.command(command.argv, tuple(name for name, _ in command.env), values=command.env)
    return reader.reading()


class _Reader:
    def __init__(self, view: View) -> None:
        self._view = view
        self._found: list[Command] = []
        self._refusals: list[str] = []
        self._depth = 0
        self._guessing = False
        self._shell = view.shell

    def reading(self) -> Reading:
        return Reading(commands=tuple(self._found), refusals=tuple(dict.fromkeys(self._refusals)))

    def command(
        self, argv: Sequence[str], env: tuple[str, ...] = (), values: Iterable[tuple[str, str]] = ()
    ) -> bool:
        """Read one command and its inner ones; says whether all of it only looks."""
        if len(self._found) >= MAX_READ:
            self._refuse("parse.too-many")
            return False
        if self._depth > MAX_UNWRAP:
            self._refuse("parse.depth")
            return False
        if not argv:
            self._add(Command(argv=(), name="", env=env, paths=paths_of([value for _, value in values])))
            return False
        place = len(self._found)
        self._add(Command(argv=tuple(argv), name=""))
        self._depth += 1
        found = self._described(tuple(argv), env, tuple(value for _, value in values))
        self._depth -= 1
        self._found[place] = found
        return found.readonly

    def _add(self, command: Command) -> None:
        self._found.append(command)

    def _refuse(self, code: str) -> None:
        if not self._guessing:
            self._refusals.append(code)

    def _described(self, argv: tuple[str, ...], env: tuple[str, ...], values: tuple[str, ...]) -> Command:
        exe, name = argv[0], command_name(argv[0])
        if name.startswith("git-") and name[4:] in tools.GIT_COMMANDS:
            argv, name = ("git", name[4:], *argv[1:]), "git"
        exec_class: ExecClass = "exec.plain"
        if tools.INTERPRETERS.fullmatch(name):
            exec_class = "exec.interp"
        elif name in tools.OPAQUE or name in tools.FOREIGN_SHELLS:
            exec_class = "exec.opaque"
        exec_class = _worst(exec_class, _location(exe))
        inner_class, inner_looks, inner_env = self._inner(name, argv)
        exec_class = _worst(exec_class, inner_class)
        if any(variable not in self._view.env_allowed for variable in (*env, *inner_env)):
            exec_class = _worst(exec_class, "exec.opaque")
        sub, git_globals = _sub_commands(name, argv)
        hosts = hosts_of(name, argv, sub)
        looks = inner_looks is not False and exec_class == "exec.plain" and self._bare(exe)
        if inner_looks is None:
            looks = looks and is_readonly((name, *argv[1:])) and (name != "git" or self._view.at_root)
        if name == "git" and not looks:
            exec_class = _worst(exec_class, _git_class(argv, sub))
        if self._shell or any(isinstance(word, Dynamic) for word in argv):
            looks = False
        return Command(
            argv=argv,
            name=name,
            sub=sub,
            git_globals=git_globals,
            env=(*env, *inner_env),
            paths=paths_of([*argv, *values]),
            exec_class=exec_class,
            needs=needs_of(name, argv, sub, hosts),
            traits=self._traits(exe, name),
            hosts=hosts,
            readonly=looks,
            guess=self._guessing,
        )

    def _bare(self, exe: str) -> bool:
        return "/" not in exe or exe.rpartition("/")[0] in tools.SYSTEM_DIRS

    def _traits(self, exe: str, name: str) -> tuple[str, ...]:
        traits = []
        if not isinstance(exe, Dynamic) and (not exe.isascii() or not exe.isprintable() or not exe.strip()):
            traits.append("non-ascii-executable")
        target = self._view.resolved.get(exe, "")
        if "/" not in exe and (target == ROOT or target.startswith(ROOT + "/")):
            traits.append("executable-in-worktree-shadowing-PATH")
        return tuple(traits)

    # -- launchers ------------------------------------------------------------------------------------

    def _inner(self, name: str, argv: tuple[str, ...]) -> tuple[ExecClass, bool | None, tuple[str, ...]]:
        """Class, "only looks" (None: it starts nothing) and assigned names of what a command starts."""
        args = argv[1:]
        if not name:
            # An unset variable leaves the next word in command position; a default is in plain sight.
            self._guessed(re.findall(r":?-([\w./-]+)\}$", argv[0]))
            self._guess(args, 1)
            return "exec.opaque", False, ()
        if name in tools.SHELLS:
            return self._shell_run(args), False, ()
        if self._shell and name in _BUILTINS:
            return self._builtin(name, args)
        if name in tools.LAUNCHERS:
            return self._launcher(name, tools.LAUNCHERS[name], args)
        if name in tools.GUESSED_LAUNCHERS or name in tools.FOREIGN_SHELLS:
            self._guess(args, 1)
            return "exec.opaque", False, ()
        if name == "find":
            return self._find(args)
        if re.fullmatch(r"(?:python|pypy)[0-9.]*", name) and "-m" in args[:8]:
            module = args[args.index("-m") + 1 :]
            if module:
                self._guessed(module)
        if tools.RUNNERS.get(name) in args[:6] and name in tools.RUNNERS:
            self._guess(args[args.index(tools.RUNNERS[name]) + 1 :], 0)
        if name == "git":
            self._git_inner(args)
        return "exec.plain", None, ()

    def _launcher(
        self, name: str, launcher: tools.Launcher, args: Sequence[str]
    ) -> tuple[ExecClass, bool | None, tuple[str, ...]]:
        if name == "command" and args and args[0] in ("-v", "-V", "-pv", "-pV"):
            return "exec.plain", None, ()
        names: list[str] = []
        at = _after_flags(launcher, args)
        if at is None:
            if name == "env":
                names += [word.split("=", 1)[0] for word in args if _ASSIGNMENT.match(word)]
                self._split_strings(args)
            self._guess([word for word in args if not _ASSIGNMENT.match(word)], launcher.operands)
            return "exec.opaque", False, tuple(names)
        while launcher.assignments and at < len(args) and _ASSIGNMENT.match(args[at]):
            names.append(args[at].split("=", 1)[0])
            at += 1
        operands = args[at : at + launcher.operands]
        inner = args[at + launcher.operands :]
        understood = launcher.whole and all(re.fullmatch(launcher.operand, word) for word in operands)
        if name == "flock" and inner[:1] in (("-c",), ["-c"]):
            self._script(" ".join(inner[1:2]))
            inner = ()
        looks = self.command(inner) if inner else False
        if launcher.operands and not understood:
            self._guess(args[at:], launcher.operands)
        return ("exec.plain" if understood else "exec.opaque"), looks and understood, tuple(names)

    def _split_strings(self, args: Sequence[str]) -> None:
        for index, word in enumerate(args):
            for flag in ("-S", "-vS", "-iS", "--split-string="):
                if word.startswith(flag):
                    rest = word[len(flag) :] or "".join(args[index + 1 : index + 2])
                    self._guessed([*rest.split(), *args[index + 1 :]])
            if word == "--split-string":
                self._guessed([*"".join(args[index + 1 : index + 2]).split()])

    def _shell_run(self, args: Sequence[str]) -> ExecClass:
        at = 0
        while at < len(args) and args[at].startswith(("-", "+")) and args[at] not in ("-", "--"):
            flags = args[at]
            if not flags.startswith("--") and "c" in flags[1:]:
                known = re.fullmatch(r"-[ceuxlvfn]+", flags) is not None
                script = args[at + 1] if at + 1 < len(args) else None
                if script is None or isinstance(script, Dynamic):
                    for guess in args[at + 1 : at + 3]:
                        self._guessed_script(guess)
                    return "exec.opaque"
                return "exec.shell" if self._script(script) and known else "exec.opaque"
            at += 2 if flags in ("-o", "+o", "-O", "--rcfile", "--init-file") else 1
        return "exec.opaque" if at >= len(args) or args[at] in ("-", "--") else "exec.interp"

    def _script(self, text: str) -> bool:
        parsed = parse(text)
        if isinstance(parsed, Refused):
            if parsed.code != "parse.empty":
                self._refuse(parsed.code)
            return False
        shell, self._shell = self._shell, True
        for command in shell_commands(parsed):
            self.command(command.argv, tuple(name for name, _ in command.env), values=command.env)
        self._shell = shell
        return True

    def _builtin(self, name: str, args: Sequence[str]) -> tuple[ExecClass, bool | None, tuple[str, ...]]:
        known = not any(isinstance(word, Dynamic) for word in args)
        match name:
            case "eval":
                if not known:
                    self._guess(args, 1)
                    self._guessed_script(" ".join(word for word in args if not isinstance(word, Dynamic)))
                return ("exec.shell" if known and self._script(" ".join(args)) else "exec.opaque"), False, ()
            case "source" | ".":
                return "exec.interp", False, ()
            case "trap":
                if args and args[0] not in ("-", "-l", "-p", "--"):
                    self._script(args[0])
                return "exec.shell", False, ()
            case "alias":
                for word in args:
                    self._script(word.partition("=")[2] or "true")
                return "exec.opaque", False, ()
            case "enable" | "hash":
                return "exec.opaque", False, ()
            case "printf":
                names = args[1:2] if args[:1] in (("-v",), ["-v"]) else ()
                return "exec.plain", None, tuple(names)
            case _:
                names = [re.split(r"[=+\[]", word)[0] for word in args if _ASSIGNABLE.match(word)]
                nameref = any(re.fullmatch(r"-\w*n\w*", word) for word in args) and name != "read"
                return ("exec.opaque" if nameref else "exec.plain"), False, tuple(names)

    def _find(self, args: Sequence[str]) -> tuple[ExecClass, bool | None, tuple[str, ...]]:
        started = False
        for index, word in enumerate(args):
            if word in ("-exec", "-execdir", "-ok", "-okdir"):
                inner = args[index + 1 :]
                ends = [place for place, end in enumerate(inner) if end in (";", "+")]
                inner = inner[: ends[0]] if ends else inner
                if inner:
                    started = True
                    self.command(inner)
        return ("exec.plain", False, ()) if started else ("exec.plain", None, ())

    def _git_inner(self, args: Sequence[str]) -> None:
        for index, word in enumerate(args):
            following = args[index + 1 :]
            if word == "run" and "bisect" in args[:index] and following:
                self.command(following)
            elif word == "foreach" and "submodule" in args[:index]:
                self._guess(following, 0)
                self._guessed_script(" ".join(following))
            elif word in ("-x", "--exec") and "rebase" in args[:index] and following:
                self._guessed_script(following[0])
            elif word.startswith("--exec=") and "rebase" in args[:index]:
                self._guessed_script(word.partition("=")[2])

    # -- guesses --------------------------------------------------------------------------------------

    def _guess(self, args: Sequence[str], operands: int) -> None:
        """Read every word that could be the inner command: as many may precede it as flags took values."""
        flags = passed = 0
        for index, word in enumerate(args[:64]):
            if isinstance(word, Dynamic) or (word.startswith("-") and len(word) > 1):
                flags += 1
            else:
                if passed > flags + operands:
                    return
                self._guessed(args[index:])
                passed += 1

    def _guessed(self, argv: Sequence[str]) -> None:
        if argv and not self._guessing and self._bare(argv[0]):
            self._guessing = True
            self.command(argv)
            self._guessing = False

    def _guessed_script(self, text: str) -> None:
        if not self._guessing:
            self._guessing = True
            self._script(text)
            self._guessing = False


_BUILTINS = words_in(
    "eval source . trap alias enable hash printf export declare typeset readonly local read mapfile "
    "readarray getopts let"
)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_ASSIGNABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:$|[=+\[])")


def shell_commands(script: Script) -> list[ShellCommand]:
    """The commands of a script, with its lone assignments and redirection targets as one more."""
    loose = ShellCommand(argv=(), env=(*script.assignments, *(("", target) for target in script.redirects)))
    return [*script.commands, loose] if loose.env else list(script.commands)


def command_name(exe: str) -> str:
    """The name rules know a program by; empty when only the run will tell."""
    return "" if isinstance(exe, Dynamic) else basename(exe.rstrip("/"))


def _worst(first: ExecClass, second: ExecClass) -> ExecClass:
    return first if _RANK[first] >= _RANK[second] else second


def _location(exe: str) -> ExecClass:
    if isinstance(exe, Dynamic):
        return "exec.opaque"
    if "/" not in exe or exe.rpartition("/")[0] in tools.SYSTEM_DIRS:
        return "exec.plain"
    path = normpath(exe) if exe.startswith("/") else ""
    inside = not exe.startswith(("/", "~")) or path.startswith(ROOT + "/")
    return "exec.interp" if inside and ".." not in exe.split("/") else "exec.opaque"


def _after_flags(launcher: tools.Launcher, args: Sequence[str]) -> int | None:
    """Where the words after a launcher's flags begin; None when a flag is not known."""
    at = 0
    while at < len(args):
        word = args[at]
        if isinstance(word, Dynamic) and not word.isalnum():
            return None
        if word == "--":
            return at + 1
        if word == "-" and launcher.assignments:
            at += 1
        elif word.startswith("--"):
            name, equals, _ = word.partition("=")
            if name + equals in launcher.long:
                at += 1
            elif not equals and name + "=" in launcher.long:
                at += 2
            else:
                return None
        elif word.startswith("-") and len(word) > 1:
            if launcher.digits and word[1:].lstrip("-").isdigit():
                at += 1
                continue
            for index, letter in enumerate(word[1:], start=1):
                if letter in launcher.short_value:
                    at += 1 if index == len(word) - 1 else 0
                    break
                if letter not in launcher.short:
                    return None
            at += 1
        else:
            return at
    return at


def _sub_commands(name: str, argv: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if name == "git":
        return _git_words(argv[1:])
    subs: list[str] = []
    flags = 0
    for word in argv[1:32]:
        if word.startswith("-"):
            flags += 1
        elif len(subs) <= flags + 1:
            subs.append(word)
    return tuple(subs), ()


def _git_words(args: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    flags: list[str] = []
    at = 0
    while at < len(args) and args[at].startswith("-"):
        word = args[at]
        if word == "-C":
            target = args[at + 1] if at + 1 < len(args) else ""
            flags.append("-C outside /repo" if _outside(target) else "-C")
        elif word.startswith("-c"):
            flags.append("-c")
        else:
            flags.append(word.partition("=")[0])
        at += 2 if word in tools.GIT_VALUE_GLOBALS else 1
    return tuple(args[at : at + 32]), tuple(flags)


def _outside(path: str) -> bool:
    if isinstance(path, Dynamic) or ".." in path.split("/") or path.startswith("~"):
        return True
    return path.startswith("/") and normpath(path) != ROOT and not normpath(path).startswith(ROOT + "/")


def _git_class(argv: tuple[str, ...], sub: tuple[str, ...]) -> ExecClass:
    globals_only = [word for word in argv[1 : len(argv) - len(sub)] if word.startswith("-")]
    known = GIT_GLOBAL | {"-C", "--version", "--help", "--bare"}
    if any(word not in known for word in globals_only):
        return "exec.opaque"
    if sub and (sub[0] not in tools.GIT_COMMANDS or sub[0] in tools.GIT_RUNS or isinstance(sub[0], Dynamic)):
        return "exec.opaque"
    for word in sub[1:]:
        for flag in tools.GIT_OPAQUE_FLAGS:
            name = word.partition("=")[0]
            shortened = flag.startswith("--") and len(name) > 3 and flag.startswith(name)
            if shortened or (
                not flag.startswith("--") and word.startswith(flag) and not word.startswith("--")
            ):
                return "exec.opaque"
        if re.match(r"[a-z0-9+.-]+::", word):
            return "exec.opaque"
    return "exec.plain"
