"""Real repositories for tests and for the demo, built from a dict of files.

Everything is deterministic: identities are fixed and each commit is one minute after the one before, so
the same calls give the same commit ids. Nothing of the machine's git configuration takes part.

:func:`make_demo_repository` builds the small Python package that ``make demo`` and the first tutorial work
on: its own checks are pytest, ruff and mypy. By default they pass, apart from a lint finding that ruff can
fix; a failing test, a type error and a flaky test can be added.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

_START = datetime(2024, 1, 1, 12, 0, tzinfo=UTC)
_NAME, _EMAIL = "Ada Example", "ada@example.org"


class Link(msgspec.Struct, frozen=True):
    """A symbolic link."""

    target: str


class Program(msgspec.Struct, frozen=True):
    """An executable file."""

    text: str


Content = str | bytes | Link | Program | None
"""What a path holds. None: the path is deleted."""


class Repository:
    """A repository with (``bare=False``) or without a checkout. Calls block; for tests and the demo only."""

    def __init__(self, path: Path, *, bare: bool = False) -> None:
        self.path = path
        self.bare = bare
        self._commits = 0

    @classmethod
    def create(
        cls, path: Path, files: Mapping[str, Content] | None = None, *, bare: bool = False
    ) -> Repository:
        """A new repository on branch ``main``, with ``files`` as its first commit if there are any."""
        path.mkdir(parents=True, exist_ok=True)
        repo = cls(path, bare=bare)
        repo.git("init", "--quiet", "-b", "main", *(["--bare"] if bare else []), "--template=")
        if not bare:
            repo.git("config", "user.name", _NAME)
            repo.git("config", "user.email", _EMAIL)
            repo.git("config", "commit.gpgSign", "false")
        if files:
            repo.commit("Begin", files)
        return repo

    def git(self, *args: str | bytes, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """Run git here and return its output without the last newline. Raises CalledProcessError."""
        when = f"@{int((_START + timedelta(minutes=self._commits)).timestamp())} +0000"
        fixed = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/dev/null",
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": _NAME,
            "GIT_AUTHOR_EMAIL": _EMAIL,
            "GIT_AUTHOR_DATE": when,
            "GIT_COMMITTER_NAME": _NAME,
            "GIT_COMMITTER_EMAIL": _EMAIL,
            "GIT_COMMITTER_DATE": when,
        }
        done = subprocess.run(
            ["git", "-C", str(self.path), *args],
            input=stdin,
            env={**fixed, **(env or {})},
            capture_output=True,
            check=True,
        )
        return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")

    def write(self, files: Mapping[str, Content]) -> None:
        """Put files into the checkout, without a commit."""
        for name, content in files.items():
            path = self.path / name
            if path.is_symlink() or path.is_file():
                path.unlink()
            if content is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            match content:
                case str():
                    path.write_text(content, encoding="utf-8")
                case bytes():
                    path.write_bytes(content)
                case Link(target):
                    path.symlink_to(target)
                case Program(text):
                    path.write_text(text, encoding="utf-8")
                    path.chmod(0o755)

    def commit(self, message: str, files: Mapping[str, Content] | None = None) -> str:
        """Commit everything in the checkout, with ``files`` put in first. Returns the commit id."""
        self.write(files or {})
        self._commits += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--allow-empty-message", "--no-verify", "-m", message)
        return self.sha("HEAD")

    def commit_entries(self, message: str, entries: Mapping[bytes, tuple[str, bytes]], *, parent: str) -> str:
        """A commit whose tree no checkout could make: path → (mode, content), laid over the parent's tree.

        For names that git's index refuses (``.git``), that are not UTF-8, or that are twins on some file
        systems. For mode ``160000`` the content is a commit id. Moves no ref.
        """
        leaves: dict[bytes, tuple[str, str]] = {}
        listing = self.git("ls-tree", "-r", "-z", parent).encode("utf-8", "surrogateescape")
        for row in listing.split(b"\0"):
            if row:
                head, _, path = row.partition(b"\t")
                mode, _, sha = head.decode().split()
                leaves[path] = (mode, sha)
        for path, (mode, content) in entries.items():
            if mode == "160000":
                leaves[path] = (mode, content.decode())
            else:
                leaves[path] = (mode, self.git("hash-object", "-w", "--stdin", stdin=content))
        self._commits += 1
        return self.git("commit-tree", self._tree(leaves), "-p", parent, "-F", "-", stdin=message.encode())

    def _tree(self, leaves: Mapping[bytes, tuple[str, str]]) -> str:
        rows: list[bytes] = []
        folders: dict[bytes, dict[bytes, tuple[str, str]]] = {}
        for path, (mode, sha) in leaves.items():
            top, slash, rest = path.partition(b"/")
            if slash:
                folders.setdefault(top, {})[rest] = (mode, sha)
            else:
                kind = "commit" if mode == "160000" else "blob"
                rows.append(f"{mode} {kind} {sha}\t".encode() + top)
        for name, below in folders.items():
            rows.append(f"040000 tree {self._tree(below)}\t".encode() + name)
        return self.git("mktree", "-z", "--missing", stdin=b"".join(row + b"\0" for row in rows))

    def branch(self, name: str, start: str = "main") -> None:
        """Make a branch at ``start`` and check it out."""
        self.git("checkout", "--quiet", "-B", name, start)

    def checkout(self, name: str) -> None:
        self.git("checkout", "--quiet", name)

    def sha(self, name: str) -> str:
        return self.git("rev-parse", "--verify", f"{name}^{{commit}}")

    def refs(self) -> dict[str, str]:
        """All refs by full name."""
        rows = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(row.split(" ", 1) for row in rows)

    def files(self, treeish: str = "HEAD") -> dict[str, str]:
        """Path → content of all files in a tree, as text."""
        names = [name for name in self.git("ls-tree", "-r", "-z", "--name-only", treeish).split("\0") if name]
        return {name: self.git("cat-file", "blob", f"{treeish}:{name}") for name in names}


class Cloned(msgspec.Struct, frozen=True, kw_only=True):
    """A checkout with its bare upstream, which is its remote ``origin``."""

    checkout: Repository
    upstream: Repository

    def push(self, *specs: str) -> None:
        """Push from the checkout, ``main`` if nothing is named."""
        self.checkout.git("push", "--quiet", "origin", *(specs or ("main:main",)))


def make_cloned(path: Path, files: Mapping[str, Content] | None = None) -> Cloned:
    """``path/upstream.git`` (bare) and ``path/checkout``, with ``files`` committed and pushed."""
    upstream = Repository.create(path / "upstream.git", bare=True)
    checkout = Repository.create(path / "checkout", files or {"README.md": "# Example\n"})
    checkout.git("remote", "add", "origin", str(upstream.path))
    checkout.git("push", "--quiet", "--set-upstream", "origin", "main")
    return Cloned(checkout=checkout, upstream=upstream)


def make_demo_repository(
    path: Path,
    *,
    lint: bool = True,
    failing_test: bool = False,
    type_error: bool = False,
    flaky_test: bool = False,
) -> tuple[Path, Path]:
    """The demo's package below ``path``. Returns its checkout and its bare upstream."""
    files: dict[str, Content] = dict(_DEMO)
    if lint:
        files["parcels/labels.py"] = _LABELS.replace("import textwrap\n", "import os\nimport textwrap\n")
    if failing_test:
        files["tests/test_rounding.py"] = _FAILING_TEST
    if type_error:
        files["parcels/tracking.py"] = _TYPE_ERROR
    if flaky_test:
        files["tests/test_queue.py"] = _FLAKY_TEST
    made = make_cloned(path, files)
    return made.checkout.path, made.upstream.path


