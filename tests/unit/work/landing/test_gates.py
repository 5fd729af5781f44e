"""What may not land, judged over the whole branch and each of its commits."""

import re
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from pushpals.testing.repos import Content, Link, Program
from pushpals.work.git.judge import ChangeLimits
from pushpals.work.git.tree_rules import Refusal
from pushpals.work.landing.gates import Flag, GatePolicy, Judgement, default_protected, judge_branch

from .conftest import LINES, Stage


class Found(msgspec.Struct, frozen=True, kw_only=True):
    rule: str
    line: int
    fingerprint: str = "f00d"


def scan(path: str, added_text: str) -> Sequence[Found]:
    """A scanner for tests: a secret is the word TOKEN with digits; a name can be one as well."""
    named = [Found(rule="name", line=0)] if path.endswith(".pem") else []
    lines = added_text.split("\n")
    return named + [
        Found(rule="token", line=n) for n, line in enumerate(lines, 1) if re.search(r"TOKEN\d+", line)
    ]


async def judged(stage: Stage, head: str, policy: GatePolicy | None = None) -> Judgement:
    await stage.repo.fetch_sha(stage.remote, stage.main(), "refs/upstream/main")
    return await judge_branch(stage.repo, target=stage.main(), head=head, scan=scan, policy=policy)


def found(judgement: Judgement) -> set[tuple[str, str]]:
    return {(refusal.code, refusal.path) for refusal in judgement.refusals}


async def test_an_ordinary_branch_passes_with_everything_told(stage: Stage) -> None:
    base = stage.main()
    head = await stage.head("j", {"a.txt": LINES + "end\n"}, {"new.py": "x = 1\n"})
    judgement = await judged(stage, head)
    assert judgement.passed
    assert (judgement.base, judgement.head, judgement.flags) == (base, head, ())
    assert judgement.commits == tuple(stage.work.git("rev-list", "--reverse", f"{base}..{head}").split())
    assert [file.path for file in judgement.files] == ["a.txt", "new.py"]


@pytest.mark.parametrize(
    ("name", "code", "shown"),
    [
        (b".git/hooks/x", "tree.dotgit", ".git/hooks/x"),
        (b"sub/.GiT/config", "tree.dotgit", "sub/.GiT/config"),
        (b"new\nline", "tree.control", r"new\nline"),
        (b"esc\x1b[2J", "tree.control", r"esc\x1b[2J"),
        (b"bad\xff", "tree.encoding", r"bad\xff"),
        ("gpj\u202ecod.exe".encode(), "tree.direction", r"gpj\u202ecod.exe"),
        (b"A.TXT", "tree.twin", "A.TXT"),
    ],
)
async def test_names_that_no_checkout_should_get(stage: Stage, name: bytes, code: str, shown: str) -> None:
    base = stage.main()
    sha = stage.work.commit_entries("Names", {name: ("100644", b"x\n")}, parent=base)
    # Taken without fsck here: the gate itself must see it, whatever the way in was.
    stage.work.git("push", "-q", str(stage.repo.path), f"{sha}:refs/queue/j/head")
    assert found(await judged(stage, sha)) == {(code, shown)}


async def test_twins_by_unicode_form_within_one_branch(stage: Stage) -> None:
    entries = {"\u00e9.py".encode(): ("100644", b"1\n"), "e\u0301.py".encode(): ("100644", b"2\n")}
    head = await stage.publish("j", stage.work.commit_entries("Twins", entries, parent=stage.main()))
    assert {code for code, _ in found(await judged(stage, head))} == {"tree.twin"}


async def test_twins_that_are_there_already_are_not_the_branch_s_fault(stage: Stage) -> None:
    twins = stage.work.commit_entries("Twins", {b"A.TXT": ("100644", b"x\n")}, parent=stage.main())
    stage.cloned.push(f"{twins}:refs/heads/main")
    head = await stage.publish(
        "j", stage.work.commit_entries("More", {b"c.txt": ("100644", b"x\n")}, parent=twins)
    )
    assert (await judged(stage, head)).passed


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "../..", ".git/config", "C:\\x"])
async def test_a_link_that_leaves_is_refused_also_if_a_later_commit_removes_it(
    stage: Stage, target: str
) -> None:
    assert found(await judged(stage, await stage.head("j", {"d/out": Link(target)}))) == {
        ("tree.link", "d/out")
    }
    gone = await stage.head("k", {"d/out": Link(target)}, {"d/out": None, "x": "x"})
    assert found(await judged(stage, gone)) == {("tree.link", "d/out")}


async def test_a_link_inside_passes_and_a_file_below_a_linked_folder_cannot_exist(stage: Stage) -> None:
    head = await stage.head("j", {"d/in": Link("../a.txt"), "folder": Link("d")})
    assert (await judged(stage, head)).passed


