"""Stories of one job in its tree, and of what the next job finds."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pushpals.testing.repos import Cloned, Link, make_cloned
from pushpals.work.git.changes import ChangedFile
from pushpals.work.git.errors import GitError
from pushpals.work.git.judge import ChangeLimits
from pushpals.work.git.names import AgentBranch, Sha
from pushpals.work.git.remotes import parse_remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity
from pushpals.work.git.tree_rules import Refusal
from pushpals.work.workspace import PoolClosed, Snapshot, SnapshotRefused, Workspace, WorkspacePool

ME = Identity(name="Worker", email="worker@example.org", when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

FILES = {
    "README.md": "# Example\n",
    "src/app.py": "x = 1\n",
    "src/deep/er/util.py": "y = 1\n",
    "link": Link("src/app.py"),
    ".gitignore": "build/\n*.log\n",
    "crlf.txt": b"one\r\ntwo\r\n",
}


@pytest.fixture
def cloned(tmp_path: Path) -> Cloned:
    return make_cloned(tmp_path, FILES)


@pytest.fixture
async def cache(tmp_path: Path, cloned: Cloned) -> BareRepo:
    repo = await BareRepo.init(tmp_path / "cache.git")
    await repo.fetch(parse_remote(cloned.upstream.path), ["+refs/heads/main:refs/upstream/main"])
    return repo


@pytest.fixture
def base(cloned: Cloned) -> str:
    return cloned.checkout.sha("main")


def agent(workspace: Workspace, script: str) -> str:
    """What a job does: a shell in the tree, with an ordinary git that believes what it finds."""
    tree = workspace.place.tree
    env = {"PATH": os.environ["PATH"], "HOME": str(tree.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["bash", "-ec", script], cwd=tree, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


def content_of(tree: Path) -> dict[str, str]:
    found = {}
    for path in sorted(tree.rglob("*")):
        name = str(path.relative_to(tree))
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        elif path.is_file() and name != ".git":
            found[name] = path.read_bytes().decode()
    return found


PRISTINE = {
    ".gitignore": "build/\n*.log\n",
    "README.md": "# Example\n",
    "crlf.txt": "one\r\ntwo\r\n",
    "link": "-> src/app.py",
    "src/app.py": "x = 1\n",
    "src/deep/er/util.py": "y = 1\n",
}


async def taken(workspace: Workspace, **options: object) -> Snapshot:
    result = await workspace.snapshot(message="Work\n", author=ME, **options)  # type: ignore[arg-type]
    assert isinstance(result, Snapshot), result
    return result


async def refused(workspace: Workspace, **options: object) -> set[tuple[str, str]]:
    result = await workspace.snapshot(message="Work\n", author=ME, **options)  # type: ignore[arg-type]
    assert isinstance(result, SnapshotRefused), result
    return {(refusal.code, refusal.path) for refusal in result.refusals}


async def test_a_job_edits_and_its_tree_becomes_a_commit_on_its_branch(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    async with WorkspacePool(tmp_path / "ws", cache) as pool, pool.acquire(base, "job-1") as workspace:
        assert content_of(workspace.place.tree) == PRISTINE
        agent(workspace, "echo 'x = 2' > src/app.py; mkdir build; echo junk > build/out; echo noise > a.log")
        snapshot = await taken(workspace)
        assert snapshot.commit is not None
        commit = await cache.commit(snapshot.commit)
        assert (commit.parents, commit.tree, commit.author, commit.message) == (
            (base,),
            snapshot.tree,
            ME,
            "Work\n",
        )
        file = snapshot.files[0]
        assert snapshot.files == (
            ChangedFile(
                path="src/app.py", status="modified", old_mode="100644", new_mode="100644",
                old_sha=file.old_sha, new_sha=file.new_sha, added=1, deleted=1,
            ),
        )  # fmt: skip
        branch = await workspace.branch(snapshot.commit, worker="worker-1", job="job-1")
        assert branch == AgentBranch(worker="worker-1", job="job-1")
        assert await cache.resolve(branch.ref) == snapshot.commit
        assert await workspace.branch(snapshot.commit, worker="worker-1", job="job-1") == branch
        assert await workspace.branch(Sha(base), worker="worker-1", job="job-1") is None
        assert await workspace.branch(Sha(base), worker="worker-1", job="job-1", replace=True) == branch
    assert not (tmp_path / "ws").exists()


async def test_nothing_changed_makes_no_commit(tmp_path: Path, cache: BareRepo, base: str) -> None:
    async with WorkspacePool(tmp_path / "ws", cache) as pool, pool.acquire(base, "job") as workspace:
        agent(workspace, "touch src/app.py; echo noise > a.log")
        assert await taken(workspace) == Snapshot(
            parent=Sha(base), tree=Sha(str(await cache.tree_of(base))), commit=None, files=()
        )
        assert await workspace.tracked_changes() == ()


async def test_the_same_tree_at_the_same_moment_is_the_same_commit(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    commits = []
    async with WorkspacePool(tmp_path / "ws", cache) as pool:
        for owner in ("one", "two"):
            async with pool.acquire(base, owner) as workspace:
                agent(workspace, "echo 'x = 2' > src/app.py")
                commits.append((await taken(workspace)).commit)
    assert commits[0] == commits[1]


async def test_git_works_inside_and_nothing_of_it_reaches_the_cache(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    def state() -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for path in cache.path.rglob("*")
            if path.is_file() and not path.is_relative_to(cache.objects)
        }

    before = state()
    marker = tmp_path / "ran"
    async with WorkspacePool(tmp_path / "ws", cache) as pool, pool.acquire(base, "job") as workspace:
        said = agent(
            workspace,
            f"""
            git status --porcelain; git log --oneline
            echo 1 > new; git add -A; git commit -qm one; echo 2 > new; git stash -q; git stash pop -q
            git checkout -q -b other; git gc -q; git log --format=%s
            mkdir -p ../gitdir/hooks; printf '#!/bin/sh\ntouch {marker}\n' > ../gitdir/hooks/post-index-change
            chmod +x ../gitdir/hooks/*
            git config core.fsmonitor 'touch {marker}'; git config filter.evil.clean 'touch {marker}; cat'
            git config filter.evil.smudge 'touch {marker}; cat'; git config core.hooksPath ../gitdir/hooks
            echo '* filter=evil' > .gitattributes; echo '* filter=evil' > ../gitdir/info/attributes
            echo ../elsewhere > ../gitdir/commondir
            """,
        )
        assert said.splitlines()[-2:] == ["one", "Begin"]
        marker.unlink(missing_ok=True)
        snapshot = await taken(workspace)
        assert [file.path for file in snapshot.files] == [".gitattributes", "new"]
        assert state() == before
    assert not marker.exists()


async def test_a_git_directory_put_in_place_of_the_pointer_is_never_asked(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    marker = tmp_path / "ran"
    async with WorkspacePool(tmp_path / "ws", cache) as pool:
        async with pool.acquire(base, "job") as workspace:
            agent(
                workspace,
                f"rm .git; git init -q .; git config core.fsmonitor 'touch {marker}'; echo 1 > new;"
                f"git config core.worktree /; git config filter.x.clean 'touch {marker}; cat';"
                "echo '* filter=x' > .gitattributes",
            )
            marker.unlink(missing_ok=True)
            assert [file.path for file in (await taken(workspace)).files] == [".gitattributes", "new"]
            assert await workspace.tracked_changes() == ()
        async with pool.acquire(base, "next") as workspace:
            assert content_of(workspace.place.tree) == PRISTINE
            assert (workspace.place.tree / ".git").read_text() == "gitdir: ../gitdir\n"
    assert not marker.exists()


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (
            "git init -q sub; git -C sub config core.fsmonitor 'touch {marker}'; echo x > sub/x",
            {("tree.embedded", "sub/")},
        ),
        ("mkdir .GIT; echo x > .GIT/config", {("tree.dotgit", ".GIT/config")}),
        ("mkdir 'a'; echo x > 'a/git~1'", {("tree.dotgit", "a/git~1")}),
        ("ln -s /etc/passwd out", {("tree.link", "out")}),
        ("ln -s ../../.. src/out", {("tree.link", "src/out")}),
        ("ln -sf .git/config link", {("tree.link", "link")}),
        ("printf x > $'new\\nline'", {("tree.control", "new\\nline")}),
        ("printf x > $'bad\\xff'", {("tree.encoding", "bad\\xff")}),
        ("printf x > $'a\\xe2\\x80\\xaeb'", {("tree.direction", "a\\u202eb")}),
        ("printf x > readme.MD", {("tree.twin", "readme.MD")}),
        ("head -c 3000 /dev/zero > big.bin", {("change.file_bytes", "big.bin")}),
        ("for n in 1 2 3 4 5; do head -c 1800 /dev/zero > $n.bin; done", {("change.total_bytes", "")}),
        ("for n in $(seq 30); do echo > f$n; done", {("change.files", "")}),
    ],
)
async def test_a_tree_that_is_not_taken_is_refused_by_rule(
    tmp_path: Path, cache: BareRepo, base: str, script: str, found: set[tuple[str, str]]
) -> None:
    marker = tmp_path / "ran"
    async with WorkspacePool(tmp_path / "ws", cache) as pool:
        async with pool.acquire(base, "job") as workspace:
            agent(workspace, script.replace("{marker}", str(marker)))
            limits = ChangeLimits(files=20, file_bytes=2000, total_bytes=8000)
            assert await refused(workspace, limits=limits) == found
        async with pool.acquire(base, "next") as workspace:
            assert content_of(workspace.place.tree) == PRISTINE
    assert not marker.exists()


async def test_a_bare_repository_below_the_tree_is_plain_files_and_is_not_asked(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    marker = tmp_path / "ran"
    async with WorkspacePool(tmp_path / "ws", cache) as pool, pool.acquire(base, "job") as workspace:
        agent(workspace, f"git init -q --bare --template= b; git -C b config core.fsmonitor 'touch {marker}'")
        assert [file.path for file in (await taken(workspace)).files] == ["b/HEAD", "b/config"]
    assert not marker.exists()


async def test_a_submodule_of_the_base_may_stay_but_not_become_a_repository_or_move(
    tmp_path: Path, cloned: Cloned, cache: BareRepo, base: str
) -> None:
    marker = tmp_path / "ran"
    with_module = cloned.checkout.commit_entries("Module", {b"lib": ("160000", base.encode())}, parent=base)
    cloned.push(f"{with_module}:refs/heads/main")
    await cache.fetch_sha(parse_remote(cloned.upstream.path), with_module, "refs/upstream/main")
    async with WorkspacePool(tmp_path / "ws", cache) as pool, pool.acquire(with_module, "job") as workspace:
        agent(workspace, "echo 'x = 2' > src/app.py")
        assert [file.path for file in (await taken(workspace)).files] == ["src/app.py"]
        agent(
            workspace,
            f"""git init -q lib; cd lib; git config user.name a; git config user.email b
            git commit -q --allow-empty -m x; git config core.fsmonitor 'touch {marker}'""",
        )
        marker.unlink(missing_ok=True)
        assert await refused(workspace) == {("tree.embedded", "lib")}
    assert not marker.exists()


async def test_the_next_job_finds_its_base_whatever_the_last_one_left(
    tmp_path: Path, cache: BareRepo, cloned: Cloned, base: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "app.py").write_text("mine\n")
    (outside / "app.py").chmod(0o600)
    mess = f"""
        echo changed > README.md; rm src/deep/er/util.py; rm -r src/deep; echo file > src/deep
        mkdir -p build/a/b; echo x > build/a/b/c; chmod 000 build/a; chmod 000 build
        rm -f link; ln -s {outside} link
        mkfifo pipe; printf x > $'new\\nline'; printf x > $'bad\\xff'; mkdir .GIT; echo x > .GIT/x
        git init -q nested; mkdir -p nested/sub
        chmod 4755 crlf.txt; ln src/app.py hard
        mv src moved; ln -s {outside} src
        chmod 500 moved
    """
    other = cloned.checkout.commit(
        "Other", {"README.md": "# Other\n", "only-here.txt": "x\n", "src/app.py": None}
    )
    cloned.push()
    await cache.fetch_sha(parse_remote(cloned.upstream.path), other, "refs/upstream/main")
    async with WorkspacePool(tmp_path / "ws", cache, size=1) as pool:
        for _ in range(2):
            async with pool.acquire(base, "messy") as workspace:
                agent(workspace, mess)
                if os.geteuid() == 0:
                    agent(workspace, "chown -hR 61001:61001 . ../gitdir")
            async with pool.acquire(base, "same base") as workspace:
                tree = workspace.place.tree
                assert content_of(tree) == PRISTINE
                assert {path.lstat().st_uid for path in tree.rglob("*")} == {os.geteuid()}
                assert stat.S_IMODE((tree / "crlf.txt").stat().st_mode) == 0o644
                assert await workspace.tracked_changes() == ()
                assert agent(workspace, "git status --porcelain; git log --format=%s") == "Begin\n"
            async with pool.acquire(other, "other base") as workspace:
                changed = {key: value for key, value in PRISTINE.items() if key != "src/app.py"}
                assert content_of(workspace.place.tree) == {
                    **changed, "README.md": "# Other\n", "only-here.txt": "x\n",
                }  # fmt: skip
    assert (outside / "app.py").read_text() == "mine\n"
    assert stat.S_IMODE((outside / "app.py").stat().st_mode) == 0o600
    assert not (tmp_path / "ws").exists()


async def test_a_tree_owned_by_the_user_of_a_sandbox_is_read(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    async with WorkspacePool(tmp_path / "ws", cache) as pool, pool.acquire(base, "job") as workspace:
        agent(workspace, "echo 'x = 2' > src/app.py; echo new > new.txt; chmod 600 new.txt")
        if os.geteuid() == 0:
            agent(workspace, "chown -hR 61001:61001 . ../gitdir")
        assert [file.path for file in (await taken(workspace)).files] == ["new.txt", "src/app.py"]
        assert await workspace.tracked_changes() == ("src/app.py",)


async def test_a_change_that_hides_behind_an_old_time_is_seen_and_undone(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    # git compares times by the second only, and trusts an entry that is older than its index.
    hour = 3_600_000_000_000
    async with WorkspacePool(tmp_path / "ws", cache, size=1) as pool:
        for _ in range(5):
            async with pool.acquire(base, "makes the file look old") as workspace:
                path = workspace.place.tree / "src/app.py"
                os.utime(path, ns=(hour, hour))
            async with pool.acquire(base, "changes it, keeps size and time") as workspace:
                path.write_text("x = 2\n")
                os.utime(path, ns=(hour, hour))
                assert await workspace.tracked_changes() == ("src/app.py",)
                assert [file.path for file in (await taken(workspace)).files] == ["src/app.py"]
            async with pool.acquire(base, "finds its base") as workspace:
                assert path.read_text() == "x = 1\n"


async def test_what_the_job_closed_for_reading_is_not_lost(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    async with WorkspacePool(tmp_path / "ws", cache) as pool, pool.acquire(base, "job") as workspace:
        agent(
            workspace,
            "mkdir -p shut/in; echo x > shut/in/file; chmod 000 shut/in/file shut/in shut README.md",
        )
        assert [file.path for file in (await taken(workspace)).files] == ["shut/in/file"]


async def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path, cache: BareRepo, base: str) -> None:
    async with WorkspacePool(tmp_path / "ws", cache) as pool:
        async with pool.acquire(base, "job") as workspace:
            agent(
                workspace, "touch -r src/app.py ../t; printf 'x = 9\n' > src/app.py; touch -r ../t src/app.py"
            )
            assert [file.path for file in (await taken(workspace)).files] == ["src/app.py"]
            assert await workspace.tracked_changes() == ("src/app.py",)
        async with pool.acquire(base, "next") as workspace:
            assert content_of(workspace.place.tree) == PRISTINE


async def test_more_owners_than_trees_wait_for_each_other_and_trees_are_reused(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    at_once = most = 0
    used: list[Path] = []

    async def job(pool: WorkspacePool, number: int) -> None:
        nonlocal at_once, most
        async with pool.acquire(base, f"job-{number}") as workspace:
            at_once += 1
            most = max(most, at_once)
            used.append(workspace.place.tree)
            agent(workspace, f"echo {number} > mine; git add mine; git commit -qm x")
            assert [file.path for file in (await taken(workspace)).files] == ["mine"]
            at_once -= 1

    async with WorkspacePool(tmp_path / "ws", cache, size=2) as pool:
        await asyncio.gather(*(job(pool, number) for number in range(6)))
    assert (most, len(set(used)), len(used)) == (2, 2, 6)
    assert not (tmp_path / "ws").exists()


async def test_a_cancelled_job_gives_its_tree_back(tmp_path: Path, cache: BareRepo, base: str) -> None:
    pool = WorkspacePool(tmp_path / "ws", cache, size=1)
    inside = asyncio.Event()

    async def forever() -> None:
        async with pool.acquire(base, "job") as workspace:
            agent(workspace, "echo x > left-behind")
            inside.set()
            await asyncio.Event().wait()

    async with pool:
        task = asyncio.create_task(forever())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with pool.acquire(base, "next") as workspace:
            assert content_of(workspace.place.tree) == PRISTINE
    assert not (tmp_path / "ws").exists()


async def test_a_base_that_is_not_there_is_an_error_and_costs_no_slot(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    async with WorkspacePool(tmp_path / "ws", cache, size=1) as pool:
        with pytest.raises(GitError) as missing:
            async with pool.acquire("e" * 40, "job"):
                pass
        assert missing.value.kind == "missing_ref"
        async with pool.acquire(base, "job") as workspace:
            assert content_of(workspace.place.tree) == PRISTINE


async def test_a_closed_pool_hands_out_nothing_and_closes_twice(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    pool = WorkspacePool(tmp_path / "ws", cache)
    with pytest.raises(PoolClosed):
        async with pool.acquire(base, "job"):
            pass
    async with pool:
        pass
    assert await pool.close() == ()
    with pytest.raises(PoolClosed):
        async with pool.acquire(base, "job"):
            pass


HOLDER = """
import asyncio, pathlib, sys
from pushpals.work.git.repo import BareRepo
from pushpals.work.workspace import WorkspacePool

async def main():
    cache = await BareRepo.init(pathlib.Path(sys.argv[1]))
    async with WorkspacePool(pathlib.Path(sys.argv[2]), cache) as pool:
        async with pool.acquire(sys.argv[3], "holder") as workspace:
            (workspace.place.tree / "mine").write_text("x")
            print(workspace.place.tree, flush=True)
            await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


async def test_slots_of_a_living_process_stay_and_those_of_a_killed_one_are_swept(
    tmp_path: Path, cache: BareRepo, base: str
) -> None:
    root = tmp_path / "ws"
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(cache.path), str(root), base,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert holder.stdout is not None
    held = Path((await holder.stdout.readline()).decode().strip())
    async with WorkspacePool(root, cache) as pool, pool.acquire(base, "job") as workspace:
        assert (held / "mine").exists()
        assert workspace.place.tree != held
    assert (held / "mine").exists()
    holder.send_signal(signal.SIGKILL)
    await holder.communicate()
    assert content_of(held)["mine"] == "x"
    async with WorkspacePool(root, cache) as pool:
        assert content_of(held) == {}
        async with pool.acquire(base, "job") as workspace:
            assert workspace.place.tree == held
            assert content_of(held) == PRISTINE
    assert not root.exists()


async def test_a_refusal_names_rule_path_and_reason(tmp_path: Path, cache: BareRepo, base: str) -> None:
    async with WorkspacePool(tmp_path / "ws", cache) as pool, pool.acquire(base, "job") as workspace:
        agent(workspace, "ln -s /etc/passwd out")
        assert await workspace.snapshot(message="x", author=ME) == SnapshotRefused(
            refusals=(Refusal(code="tree.link", path="out", detail="the link is absolute"),)
        )