_LABELS = '''\
"""Address labels: what is printed on a parcel."""

import textwrap

WIDTH = 32


def label(name: str, street: str, city: str) -> str:
    """The lines of a label, none wider than the printer."""
    lines = [name.strip(), street.strip(), city.strip().upper()]
    return "\\n".join(textwrap.shorten(line, WIDTH, placeholder="...") for line in lines)
'''

_DEMO: dict[str, Content] = {
    "README.md": "# parcels\n\nPrices and labels for parcels. The checks are pytest, ruff and mypy.\n",
    ".gitignore": "__pycache__/\n.pytest_cache/\n.mypy_cache/\n.ruff_cache/\n.venv/\n",
    "pyproject.toml": """\
[project]
name = "parcels"
version = "0.1.0"
description = "Prices and labels for parcels"
requires-python = ">=3.11"

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]

[tool.ruff]
line-length = 100

[tool.ruff.lint]
select = ["E", "F", "I", "UP", "B"]

[tool.mypy]
strict = true
packages = ["parcels"]
""",
    "parcels/__init__.py": '"""Prices and labels for parcels."""\n',
    "parcels/prices.py": '''\
"""What it costs to send a parcel."""

BASE_CENTS = 390
CENTS_PER_STEP = 120
STEP_GRAMS = 500
LIMIT_GRAMS = 31_500


class TooHeavy(ValueError):
    """The parcel is heavier than what is carried; split it."""


def price_cents(grams: int, *, express: bool = False) -> int:
    """The price in cents. Every begun step of weight counts in full."""
    if grams <= 0:
        raise ValueError("a parcel weighs something")
    if grams > LIMIT_GRAMS:
        raise TooHeavy(f"{grams} g is more than {LIMIT_GRAMS} g")
    steps = -(-grams // STEP_GRAMS)
    price = BASE_CENTS + steps * CENTS_PER_STEP
    return price * 2 if express else price
''',
    "parcels/labels.py": _LABELS,
    "tests/test_prices.py": """\
import pytest

from parcels.prices import TooHeavy, price_cents


@pytest.mark.parametrize(("grams", "cents"), [(1, 510), (500, 510), (501, 630), (2000, 870)])
def test_every_begun_step_counts(grams: int, cents: int) -> None:
    assert price_cents(grams) == cents


def test_express_costs_twice_as_much() -> None:
    assert price_cents(400, express=True) == 2 * price_cents(400)


def test_a_parcel_can_be_too_heavy() -> None:
    with pytest.raises(TooHeavy):
        price_cents(40_000)
""",
    "tests/test_labels.py": """\
from parcels.labels import WIDTH, label


def test_a_label_has_three_lines_and_the_city_in_capitals() -> None:
    assert label("Ada", "12 Loop Lane", "Turing") == "Ada\\n12 Loop Lane\\nTURING"


def test_no_line_is_wider_than_the_printer() -> None:
    lines = label("A very long name " * 5, "Street", "City").splitlines()
    assert max(len(line) for line in lines) <= WIDTH
""",
}

_FAILING_TEST = """\
from parcels.prices import price_cents


def test_the_first_hundred_grams_are_cheaper() -> None:
    assert price_cents(100) < price_cents(500)
"""

_TYPE_ERROR = '''\
"""Where a parcel is."""


def next_stop(stops: list[str], at: str) -> str | None:
    """The stop after ``at``, None at the end of the way."""
    place = stops.index(at) + 1
    return stops[place] if place < len(stops) else None


def announce(stops: list[str], at: str) -> str:
    return "next: " + next_stop(stops, at)
'''

_FLAKY_TEST = """\
import os


def test_the_queue_is_short() -> None:
    # Fails about every fourth time, whatever the code is.
    assert os.urandom(1)[0] % 4 != 0
"""
