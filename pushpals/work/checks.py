"""How a repository is checked: what it says itself, else what its files make plain.

``pushpals.toml`` decides if it has ``[[checks]]``::

    [[checks]]
    name = "tests"
    command = "pytest -q"        # or argv = ["pytest", "-q"]; never a shell
    timeout_s = 600
    required = true
    cwd = "."

Without it, checks are detected from file names and configuration files alone: nothing of the repository is
executed or imported. Every check that is found, and everything that looked like one and was left out, comes
with its reason, so that ``pushpals init`` can show and a person can judge it. Only detected *tests* are
required: what a linter or a type checker says depends on its version and on installed stubs, and nobody has
said yet that these are the right ones.

The files are those of one commit. A job's checks are read from its *base*, so that a change cannot choose the
checks that judge it.
"""

from __future__ import annotations

import configparser
import json
import posixpath
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pushpals.protocol.jobs import CheckSpec

CONFIG = "pushpals.toml"

READ: frozenset[str] = frozenset(
    {
        CONFIG, "pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini", ".pytest.ini", "pytest.toml",
        ".pytest.toml", "ruff.toml", ".ruff.toml", "mypy.ini", ".mypy.ini", "noxfile.py", "package.json",
        "Makefile", "makefile", "GNUmakefile", "justfile", "Justfile", ".justfile", "Cargo.toml", "go.mod",
        ".pre-commit-config.yaml", "_typos.toml", "typos.toml", ".typos.toml", "setup.py",
        "PKG-INFO",
    }
)  # fmt: skip
"""The files whose content matters, at the root; those that :data:`REQUIREMENTS` matches are read too."""

REQUIREMENTS = re.compile(
    r"(?:requirements/)?[\w.-]*requirements[\w.-]*\.(?:txt|in)|requirements/[\w.-]+\.(?:txt|in)"
)

MAX_CONFIG_BYTES = 1024 * 1024
MAX_CHECKS = 50
TEST_TIMEOUT_S = 1_200.0

_PYTEST_FILES = ("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml")
_TEST_FILE = re.compile(r"(^|/)(test_[^/]*|[^/]*_test)\.py$")
_IN_TESTS = re.compile(r"(?:.*/)?tests?/(?!__init__\.py$)[^/]+\.py$")
_SKIPPED = re.compile(r"(^|/)(\.[^/]+|node_modules|vendor|third_party|_vendor|build|dist|site-packages)/")


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """The names in a tree, and the text of those in :data:`READ` that it has."""

    paths: tuple[str, ...]
    texts: Mapping[str, str] = {}

    def toml(self, name: str) -> dict[str, Any]:
        """The file as TOML, empty if it is missing or broken; :func:`problems` names broken ones."""
        try:
            return tomllib.loads(self.texts.get(name, ""))
        except tomllib.TOMLDecodeError:
            return {}

    def ini(self, name: str) -> configparser.RawConfigParser:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(self.texts.get(name, ""))
        except configparser.Error:
            parser = configparser.RawConfigParser()
        return parser


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One check and why it is one."""

    check: CheckSpec
    reason: str


class Detected(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about how to check a tree."""

    found: tuple[Found, ...] = ()
    fixers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out or is wrong, in sentences."""
    configured: bool = False
    """The checks are the repository's own words, not detected."""

    @property
    def checks(self) -> tuple[CheckSpec, ...]:
        return tuple(one.check for one in self.found)


class BadConfig(ValueError):
    """``pushpals.toml`` does not say what it should; the message names the entry and the remedy."""