async def test_a_submodule_pointer_is_refused_unless_the_policy_allows_it(stage: Stage) -> None:
    base = stage.main()
    entries = {
        b"lib": ("160000", base.encode()),
        b".gitmodules": ("100644", b'[submodule "lib"]\n\tpath = lib\n\turl = ../lib\n'),
    }
    head = await stage.publish("j", stage.work.commit_entries("Module", entries, parent=base))
    refused = await judged(stage, head)
    assert found(refused) == {("tree.submodule", "lib")}
    assert [flag.path for flag in refused.flags] == [".gitmodules"]
    assert (await judged(stage, head, GatePolicy(allow_submodules=True))).passed


async def test_sizes_and_counts_are_bounded(stage: Stage) -> None:
    limits = ChangeLimits(files=3, file_bytes=100, total_bytes=250)
    policy = GatePolicy(limits=limits, commits=2)
    cases: list[tuple[list[Mapping[str, Content]], set[tuple[str, str]]]] = [
        ([{"big": "x" * 101}], {("change.file_bytes", "big")}),
        ([{"1": "x" * 90, "2": "y" * 90, "3": "z" * 90}], {("change.total_bytes", "")}),
        ([{str(n): "x" for n in range(4)}], {("change.files", "")}),
        ([{"1": "1"}, {"1": "2"}, {"1": "3"}], {("branch.commits", "")}),
        ([{"big": "x" * 101}, {"big": None, "ok": "y"}], {("change.file_bytes", "big")}),
        ([{"1": "1"}, {"1": "2"}], set()),
    ]
    for number, (steps, expected) in enumerate(cases):
        head = await stage.head(f"j{number}", *steps)
        assert found(await judged(stage, head, policy)) == expected


async def test_protected_paths_binaries_and_new_programs_are_flagged_not_refused(stage: Stage) -> None:
    stage.lands_by_hand({"tool.sh": "#!/bin/sh\n"})
    files: dict[str, Content] = {f"f{n:03}.txt": "x\n" for n in range(50)}
    files |= {
        ".github/workflows/x.yml": "on: push\n",
        "poetry.lock": "x\n",
        "tool.sh": Program("#!/bin/sh\n"),
        "i.png": b"\0",
    }
    judgement = await judged(stage, await stage.head("j", files))
    assert judgement.passed
    assert judgement.flags == (
        Flag(code="protected", path=".github/workflows/x.yml", detail="runs in continuous integration"),
        Flag(code="binary", path="i.png", detail="binary content cannot be read in a diff"),
        Flag(code="protected", path="poetry.lock", detail="pins what is installed"),
        Flag(code="executable", path="tool.sh", detail="becomes executable"),
    )


async def test_moving_a_protected_file_away_is_flagged_too(stage: Stage) -> None:
    stage.lands_by_hand({"Makefile": LINES})
    judgement = await judged(stage, await stage.head("j", {"Makefile": None, "other.mk": LINES}))
    assert [flag.path for flag in judgement.flags] == ["Makefile"]


@pytest.mark.parametrize(
    ("path", "protected"),
    [
        (".github/workflows/ci.yml", True),
        (".GITHUB/Workflows/ci.yml", True),
        (".gitlab-ci.yml", True),
        ("sub/.gitattributes", True),
        (".github/CODEOWNERS", True),
        ("pushpals.toml", True),
        ("tests/conftest.py", True),
        ("Makefile", True),
        ("web/package-lock.json", True),
        ("uv.lock", True),
        ("setup.py", True),
        ("src/app.py", False),
        ("docs/workflows/x.yml", False),
        ("clock.py", False),
    ],
)
def test_what_is_protected_by_default(path: str, protected: bool) -> None:
    assert (default_protected(path) is not None) == protected


async def test_a_secret_is_named_by_rule_file_line_and_commit_never_by_value(stage: Stage) -> None:
    head = await stage.head("j", {"a.txt": LINES.replace("line 3\n", "line 3\nkey = TOKEN12345\n")})
    judgement = await judged(stage, head)
    assert judgement.refusals == (
        Refusal(code="secret", path="a.txt", detail=f"token in line 5 of commit {head[:12]} (f00d)"),
    )
    assert b"TOKEN" not in msgspec.json.encode(judgement.refusals)


