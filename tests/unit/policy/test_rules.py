"""Policies: loading, refusing to load, merging in one direction, and versions."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from pushpals.policy import api
from pushpals.policy.actions import ExecAction, Executable, LandAction, action_hash, canonical
from pushpals.policy.globs import matches
from pushpals.policy.protected import Change, protected_paths
from pushpals.policy.rules import (
    PolicyError,
    builtin_policy,
    load_policy,
    load_policy_text,
    load_repository_policy,
)

RULE = {"id": "no-rm", "exe": ["rm"], "match": ["rm x"], "not_match": ["ls rm"]}

TEXT = """
[hub]
port = 1

[policy]
preset = "strict"
without = ["install"]
env_allowed = ["DJANGO_SETTINGS_MODULE"]
protected = ["infra/**"]

[[policy.deny]]
id = "no-rm"
exe = ["rm"]
because = "Use git clean."
match = ["rm -rf x", ["rm", "x"], { argv = ["rm"], cwd = "/repo/sub", env = { CI = "1" } }]
not_match = ["ls rm"]

[[policy.allow]]
id = "tests"
exe = ["pytest"]
match = ["pytest -q"]
not_match = ["ls"]
"""


def check(policy: Any, *argv: str) -> str:
    return api.check(policy, api.action_for(argv=argv)).decision


def test_a_policy_file_says_what_it_says() -> None:
    policy = load_policy_text(TEXT)

    assert check(policy, "rm", "x") == "deny"
    assert check(policy, "pytest") == "allow"
    assert check(policy, "pip", "install", "x") == "ask"  # strict asks anyway, now for another reason
    assert api.check(policy, api.action_for(argv=["pip", "install", "x"])).reasons[0] == "not-readonly"
    assert check(policy, "env", "DJANGO_SETTINGS_MODULE=x", "ls") == "allow"
    assert "infra/**" in policy.protected


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"preset": "lax"}, "preset"),
        ({"presets": "strict"}, "presets"),
        ({"deny": [{**RULE, "exes": ["x"]}]}, "exes"),
        ({"deny": [{"id": "x", "match": ["ls"], "not_match": ["id"]}]}, "no condition"),
        ({"deny": [{**RULE, "match": []}]}, "example"),
        ({"deny": [{**RULE, "match": ["ls"]}]}, "does not match"),
        ({"deny": [{**RULE, "not_match": ["rm y"]}]}, "matches"),
        ({"deny": [RULE, RULE]}, "two rules"),
        ({"deny": [{**RULE, "id": "priv"}]}, "two rules"),
        ({"deny": [{**RULE, "id": "No Rm"}]}, "id"),
        ({"deny": "all"}, "deny"),
        ({"without": ["nothing"]}, "nothing"),
        ({"protected_without": ["nothing"]}, "nothing"),
        ({"deny": [{**RULE, "id": f"r{number}"} for number in range(300)]}, "more than"),
    ],
)
def test_a_policy_that_is_not_understood_does_not_load(table: dict[str, Any], says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        load_policy(table)


def test_a_policy_that_is_not_toml_does_not_load() -> None:
    with pytest.raises(PolicyError, match="not TOML"):
        load_policy_text("[policy")
    with pytest.raises(PolicyError, match="not a table"):
        load_policy_text("policy = 3")


def test_a_repository_may_tighten() -> None:
    base = builtin_policy("standard")
    policy = load_repository_policy(base, {"deny": [RULE], "protected": ["core/**"]})
    found = api.check(policy, api.action_for(argv=["rm", "x"]))

    assert (found.decision, found.reasons) == ("deny", ("repo.no-rm",))
    assert policy.widenings == ()
    assert "core/**" in policy.protected
    assert policy.version != base.version


def test_what_a_repository_relaxes_is_ignored_and_reported() -> None:
    base = builtin_policy("strict")
    text = 'policy.preset = "standard"\npolicy.without = ["net"]\npolicy.env_allowed = ["X"]\n' \
        '[[policy.allow]]\nid = "all"\nexe = ["*"]\n[[policy.allow]]\nnonsense = 1\n'  # fmt: skip
    policy = load_repository_policy(base, text)

    assert [widening.what for widening in policy.widenings] == [
        "allow.all",
        "allow",
        "env_allowed",
        "preset",
        "without",
    ]
    assert (policy.preset, policy.deny, policy.ask, policy.allow) == (base.preset, base.deny, base.ask, ())
    assert api.check(policy, api.action_for(argv=["rm", "x"])).decision == "ask"


def test_a_repository_denial_that_cannot_be_read_is_not_dropped() -> None:
    with pytest.raises(PolicyError, match="repository"):
        load_repository_policy(builtin_policy("standard"), {"deny": [{"id": "x", "exes": ["rm"]}]})


def test_the_version_is_that_of_the_contents() -> None:
    assert load_policy({}).version == load_policy({"preset": "standard"}).version
    versions = {builtin_policy(preset).version for preset in ("locked", "strict", "standard")}
    assert len(versions) == 3
    assert load_policy({"deny": [RULE]}).version != load_policy({}).version


def test_built_in_examples_hold_and_a_broken_one_is_named() -> None:
    for preset in ("locked", "strict", "standard"):
        assert api.test(builtin_policy(preset)).ok
    assert api.test(builtin_policy("standard")).passed > 80


def test_show_lists_every_rule_with_its_source() -> None:
    shown = api.show(
        api.policy_for({"deny": [RULE]}, preset="strict", repository={"ask": [{**RULE, "id": "rm-too"}]})
    )

    assert [(line.id, line.decision, line.source) for line in shown.rules if line.source != "builtin"] == [
        ("no-rm", "deny", "operator"),
        ("repo.rm-too", "ask", "repository"),
    ]
    assert shown.preset == "strict"


@pytest.mark.parametrize(
    "change",
    [
        {"argv": ("ls", "a ")},
        {"cwd": "/repo/x"},
        {"env": (("CI", "1"),)},
        {"tree": "t2"},
        {"capabilities": ("net:a.b:1",)},
        {"sandbox": "partial"},
        {"policy_version": "p2"},
        {"attempt": 2},
        {"stdin_sha256": "s"},
        {"executables": (Executable(name="ls", path="/usr/bin/ls", sha256="x"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_e06_everything_that_differs_differs_in_the_hash(change: dict[str, Any]) -> None:
    base = {"argv": ("ls", "a"), "tree": "t1", "policy_version": "p1", "attempt": 1}

    assert action_hash(ExecAction(**{**base, **change})) != action_hash(ExecAction(**base))  # type: ignore[arg-type]


def test_a_landing_is_hashed_over_base_head_and_tree() -> None:
    landing = LandAction(repository="r", target="main", base="a", head="b", tree="c", checks=("1",))

    assert canonical(landing) == (
        b'{"base":"a","checks":["1"],"head":"b","kind":"land","policy_version":"","repository":"r",'
        b'"target":"main","tree":"c"}'
    )
    assert action_hash(landing) == hashlib.sha256(b"pushpals.action.v1\0" + canonical(landing)).hexdigest()


@pytest.mark.parametrize(
    ("change", "patterns"),
    [
        (".github/workflows/x.yml", (".github/**",)),
        ("sub/package.json", ("**/package.json",)),
        ("package.json", ("**/package.json",)),
        ("SETUP.PY", ("**/setup.py",)),
        ("uv.lock", ("**/*.lock",)),
        ("package-lock.json", ("**/*-lock.*",)),
        ("pushpals.toml", ("pushpals.toml",)),
        ("a/.gitattributes", ("**/.gitattributes",)),
        (Change(path="x", old_path="Makefile"), ("**/Makefile",)),
        (Change(path="x", kind="symlink"), ("symlink:*",)),
        (Change(path="a/b", binary=True), ("binary:*",)),
        (Change(path="a/b", made_executable=True), ("mode:+x",)),
        (Change(path="vendor/x", kind="gitlink"), ("gitlink:*",)),
        ("a\u202eb.py", ("display",)),
        ("a\nb.py", ("display",)),
    ],
)
def test_protected_changes(change: Change | str, patterns: tuple[str, ...]) -> None:
    (found,) = protected_paths(["src/app.py", change, "README.md"])

    assert found.patterns == patterns


def test_c21_one_protected_path_among_many_is_found() -> None:
    changed = [f"src/file{number}.py" for number in range(500)]
    changed.insert(250, ".github/workflows/x.yml")

    assert [found.path for found in protected_paths(changed)] == [".github/workflows/x.yml"]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("**/*.py", "b.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("a/**", "a", True),
        ("a/**", "a/b/c", True),
        ("a/**", "ab", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[!a]x", "bx", True),
        ("[!a]x", "ax", False),
        ("*a*b*c*d*", "xxaxxbxxcxxd", True),
        ("*a*b*c*d*", "xxaxxbxx/cxxd", False),
        ("**/a/**/b/**/c", "x/a/y/z/b/c", True),
        ("**a*a**a*", "b" * 4000, False),
    ],
)
def test_globs(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected
