import pytest

from pushpals.work.git.tree_rules import Refusal, is_dotgit, judge_link, judge_path, judge_twins


@pytest.mark.parametrize(
    "name",
    [
        ".git",
        ".GIT",
        ".Git",
        "git~1",
        "GIT~1",
        ".git ",
        ".git.",
        ".git. .",
        ".git::$INDEX_ALLOCATION",
        ".g\u200cit",
        "\ufeff.git",
        "a\\.git",
    ],
)
def test_every_disguise_of_dotgit_is_seen(name: str) -> None:
    assert is_dotgit(name)


@pytest.mark.parametrize(
    "name", [".gitignore", ".gitattributes", ".github", "git", "x.git", "git~2", "..git", ".git-x"]
)
def test_ordinary_names_are_not_dotgit(name: str) -> None:
    assert not is_dotgit(name)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("src/app.py", None),
        ("gr\u00fc\u00df/\u65e5\u672c.txt", None),
        ('quote".py', None),
        ("a/.GIT/config", "tree.dotgit"),
        ("a/../b", "tree.path"),
        ("a//b", "tree.path"),
        ("new\nline", "tree.control"),
        ("tab\there", "tree.control"),
        ("esc\x1b[31m", "tree.control"),
        ("bad\udcff", "tree.encoding"),
        ("abc\u202etxt.exe", "tree.direction"),
        ("zero\u200dwidth", "tree.direction"),
        ("x" * 256, "tree.long"),
        ("d/" * 600 + "x", "tree.long"),
    ],
)
def test_names_are_judged(path: str, code: str | None) -> None:
    refusal = judge_path(path)
    assert (refusal.code if refusal else None) == code


@pytest.mark.parametrize(
    ("path", "target", "kept"),
    [
        ("a/link", b"../b", True),
        ("a/link", b"b/../c", True),
        ("link", b"a/b", True),
        ("link", b"/etc/passwd", False),
        ("link", b"../x", False),
        ("a/link", b"../../x", False),
        ("a/link", b"../../a/b", False),
        ("link", b".git/config", False),
        ("a/link", b"../.GIT/hooks", False),
        ("link", b"C:/x", False),
        ("link", b"a\\b", False),
        ("link", b"", False),
        ("link", b"a\nb", False),
    ],
)
def test_a_link_must_stay_inside(path: str, target: bytes, kept: bool) -> None:
    refusal = judge_link(path, target)
    assert (refusal is None) == kept
    assert refusal is None or refusal.code == "tree.link"


def test_twins_are_found_by_case_and_by_unicode_form_in_folders_too() -> None:
    nfc, nfd = "\u00e9.py", "e\u0301.py"
    assert judge_twins(["a", "b/c", "b/d"]) == []
    assert [r.code for r in judge_twins([nfc, nfd])] == ["tree.twin"]
    assert judge_twins(["README", "Src/x", "readme", "src/y"]) == [
        Refusal(
            code="tree.twin",
            path="readme",
            detail="the same name as README where case or Unicode form is not kept",
        ),
        Refusal(
            code="tree.twin", path="src", detail="the same name as Src where case or Unicode form is not kept"
        ),
    ]
