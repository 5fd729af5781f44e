"""Scripts that need no shell: argument lists joined by ``&&``, ``||``, ``;`` and ``|``.

A script is plain when it is made of ordinary and quoted words, those four operators or line breaks,
comments, and redirections to the null device or ``2>&1``; no expansion, no reserved word, no builtin
that acts on a shell, no assignment. A worker runs such a script from this form, so what was judged is
what runs. ``cd DIR`` is the one builtin with a meaning here: the worker changes the directory of the
steps after it, inside the repository only.

The reader is deliberately small and gives up (``None``) at the first thing it does not know.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pushpals.policy.words import words_in

Connector = Literal["", "&&", "||", ";"]
NullRedirect = Literal["stdin-null", "stdout-null", "stderr-null", "stderr-to-stdout"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One command of a pipeline. ``redirects`` apply in order, after the pipes are in place."""

    argv: tuple[str, ...]
    redirects: tuple[NullRedirect, ...] = ()


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """Commands joined by ``|``. ``connector`` says when it runs, by the status of the one before.

    ``&&`` and ``||`` have equal rank and are read from the left, as in a shell: a pipeline that is not
    run leaves the status as it was. The status of a pipeline is that of its last step.
    """

    connector: Connector
    steps: tuple[Step, ...]


RESERVED = words_in(
    "if then else elif fi case esac for select while until do done in function time coproc { } ! [[ ]]"
)
SHELL_BUILTINS = words_in(
    ". : alias bg bind break builtin caller cd command compgen complete compopt continue declare dirs "
    "disown enable eval exec exit export fc fg getopts hash help history jobs let local logout "
    "mapfile popd pushd read readarray readonly return set shift shopt source suspend times trap type "
    "typeset ulimit umask unalias unset wait"
)
"""Builtins that act on the shell itself. Those that are programs too (``echo``, ``test``) are not here."""

_EXPANDS = frozenset("*?[]~{}$`()")
_BLANK = frozenset(" \t")
_REDIRECTIONS: dict[tuple[str, str], tuple[NullRedirect, ...]] = {
    ("", "<"): ("stdin-null",),
    ("0", "<"): ("stdin-null",),
    ("", ">"): ("stdout-null",),
    ("1", ">"): ("stdout-null",),
    ("", ">>"): ("stdout-null",),
    ("1", ">>"): ("stdout-null",),
    ("2", ">"): ("stderr-null",),
    ("2", ">>"): ("stderr-null",),
    ("&", ">"): ("stdout-null", "stderr-null"),
    ("&", ">>"): ("stdout-null", "stderr-null"),
}


class _Word(msgspec.Struct):
    text: str
    quoted: bool


class _NotPlainError(Exception):
    pass


def plain_form(script: str) -> tuple[Pipeline, ...] | None:
    """``script`` as pipelines, or None when it needs a shell (or is not valid)."""
    try:
        return _Reader(script).read()
    except _NotPlainError:
        return None


