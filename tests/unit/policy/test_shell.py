"""What is judged is what runs: the plain form against a real bash, and refusals of what bash refuses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushpals.policy.plain import Pipeline, Step
from pushpals.policy.shell import MAX_SCRIPT_BYTES, Refused, Script, parse
from pushpals.policy.words import Dynamic, unquoted

RECORD = r"""#!/bin/sh
{ printf '%s' "${0##*/}"; printf '\037%s' "$@"; printf '\036'; } >> "${0%/*}/log"
"""
BASH = shutil.which("bash") or "/bin/bash"


def bash(script: str, directory: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [BASH, "--noprofile", "--norc", "-p", "-c", "--", script],
        cwd=directory,
        env={"PATH": str(directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose programs write their arguments down, one command a line."""
    directory = tmp_path_factory.mktemp("programs")
    for name in ("one", "two"):
        program = directory / name
        program.write_text(RECORD)
        program.chmod(0o755)
    return directory


pieces = st.sampled_from(
    [
        *(
            "one",
            "two",
            "-x",
            "a b",
            "'a b'",
            '"a b"',
            "a\\ b",
            "'$(id)'",
            "a'b'\"c\"",
            "\\'",
            '"\\""',
            "x=1",
            "''",
        ),
        *(
            "^",
            "@",
            "%",
            "&&",
            "||",
            ";",
            "\n",
            "#",
            "# c\n",
            "2>&1",
            ">/dev/null",
            "2> /dev/null",
            "&> /dev/null",
        ),
        *("\\\n", "ö", "a#b", "-"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=7).map(lambda parts: "one " + " ".join(parts)))
def test_the_plain_form_is_what_bash_would_run(recorder: Path, script: str) -> None:
    parsed = parse(script)
    if isinstance(parsed, Refused) or parsed.plain is None:
        return
    steps = [step for pipeline in parsed.plain for step in pipeline.steps]
    if any(step.argv[0] not in ("one", "two") for step in steps):
        return
    expected: list[tuple[str, ...]] = []
    ran = True
    for pipeline in parsed.plain:
        ran = pipeline.connector != "||"  # every program here succeeds
        if ran:
            expected += [step.argv for step in pipeline.steps]
    (recorder / "log").write_bytes(b"")
    done = bash(script, recorder)
    records = (recorder / "log").read_bytes().decode().split("\x1e")[:-1]

    assert done.returncode == 0
    assert [tuple(record.split("\x1f")) if "\x1f" in record else (record,) for record in records] == [
        argv if len(argv) > 1 else (argv[0], "") for argv in expected
    ]


@pytest.mark.parametrize(
    "script",
    [
        "ls ;; id",
        "ls &&",
        "ls |",
        "; ls",
        "ls ; ; id",
        "done",
        "fi; ls",
        "} ls",
        "if true; fi",
        "( ls",
        "ls )",
        "'a",
        '"a',
        "$(ls",
        "`ls",
        "ls > ",
        "ls >\nid",
        "case x in",
        "f() {",
        "ls &&& id",
        "for x; do",
        "-c",
        "coproc done",
    ],
)
def test_what_bash_refuses_is_refused(script: str, tmp_path: Path) -> None:
    refused = parse(script)

    assert isinstance(refused, Refused)
    assert refused.code == "parse.error"
    if script != "-c":
        assert bash(script, tmp_path).returncode != 0


@pytest.mark.parametrize(
    "script",
    [
        "ls $x",
        "ls *",
        "ls ~",
        "ls {a,b}",
        "ls [ab]",
        "ls ?",
        "A=1 ls",
        "ls > f",
        "ls < f",
        "ls & id",
        "! ls",
        "time ls",
        "(ls)",
        "{ ls; }",
        "ls |& cat",
        "exec ls",
        "eval ls",
        ". f",
        "cd",
        "cd -",
        "cd ..",
        "cd /etc",
        "cd a | ls",
        "ls <<E\nE",
        "ls $'a'",
        "command ls",
        "export A",
        "ls 3>/dev/null",
        "ls >&2",
        "coproc ls",
        "[[ a ]]",
        "set -e",
        ": x",
    ],
)
def test_what_needs_a_shell_has_no_plain_form(script: str) -> None:
    parsed = parse(script)

    assert isinstance(parsed, Script)
    assert parsed.plain is None


def test_redirections_and_directories_of_a_plain_script() -> None:
    parsed = parse("cd sub/dir && one 2>&1 >/dev/null | two &> /dev/null\none </dev/null")

    assert isinstance(parsed, Script)
    assert parsed.plain == (
        Pipeline(connector="", steps=(Step(argv=("cd", "sub/dir")),)),
        Pipeline(
            connector="&&",
            steps=(
                Step(argv=("one",), redirects=("stderr-to-stdout", "stdout-null")),
                Step(argv=("two",), redirects=("stdout-null", "stderr-null")),
            ),
        ),
        Pipeline(connector=";", steps=(Step(argv=("one",), redirects=("stdin-null",)),)),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a'b'\"c\"", "abc"),
        ("\\su\\do", "sudo"),
        ("$'\\x73\\165do'", "sudo"),
        ('"a\\$b"', "a$b"),
        ("'$x'", "$x"),
    ],
)
def test_quoting_is_undone(text: str, value: str) -> None:
    assert unquoted(text) == value
    assert not isinstance(unquoted(text), Dynamic)


@pytest.mark.parametrize("text", ["$x", '"$x"', "a*", "~", "a{b,c}", "`id`", "[ab]"])
def test_words_that_only_the_run_knows_are_marked(text: str) -> None:
    assert isinstance(unquoted(text), Dynamic)


@pytest.mark.parametrize("unit", ["a|", "$(", "x=(", "f()", "<<a ", "[[ a == ", "{a,", "((", "case x in "])
def test_hostile_scripts_end_quickly_in_a_refusal(unit: str) -> None:
    assert isinstance(parse((unit * MAX_SCRIPT_BYTES)[:MAX_SCRIPT_BYTES]), Refused)


@given(st.text(alphabet="ls$()`'\"\\\n;&|<>{}[]#~*?=! \tx0é\u202e", max_size=40))
def test_no_text_is_too_strange_to_be_read(text: str) -> None:
    assert isinstance(parse(text), Script | Refused)
