"""A commit handed over as a file: what is taken, and what is refused without leaving anything behind."""

import subprocess
from pathlib import Path

import pytest

from pushpals.testing.repos import Cloned, Link
from pushpals.work.git.bundles import BundleRefused, Imported, parse_header
from pushpals.work.git.remotes import Remote
from pushpals.work.git.repo import BareRepo

REF = "refs/heads/agent/w/j"


@pytest.fixture
async def pusher(tmp_path: Path, cloned: Cloned, remote: Remote) -> BareRepo:
    repo = await BareRepo.init(tmp_path / "pusher.git")
    await repo.fetch(remote, ["+refs/heads/main:refs/upstream/main"])
    return repo


async def worker_commit(
    cache: BareRepo, cloned: Cloned, remote: Remote, files: dict[str, object]
) -> tuple[str, str]:
    base = cloned.checkout.sha("main")
    cloned.checkout.branch("topic")
    head = cloned.checkout.commit("Work", files)  # type: ignore[arg-type]  # contents of a test
    cloned.push("+topic:topic")
    await cache.fetch_sha(remote, head, "refs/work/head")
    return base, head


def pack_unchecked(cloned: Cloned, wanted: str, *options: str) -> bytes:
    """What a sender with a git of its own may send."""
    return subprocess.run(
        ["git", "-C", cloned.checkout.path, "pack-objects", "--stdout", "-q", *options],
        input=wanted.encode(),
        capture_output=True,
        check=True,
    ).stdout


def stored(repo: BareRepo) -> set[str]:
    return {path.name for path in repo.objects.rglob("*") if path.is_file()} | {
        path.name for path in repo.objects.iterdir() if path.name.startswith("tmp")
    }


async def test_a_commit_travels_as_a_bundle_that_git_itself_can_read(
    cache: BareRepo, pusher: BareRepo, cloned: Cloned, remote: Remote, tmp_path: Path
) -> None:
    base, head = await worker_commit(cache, cloned, remote, {"src/app.py": "x = 2\n", "new.txt": "y\n"})
    data = await cache.bundle_create(head, base, ref=REF)
    taken = await pusher.bundle_import(data, head, "refs/queue/j/head")
    assert isinstance(taken, Imported)
    assert (taken.sha, taken.objects_bytes > 0) == (head, True)
    assert await pusher.resolve("refs/queue/j/head") == head
    assert [file.path for file in await pusher.changed_files(base, head)] == ["new.txt", "src/app.py"]
    (tmp_path / "x.bundle").write_bytes(data)
    cloned.upstream.git("bundle", "verify", str(tmp_path / "x.bundle"))
    cloned.upstream.git("fetch", str(tmp_path / "x.bundle"), f"{REF}:{REF}")
    assert cloned.upstream.refs()[REF] == head
    # Again is the same answer.
    assert isinstance(await pusher.bundle_import(data, head, "refs/queue/j/head"), Imported)


async def test_a_base_that_is_not_known_yet_is_named(
    cache: BareRepo, cloned: Cloned, remote: Remote, tmp_path: Path
) -> None:
    base, head = await worker_commit(cache, cloned, remote, {"a": "a"})
    data = await cache.bundle_create(head, base, ref=REF)
    empty = await BareRepo.init(tmp_path / "empty.git")
    assert await empty.bundle_import(data, head, "refs/queue/j/head") == BundleRefused(
        code="missing_base", detail=f"the base {base} is not known here"
    )


async def test_a_bundle_must_offer_the_commit_that_was_announced(
    cache: BareRepo, pusher: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    base, head = await worker_commit(cache, cloned, remote, {"a": "a"})
    data = await cache.bundle_create(head, base, ref=REF)
    refused = await pusher.bundle_import(data, "e" * 40, "refs/queue/j/head")
    assert refused == BundleRefused(code="wrong_head", detail=f"the bundle does not offer {'e' * 40}")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PACK",
        b"# v2 git bundle\n",
        b"# v1 git bundle\n\nPACK",
        b"# v3 git bundle\n@filter=blob:none\n\nPACK",
        b"# v2 git bundle\n-short base\n\nPACK",
        b"# v2 git bundle\n" + b"a" * 40 + b" HEAD\n\nPACK",
        b"# v2 git bundle\n" + b"a" * 40 + b" refs/heads/--x\n\nPACK",
        b"# v2 git bundle\n" + b"x" * 100_000 + b"\n\n",
    ],
)
async def test_what_is_no_bundle_is_refused(pusher: BareRepo, data: bytes) -> None:
    before = stored(pusher)
    refused = await pusher.bundle_import(data, "a" * 40, "refs/queue/j/head")
    assert isinstance(refused, BundleRefused)
    assert refused.code == "not_a_bundle"
    assert stored(pusher) == before


async def test_a_damaged_pack_is_refused_and_leaves_nothing(
    cache: BareRepo, pusher: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    base, head = await worker_commit(cache, cloned, remote, {"a": "a" * 1000})
    data = await cache.bundle_create(head, base, ref=REF)
    header = parse_header(data)
    assert header is not None
    before = stored(pusher)
    damaged = [
        data[:-30],
        data[: header.pack_at],
        data[: header.pack_at + 20] + b"\0" * 10 + data[header.pack_at + 30 :],
    ]
    for bad in damaged:
        refused = await pusher.bundle_import(bad, head, "refs/queue/j/head")
        assert isinstance(refused, BundleRefused)
        assert refused.code == "invalid_object"
    assert stored(pusher) == before
    assert await pusher.resolve("refs/queue/j/head") is None


@pytest.mark.parametrize("name", [b".git/config", b".GIT/hooks/x", b"git~1/x"])
async def test_a_tree_with_a_git_directory_does_not_pass_fsck(
    cache: BareRepo, pusher: BareRepo, cloned: Cloned, remote: Remote, name: bytes
) -> None:
    base = cloned.checkout.sha("main")
    head = cloned.checkout.commit_entries("Evil", {name: ("100644", b"x")}, parent=base)
    pack = pack_unchecked(cloned, f"{head}\n^{base}\n", "--revs", "--thin")
    data = f"# v2 git bundle\n-{base} \n{head} {REF}\n\n".encode() + pack
    before = stored(pusher)
    refused = await pusher.bundle_import(data, head, "refs/queue/j/head")
    assert isinstance(refused, BundleRefused)
    assert refused.code == "invalid_object"
    assert stored(pusher) == before


async def test_a_pack_that_leaves_out_what_the_commit_needs_is_refused(
    cache: BareRepo, pusher: BareRepo, cloned: Cloned, remote: Remote
) -> None:
    base, head = await worker_commit(cache, cloned, remote, {"a": "a", "l": Link("a")})
    pack = pack_unchecked(cloned, f"{head}\n")
    data = f"# v2 git bundle\n-{base} \n{head} {REF}\n\n".encode() + pack
    before = stored(pusher)
    refused = await pusher.bundle_import(data, head, "refs/queue/j/head")
    assert isinstance(refused, BundleRefused)
    assert refused.code in ("invalid_object", "incomplete")
    assert stored(pusher) == before


async def test_size_is_bounded(cache: BareRepo, pusher: BareRepo, cloned: Cloned, remote: Remote) -> None:
    base, head = await worker_commit(cache, cloned, remote, {"a": "a"})
    data = await cache.bundle_create(head, base, ref=REF)
    refused = await pusher.bundle_import(data, head, "refs/queue/j/head", limit_bytes=100)
    assert refused == BundleRefused(code="too_large", detail=f"{len(data)} bytes, at most 100 are taken")
