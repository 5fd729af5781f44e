"""How ruff is run here: named rules, safe fixes, the repository's own word where it has one.

ruff's default rules grew from 59 to more than 400 between two versions, so a default is never relied on. A
repository that names its rules (``select``) is fixed by those. One that does not is fixed by :data:`RULES`,
plus what it adds (``extend-select``) and minus what it ignores. Its excludes, per-file ignores and ``noqa``
hold.

Unsafe fixes are never applied, not even those that a configuration declares safe (``extend-safe-fixes``).
``UP`` rewrites code for newer Pythons: without ``requires-python`` or ``target-version`` ruff would assume a
recent one and drop older ones where no test here could notice, so it is left out then.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pushpals.work.checks import Files, min_python, ruff_config, ruff_settings

RULES: tuple[str, ...] = (
    "E401",  # several imports on one line
    "E703",  # a statement that ends in a semicolon
    "E713", "E714",  # `not x in y`, `not x is y`
    "F401",  # an unused import; ruff leaves `__init__.py` alone
    "F504", "F522", "F523",  # arguments that a format string does not use
    "F541",  # an f-string without placeholders
    "F632",  # `is` with a literal
    "F811",  # a redefinition of something unused
    "F841",  # an unused variable: reported, as its fix is not safe
    "F901",  # `raise NotImplemented`
    "E711", "E712", "E722", "F821", "F402", "F502", "F601", "F702", "F706",  # reported; no safe fix
    "PIE790",  # a `pass` that nothing needs
    "W291", "W292", "W293",  # white space at the end of lines and files
    "W605",  # an invalid escape sequence
)  # fmt: skip
"""What "fix the lint" means in a repository that names no rules. All of it has been in ruff for years."""

DISTRUSTED: tuple[str, ...] = ("RUF022", "RUF023")
"""Called safe by ruff, but sorting ``__all__`` and ``__slots__`` changes what a program sees at run time: it
broke a test of attrs 24.2.0 here."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding of ``ruff check``. ``fixable`` means by a safe fix."""

    path: str
    line: int
    code: str
    message: str
    fixable: bool


def lint_options(files: Files) -> list[str]:
    """The options of ``ruff check`` that say what is looked for and what a safe fix is. Looking changes
    nothing, also where the configuration says ``fix = true``; a later ``--fix`` takes that back."""
    options = [
        "--no-cache",
        "--no-preview",
        "--no-fix",
        "--no-fix-only",
        "--no-unsafe-fixes",
        "--force-exclude",
    ]
    settings = ruff_settings(files)
    lint = {**settings, **_table(settings.get("lint"))}
    target = _target(files)
    if ruff_config(files) is None:
        options += ["--isolated", "--select", ",".join(RULES)]
        return options + (["--target-version", target] if target else [])
    # What a configuration adds to the safe ones cannot be taken back by another; it can be left unfixed.
    unfixable = [*_codes(lint.get("unfixable")), *_codes(lint.get("extend-safe-fixes")), *DISTRUSTED]
    options += ["--unfixable", ",".join(dict.fromkeys(unfixable))]
    ignored = _codes(lint.get("ignore")) + _codes(lint.get("extend-ignore"))
    selected = _codes(lint.get("select"))
    # ALL names nothing: it is whatever the installed version has.
    if not selected or "ALL" in selected:
        options += ["--select", ",".join([*RULES, *_codes(lint.get("extend-select"))])]
    if "target-version" not in settings and target is None:
        ignored.append("UP")
    return options + (["--ignore", ",".join(dict.fromkeys(ignored))] if ignored else [])


def format_options(files: Files) -> list[str]:
    """The options of ``ruff format``: ruff's own settings, else black's."""
    options = ["--no-cache", "--no-preview", "--force-exclude"]
    if ruff_config(files) is not None:
        return options
    options.append("--isolated")
    if target := _target(files):
        options += ["--target-version", target]
    black = _table(files.toml("pyproject.toml").get("tool", {}).get("black"))
    if isinstance(black.get("line-length"), int):
        options += ["--line-length", str(black["line-length"])]
    if black.get("skip-string-normalization") is True:
        options += ["--config", 'format.quote-style="preserve"']
    if black.get("skip-magic-trailing-comma") is True:
        options += ["--config", "format.skip-magic-trailing-comma=true"]
    return options


def formatter_configured(files: Files) -> str | None:
    """Where the repository says that it is formatted, or None."""
    if "format" in ruff_settings(files):
        return "[format] of its ruff settings"
    if isinstance(files.toml("pyproject.toml").get("tool", {}).get("black"), dict):
        return "[tool.black] in pyproject.toml"
    hooks = files.texts.get(".pre-commit-config.yaml", "")
    if found := re.search(r"^\s*-\s*id:\s*(ruff-format|black)\b", hooks, re.M):
        return f"the hook {found[1]} in .pre-commit-config.yaml"
    return None


def read_findings(data: bytes) -> list[Finding] | None:
    """The output of ``--output-format json``; None if it is something else."""
    try:
        rows = msgspec.json.decode(data, type=list[_Row])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return [
        Finding(
            path=_relative(row.filename),
            line=row.location.row if row.location else 0,
            code=row.code or "syntax",
            message=row.message,
            fixable=row.fix is not None and row.fix.applicability == "safe",
        )
        for row in rows
    ]


def by_code(findings: Iterable[Finding], limit: int = 8) -> str:
    """``F401 ×8, W291 ×2``, most frequent first."""
    counted = Counter(finding.code for finding in findings).most_common()
    shown = ", ".join(f"{code} ×{number}" for code, number in counted[:limit])
    return shown + (f" and {len(counted) - limit} more rules" if len(counted) > limit else "")


def read_format_counts(text: str) -> tuple[int, int]:
    """How many files ``ruff format`` changed or would change, and how many are formatted already."""
    changed = re.search(r"(\d+) files? (?:would be )?reformatted", text)
    same = re.search(r"(\d+) files? (?:already formatted|left unchanged)", text)
    return int(changed[1]) if changed else 0, int(same[1]) if same else 0


class _Location(msgspec.Struct, frozen=True):
    row: int


class _Fix(msgspec.Struct, frozen=True):
    applicability: str = "unsafe"


class _Row(msgspec.Struct, frozen=True):
    filename: str
    message: str
    code: str | None = None
    location: _Location | None = None
    fix: _Fix | None = None


def _relative(name: str) -> str:
    # ruff prints absolute paths; the tree is /repo in a sandbox and ends in /repo outside of one.
    return name.split("/repo/", 1)[1] if "/repo/" in name else name.removeprefix("./")


def _target(files: Files) -> str | None:
    floor = min_python(files)
    return None if floor is None else f"py3{max(floor[1], 7)}" if floor[0] == 3 else None


def _codes(value: object) -> list[str]:
    return [code for code in value if isinstance(code, str)] if isinstance(value, Sequence) else []


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
