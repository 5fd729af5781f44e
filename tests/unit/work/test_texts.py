"""Scopes, pasted diffs, prose, and what a project is called: pure functions over text."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pushpals.work import ruff
from pushpals.work.checks import Files
from pushpals.work.patching import Rejected, extract, rejections, strip_level, subject, touched
from pushpals.work.propose import added_text
from pushpals.work.scope import matches, outside
from pushpals.work.spelling import Typo, as_diff, may_read, python_prose, read_typos, safe
from pushpals.work.standin import standin_files, unwanted_plugins

DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n"


@pytest.mark.parametrize(
    ("path", "glob", "answer"),
    [
        ("src/a.py", "src", True),
        ("src/a.py", "src/", True),
        ("src/a/b.py", "src/*.py", False),
        ("src/a/b.py", "src/**/*.py", True),
        ("src/b.py", "src/**/*.py", True),
        ("a.md", "*.md", True),
        ("docs/a.md", "*.md", False),
        ("docs/a.md", "**/*.md", True),
        ("srcs/a.py", "src", False),
        ("a+b.py", "a+b.py", True),
        ("aab.py", "a+b.py", False),
        ("x/y", "**", True),
        ("x/y", ".", True),
        ("x\ny", "x?y", True),
        ("ab", "./ab", True),
    ],
)
def test_globs_are_about_whole_paths(path: str, glob: str, answer: bool) -> None:
    assert matches(path, glob) is answer


def test_no_globs_means_the_whole_tree() -> None:
    assert outside(["a", "b/c"], []) == []
    assert outside(["a", "b/c"], ["b"]) == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        DIFF,
        f"Apply this please:\n\n```diff\n{DIFF}```\nthanks",
        f"~~~\n{DIFF}~~~",
        "Here:\n" + "".join(f"    {line}\n" for line in DIFF.splitlines()),
        DIFF.replace("\n", "\r\n"),
        f"{DIFF}\n\n\n",
    ],
)
def test_a_diff_is_found_in_what_people_paste(text: str) -> None:
    found = extract(text)
    assert found is not None
    assert found.rstrip("\n").endswith("@@ -1 +1 @@\n-a\n+b") or found.startswith(DIFF.rstrip("\n"))


@pytest.mark.parametrize("text", ["", "please fix it", "--- a\n", "```python\nprint(1)\n```"])
def test_words_are_no_diff(text: str) -> None:
    assert extract(text) is None


def test_the_space_of_an_empty_context_line_is_put_back() -> None:
    assert extract("--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n") == (
        "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n \n-b\n+c\n"
    )


def test_what_a_diff_says_of_itself() -> None:
    assert (strip_level(DIFF), strip_level("--- x.py\n+++ x.py\n"), touched(DIFF)) == (1, 0, ["x.py"])
    assert subject("From 1\nSubject: [PATCH 1/2] Mend the door\n\n") == "Mend the door"


def test_a_refused_hunk_is_shown() -> None:
    stderr = "error: patch failed: x.py:1\nerror: x.py: patch does not apply\nerror: y.py: No such file or directory\n"
    assert rejections(stderr, DIFF) == [
        Rejected(path="x.py", line=1, hunk="@@ -1 +1 @@\n-a\n+b"),
        Rejected(path="y.py", line=0, hunk="the file does not exist on the base"),
    ]


def test_added_lines_are_counted_by_file_and_never_mistaken_for_headers() -> None:
    diff = (
        b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n a\n+++ not a header\n"
        b"diff --git a/y b/y\n@@ -0,0 +1 @@\n+new\n"
    )
    assert added_text(diff) == {"0": b"++ not a header", "1": b"new"}


def typo(path: str, line: int, offset: int, word: str, *corrections: str) -> Typo:
    return Typo(path=path, line=line, offset=offset, word=word, corrections=list(corrections or ("x",)))


def test_only_prose_is_corrected() -> None:
    source = b'"""Teh first."""\nteh = "teh"  # teh end\n\ndef f():\n    """>>> teh\n    teh\n    """\n'
    found = [
        typo("a.py", 1, 3, "Teh", "The"),
        typo("a.py", 2, 0, "teh", "the"),
        typo("a.py", 2, 7, "teh", "the"),
        typo("a.py", 2, 15, "teh", "the"),
        typo("a.py", 5, 11, "teh", "the"),
        typo("a.py", 6, 4, "teh", "the"),
    ]
    assert [(one.line, one.offset) for one in safe(found, {"a.py": source})] == [(1, 3), (2, 15), (6, 4)]


@pytest.mark.parametrize(
    ("line", "offset"),
    [
        (b"see `teh` there", 5),
        (b"http://example.org/teh", 19),
        (b"a/teh", 2),
        (b"--teh", 2),
        (b"    teh indented", 4),
        (b"by Sebastien Teh", 13),
        (b"a TEH constant", 2),
    ],
)
def test_what_may_be_a_name_is_left_alone(line: bytes, offset: int) -> None:
    word = line[offset : offset + 3].decode()
    assert word.lower() == "teh"
    assert safe([typo("a.md", 1, offset, word, "the")], {"a.md": line}) == []


@pytest.mark.parametrize(
    ("line", "offset"), [(b"Teh cat", 0), (b"Yes. Teh cat", 5), (b"- Teh cat", 2), (b"# Teh", 2)]
)
def test_a_capital_at_the_beginning_of_a_sentence_is_no_name(line: bytes, offset: int) -> None:
    found = [typo("a.md", 1, offset, "Teh", "The")]
    assert safe(found, {"a.md": line}) == found


def test_uncertain_and_stale_findings_are_left_alone() -> None:
    contents = {"a.md": b"teh cat"}
    assert safe([typo("a.md", 1, 0, "teh", "the", "ten")], contents) == []
    assert safe([typo("a.md", 1, 1, "teh", "the")], contents) == []
    assert safe([typo("a.md", 9, 0, "teh", "the")], contents) == []
    assert safe([typo("b.md", 1, 0, "teh", "the")], contents) == []


def test_files_that_are_data_are_not_read() -> None:
    assert [may_read(path) for path in ("README.md", "docs/a.rst", "a.py")] == [True] * 3
    refused = ("tests/data/x.txt", "requirements.txt", "LICENSE.txt", "a.json", "a.js", "fixtures/a.md")
    assert [may_read(path) for path in refused] == [False] * 6


def test_python_that_cannot_be_read_has_no_prose() -> None:
    assert python_prose(b"def f(:\n  '''\n") is None
    assert python_prose(b"\xff\xfe") is None


def test_corrections_are_a_diff_that_git_applies(tmp_path: Path) -> None:
    contents = {"a.md": b"Teh cat, teh dog\nok\nno teh end", "b.md": "é teh\n".encode()}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    fixes = [
        typo("a.md", 1, 0, "Teh", "The"),
        typo("a.md", 1, 9, "teh", "the"),
        typo("a.md", 3, 3, "teh", "the"),
        typo("b.md", 1, 3, "teh", "the"),
    ]
    subprocess.run(
        ["git", "apply", "--unidiff-zero", "-p1"], input=as_diff(fixes, contents), cwd=tmp_path, check=True
    )
    assert (tmp_path / "a.md").read_bytes() == b"The cat, the dog\nok\nno the end"
    assert (tmp_path / "b.md").read_text() == "é the\n"


def test_other_lines_of_typos_are_ignored() -> None:
    data = b'{"type":"binary_file","path":"x"}\nnoise\n{"type":"typo","path":"./a.md","line_num":1,"byte_offset":0,"typo":"teh","corrections":["the"]}\n'
    assert read_typos(data) == [typo("a.md", 1, 0, "teh", "the")]


def files(**texts: str) -> Files:
    return Files(paths=(), texts={name.replace("__", "."): text for name, text in texts.items()})


def test_rules_are_named_and_the_repository_s_word_holds() -> None:
    none = ruff.lint_options(files())
    assert none[none.index("--select") + 1] == ",".join(ruff.RULES)
    assert "--isolated" in none
    named = ruff.lint_options(
        files(
            pyproject__toml='[project]\nrequires-python = ">=3.9"\n[tool.ruff.lint]\nselect = ["E", "UP"]\n'
        )
    )
    assert "--select" not in named
    assert "--ignore" not in named
    everything = ruff.lint_options(files(ruff__toml='lint.select = ["ALL"]\nlint.ignore = ["E703"]\n'))
    assert everything[everything.index("--select") + 1] == ",".join(ruff.RULES)
    assert everything[everything.index("--ignore") + 1] == "E703,UP"
    added = ruff.lint_options(files(ruff__toml='target-version = "py39"\nextend-select = ["I"]\n'))
    assert added[added.index("--select") + 1].endswith(",I")
    assert all("--no-unsafe-fixes" in options for options in (none, named, everything, added))


def test_black_s_settings_are_kept_when_formatting() -> None:
    black = files(pyproject__toml="[tool.black]\nline-length = 79\nskip-string-normalization = true\n")
    options = ruff.format_options(black)
    assert options[options.index("--line-length") + 1] == "79"
    assert 'format.quote-style="preserve"' in options
    assert ruff.formatter_configured(black) == "[tool.black] in pyproject.toml"
    assert ruff.formatter_configured(files()) is None


def test_every_named_rule_exists_in_the_installed_ruff() -> None:
    import json
    import sys

    program = Path(sys.prefix, "bin", "ruff")
    rules = json.loads(
        subprocess.run(
            [program, "rule", "--all", "--output-format", "json"], capture_output=True, check=True
        ).stdout
    )
    stable = {rule["code"] for rule in rules if not rule.get("preview")}
    assert [rule for rule in (*ruff.RULES, *ruff.DISTRUSTED) if rule not in stable] == []


def test_a_project_that_is_not_installed_gets_the_metadata_an_install_would_write() -> None:
    pyproject = '[project]\nname = "My.Pkg"\nversion = "1.2"\n[project.scripts]\nmine = "my.pkg:main"\n'
    assert standin_files(files(pyproject__toml=pyproject)) == {
        "My_Pkg-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: My.Pkg\nVersion: 1.2\n",
        "My_Pkg-1.2.dist-info/INSTALLER": "pushpals\n",
        "My_Pkg-1.2.dist-info/entry_points.txt": "[console_scripts]\nmine = my.pkg:main\n",
    }
    dynamic = '[project]\nname = "p"\ndynamic = ["version"]\n'
    assert next(iter(standin_files(files(pyproject__toml=dynamic)))) == "p-0.0.0.dist-info/METADATA"
    both = {
        "pyproject.toml": dynamic,
        "PKG-INFO": "Metadata-Version: 2.1\nName: p\nVersion: 3\n\nVersion: 9\n",
    }
    assert next(iter(standin_files(Files(paths=(), texts=both)))) == "p-3.dist-info/METADATA"
    assert standin_files(files()) == {}
    assert standin_files(files(pyproject__toml='[project]\nname = "../../x"\n')) == {}


def test_plug_ins_that_nobody_asked_for_are_left_out() -> None:
    plugins = {"asyncio": "pytest_asyncio", "xdist": "pytest_xdist", "anyio": "anyio", "mine": "my_plugin"}
    assert unwanted_plugins(plugins, files()) == ["anyio", "asyncio", "mine", "xdist"]
    config = '[project]\nname = "my-plugin"\ndependencies = ["anyio"]\n[tool.pytest.ini_options]\nasyncio_mode = "auto"\n'
    assert unwanted_plugins(plugins, files(pyproject__toml=config)) == ["xdist"]
