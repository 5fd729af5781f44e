"""The commands that only look: typed per tool, with the flags that are known to do nothing else.

This is the list that runs unasked in ``strict`` and at level ``partial``. A flag that is not listed, an
abbreviation of one, or a form that is not described makes a command "not read-only"; that is all, it
is then judged like any other. Nothing here may write a file, run a program or reach a network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from pushpals.policy.words import words_in

ANY_FLAG = words_in(
    "cat head tail wc nl tac rev ls stat pwd echo printf true false basename dirname realpath cmp cut "
    "paste tr seq du grep egrep fgrep"
)
"""Tools without a flag that writes or runs anything."""


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The flags a tool may be given here."""

    short: str = ""
    """Letters that take no value and may be bundled."""
    short_value: str = ""
    """Letters that take a value, in the same word or the next."""
    long: frozenset[str] = frozenset()
    """Long flags as ``--name``; with a value after ``=`` when listed as ``--name=``."""
    operands: int = 1_000_000
    digits: bool = False
    """Whether ``-20`` is a count."""


def _flags(
    short: str = "", value: str = "", long: str = "", operands: int = 1_000_000, digits: bool = False
) -> Flags:
    return Flags(
        short=short, short_value=value, long=frozenset(long.split()), operands=operands, digits=digits
    )


TOOLS: dict[str, Flags] = {
    "uniq": _flags(
        "cdDiuz", "fsw", "--count --repeated --unique --ignore-case --zero-terminated", operands=1
    ),
    "sort": _flags(
        "nruhVsfbgMRdizcC",
        "kt",
        "--stable --reverse --unique --numeric-sort --human-numeric-sort --version-sort --ignore-case "
        "--ignore-leading-blanks --general-numeric-sort --month-sort --check --key= --field-separator= "
        "--help",
    ),
    "diff": _flags(
        "uqrsNaibwBEyctTedp",
        "UCxILW",
        "--unified --unified= --brief --recursive --new-file --text --ignore-case --ignore-space-change "
        "--ignore-all-space --ignore-blank-lines --side-by-side --color --color= --exclude= --stat "
        "--context "
        "--context= --minimal --no-dereference --report-identical-files --show-c-function --label=",
        digits=True,
    ),
    "file": _flags("bihkLNrsv0", "F", "--brief --mime --mime-type --mime-encoding --dereference --version"),
    "rg": _flags(
        "iSvnNwxlcoFPUHIhLuqsap0.",
        "eABCgtTmMrEjd",
        "--ignore-case --smart-case --invert-match --line-number --no-line-number --word-regexp "
        "--line-regexp "
        "--files-with-matches --files-without-match --count --count-matches --only-matching "
        "--fixed-strings "
        "--pcre2 --multiline --with-filename --no-filename --follow --unrestricted --quiet --hidden "
        "--no-ignore "
        "--no-messages --text --null --glob= --iglob= --type= --type-not= --max-count= --max-depth= "
        "--max-columns= --after-context= --before-context= --context= --replace= --regexp= --color= "
        "--colors= "
        "--sort= --sortr= --encoding= --threads= --files --json --stats --column --heading --no-heading "
        "--trim --vimgrep --no-config --type-list --version --help --passthru --line-buffered",
    ),
}

_FIND_PLAIN = words_in("-print -print0 -prune -not ! -o -or -a -and ( )")
_FIND_VALUE = words_in("-name -iname -path -ipath -type -size -mtime -newer -maxdepth -mindepth")
_SED_RANGE = re.compile(r"(?:\d{1,9}|\$)(?:,(?:\d{1,9}|\$))?p")

