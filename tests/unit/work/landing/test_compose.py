import subprocess
from pathlib import Path

import msgspec
import pytest

from pushpals.testing.repos import Link, Program
from pushpals.work.git.errors import GitError
from pushpals.work.git.names import Sha
from pushpals.work.git.repo import BareRepo
from pushpals.work.landing.compose import (
    Composed,
    Conflict,
    Conflicted,
    ConflictMessage,
    Merged,
    Noop,
    Unrelated,
    compose,
    compose_revert,
    merge_over,
    merge_trees,
    stray_paths,
)

from .conftest import LINES, PUSHER, Stage


async def test_a_branch_is_merged_without_a_checkout_and_its_author_kept(stage: Stage) -> None:
    head = await stage.head("j", {"a.txt": LINES + "end\n"})
    main = stage.lands_by_hand({"b.txt": "begin\n" + LINES})
    made = await stage.composed(head)
    commit = await stage.repo.commit(made.commit)
    assert (commit.parents, commit.tree, commit.message) == ((main, head), made.tree, "Land\n")
    assert (commit.author.name, commit.committer) == ("Ada Example", PUSHER)
    files = {entry.path: entry.sha for entry in await stage.repo.tree_entries(made.commit)}
    assert await stage.repo.blobs([files["a.txt"], files["b.txt"]]) == {
        files["a.txt"]: (LINES + "end\n").encode(),
        files["b.txt"]: ("begin\n" + LINES).encode(),
    }
    assert stage.main() == main


async def test_the_same_composition_is_the_same_commit(stage: Stage, tmp_path: Path) -> None:
    head = await stage.head("j", {"a.txt": "new\n"})
    stage.lands_by_hand({"b.txt": "new\n"})
    first = await stage.composed(head)
    assert await stage.composed(head) == first
    # Also in another repository, after everything here was lost.
    other = await BareRepo.init(tmp_path / "other.git")
    await other.fetch_sha(stage.remote, head, "refs/queue/j/head")
    again = await Stage(stage.cloned, other, stage.remote).composed(head)
    assert again == first


def new_key(folder: Path) -> Path:
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", str(key)], check=True)
    (folder / "allowed").write_text(f"pusher@example.org {key.with_suffix('.pub').read_text()}")
    return key


async def test_a_signed_composition_verifies_and_is_the_same_each_time(stage: Stage, tmp_path: Path) -> None:
    key = new_key(tmp_path)
    head = await stage.head("j", {"a.txt": "new\n"})
    made = [
        await compose(
            stage.repo, target=stage.main(), head=head, message="Land\n", committer=PUSHER, signing_key=key
        )
        for _ in range(2)
    ]
    assert isinstance(made[0], Composed)
    assert made[0] == made[1]
    await stage.repo.run(
        ["verify-commit", made[0].commit], config=[("gpg.ssh.allowedSignersFile", str(tmp_path / "allowed"))]
    )
    with pytest.raises(GitError):
        await stage.repo.run(["verify-commit", head])


async def test_squash_makes_one_commit_with_one_parent(stage: Stage) -> None:
    head = await stage.head("j", {"a.txt": "1\n"}, {"a.txt": "2\n"})
    main = stage.main()
    made = await compose(
        stage.repo, target=main, head=head, message="Squash\n", committer=PUSHER, style="squash"
    )
    assert isinstance(made, Composed)
    assert (await stage.repo.commit(made.commit)).parents == (main,)


async def test_a_conflict_names_paths_words_and_the_commits_of_both_sides(stage: Stage) -> None:
    base = stage.main()
    head = await stage.head("j", {"a.txt": LINES.replace("line 3\n", "theirs\n")})
    main = stage.lands_by_hand({"a.txt": LINES.replace("line 3\n", "ours\n")})
    later = stage.lands_by_hand({"b.txt": "unrelated\n"})
    found = await stage.compose(head)
    assert isinstance(found, Conflict)
    assert msgspec.structs.replace(found, marked=None) == Conflict(
        onto=later,
        head=head,
        base=base,
        paths=("a.txt",),
        messages=(
            ConflictMessage(
                kind="CONFLICT (contents)",
                text="CONFLICT (content): Merge conflict in a.txt",
                paths=("a.txt",),
            ),
        ),
        their_commits=(main,),
        our_commits=(head,),
    )
    assert stage.main() == later
    assert stage.upstream.refs()["refs/heads/agent/w/j"] == head