class _Reader:
    def __init__(self, script: str) -> None:
        self._text = script
        self._at = 0
        self._pipelines: list[Pipeline] = []
        self._steps: list[Step] = []
        self._words: list[_Word] = []
        self._redirects: list[NullRedirect] = []
        self._connector: Connector = ""

    def read(self) -> tuple[Pipeline, ...]:
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char in _BLANK:
                self._at += 1
            elif text.startswith("\\\n", self._at):
                self._at += 2
            elif char == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif char in "\n;":
                self._at += 1
                self._end_pipeline(";", may_be_empty=char == "\n")
            elif text.startswith(("&>>/dev/null", "&>/dev/null", "&> /dev/null"), self._at):
                self._at += 1
                self._redirect("&")
            elif text.startswith(("&&", "||"), self._at):
                self._at += 2
                self._end_pipeline("&&" if char == "&" else "||", may_be_empty=False)
                self._skip_breaks()
            elif char == "|":
                self._at += 1
                if text.startswith("&", self._at):
                    raise _NotPlainError
                self._end_step()
                self._skip_breaks()
            elif char in "<>":
                self._redirect("")
            elif char == "&":
                raise _NotPlainError
            else:
                self._word()
        if self._words or self._redirects or self._steps:
            self._end_pipeline(";", may_be_empty=False)
        elif self._connector in ("&&", "||"):
            raise _NotPlainError
        if not self._pipelines:
            raise _NotPlainError
        return tuple(self._pipelines)

    def _skip_breaks(self) -> None:
        while self._text[self._at : self._at + 1] in (" ", "\t", "\n"):
            self._at += 1

    def _word(self) -> None:
        text = self._text
        out: list[str] = []
        quoted = False
        while self._at < len(text) and text[self._at] not in " \t\n;&|<>":
            char = text[self._at]
            if char == "'":
                end = text.find("'", self._at + 1)
                if end < 0:
                    raise _NotPlainError
                out.append(text[self._at + 1 : end])
                self._at, quoted = end + 1, True
            elif char == '"':
                out.append(self._double_quoted())
                quoted = True
            elif char == "\\":
                following = text[self._at + 1 : self._at + 2]
                if following in ("", "\n"):
                    raise _NotPlainError
                out.append(following)
                self._at, quoted = self._at + 2, True
            elif char in _EXPANDS or char < " " or char == "\x7f":
                raise _NotPlainError
            else:
                out.append(char)
                self._at += 1
        word = _Word("".join(out), quoted)
        if not quoted and word.text.isdigit() and text[self._at : self._at + 1] in ("<", ">"):
            self._redirect(word.text)
            return
        if not self._words:
            self._check_command_name(word)
        self._words.append(word)

    def _check_command_name(self, word: _Word) -> None:
        name = word.text
        if name in RESERVED or (name in SHELL_BUILTINS and name != "cd") or not name:
            raise _NotPlainError
        if "=" in name or name.startswith(("-", "#", "!")):
            raise _NotPlainError

    def _double_quoted(self) -> str:
        text = self._text
        out: list[str] = []
        at = self._at + 1
        while at < len(text) and text[at] != '"':
            char = text[at]
            if char in "$`":
                raise _NotPlainError
            if char == "\\":
                following = text[at + 1 : at + 2]
                if following in ("", "\n"):
                    raise _NotPlainError
                out.append(following if following in '$`"\\' else char + following)
                at += 2
                continue
            out.append(char)
            at += 1
        if at >= len(text):
            raise _NotPlainError
        self._at = at + 1
        return "".join(out)

    def _redirect(self, descriptor: str) -> None:
        text = self._text
        if descriptor == "2" and text.startswith(">&1", self._at):
            self._at += 3
            self._redirects.append("stderr-to-stdout")
        else:
            operator = ">>" if text.startswith(">>", self._at) else text[self._at : self._at + 1]
            kinds = _REDIRECTIONS.get((descriptor, operator))
            self._at += len(operator)
            while text[self._at : self._at + 1] in (" ", "\t"):
                self._at += 1
            if kinds is None or not text.startswith("/dev/null", self._at):
                raise _NotPlainError
            self._at += len("/dev/null")
            self._redirects += kinds
        if text[self._at : self._at + 1] not in ("", " ", "\t", "\n", ";", "|", "&"):
            raise _NotPlainError

    def _end_step(self) -> None:
        if not self._words:
            raise _NotPlainError
        argv = tuple(word.text for word in self._words)
        self._steps.append(Step(argv=argv, redirects=tuple(self._redirects)))
        self._words, self._redirects = [], []

    def _end_pipeline(self, following: Connector, *, may_be_empty: bool) -> None:
        if may_be_empty and not self._words and not self._redirects and not self._steps:
            if self._connector in ("&&", "||"):
                raise _NotPlainError
            return
        self._end_step()
        steps = tuple(self._steps)
        if any(step.argv[0] == "cd" for step in steps) and not _emulated(steps):
            raise _NotPlainError
        self._pipelines.append(Pipeline(connector=self._connector, steps=steps))
        self._steps = []
        self._connector = following


def _emulated(steps: tuple[Step, ...]) -> bool:
    """``cd DIR`` alone, to somewhere below: nothing that could leave the repository."""
    argv = steps[0].argv
    if len(steps) != 1 or len(argv) != 2 or argv[1].startswith(("-", "~")) or not argv[1]:
        return False
    inside = argv[1] == "/repo" or argv[1].startswith("/repo/") or not argv[1].startswith("/")
    return inside and ".." not in argv[1].split("/")
