"""What a command of a job finds: programs, variables and nothing of the person's.

``PATH`` is built, never inherited, in this order:

1. folders that the operator configured (``path`` under ``[worker]`` in the operator's own settings);
2. the virtual environment of the person's checkout (``.venv`` or ``venv``), when the operator names the
   checkout: read-only, so that the repository's real dependencies and pinned tools are used;
3. the folder that Push Pals itself runs from, so that pytest, ruff, mypy and typos exist as a last resort;
4. the system's.

None of it can be chosen by a repository: a tree that could put folders into ``PATH`` would choose the
programs that judge it.

``PYTHONPATH`` is set for Python and its test runners only: the tree's ``src`` (if it has one), then the
tree. That is how a source package that is not installed becomes importable, how an editable install in the
person's environment gives way to the files under test, and what ``python -m pytest`` would do. Linters and
type checkers do not get it: they would import their own dependencies from the tree.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from pushpals.work.executors.base import Level
from pushpals.work.executors.profile import HOME as SANDBOX_HOME
from pushpals.work.executors.profile import TREE as SANDBOX_TREE
from pushpals.work.reports import tool_of
from pushpals.work.standin import pytest_plugins

SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

_ALONE = frozenset({"ruff", "ruff-format", "mypy", "typos"})


class BadEnvironment(ValueError):
    """A configured path is missing or not absolute; the message says which."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker's commands find programs. ``toolchain`` is what a sandbox must show, read-only."""

    folders: tuple[Path, ...]
    toolchain: tuple[Path, ...]
    extra: Mapping[str, str] = {}
    plugins: Mapping[str, str] = {}
    """pytest plug-ins by distribution, if pytest is here only because Push Pals brought it."""
    digest: str = ""
    """Over platform, interpreters, installed distributions and the names of ``extra``."""

    def variables(
        self, argv: Sequence[str], *, level: Level, tree: Path, home: Path, src: bool
    ) -> dict[str, str]:
        """The whole environment of one command. ``home`` and ``tree`` are used outside a sandbox only."""
        sandboxed = level != "none"
        seen_tree = SANDBOX_TREE if sandboxed else str(tree)
        seen_home = SANDBOX_HOME if sandboxed else str(home)
        variables = {
            "PATH": ":".join([*map(str, self.folders), *SYSTEM_PATH]),
            "HOME": seen_home,
            "TMPDIR": "/tmp" if sandboxed else str(home),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "USER": "pal",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "CI": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONHASHSEED": "0",
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": f"{'/tmp' if sandboxed else home}/hypothesis",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CEILING_DIRECTORIES": str(Path(seen_tree).parent),
        }
        if tool_of(argv) not in _ALONE:
            variables["PYTHONPATH"] = f"{seen_tree}/src:{seen_tree}" if src else seen_tree
        return {**variables, **self.extra}


def build_environment(
    *,
    configured: Iterable[Path] = (),
    checkout: Path | None = None,
    running: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> Environment:
    """The environment of a worker. Raises :class:`BadEnvironment` for a configured path that is no folder.

    ``configured`` are folders of programs, or prefixes with a ``bin``. ``running`` is the prefix that Push
    Pals runs from.
    """
    folders: list[Path] = []
    for path in configured:
        if not path.is_absolute():
            raise BadEnvironment(f"worker.path: {path} is not absolute")
        if not path.is_dir():
            raise BadEnvironment(f"worker.path: there is no folder {path}")
        folders.append(path / "bin" if (path / "bin").is_dir() else path)
    if checkout is not None:
        folders += [
            checkout / name / "bin"
            for name in (".venv", "venv")
            if (checkout / name / "pyvenv.cfg").is_file() and (checkout / name / "bin").is_dir()
        ]
    folders.append((running or Path(sys.prefix)) / "bin")
    kept = [folder for folder in dict.fromkeys(folders) if str(folder) not in SYSTEM_PATH]
    prefixes: list[Path] = []
    for folder in kept:
        prefixes += _prefixes(folder)
    shown = [path for path in dict.fromkeys(prefixes) if not path.is_relative_to("/usr")]
    variables = dict(extra or {})
    return Environment(
        folders=tuple(kept),
        toolchain=tuple(shown),
        extra=variables,
        plugins=_own_plugins(kept, (running or Path(sys.prefix)) / "bin"),
        digest=_digest(kept, variables),
    )


def _prefixes(folder: Path) -> list[Path]:
    """What the programs of a folder need: its prefix, and that of the Python it links to."""
    prefix = folder.parent if folder.name == "bin" else folder
    found = [prefix]
    config = prefix / "pyvenv.cfg"
    if config.is_file():
        for line in config.read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "home" and Path(value.strip()).is_dir():
                found.append(Path(value.strip()).parent)
    python = folder / "python"
    if python.exists():
        found.append(python.resolve().parent.parent)
    return [path for path in found if path != Path("/")]


def _own_plugins(folders: Sequence[Path], own: Path) -> dict[str, str]:
    first = next((folder for folder in folders if (folder / "pytest").exists()), None)
    return pytest_plugins(own) if first == own else {}


def _digest(folders: Iterable[Path], extra: Mapping[str, str]) -> str:
    parts = [platform.system(), platform.machine(), platform.python_version(), *sorted(extra)]
    for folder in folders:
        sites = sorted(folder.parent.glob("lib/python*/site-packages/*.dist-info"))
        parts += [str(folder), *(site.name for site in sites)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