def detect(files: Files) -> Detected:
    """The checks and fixers of a tree. Raises :class:`BadConfig` for a broken ``pushpals.toml``."""
    fixers = _fixers(files)
    configured = _configured(files)
    if configured is not None:
        return Detected(found=configured, fixers=fixers, configured=True)
    found: list[Found] = []
    notes: list[str] = []
    for detector in (_tests, _ruff, _mypy, _npm, _cargo, _go):
        found += detector(files, notes)
    if not any(one.check.required for one in found):
        found += _make_and_just(files) or _tox_and_nox(files, notes)
    elif (task := _make_and_just(files)) and len(notes) < 20:
        notes.append(f"`{shlex.join(task[0].check.argv)}` exists too; the tests are run directly instead")
    if not found:
        notes.append(f"no checks were found; name them in {CONFIG} under [[checks]]")
    return Detected(found=tuple(found), fixers=fixers, notes=tuple(notes))


def pick(checks: Iterable[CheckSpec], names: Iterable[str] | None) -> tuple[CheckSpec, ...]:
    """The checks of these names in the repository's order; ``None`` means all. Unknown names raise."""
    known = {check.name: check for check in checks}
    if names is None:
        return tuple(known.values())
    wanted = list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        there = ", ".join(known) or "none"
        raise BadConfig(f"there is no check named {', '.join(unknown)}; this repository has: {there}")
    return tuple(known[name] for name in wanted)


def local_modules(paths: Iterable[str]) -> frozenset[str]:
    """Names that the tree itself can be imported by: packages and modules at the root or in ``src``."""
    names: set[str] = set()
    for path in paths:
        parts = path.split("/")
        if parts[0] in ("src", "lib", "tests", "test") and len(parts) > 1:
            names.add(parts[1].removesuffix(".py"))
        if path.endswith(".py"):
            names.add(parts[0].removesuffix(".py"))
    return frozenset(names)


def min_python(files: Files) -> tuple[int, int] | None:
    """The oldest Python that ``requires-python`` allows, if it says so plainly."""
    project = files.toml("pyproject.toml").get("project", {})
    stated = project.get("requires-python") if isinstance(project, dict) else None
    if not isinstance(stated, str):
        stated = files.ini("setup.cfg").get("options", "python_requires", fallback="")
    floors = [(int(a), int(b or 0)) for a, b in re.findall(r"(?:>=|~=|==)\s*(\d+)(?:\.(\d+))?", stated)]
    return max(floors) if floors else None


# -- the repository's own words -----------------------------------------------------------------------


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    command: str | None = None
    argv: list[str] | None = None
    timeout_s: float | None = None
    timeout: float | None = None
    required: bool = True
    cwd: str = "."


