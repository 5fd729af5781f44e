"""The loop on the source packages of well-known projects, at pinned versions, with their own tests as checks.

Each package is downloaded once with pip into a cache, compared with its digest, and committed as it is, with
the checks named in ``pushpals.toml`` and three findings planted in one module. ``PUSHPALS_PROOF=full`` runs
all of them instead of the quick ones.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pushpals.protocol.jobs import Evidence
from pushpals.testing.repos import Cloned, Repository
from pushpals.testing.stack import fingerprint
from pushpals.testing.town import Town

FULL = os.environ.get("PUSHPALS_PROOF") == "full"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pushpals-tests" / "sdists"

PLANTED = '''

def _planted(number):
    """Three findings that ruff can mend safely: F401, E713, F541."""
    import os
    if not number in (1, 2):
        return f"few"
    return None
'''
MENDED = '''

def _planted(number):
    """Three findings that ruff can mend safely: F401, E713, F541."""
    if number not in (1, 2):
        return "few"
    return None
'''


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """One source package; ``tests`` is the least number of its tests that must have passed."""

    name: str
    version: str
    sha256: str
    module: str
    tests: int
    command: str = "pytest -q"
    quick: bool = False


PROJECTS = (
    # Its configuration makes errors of warnings that today's pytest has and its own did not; its tests of
    # pagers race with a `cat`, and lose now and then on a loaded machine, whatever the change.
    Project(
        name="click", version="8.2.1", module="src/click/globals.py", tests=600, quick=True,
        command="pytest -q -W default --deselect tests/test_utils.py::test_echo_via_pager",
        sha256="27c491cc05d968d271d5a1db13e3b5a184636d9d930f148c50b038f0d0646202",
    ),
    Project(
        name="tabulate", version="0.9.0", module="test/common.py", tests=250, quick=True,
        sha256="0095b12bf5966de529c0feb1fa08671671b3368eec77d7ef7ab114be2c068b3c",
    ),
    Project(
        name="toolz", version="1.0.0", module="toolz/utils.py", tests=150, quick=True,
        sha256="2c86e3d9a04798ac556793bced838816296a2f085017664e4995cb40a1047a02",
    ),
    Project(
        name="idna", version="3.10", module="idna/intranges.py", tests=30,
        sha256="12f65c9b470abda6dc35cf8e63cc574b1c52b11df2c86030af0ac09b01b13ea9",
    ),
    Project(
        name="cachetools", version="6.2.1", module="src/cachetools/keys.py", tests=200,
        sha256="3f391e4bd8f8bf0931169baf7456cc822705f4e2a31f840d218f445b9a854201",
    ),
)  # fmt: skip


def download(project: Project) -> Path:
    """The source package, from the cache or with pip. Its digest is the one that is pinned here."""
    CACHE.mkdir(parents=True, exist_ok=True)
    found = [
        path for path in CACHE.glob("*.tar.gz") if path.name.startswith(f"{project.name}-{project.version}")
    ]
    if not found:
        wanted = f"{project.name}=={project.version}"
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        argv += ["--no-deps", "--no-binary", ":all:", "--dest", str(CACHE), wanted]
        subprocess.run(argv, check=True, timeout=100)
        return download(project)
    digest = hashlib.sha256(found[0].read_bytes()).hexdigest()
    assert digest == project.sha256, f"{found[0].name} is not the package that was pinned"
    return found[0]


def unpack(project: Project, root: Path) -> Cloned:
    """A repository with the package as its first commit, the checks and the findings as its second."""
    upstream = Repository.create(root / "upstream.git", bare=True)
    checkout = Repository.create(root / project.name)
    with tarfile.open(download(project)) as archive:
        members = archive.getmembers()
        for member in members:
            member.name = member.name.partition("/")[2]
        archive.extractall(checkout.path, [m for m in members if m.name], filter="data")
    checkout.commit(f"{project.name} {project.version}")
    checks = f'[[checks]]\nname = "tests"\ncommand = "{project.command}"\n'
    module = (checkout.path / project.module).read_text("utf-8")
    checkout.commit("Name the checks", {"pushpals.toml": checks, project.module: module + PLANTED})
    checkout.git("remote", "add", "origin", str(upstream.path))
    checkout.git("push", "--quiet", "--set-upstream", "origin", "main")
    return Cloned(checkout=checkout, upstream=upstream)


def passed(evidence: list[Evidence], commit: str | None) -> int:
    """How many tests passed on ``commit``, by the receipts."""
    assert len(evidence) == 1, evidence
    (tests,) = evidence
    assert (tests.check, tests.verdict, tests.commit, tests.exit_code) == ("tests", "passed", commit, 0), (
        tests
    )
    assert tests.counts is not None
    assert tests.counts.failed == tests.counts.errors == 0
    return tests.counts.passed


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "project", [pytest.param(p, id=f"{p.name}-{p.version}") for p in PROJECTS if p.quick or FULL]
)
async def test_lint_is_mended_in_a_real_project_and_lands_green(
    project: Project, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    made = unpack(project, tmp_path / "repository")
    before = fingerprint(made.checkout.path)
    began = made.upstream.sha("main")
    async with Town.open(tmp_path / "state", repository=(made.checkout.path, made.upstream.path)) as town:
        await town.say("fix the lint")
        (job,) = await town.work()
        assert job.state == "completed", job.error
        assert job.result is not None
        assert job.result.head is not None, job.result
        head = job.result.head
        assert passed([e for e in job.result.evidence if e.commit == head], head) >= project.tests

        approval = await town.open_approval()
        await town.approve(approval)
        (landing,) = await town.land()
        assert (landing.state, landing.head) == ("landed", approval.action["head"]), landing.cause
        tests = passed(landing.evidence, landing.landed_commit)
        assert tests >= project.tests
        shown = (await town.person.get_artifact(landing.patch or "")).decode()

    main = made.upstream.sha("main")
    assert main == landing.landed_commit
    assert made.upstream.git("rev-parse", "main^1") == began
    files = made.upstream.files("main")
    assert files[project.module].endswith(MENDED.rstrip("\n"))
    changed = made.upstream.git("diff", "--name-only", began, main).splitlines()
    assert sorted(file.path for file in landing.files) == sorted(changed)
    assert project.module in changed
    landed = made.upstream.git("diff", "--full-index", began, main)
    assert [x for x in shown.splitlines() if x[:1] in "+-"] == [
        x for x in landed.splitlines() if x[:1] in "+-"
    ]
    assert set(made.upstream.refs()) == {
        "refs/heads/main", f"refs/pushpals/landed/{job.id}",
    }  # fmt: skip
    assert fingerprint(made.checkout.path) == before
    record_property("files", len(files))
    record_property("tests passed on the landed commit", tests)
    record_property("seconds of them", landing.evidence[0].seconds)