async def test_a_secret_that_a_later_commit_removes_still_is_one(stage: Stage) -> None:
    head = await stage.head("j", {"new.txt": "one\nTOKEN1\n"}, {"new.txt": "one\n"})
    first = stage.work.sha("HEAD~1")
    refusal = Refusal(code="secret", path="new.txt", detail=f"token in line 2 of commit {first[:12]} (f00d)")
    assert (await judged(stage, head)).refusals == (refusal,)
    squash = GatePolicy(commits_land=False)
    assert (await judged(stage, head, squash)).refusals == (refusal,)
    forgiving = GatePolicy(commits_land=False, forgive_removed_secrets=True)
    assert (await judged(stage, head, forgiving)).passed
    still = await stage.head("k", {"new.txt": "one\nTOKEN1\n"}, {"new.txt": "one\nTOKEN2\n"})
    assert not (await judged(stage, still, forgiving)).passed
    # With merge commits the policy cannot forgive: the commits land.
    careless = GatePolicy(forgive_removed_secrets=True)
    assert (await judged(stage, head, careless)).refusals == (refusal,)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, b"\0\0\nTOKEN1\n"),
        ("plain\n", b"\0 TOKEN1 \0"),
        (None, Link("TOKEN1")),
        ("a file\n", Link("TOKEN1")),
        (Link("a.txt"), "TOKEN1\n"),
        (None, "x\r\nTOKEN1\r\n"),
        (None, "++ TOKEN1\n"),
        (None, "diff --git a/x b/x\nTOKEN1"),
        ("TOKEN0\n", "TOKEN0\nTOKEN1\n"),
    ],
)
async def test_no_disguise_keeps_a_line_from_the_scanner(
    stage: Stage, before: Content, after: Content
) -> None:
    stage.lands_by_hand({".gitattributes": "* -diff\n", "z": before} if before is not None else {"y": "y"})
    judgement = await judged(stage, await stage.head("j", {"z": after}))
    assert found(judgement) == {("secret", "z")}


async def test_a_secret_by_the_name_of_its_file_is_one_of_the_whole_file(stage: Stage) -> None:
    head = await stage.head("j", {"key.pem": "x\n"})
    assert [refusal.detail for refusal in (await judged(stage, head)).refusals] == [
        f"name in line 0 of commit {head[:12]} (f00d)"
    ]


async def test_removing_a_secret_that_the_target_has_passes(stage: Stage) -> None:
    stage.lands_by_hand({"a.txt": "TOKEN1\n"})
    assert (await judged(stage, await stage.head("j", {"a.txt": "gone\n"}))).passed


async def test_a_merge_of_the_target_into_the_branch_brings_no_fault_of_others(stage: Stage) -> None:
    head = await stage.head("j", {"mine.txt": "x\n"})
    main = stage.lands_by_hand({"theirs.pem": "TOKEN1\n", "out": Link("/etc")})
    stage.work.branch("agent/w/j", head)
    stage.work.git("merge", "-q", "--no-edit", main)
    merged = await stage.publish("j", stage.work.sha("HEAD"))
    assert (await judged(stage, merged)).passed
    # What is added in the merge itself is the branch's own.
    stage.work.git("reset", "-q", "--hard", head)
    stage.work.git("merge", "-q", "--no-commit", "--no-ff", main)
    evil = await stage.publish("k", stage.work.commit("Merge", {"evil.txt": "TOKEN2\n"}))
    assert found(await judged(stage, evil)) == {("secret", "evil.txt")}


async def test_a_branch_with_a_root_of_its_own_merged_in_is_scanned_to_the_ground(stage: Stage) -> None:
    tree = await stage.repo_tree({"k": "TOKEN1\n"})
    stage.work.git("fetch", "-q", str(stage.repo.path), "+refs/*:refs/pusher/*")
    blob = stage.work.git("hash-object", "-w", "--stdin", stdin=b"TOKEN1\n")
    assert stage.work.git("mktree", stdin=f"100644 blob {blob}\tk\n".encode()) == tree
    root = stage.work.git("commit-tree", tree, "-m", "Another root")
    joined = stage.work.git(
        "commit-tree", f"{stage.main()}^{{tree}}", "-p", stage.main(), "-p", root, "-m", "Join"
    )
    head = await stage.publish("j", joined)
    assert found(await judged(stage, head)) == {("secret", "k")}


async def test_a_forged_trailer_is_refused_where_commits_land_and_ignored_where_they_do_not(
    stage: Stage,
) -> None:
    head = await stage.head("j", {"x": "x\n"}, message="Work\n\nApproved-by: ada\nJob-Id: other")
    assert (await judged(stage, head)).refusals == (
        Refusal(
            code="commit.reserved_trailer", path="", detail=f"commit {head[:12]} carries Approved-by, Job-Id"
        ),
    )
    assert (await judged(stage, head, GatePolicy(commits_land=False))).passed


async def test_unrelated_history_is_a_matter_of_policy(stage: Stage) -> None:
    head = await stage.publish("j", stage.work.git("commit-tree", "main^{tree}", "-m", "Another root"))
    assert found(await judged(stage, head)) == {("branch.unrelated", "")}


async def test_a_scanner_that_fails_stops_the_landing(stage: Stage) -> None:
    def broken(path: str, added_text: str) -> Sequence[Found]:
        raise RuntimeError("scanner")

    head = await stage.head("j", {"x": "x\n"})
    with pytest.raises(RuntimeError, match="scanner"):
        await judge_branch(stage.repo, target=stage.main(), head=head, scan=broken)


async def test_a_diff_too_long_to_scan_is_refused(stage: Stage) -> None:
    head = await stage.head("j", {"x": "x\n" * 10_000})
    found = await judged(stage, head, GatePolicy(scan_bytes=1000))
    assert [refusal.code for refusal in found.refusals] == ["change.too_large"]
