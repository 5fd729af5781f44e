"""The demo's repository: its own checks say what its flags promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pushpals.testing.repos import Link, Program, Repository, make_cloned, make_demo_repository

CHECKS = {
    "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider"],
    "ruff": ["-m", "ruff", "check", "--no-cache", "--output-format", "concise", "."],
    "format": ["-m", "ruff", "format", "--no-cache", "--check", "."],
    "mypy": ["-m", "mypy", "--cache-dir", "/dev/null"],
}


def run(checkout: Path, check: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *CHECKS[check]],
        cwd=checkout,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


def test_by_default_everything_is_green_but_one_lint_finding_that_can_be_fixed(tmp_path: Path) -> None:
    checkout, upstream = make_demo_repository(tmp_path)
    assert {check: run(checkout, check)[0] for check in CHECKS} == {
        "pytest": 0,
        "ruff": 1,
        "format": 0,
        "mypy": 0,
    }
    assert "F401 [*]" in run(checkout, "ruff")[1]
    subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--fix", "-q", "."], cwd=checkout, check=True
    )
    assert {check: run(checkout, check)[0] for check in ("pytest", "ruff", "format")} == {
        "pytest": 0,
        "ruff": 0,
        "format": 0,
    }
    assert Repository(checkout).git("diff", "--stat").splitlines()[-1] == " 1 file changed, 1 deletion(-)"
    assert Repository(upstream).refs() == {"refs/heads/main": Repository(checkout).sha("main")}


@pytest.mark.parametrize(
    ("flag", "check", "says"),
    [("failing_test", "pytest", "1 failed, 8 passed"), ("type_error", "mypy", "[operator]")],
)
def test_a_flag_makes_exactly_its_check_red(tmp_path: Path, flag: str, check: str, says: str) -> None:
    checkout, _ = make_demo_repository(tmp_path, lint=False, **{flag: True})
    codes = {name: run(checkout, name)[0] for name in CHECKS}
    assert codes == {"pytest": 0, "ruff": 0, "format": 0, "mypy": 0} | {check: 1}
    assert says in run(checkout, check)[1]


def test_a_flaky_test_is_there_when_asked_for(tmp_path: Path) -> None:
    checkout, _ = make_demo_repository(tmp_path, flaky_test=True)
    assert (checkout / "tests/test_queue.py").exists()
    assert run(checkout, "format")[0] == 0


def test_the_same_calls_give_the_same_commits(tmp_path: Path) -> None:
    shas = [Repository(make_demo_repository(tmp_path / name)[0]).sha("main") for name in ("one", "two")]
    assert shas[0] == shas[1]


def test_files_links_programs_and_deletions_are_committed(tmp_path: Path) -> None:
    made = make_cloned(tmp_path, {"a": "1\n", "d/b": b"2\n", "l": Link("a"), "p": Program("#!/bin/sh\n")})
    assert made.checkout.files() == {"a": "1", "d/b": "2", "l": "a", "p": "#!/bin/sh"}
    modes = [row.split()[0] for row in made.checkout.git("ls-tree", "-r", "HEAD").splitlines()]
    assert modes == ["100644", "100644", "120000", "100755"]
    made.checkout.commit("Less", {"a": None, "l": "a file now\n"})
    assert made.checkout.files() == {"d/b": "2", "l": "a file now", "p": "#!/bin/sh"}


def test_a_tree_that_no_checkout_could_make_is_made(tmp_path: Path) -> None:
    repo = Repository.create(tmp_path / "r", {"a": "1\n"})
    sha = repo.commit_entries("Odd", {b"d/bad\xff": ("100644", b"x"), b"A": ("100644", b"y")}, parent="main")
    assert sorted(repo.files(sha)) == ["A", "a", "d/bad\udcff"]
    assert repo.sha("main") != sha
