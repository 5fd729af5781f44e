"""How checks are found: a table of trees as real projects have them."""

from __future__ import annotations

import pytest

from pushpals.protocol.jobs import CheckSpec
from pushpals.work.checks import BadConfig, Files, detect, local_modules, min_python, pick


def files(texts: dict[str, str], *paths: str) -> Files:
    return Files(paths=(*paths, *texts), texts=texts)


def argvs(found: Files) -> dict[str, list[str]]:
    return {one.name: one.argv for one in detect(found).checks}


TESTS = ("tests/test_a.py", "pkg/__init__.py")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (files({}, *TESTS), {"pytest": ["pytest", "-q"]}),
        (
            files({"pyproject.toml": "[tool.pytest.ini_options]\n"}, "tests/checks.py"),
            {"pytest": ["pytest", "-q"]},
        ),
        (files({"setup.cfg": "[tool:pytest]\ntestpaths = tests\n"}, *TESTS), {"pytest": ["pytest", "-q"]}),
        (
            files({}, "pkg/test/__main__.py", "pkg/test/a_test.py", "pkg/__init__.py"),
            {"tests": ["python", "-m", "pkg.test"]},
        ),
        (
            files({"pyproject.toml": "[tool.ruff]\n[tool.mypy]\nstrict = true\n"}, *TESTS),
            {
                "pytest": ["pytest", "-q"],
                "ruff": ["ruff", "check", "--no-cache", "."],
                "mypy": ["mypy", "pkg"],
            },
        ),
        (files({"mypy.ini": "[mypy]\nfiles = src\n"}, "src/a/__init__.py"), {"mypy": ["mypy"]}),
        (files({"ruff.toml": ""}), {"ruff": ["ruff", "check", "--no-cache", "."]}),
        (
            files({"ruff.toml": "fix = true\n"}),
            {"ruff": ["ruff", "check", "--no-cache", "--no-fix", "--no-fix-only", "."]},
        ),
        (files({"package.json": '{"scripts": {"test": "vitest run"}}'}), {"npm test": ["npm", "test"]}),
        (
            files({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}),
            {},
        ),
        (files({"package.json": "{"}), {}),
        (files({"Makefile": "VERSION := 1\ntest: build\n\tgo test\n"}), {"make test": ["make", "test"]}),
        (files({"Makefile": "test := no target\n"}), {}),
        (files({"justfile": "test *args:\n  pytest\n"}), {"just test": ["just", "test"]}),
        (files({"Cargo.toml": "[package]\n"}), {"cargo test": ["cargo", "test", "--offline"]}),
        (files({"go.mod": "module x\n"}), {"go test": ["go", "test", "./..."]}),
        (files({"tox.ini": "[tox]\nenvlist = py311\n"}), {"tox": ["tox"]}),
        (files({"noxfile.py": "import nox\n"}), {"nox": ["nox"]}),
        (files({"tox.ini": "[tox]\n", "Makefile": "test:\n\ttox\n"}, *TESTS), {"pytest": ["pytest", "-q"]}),
        (files({}, "node_modules/x/test_y.py", "vendor/test_z.py", ".tox/lib/test_q.py"), {}),
        (files({}, "README.md"), {}),
    ],
)
def test_checks_are_detected(found: Files, expected: dict[str, list[str]]) -> None:
    assert argvs(found) == expected


def test_every_finding_has_a_reason_and_what_is_left_out_a_note() -> None:
    found = detect(files({"Makefile": "test:\n\tpytest\n"}, *TESTS))
    assert [(one.check.name, one.reason) for one in found.found] == [
        ("pytest", "1 test file, e.g. tests/test_a.py")
    ]
    assert found.notes == ("`make test` exists too; the tests are run directly instead",)
    assert detect(files({})).notes == ("no checks were found; name them in pushpals.toml under [[checks]]",)
    assert "builds environments from the network" in detect(files({"tox.ini": "[testenv]\n"})).notes[0]


def test_only_detected_tests_are_required() -> None:
    found = detect(files({"pyproject.toml": "[tool.ruff]\n[tool.mypy]\n"}, *TESTS))
    assert {one.name: one.required for one in found.checks} == {"pytest": True, "ruff": False, "mypy": False}