_GIT_LOG = (
    "--stat --stat= --shortstat --numstat --dirstat --name-only --name-status --oneline --graph --decorate "
    "--decorate= --no-decorate --all --branches --tags --color --color= --no-color --patch "
    "--no-patch --raw "
    "--abbrev-commit --abbrev= --no-abbrev-commit --pretty --pretty= --format= --date= --since= --after= "
    "--until= --before= --author= --committer= --grep= --max-count= --skip= --merges --no-merges "
    "--first-parent --follow --reverse --date-order --topo-order --summary --full-index --no-renames "
    "--find-renames --find-copies --cached --staged --merge-base --unified= --word-diff --word-diff= "
    "--ignore-all-space --ignore-space-change --ignore-blank-lines --ignore-space-at-eol --check "
    "--exit-code "
    "--quiet --diff-filter= --function-context --text --no-ext-diff --no-textconv --relative --minimal "
    "--histogram --patience --no-prefix --regexp-ignore-case --fixed-strings --root "
    "--left-right --cherry-pick --not --boundary --no-color-moved --color-moved --inter-hunk-context= "
    "--compact-summary --end-of-options --no-notes --parents --children --simplify-by-decoration"
)
GIT: dict[str, Flags] = {
    "status": _flags(
        "sbvuznoalrm",
        "",
        "--short --branch --porcelain --porcelain= --long --verbose --untracked-files --untracked-files= "
        "--ignored --ignored= --show-stash --ahead-behind --no-ahead-behind --renames --no-renames "
        "--find-renames --null --column --no-column --ignore-submodules --ignore-submodules=",
    ),
    "diff": _flags("puswbzaRWM", "USG", _GIT_LOG, digits=True),
    "log": _flags("puswbzaRWMigcmtEFP", "nUSGL", _GIT_LOG, digits=True),
    "show": _flags("puswbzaRWMcmt", "nUSG", _GIT_LOG, digits=True),
    "ls-files": _flags(
        "cdmostuzvikt",
        "",
        "--cached --deleted --modified --others --stage --unmerged --ignored --exclude-standard "
        "--full-name "
        "--error-unmatch --abbrev --abbrev= --eol --deduplicate --directory --no-empty-directory --killed",
    ),
    "rev-parse": _flags(
        "q",
        "",
        "--show-toplevel --show-prefix --show-cdup --git-dir --absolute-git-dir --git-common-dir --verify "
        "--quiet --short --short= --abbrev-ref --abbrev-ref= --symbolic --symbolic-full-name --all "
        "--branches "
        "--tags --is-inside-work-tree --is-inside-git-dir --is-bare-repository --is-shallow-repository "
        "--head "
        "--show-object-format --end-of-options --revs-only --no-revs --flags --no-flags",
    ),
    "blame": _flags(
        "ltfnespwcbk", "LMC", "--porcelain --line-porcelain --show-name --show-number --show-email --date= "
        "--abbrev= --root --first-parent --color-lines --ignore-rev= --show-stats --incremental",
    ),
}  # fmt: skip
GIT_GLOBAL = words_in(
    "--no-pager -P --no-optional-locks --literal-pathspecs --glob-pathspecs --noglob-pathspecs "
    "--icase-pathspecs --no-replace-objects --no-lazy-fetch --no-advice"
)
"""Flags before the sub-command that change nothing but output."""


def is_readonly(argv: Sequence[str]) -> bool:
    """Whether ``argv`` (its first word a bare name) is on the list with nothing unknown in it."""
    name, args = argv[0], argv[1:]
    if name in ANY_FLAG:
        return True
    if name in TOOLS:
        return _matches(TOOLS[name], args)
    if name == "find":
        return _find(args)
    if name == "sed":
        return len(args) >= 2 and args[0] == "-n" and bool(_SED_RANGE.fullmatch(args[1])) and not any(
            arg.startswith("-") for arg in args[2:]
        )  # fmt: skip
    return name == "git" and _git(args)


def _matches(flags: Flags, args: Sequence[str]) -> bool:
    operands = 0
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            operands += len(list(rest))
        elif arg.startswith("--"):
            name, equals, _ = arg.partition("=")
            if name + equals in flags.long:
                continue
            if equals or name + "=" not in flags.long or not _is_value(next(rest, None)):
                return False
        elif arg.startswith("-") and len(arg) > 1:
            if flags.digits and arg[1:].isdigit():
                continue
            used = _bundle(flags, arg[1:])
            if used is None:
                return False
            if used and not _is_value(next(rest, None)):
                return False
        else:
            operands += 1
    return operands <= flags.operands


def _is_value(word: str | None) -> bool:
    """A flag that may do without its value would leave a following flag to the tool, so none is skipped."""
    return word is not None and (word == "-" or not word.startswith("-"))


def _bundle(flags: Flags, letters: str) -> bool | None:
    """Whether the bundle takes the next word as its value; None if a letter is unknown."""
    for index, letter in enumerate(letters):
        if letter in flags.short_value:
            return index == len(letters) - 1
        if letter not in flags.short:
            return None
    return False


def _find(args: Sequence[str]) -> bool:
    rest = iter(args)
    for arg in rest:
        if arg in _FIND_VALUE:
            if next(rest, None) is None:
                return False
        elif arg.startswith(("-", "(", ")", "!", ",")) and arg not in _FIND_PLAIN:
            return False
    return True


def _git(args: Sequence[str]) -> bool:
    at = 0
    while at < len(args) and args[at] in GIT_GLOBAL:
        at += 1
    sub = args[at] if at < len(args) else ""
    rest = args[at + 1 :]
    if sub == "branch":
        return list(rest) == ["--show-current"]
    return sub in GIT and _matches(GIT[sub], rest)