def _configured(files: Files) -> tuple[Found, ...] | None:
    if CONFIG not in files.texts:
        return None
    try:
        raw = tomllib.loads(files.texts[CONFIG])
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{CONFIG} is not valid TOML: {error}") from None
    if "checks" not in raw:
        return None
    try:
        entries = msgspec.convert(raw["checks"], list[_Entry], strict=True)
    except msgspec.ValidationError as error:
        raise BadConfig(f"{CONFIG}, [[checks]]: {error}") from None
    if len(entries) > MAX_CHECKS:
        raise BadConfig(f"{CONFIG} names {len(entries)} checks; at most {MAX_CHECKS} are run")
    found = [Found(check=_check(entry), reason=f"[[checks]] in {CONFIG}") for entry in entries]
    names = [one.check.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadConfig(f"{CONFIG} names the check {twice[0]!r} twice")
    return tuple(found)


def _check(entry: _Entry) -> CheckSpec:
    where = f"{CONFIG}, check {entry.name!r}"
    if not entry.name.strip() or len(entry.name) > 100:
        raise BadConfig(f"{CONFIG}: a check needs a name of 1 to 100 characters")
    if (entry.command is None) == (entry.argv is None):
        raise BadConfig(f"{where}: give either `command` or `argv`")
    try:
        argv = entry.argv if entry.argv is not None else shlex.split(entry.command or "")
    except ValueError as error:
        raise BadConfig(f"{where}: `command` cannot be split: {error}") from None
    if not argv or not argv[0]:
        raise BadConfig(f"{where}: the command is empty")
    operators = [word for word in argv if word in ("&&", "||", "|", ";", ">", "<", "&")]
    if entry.command is not None and operators:
        raise BadConfig(
            f"{where}: there is no shell here, so {operators[0]!r} would be an argument; "
            'make it two checks, or write argv = ["sh", "-c", "…"]'
        )
    cwd = posixpath.normpath(entry.cwd or ".")
    if cwd.startswith(("/", "..")):
        raise BadConfig(f"{where}: `cwd` must stay inside the repository")
    timeout = entry.timeout_s if entry.timeout_s is not None else entry.timeout
    if timeout is not None and not 0 < timeout <= 86_400:
        raise BadConfig(f"{where}: `timeout_s` must be between 0 and 86400 seconds")
    return CheckSpec(name=entry.name, argv=argv, timeout_s=timeout or 300.0, required=entry.required, cwd=cwd)


# -- detection ----------------------------------------------------------------------------------------


def _found(
    name: str, argv: list[str], reason: str, *, timeout_s: float = 300.0, required: bool = True
) -> Found:
    return Found(check=CheckSpec(name=name, argv=argv, timeout_s=timeout_s, required=required), reason=reason)


def _tests(files: Files, notes: list[str]) -> list[Found]:
    found = _pytest(files, notes)
    if found and not _pytest_configured(files):
        for path in files.paths:
            # A test package that can be run says that the suite has a runner of its own.
            if own := re.fullmatch(r"(?:src/)?((?:[A-Za-z_]\w*/)+tests?)/__main__\.py", path):
                module = own[1].replace("/", ".")
                argv = ["python", "-m", module]
                return [_found("tests", argv, f"the runnable package {module}", timeout_s=TEST_TIMEOUT_S)]
    return found


def _pytest_configured(files: Files) -> str:
    tool = files.toml("pyproject.toml").get("tool", {})
    return (
        ("[tool.pytest] in pyproject.toml" if "pytest" in tool else "")
        or next((name for name in _PYTEST_FILES if name in files.texts), "")
        or ("[pytest] in tox.ini" if files.ini("tox.ini").has_section("pytest") else "")
        or ("[tool:pytest] in setup.cfg" if files.ini("setup.cfg").has_section("tool:pytest") else "")
    )


def _pytest(files: Files, notes: list[str]) -> list[Found]:
    configured = _pytest_configured(files)
    tests = [path for path in files.paths if _TEST_FILE.search(path) and not _SKIPPED.search(path)]
    if not tests:
        odd = [path for path in files.paths if _IN_TESTS.match(path)]
        if configured and odd:
            return [_found("pytest", ["pytest", "-q"], configured, timeout_s=TEST_TIMEOUT_S)]
        if configured:
            notes.append(f"{configured}, but there are no test files in this tree")
        return []
    reason = configured or f"{len(tests)} test file{'s' if len(tests) != 1 else ''}, e.g. {tests[0]}"
    return [_found("pytest", ["pytest", "-q"], reason, timeout_s=TEST_TIMEOUT_S)]


def _ruff(files: Files, notes: list[str]) -> list[Found]:
    where = ruff_config(files)
    if where is None:
        return []
    settings = ruff_settings(files)
    # `fix = true` would mend the tree that is judged, and call it clean.
    mends = bool(settings.get("fix") or settings.get("fix-only"))
    argv = ["ruff", "check", "--no-cache", *(("--no-fix", "--no-fix-only") if mends else ()), "."]
    return [_found("ruff", argv, where, required=False)]


def ruff_config(files: Files) -> str | None:
    """Where the repository configures ruff, or None."""
    for name in (".ruff.toml", "ruff.toml"):
        if name in files.texts:
            return name
    return "[tool.ruff] in pyproject.toml" if "ruff" in files.toml("pyproject.toml").get("tool", {}) else None


def ruff_settings(files: Files) -> Mapping[str, Any]:
    """The repository's ruff settings, empty without any."""
    for name in (".ruff.toml", "ruff.toml"):
        if name in files.texts:
            return files.toml(name)
    found = files.toml("pyproject.toml").get("tool", {}).get("ruff", {})
    return found if isinstance(found, dict) else {}


def _mypy(files: Files, notes: list[str]) -> list[Found]:
    pyproject = files.toml("pyproject.toml").get("tool", {}).get("mypy")
    section: Mapping[str, Any] | None = None
    where = ""
    for name in ("mypy.ini", ".mypy.ini", "setup.cfg"):
        parser = files.ini(name)
        if section is None and parser.has_section("mypy"):
            section, where = dict(parser.items("mypy")), name
    if section is None and isinstance(pyproject, dict):
        section, where = pyproject, "[tool.mypy] in pyproject.toml"
    if section is None:
        return []
    targets: list[str] = []
    if not any(key in section for key in ("files", "packages", "modules")):
        targets = _packages(files) or ["."]
    return [_found("mypy", ["mypy", *targets], where, timeout_s=600.0, required=False)]


def _packages(files: Files) -> list[str]:
    found = {
        path.rsplit("/", 1)[0]
        for path in files.paths
        if re.fullmatch(r"(src/)?[A-Za-z_]\w*/__init__\.py", path)
    }
    return sorted(name for name in found if name.split("/")[-1] not in ("tests", "test", "docs", "examples"))


def _npm(files: Files, notes: list[str]) -> list[Found]:
    try:
        scripts = json.loads(files.texts.get("package.json", "{}")).get("scripts", {})
        script = scripts.get("test") if isinstance(scripts, dict) else None
    except (ValueError, AttributeError):
        notes.append("package.json is not valid JSON")
        return []
    if not isinstance(script, str) or "no test specified" in script:
        return []
    return [_found("npm test", ["npm", "test"], "scripts.test in package.json", timeout_s=TEST_TIMEOUT_S)]


def _cargo(files: Files, notes: list[str]) -> list[Found]:
    if "Cargo.toml" not in files.texts:
        return []
    return [_found("cargo test", ["cargo", "test", "--offline"], "Cargo.toml", timeout_s=TEST_TIMEOUT_S)]


def _go(files: Files, notes: list[str]) -> list[Found]:
    if "go.mod" not in files.texts:
        return []
    return [_found("go test", ["go", "test", "./..."], "go.mod", timeout_s=TEST_TIMEOUT_S)]


def _make_and_just(files: Files) -> list[Found]:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        for target in ("test", "check"):
            if re.search(rf"^{target}\s*:(?!=)", files.texts.get(name, ""), re.M):
                reason = f"the target {target!r} in {name}"
                return [_found(f"make {target}", ["make", target], reason, timeout_s=TEST_TIMEOUT_S)]
    for name in ("justfile", "Justfile", ".justfile"):
        if re.search(r"^@?test\b[^:\n]*:(?!=)", files.texts.get(name, ""), re.M):
            return [
                _found(
                    "just test", ["just", "test"], f"the recipe 'test' in {name}", timeout_s=TEST_TIMEOUT_S
                )
            ]
    return []


def _tox_and_nox(files: Files, notes: list[str]) -> list[Found]:
    tool = files.toml("pyproject.toml").get("tool", {})
    if (
        files.ini("tox.ini").has_section("tox")
        or files.ini("tox.ini").has_section("testenv")
        or "tox" in tool
    ):
        name, where = "tox", "tox.ini" if "tox.ini" in files.texts else "[tool.tox] in pyproject.toml"
    elif "noxfile.py" in files.texts:
        name, where = "nox", "noxfile.py"
    else:
        return []
    notes.append(
        f"{name} builds environments from the network, which a sandbox does not have; "
        f"name a direct check in {CONFIG}"
    )
    return [_found(name, [name], where, timeout_s=TEST_TIMEOUT_S, required=False)]


def _fixers(files: Files) -> tuple[str, ...]:
    python = any(path.endswith((".py", ".pyi")) for path in files.paths)
    return (*(("ruff", "format") if python else ()), "typos")