def test_the_repository_s_own_words_come_first() -> None:
    config = """
[[checks]]
name = "unit"
command = "pytest -q 'tests/unit tests'"

[[checks]]
name = "types"
argv = ["mypy", "--strict"]
timeout_s = 60
required = false
cwd = "back/./end"
"""
    found = detect(files({"pushpals.toml": config, "ruff.toml": ""}, *TESTS))
    assert found.configured
    assert found.checks == (
        CheckSpec(name="unit", argv=["pytest", "-q", "tests/unit tests"]),
        CheckSpec(name="types", argv=["mypy", "--strict"], timeout_s=60, required=False, cwd="back/end"),
    )


def test_a_file_without_checks_leaves_them_to_detection_and_an_empty_list_means_none() -> None:
    assert not detect(files({"pushpals.toml": "[session]\nid = 'x'\n"}, *TESTS)).configured
    none = detect(files({"pushpals.toml": "checks = []\n"}, *TESTS))
    assert (none.configured, none.checks) == (True, ())


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("[[checks]]\nname = 'a'", "give either `command` or `argv`"),
        ("[[checks]]\nname = 'a'\ncommand = 'x'\nargv = ['x']", "give either `command` or `argv`"),
        ("[[checks]]\ncommand = 'x'", "missing required field `name`"),
        ("[[checks]]\nname = 'a'\ncommand = ''", "the command is empty"),
        (
            "[[checks]]\nname = 'a'\ncommand = 'a && b'",
            "there is no shell here, so '&&' would be an argument",
        ),
        ("[[checks]]\nname = 'a'\ncommand = \"it's\"", "cannot be split"),
        ("[[checks]]\nname = 'a'\ncommand = 'x'\ncwd = '../up'", "must stay inside the repository"),
        ("[[checks]]\nname = 'a'\ncommand = 'x'\ntimeout_s = 0", "between 0 and 86400"),
        ("[[checks]]\nname = 'a'\ncommand = 'x'\nshell = true", "unknown field `shell`"),
        ("[[checks]]\nname = 'a'\ncommand = 'x'\n[[checks]]\nname = 'a'\ncommand = 'y'", "'a' twice"),
        ("[[checks", "is not valid TOML"),
        ("checks = 1", "Expected `array`"),
    ],
)
def test_a_broken_configuration_is_refused_with_the_place_and_the_remedy(config: str, complaint: str) -> None:
    with pytest.raises(BadConfig, match=r"pushpals\.toml") as refused:
        detect(files({"pushpals.toml": config}, *TESTS))
    assert complaint in str(refused.value)


def test_broken_files_of_others_are_no_reason_to_fail() -> None:
    broken = {"pyproject.toml": "[[[", "setup.cfg": "no section\n", "tox.ini": "=\n", "package.json": "]"}
    assert argvs(files(broken, *TESTS)) == {"pytest": ["pytest", "-q"]}


def test_checks_are_picked_by_name_in_the_repository_s_order() -> None:
    checks = [CheckSpec(name=name, argv=[name]) for name in ("a", "b", "c")]
    assert [one.name for one in pick(checks, ["c", "a", "c"])] == ["c", "a"]
    assert pick(checks, None) == tuple(checks)
    assert pick(checks, []) == ()
    with pytest.raises(BadConfig, match="no check named x; this repository has: a, b, c"):
        pick(checks, ["x"])


def test_the_oldest_python_is_read_where_it_is_stated() -> None:
    assert min_python(files({"pyproject.toml": '[project]\nrequires-python = ">=3.9,<4"\n'})) == (3, 9)
    assert min_python(files({"setup.cfg": "[options]\npython_requires = >=3.8\n"})) == (3, 8)
    assert min_python(files({"pyproject.toml": '[project]\nrequires-python = "<4"\n'})) is None
    assert min_python(files({})) is None


def test_a_tree_knows_its_own_modules() -> None:
    names = local_modules(["src/pkg/a.py", "single.py", "tests/helper.py", "docs/conf.py", "README.md"])
    assert {"pkg", "single", "helper", "tests", "docs"} <= names
    assert "README" not in names
