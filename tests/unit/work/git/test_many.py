"""Asked together, git says of each what it says of it alone."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pushpals.testing.repos import Link, Repository
from pushpals.work.git import many
from pushpals.work.git.names import Sha, as_sha
from pushpals.work.git.remotes import parse_remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity

NASTY = {
    "plain.txt": "one\ntwo\n",
    "a\nb\tc": "x\n",
    "0" * 40 + " " + "1" * 40: "a name like a header\n",
    ":100644 looks like raw": "x\n",
    "1\t2\tlike numstat": "x\n",
    'quo"te\\': "x\n",
    "binary": b"\0\1\2",
    "tab\t": "x\n",
}


@pytest.fixture
async def place(tmp_path: Path) -> tuple[Repository, BareRepo, list[Sha]]:
    person = Repository.create(tmp_path / "person", {"README": "hello\n", "moved.txt": "a\nb\nc\nd\ne\n"})
    commits = [person.git("rev-parse", "HEAD")]
    commits.append(person.commit("Nasty names", NASTY))
    commits.append(person.commit("Move", {"moved.txt": None, "there.txt": "a\nb\nc\nd\ne\nf\n"}))
    commits.append(
        person.commit("Diff in a file", {"plain.txt": "diff --git a/x b/x\n@@ -1 +1 @@\n" + "0" * 40 + "\n"})
    )
    commits.append(person.commit("Nothing but a link", {"link": Link("README")}))
    repo = await BareRepo.init(tmp_path / "bare.git")
    await repo.fetch(parse_remote(person.path), ["+refs/heads/main:refs/upstream/main"])
    return person, repo, [as_sha(commit) for commit in commits]


async def test_changes_of_many_pairs_are_those_of_each(place: tuple[Repository, BareRepo, list[Sha]]) -> None:
    _, repo, commits = place
    trees = [tree for commit in commits if (tree := await repo.tree_of(commit))]
    pairs = [(one, other) for one in trees for other in trees]
    found = await many.changes(repo, pairs)
    assert found == {pair: await repo.changed_files(*pair) for pair in pairs}


async def test_added_lines_come_in_the_order_of_the_changes(
    place: tuple[Repository, BareRepo, list[Sha]],
) -> None:
    _, repo, commits = place
    trees = [tree for commit in commits if (tree := await repo.tree_of(commit))]
    pairs = list(itertools.pairwise(trees))
    changes, added = await many.changes(repo, pairs), await many.added(repo, pairs, limit_bytes=10**6)
    assert [len(added[pair]) for pair in pairs] == [len(changes[pair]) for pair in pairs]
    by_path = dict(zip((file.path for file in changes[pairs[0]]), added[pairs[0]], strict=True))
    assert {path: section.text for path, section in by_path.items() if path != "binary"} == {
        path: text.rstrip("\n").encode() for path, text in NASTY.items() if isinstance(text, str)
    }


async def test_branches_say_where_each_left_the_target_and_what_it_has(
    place: tuple[Repository, BareRepo, list[Sha]], tmp_path: Path
) -> None:
    person, repo, commits = place
    person.git("checkout", "--quiet", "-b", "side", commits[1])
    one = as_sha(person.commit("Side", {"side": "x\n"}))
    person.git("merge", "--quiet", "--no-edit", "main")
    merged = as_sha(person.git("rev-parse", "HEAD"))
    alien = Repository.create(tmp_path / "alien", {"x": "x\n"})
    for other in (person, alien):
        await repo.fetch(
            parse_remote(other.path), [f"+{other.git('rev-parse', 'HEAD')}:refs/x/{other.path.name}"]
        )
    strange = as_sha(alien.git("rev-parse", "HEAD"))
    found = await many.branches(repo, commits[-1], [one, merged, commits[2], strange])
    assert found == {
        one: many.Branch(head=one, base=commits[1], commits=(one,)),
        merged: many.Branch(head=merged, base=commits[-1], commits=(one, merged)),
        commits[2]: many.Branch(head=commits[2], base=commits[2], commits=()),
        strange: many.Branch(head=strange, base=None, commits=(strange,)),
    }
    assert await many.missing(repo, [one, "f" * 40]) == {"f" * 40}


async def test_a_commit_written_here_is_the_one_that_git_writes(
    place: tuple[Repository, BareRepo, list[Sha]],
) -> None:
    _, repo, commits = place
    tree = await repo.tree_of(commits[-1])
    assert tree is not None
    who = Identity(name="Ada <x>", email="a@b\n", when=datetime(2026, 1, 31, 12, tzinfo=UTC))
    for message in ("Subject\n", "Ünïcode\n\nBody\n", "with\0nul\n"):
        text = many.commit_text(tree, commits[-2:], message, author=who, committer=who)
        written = many.write_commit(repo, text)
        assert written == await repo.commit_tree(tree, commits[-2:], message, author=who, committer=who)
        assert (await repo.commit(written)).message == message.replace("\0", "")
    await repo.run(["fsck", "--strict", "--no-dangling"])


async def test_refs_are_set_and_dropped_together(place: tuple[Repository, BareRepo, list[Sha]]) -> None:
    _, repo, commits = place
    await many.set_refs(repo, {"refs/queue/a": commits[0], "refs/queue/b": commits[1]})
    assert await repo.refs("refs/queue") == {"refs/queue/a": commits[0], "refs/queue/b": commits[1]}
    await many.delete_refs(repo, ["refs/queue/a"])
    assert await repo.refs("refs/queue") == {"refs/queue/b": commits[1]}
