import asyncio
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from pushpals.testing.repos import Cloned, Link, Program, Repository
from pushpals.work.git.changes import ChangedFile
from pushpals.work.git.commits import CommitInfo
from pushpals.work.git.errors import GitError
from pushpals.work.git.locks import RepositoryBusy
from pushpals.work.git.names import InvalidName, Sha, zero
from pushpals.work.git.pushes import PushReport, RefReport, RefUpdate
from pushpals.work.git.remotes import Remote, parse_remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity


def changed(path: str, status: str, **fields: object) -> ChangedFile:
    plain = {
        "old_mode": "100644",
        "new_mode": "100644",
        "old_sha": "",
        "new_sha": "",
        "added": 1,
        "deleted": 1,
    }
    return ChangedFile(path=path, status=status, **{**plain, **fields})  # type: ignore[arg-type]  # a row of a table


def without_ids(files: tuple[ChangedFile, ...]) -> list[ChangedFile]:
    return [msgspec.structs.replace(file, old_sha=Sha(""), new_sha=Sha("")) for file in files]


async def test_a_repository_is_made_once_and_its_pins_are_restored(tmp_path: Path) -> None:
    repo = await BareRepo.init(tmp_path / "r.git")
    (repo.path / "info/attributes").write_text("* -diff\n")
    (repo.path / "hooks").mkdir()
    (repo.path / "hooks/post-update").write_text("#!/bin/sh\n")
    again = await BareRepo.init(tmp_path / "r.git")
    assert "!diff" in (again.path / "info/attributes").read_text()
    assert not (again.path / "hooks").exists()
    assert stat.S_IMODE(os.stat(again.path).st_mode) == 0o700


async def test_main_is_fetched_and_a_commit_is_read(cache: BareRepo, cloned: Cloned, remote: Remote) -> None:
    await cache.fetch(remote, ["+refs/heads/main:refs/upstream/main"])
    sha = await cache.resolve("refs/upstream/main")
    assert sha == cloned.checkout.sha("main")
    who = Identity(name="Ada Example", email="ada@example.org", when=datetime(2024, 1, 1, 12, 1, tzinfo=UTC))
    assert await cache.commit(sha) == CommitInfo(
        sha=sha,
        tree=Sha(cloned.checkout.git("rev-parse", "main^{tree}")),
        parents=(),
        author=who,
        committer=who,
        message="Begin\n",
    )
    assert await cache.resolve("refs/upstream/none") is None
    assert await cache.resolve("f" * 40) is None
    assert await cache.refs("refs/upstream") == {"refs/upstream/main": sha}