async def test_a_conflict_with_a_job_ahead_is_not_one_with_the_target(stage: Stage) -> None:
    one = await stage.head("one", {"a.txt": "one\n"})
    two = await stage.head("two", {"a.txt": "two\n"})
    tip = await stage.composed(one)
    behind = await stage.compose(two, onto=tip.commit)
    assert isinstance(behind, Conflict)
    assert (behind.with_target, behind.onto, behind.paths) == (False, tip.commit, ("a.txt",))
    assert isinstance(await stage.compose(two), Composed)
    stage.cloned.push(f"{two}:refs/heads/main")
    stage.work.git("fetch", "-q", "origin")
    alone = await stage.compose(one)
    assert isinstance(alone, Conflict)
    assert alone.with_target


async def test_a_chain_of_jobs_composes_one_on_the_other(stage: Stage) -> None:
    main = stage.main()
    heads = [await stage.head(f"j{n}", {f"f{n}.txt": "x\n"}) for n in range(3)]
    tip: str = main
    for head in heads:
        tip = (await stage.composed(head, onto=tip)).commit
    assert [file.path for file in await stage.repo.changed_files(main, tip)] == ["f0.txt", "f1.txt", "f2.txt"]
    assert await stage.repo.is_ancestor(main, tip)


@pytest.mark.parametrize(
    "attributes", ["* merge=union\n", "a.txt merge=ours\n", "* -merge\n", "* merge=evil\n"]
)
async def test_attributes_of_a_tree_make_no_conflict_vanish(stage: Stage, attributes: str) -> None:
    stage.lands_by_hand({".gitattributes": attributes})
    head = await stage.head(
        "j", {"a.txt": LINES.replace("line 3\n", "theirs\n"), ".gitattributes": attributes + "\n"}
    )
    stage.lands_by_hand({"a.txt": LINES.replace("line 3\n", "ours\n")})
    conflict = await stage.compose(head)
    assert isinstance(conflict, Conflict)
    assert conflict.paths == ("a.txt",)


async def test_a_conflict_on_a_strange_name_is_told_exactly(stage: Stage) -> None:
    base = stage.main()
    names = [b"new\nline", b"bad\xff", b'quo"te']
    heads = []
    for side in (b"base\n", b"ours\n", b"theirs\n"):
        parent = heads[0] if heads else base
        entries = dict.fromkeys(names, ("100644", side))
        heads.append(stage.work.commit_entries(side.decode(), entries, parent=parent))
        await stage.publish(f"side{len(heads)}", heads[-1])
    merged = await merge_trees(stage.repo, heads[1], heads[2])
    assert isinstance(merged, Conflicted)
    assert [path.encode("utf-8", "surrogateescape") for path in merged.paths] == sorted(names)
    assert {message.paths for message in merged.messages} == {(r"bad\xff",), (r"new\nline",), ('quo"te',)}


async def test_a_folder_against_a_file_and_an_edit_against_a_deletion_conflict(stage: Stage) -> None:
    head = await stage.head("j", {"a.txt": "edited\n", "thing": "a file\n"})
    stage.lands_by_hand({"a.txt": None, "thing/inside": "a folder\n"})
    conflict = await stage.compose(head)
    assert isinstance(conflict, Conflict)
    assert {message.kind for message in conflict.messages} == {
        "CONFLICT (modify/delete)",
        "CONFLICT (file/directory)",
    }


async def test_what_is_contained_or_changes_nothing_is_no_work(stage: Stage) -> None:
    head = await stage.head("j", {"a.txt": "new\n"})
    stage.cloned.push(f"{head}:refs/heads/main")
    assert await stage.compose(head) == Noop(reason="contained")
    assert await stage.compose(stage.main()) == Noop(reason="contained")
    empty = await stage.head("k", {})
    assert await stage.compose(empty) == Noop(reason="same_tree")


async def test_a_branch_that_landed_as_a_squash_is_no_work(stage: Stage) -> None:
    head = await stage.head("j", {"a.txt": LINES.replace("line 3\n", "one\n")}, {"b.txt": "two\n"})
    squashed = stage.lands_by_hand({"a.txt": LINES.replace("line 3\n", "one\n"), "b.txt": "two\n"})
    assert await stage.compose(head) == Noop(reason="same_tree")
    # Main went on changing the same lines: merging conflicts, the patch is still known.
    stage.lands_by_hand({"a.txt": LINES.replace("line 3\n", "three\n"), "b.txt": "four\n"})
    assert await stage.compose(head) == Noop(reason="landed_before", by=squashed)


async def test_unrelated_history_is_not_a_conflict(stage: Stage) -> None:
    root = stage.work.git("commit-tree", "main^{tree}", "-m", "Another beginning")
    head = await stage.publish("j", root)
    assert await stage.compose(head) == Unrelated(onto=stage.main(), head=head)