async def test_a_commit_is_fetched_by_id_also_if_no_ref_points_to_it_any_more(
    cache: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    first = cloned.checkout.sha("main")
    cloned.checkout.branch("topic")
    lost = cloned.checkout.commit("Lost", {"lost.txt": "x\n"})
    cloned.push("topic:topic")
    cloned.push("+main:topic")
    assert await cache.fetch_sha(remote, lost, "refs/queue/j/head")
    assert await cache.resolve("refs/queue/j/head") == lost
    assert await cache.is_ancestor(first, lost)
    assert not await cache.is_ancestor(lost, first)


async def test_a_server_that_serves_no_ids_is_asked_for_the_branch_and_must_give_that_commit(
    cache: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    # protocol 0 and the default of not serving bare ids: what an old server does.
    cloned.upstream.git("config", "uploadpack.allowAnySHA1InWant", "false")
    cloned.checkout.branch("topic")
    head = cloned.checkout.commit("Topic", {"t.txt": "x\n"})
    cloned.push("topic:topic")
    assert await cache.fetch_sha(remote, head, "refs/queue/j/head", fallback="refs/heads/topic")
    assert not await cache.fetch_sha(remote, "e" * 40, "refs/queue/k/head", fallback="refs/heads/topic")
    assert not await cache.fetch_sha(remote, "e" * 40, "refs/queue/k/head", fallback="refs/heads/none")
    assert not await cache.fetch_sha(remote, "e" * 40, "refs/queue/k/head")


@pytest.mark.parametrize(
    "spec", ["main", "--upload-pack=x", "refs/heads/x:main", "refs/heads/a b:refs/x/y", "abc123"]
)
async def test_a_refspec_with_anything_but_full_names_is_refused(
    cache: BareRepo, remote: Remote, spec: str
) -> None:
    with pytest.raises(InvalidName):
        await cache.fetch(remote, [spec])


async def test_changes_are_told_with_modes_counts_renames_and_types(
    cache: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    work = cloned.checkout
    text = "".join(f"line {n}\n" for n in range(20))
    base = work.commit(
        "More", {"old name.txt": text, "run.sh": "#!/bin/sh\n", "gone.txt": "bye\n", "was.txt": "a\n"}
    )
    work.git("mv", "old name.txt", "new name.txt")
    head = work.commit(
        "Change",
        {
            "run.sh": Program("#!/bin/sh\n"),
            "gone.txt": None,
            "was.txt": Link("README.md"),
            "bin": b"a\0b",
            "README.md": "# New\n",
        },
    )
    cloned.push()
    await cache.fetch_sha(remote, head, "refs/queue/j/head")
    files = await cache.changed_files(base, head)
    assert without_ids(files) == [
        changed("README.md", "modified"),
        changed("bin", "added", old_mode="000000", added=None, deleted=None),
        changed("gone.txt", "deleted", new_mode="000000", added=0),
        changed("new name.txt", "renamed", old_path="old name.txt", added=0, deleted=0),
        changed("run.sh", "modified", new_mode="100755", added=0, deleted=0),
        changed("was.txt", "type_changed", new_mode="120000"),
    ]
    assert [file.path for file in files if file.binary] == ["bin"]
    assert next(file for file in files if file.status == "renamed").paths == ("old name.txt", "new name.txt")


HARD_NAMES = [
    b"new\nline",
    b"tab\there",
    b'quote"d',
    b"bad\xff\xfe",
    "\u00e9".encode(),
    "e\u0301".encode(),
    b"README.MD",
    "rtl\u202egpj.exe".encode(),
    b"-rf",
    b":(top)x",
    b" blank ",
    b"back\\slash",
]


async def test_every_name_comes_through_exactly(cache: BareRepo, cloned: Cloned, remote: Remote) -> None:
    base = cloned.checkout.sha("main")
    entries = {b"d/" + name: ("100644", name) for name in HARD_NAMES}
    head = cloned.checkout.commit_entries("Names", entries, parent=base)
    cloned.push(f"{head}:refs/heads/topic")
    await cache.fetch_sha(remote, head, "refs/queue/j/head")
    paths = {file.path.encode("utf-8", "surrogateescape") for file in await cache.changed_files(base, head)}
    assert paths == {b"d/" + name for name in HARD_NAMES}
    listed = {entry.path.encode("utf-8", "surrogateescape") for entry in await cache.tree_entries(head)}
    assert listed == paths | {b"README.md", b"src/app.py"}
    for name in HARD_NAMES:
        path = (b"d/" + name).decode("utf-8", "surrogateescape")
        assert (await cache.diff_text(base, head, paths=[path])).text.count(b"diff --git") == 1


@pytest.mark.parametrize(
    "attribute", ["*.py -diff", "*.py binary", "*.py diff=evil", "*.py -text", "* export-ignore"]
)
async def test_attributes_of_a_tree_hide_no_line(
    cache: BareRepo, cloned: Cloned, remote: Remote, attribute: str
) -> None:
    base = cloned.checkout.commit("Attributes", {".gitattributes": attribute + "\n"})
    head = cloned.checkout.commit("Change", {"src/app.py": "x = 'changed'\n", "bin": b"\0\1"})
    cloned.push()
    await cache.fetch_sha(remote, head, "refs/queue/j/head")
    text = (await cache.diff_text(base, head)).text
    assert b"+x = 'changed'\n" in text
    assert b"Binary files /dev/null and b/bin differ" in text
    counts = {file.path: file.added for file in await cache.changed_files(base, head)}
    assert counts == {"src/app.py": 1, "bin": None}


async def test_a_long_diff_is_cut_and_says_so(cache: BareRepo, cloned: Cloned, remote: Remote) -> None:
    base = cloned.checkout.sha("main")
    head = cloned.checkout.commit("Long", {"long.txt": "x\n" * 100_000})
    cloned.push()
    await cache.fetch_sha(remote, head, "refs/queue/j/head")
    diff = await cache.diff_text(base, head, limit_bytes=5000)
    assert (len(diff.text), diff.truncated) == (5000, True)
    assert not (await cache.diff_text(base, head)).truncated


async def test_blobs_and_sizes_are_read_many_at_once(cache: BareRepo, cloned: Cloned, remote: Remote) -> None:
    await cache.fetch(remote, ["+refs/heads/main:refs/upstream/main"])
    entries = {entry.path: entry.sha for entry in await cache.tree_entries(cloned.checkout.sha("main"))}
    assert await cache.blobs(entries.values()) == {
        entries["README.md"]: b"# Example\n",
        entries["src/app.py"]: b"x = 1\n",
    }
    assert await cache.sizes([*entries.values(), "d" * 40]) == {
        entries["README.md"]: 10,
        entries["src/app.py"]: 6,
    }
    assert await cache.blob(entries["README.md"], limit_bytes=3) == b"# E"
    with pytest.raises(GitError, match="not here"):
        await cache.blobs(["d" * 40])


async def test_commits_of_a_branch_come_oldest_first_and_bounded(
    cache: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    base = cloned.checkout.sha("main")
    made = [cloned.checkout.commit(f"Step {n}", {"n": str(n)}) for n in range(3)]
    cloned.push()
    await cache.fetch_sha(remote, made[-1], "refs/queue/j/head")
    assert await cache.commits_between(base, made[-1]) == tuple(made)
    with pytest.raises(GitError) as many:
        await cache.commits_between(base, made[-1], limit=2)
    assert many.value.kind == "too_large"


async def test_unrelated_histories_have_no_merge_base(
    cache: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    other = cloned.checkout.git("commit-tree", "main^{tree}", "-m", "Other root")
    cloned.push(f"{other}:refs/heads/other", "main:main")
    await cache.fetch(remote, ["+refs/heads/*:refs/upstream/*"])
    assert await cache.merge_base(cloned.checkout.sha("main"), other) is None


async def test_a_ref_moves_only_from_where_it_was_expected(
    cache: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    await cache.fetch(remote, ["+refs/heads/main:refs/upstream/main"])
    one = cloned.checkout.sha("main")
    two = cloned.checkout.commit("Two", {})
    cloned.push()
    await cache.fetch_sha(remote, two, "refs/queue/pin/head")
    ref = "refs/pushpals/test"
    assert await cache.update_ref(ref, one, None)
    assert not await cache.update_ref(ref, two, None)
    assert not await cache.update_ref(ref, one, two)
    assert await cache.update_ref(ref, two, one)
    assert not await cache.delete_ref(ref, one)
    assert await cache.delete_ref(ref, two)
    assert not await cache.delete_ref(ref, two)
    assert await cache.resolve(ref) is None


async def test_a_lock_that_a_killed_git_left_is_an_error_until_the_owner_clears_it(
    cache: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    await cache.fetch(remote, ["+refs/heads/main:refs/upstream/main"])
    one = cloned.checkout.sha("main")
    lock = cache.path / "refs/upstream/main.lock"
    lock.touch()
    with pytest.raises(GitError) as locked:
        await cache.update_ref("refs/upstream/main", one, one)
    assert (locked.value.kind, locked.value.transient) == ("locked", True)
    assert cache.clear_stale_locks() == (lock,)
    assert await cache.update_ref("refs/upstream/main", one, one)


async def test_one_holder_at_a_time_and_the_lock_ends_with_its_block(cache: BareRepo) -> None:
    async with cache.locked():
        with pytest.raises(RepositoryBusy):
            async with cache.locked(wait_s=0.0):
                pass
        async with cache.locked("another"):
            pass
    async with cache.locked(wait_s=0.0):
        pass


async def test_eight_fetches_at_once_all_succeed(cache: BareRepo, cloned: Cloned, remote: Remote) -> None:
    heads = []
    for n in range(8):
        cloned.checkout.branch(f"t{n}")
        heads.append(cloned.checkout.commit(f"T{n}", {f"t{n}": "x"}))
    cloned.push("--all")
    taken = await asyncio.gather(
        *(cache.fetch_sha(remote, sha, f"refs/queue/{n}/head") for n, sha in enumerate(heads))
    )
    assert taken == [True] * 8


async def test_ls_remote_answers_full_names_only(cache: BareRepo, cloned: Cloned, remote: Remote) -> None:
    main = cloned.checkout.sha("main")
    cloned.push("main:refs/heads/decoy/refs/heads/main")
    assert await cache.ls_remote(remote, ["refs/heads/main", "refs/heads/none"]) == {"refs/heads/main": main}
    assert set(await cache.ls_remote(remote)) == {"refs/heads/main", "refs/heads/decoy/refs/heads/main"}


async def test_a_push_moves_all_its_refs_or_none(cache: BareRepo, cloned: Cloned, remote: Remote) -> None:
    one = cloned.checkout.sha("main")
    two = cloned.checkout.commit("Two", {"two": "2"})
    cloned.push(f"{two}:refs/heads/topic")
    await cache.fetch_sha(remote, two, "refs/queue/j/head")
    main = RefUpdate(ref="refs/heads/main", old=Sha(one), new=Sha(two))
    stale = RefUpdate(ref="refs/heads/topic", old=Sha(one), new=None)
    record = RefUpdate(ref="refs/pushpals/landed/j", old=None, new=Sha(two))
    refused = await cache.push(remote, [main, stale, record])
    assert not refused.accepted
    assert refused.verdict("refs/heads/topic") == "stale"
    assert cloned.upstream.refs() == {"refs/heads/main": one, "refs/heads/topic": two}
    accepted = await cache.push(
        remote, [main, RefUpdate(ref="refs/heads/topic", old=Sha(two), new=None), record]
    )
    assert accepted.accepted
    assert cloned.upstream.refs() == {"refs/heads/main": two, "refs/pushpals/landed/j": two}


async def test_a_lease_that_would_not_be_checked_is_refused_before_the_push(
    cache: BareRepo, remote: Remote
) -> None:
    same = Sha("a" * 40)
    with pytest.raises(ValueError, match="would not be checked"):
        await cache.push(remote, [RefUpdate(ref="refs/heads/main", old=same, new=same)])
    with pytest.raises(ValueError, match="one per ref"):
        await cache.push(remote, [])


async def test_a_hook_of_the_remote_says_no_in_its_own_words(
    cache: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    two = cloned.checkout.commit("Two", {})
    cloned.push(f"{two}:refs/heads/topic")
    await cache.fetch_sha(remote, two, "refs/queue/j/head")
    hook = cloned.upstream.path / "hooks/pre-receive"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\nprintf 'main is frozen\\033[31m until Monday\\n' >&2\nexit 1\n")
    hook.chmod(0o755)
    update = RefUpdate(ref="refs/heads/main", old=Sha(cloned.checkout.sha("main~1")), new=Sha(two))
    assert await cache.push(remote, [update]) == PushReport(
        refs=(
            RefReport(
                ref="refs/heads/main", verdict="rule", text="[remote rejected] (pre-receive hook declined)"
            ),
        ),
        remote_text="main is frozen\ufffd[31m until Monday",
    )


async def test_nothing_that_a_remote_or_tree_brings_runs(
    cache: BareRepo, cloned: Cloned, remote: Remote, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    work = cloned.checkout
    base = work.sha("main")
    head = work.commit(
        "Traps",
        {
            ".gitattributes": "* filter=evil diff=evil merge=evil\n",
            ".gitconfig": f"[core]\n\tfsmonitor = touch {marker}\n",
            "hooks/post-checkout": Program(f"#!/bin/sh\ntouch {marker}\n"),
        },
    )
    cloned.push()
    # A lender whose config is hostile: nothing of it is read by a fetch.
    cloned.upstream.git("config", "uploadpack.packObjectsHook", f"touch {marker}; exec")
    cloned.upstream.git("config", "core.fsmonitor", f"touch {marker}")
    await cache.fetch_sha(remote, head, "refs/queue/j/head")
    await cache.diff_text(base, head)
    await cache.changed_files(base, head)
    await cache.repack()
    assert not marker.exists()
    assert await cache.commit_of(head) == head


async def test_repacking_loses_nothing(cache: BareRepo, cloned: Cloned, remote: Remote) -> None:
    head = cloned.checkout.commit("Two", {"two": "2"})
    cloned.push()
    await cache.fetch_sha(remote, head, "refs/queue/j/head")
    assert await cache.delete_ref("refs/queue/j/head", head)
    await cache.repack()
    assert await cache.commit_of(head) == head


async def test_a_repository_with_long_ids_works_the_same(tmp_path: Path) -> None:
    wide = Repository(tmp_path / "wide")
    wide.path.mkdir()
    wide.git("init", "--quiet", "-b", "main", "--object-format=sha256", "--template=")
    head = wide.commit("Begin", {"a": "1\n"})
    repo = await BareRepo.init(tmp_path / "r.git", object_format="sha256")
    assert await repo.fetch_sha(parse_remote(wide.path / ".git"), head, "refs/queue/j/head")
    assert len(zero(head)) == 64
    assert await repo.update_ref("refs/x/y", head, None)