async def test_a_landing_is_reverted_without_a_checkout_as_git_revert_would(stage: Stage) -> None:
    head = await stage.head("j", {"a.txt": LINES.replace("line 3\n", "bad\n"), "new.txt": "x\n"})
    made = await stage.composed(head)
    await stage.repo.set_ref("refs/queue/landing", made.commit)
    stage.work.git("fetch", "-q", str(stage.repo.path), "refs/queue/landing")
    stage.cloned.push(f"{made.commit}:refs/heads/main")
    target = stage.lands_by_hand({"b.txt": "later\n"})
    await stage.repo.fetch_sha(stage.remote, target, "refs/upstream/main")
    reverted = await compose_revert(
        stage.repo, target=target, landed=made.commit, message="Revert\n", author=PUSHER, committer=PUSHER
    )
    assert isinstance(reverted, Composed)
    stage.work.git("revert", "--no-edit", "-m", "1", made.commit)
    assert reverted.tree == stage.work.git("rev-parse", "HEAD^{tree}")
    assert (await stage.repo.commit(reverted.commit)).parents == (target,)


async def test_a_revert_of_what_was_built_upon_conflicts_and_one_done_already_is_no_work(
    stage: Stage,
) -> None:
    landed = stage.lands_by_hand({"a.txt": LINES.replace("line 3\n", "bad\n")})
    built_on = stage.lands_by_hand({"a.txt": LINES.replace("line 3\n", "bad, improved\n")})
    await stage.repo.fetch_sha(stage.remote, built_on, "refs/upstream/main")

    async def revert(target: str) -> Composed | Noop | Conflict:
        return await compose_revert(
            stage.repo, target=target, landed=landed, message="Revert\n", author=PUSHER, committer=PUSHER
        )

    conflict = await revert(built_on)
    assert isinstance(conflict, Conflict)
    assert (conflict.paths, conflict.their_commits) == (("a.txt",), (built_on,))
    undone = stage.lands_by_hand({"a.txt": LINES})
    await stage.repo.fetch_sha(stage.remote, undone, "refs/upstream/main")
    assert await revert(undone) == Noop(reason="same_tree")
    stranger = await stage.head("j", {"b.txt": "x\n"})
    with pytest.raises(ValueError, match="not a landing"):
        await compose_revert(
            stage.repo, target=undone, landed=stranger, message="x", author=PUSHER, committer=PUSHER
        )


async def test_a_difference_is_applied_over_any_base(stage: Stage) -> None:
    base = await stage.repo_tree({"a.txt": "1\n", "k": "k\n"})
    ours = await stage.repo_tree({"a.txt": "1\n", "k": "changed\n"})
    theirs = await stage.repo_tree({"a.txt": "2\n", "k": "k\n"})
    both = await stage.repo_tree({"a.txt": "2\n", "k": "changed\n"})
    assert await merge_over(stage.repo, base, ours, theirs) == Merged(tree=Sha(both))
    assert await merge_over(stage.repo, base, ours, ours) == Merged(tree=Sha(ours))
    assert isinstance(
        await merge_over(stage.repo, base, await stage.repo_tree({"a.txt": "3\n"}), theirs), Conflicted
    )


async def test_a_landing_changes_only_what_its_branches_change(stage: Stage) -> None:
    old = stage.main()
    one = await stage.head("one", {"a.txt": "one\n", "run": Program("x\n"), "l": Link("a.txt")})
    two = await stage.head("two", {"b.txt": None})
    tip = await stage.composed(two, onto=(await stage.composed(one)).commit)
    branches = [(old, one), (old, two)]
    assert await stray_paths(stage.repo, old=old, new=tip.commit, branches=branches) == ()
    # A candidate that was built from the wrong base: earlier work silently disappears.
    assert await stray_paths(stage.repo, old=old, new=tip.commit, branches=branches[:1]) == ("b.txt",)
    main = stage.lands_by_hand({"c.txt": "landed meanwhile\n"})
    await stage.repo.fetch_sha(stage.remote, main, "refs/upstream/main")
    assert await stray_paths(stage.repo, old=main, new=tip.commit, branches=branches) == ("c.txt",)


async def test_a_file_that_the_target_renamed_is_no_stray(stage: Stage) -> None:
    base = stage.main()
    head = await stage.head("j", {"a.txt": LINES.replace("line 3\n", "changed\n")})
    main = stage.lands_by_hand({"renamed.txt": LINES, "a.txt": None})
    made = await stage.composed(head)
    assert [file.path for file in await stage.repo.changed_files(main, made.commit)] == ["renamed.txt"]
    assert await stray_paths(stage.repo, old=main, new=made.commit, branches=[(base, head)]) == ()
