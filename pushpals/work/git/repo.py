"""A bare repository of our own: the place where objects meet.

Worker and pusher each own one. It is made by us with an empty template, holds no working tree, index or
person's configuration, and takes objects in two ways only: by SHA from a remote, or from a bundle that
has passed fsck in quarantine. Its attributes are pinned, so nothing in a tree can hide a change, run a
filter or pick a merge driver.

Names are checked at this door (``names.py``): every method takes object ids or full ref names.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Literal

from pushpals.work.git import bundles
from pushpals.work.git.changes import (
    DIFF_OPTIONS,
    ChangedFile,
    DiffText,
    TreeEntry,
    parse_changes,
    parse_tree,
)
from pushpals.work.git.commits import CommitInfo, parse_commit
from pushpals.work.git.errors import GitError
from pushpals.work.git.locks import RepositoryBusy as RepositoryBusy
from pushpals.work.git.locks import file_lock
from pushpals.work.git.names import Sha, as_ref, as_sha, encode_path, is_sha, zero
from pushpals.work.git.pushes import PushReport, RefUpdate, parse_porcelain, push_arguments
from pushpals.work.git.remotes import Remote
from pushpals.work.git.runner import Git, GitResult, Identity

ATTRIBUTES = (
    "* !diff !merge !conflict-marker-size -filter -text !eol -ident !working-tree-encoding !whitespace\n"
)
"""Ours stand above those of any tree: content decides what is binary, bytes stay as they are."""

ObjectFormat = Literal["sha1", "sha256"]


class BareRepo:
    """One bare repository. Open it with :meth:`init`, which may be called on an existing one."""

    def __init__(self, path: Path, git: Git, object_format: ObjectFormat = "sha1") -> None:
        self.path = path.absolute()
        self.git = git
        self.object_format: ObjectFormat = object_format

    @classmethod
    async def init(
        cls, path: Path, *, git: Git | None = None, object_format: ObjectFormat = "sha1"
    ) -> BareRepo:
        """Make the repository, or open it and restore what must hold of it."""
        repo = cls(path, git or await Git.find(), object_format)
        if not (repo.path / "HEAD").exists():
            repo.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            fmt = f"--object-format={object_format}"
            await repo.git.run(
                ["init", "--quiet", "--bare", "--template=", fmt, "-b", "main", "--", str(repo.path)]
            )
        await asyncio.to_thread(repo._pin)
        return repo

    def _pin(self) -> None:
        info = self.path / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text(ATTRIBUTES, encoding="ascii")
        (info / "exclude").write_text("", encoding="ascii")
        shutil.rmtree(self.path / "hooks", ignore_errors=True)

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    async def run(self, args: Sequence[str | bytes], **options: object) -> GitResult:
        """A git call in this repository, for the parts of this package that need one more command."""
        return await self.git.run(args, git_dir=self.path, **options)  # type: ignore[arg-type]  # passed through

    # -- locks ------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def locked(self, name: str = "pushpals", *, wait_s: float = 60.0) -> AsyncIterator[None]:
        """Hold a lock of this repository across processes (see ``locks``). Raises RepositoryBusy."""
        async with file_lock(self.path / f"{name}.flock", wait_s=wait_s):
            yield

    def clear_stale_locks(self) -> tuple[Path, ...]:
        """Remove ref locks that a killed git left. Only for the process that holds this repository alone."""
        stale = [*self.path.glob("*.lock"), *(self.path / "refs").rglob("*.lock")]
        for lock in stale:
            lock.unlink(missing_ok=True)
        return tuple(stale)

    # -- reading ----------------------------------------------------------------------------------------

    async def resolve(self, name: str) -> Sha | None:
        """The object that a full ref name or id stands for, None if there is none."""
        return await self._rev(name if is_sha(name) else as_ref(name), "object")

    async def commit_of(self, name: str) -> Sha | None:
        return await self._rev(name if is_sha(name) else as_ref(name), "commit")

    async def tree_of(self, name: str) -> Sha | None:
        """The tree of a commit (or the tree itself), None if the object is not here."""
        return await self._rev(name if is_sha(name) else as_ref(name), "tree")

    async def _rev(self, name: str, kind: str) -> Sha | None:
        result = await self.run(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{{kind}}}"],
            ok=(0, 1, 128),
            read_only=True,
        )
        return as_sha(result.line) if result.code == 0 else None

    async def refs(self, prefix: str) -> dict[str, Sha]:
        """Refs below a full prefix such as ``refs/heads/agent``."""
        result = await self.run(
            ["for-each-ref", "--format=%(objectname) %(refname)", "--", as_ref(prefix)], read_only=True
        )
        pairs = (line.split(" ", 1) for line in result.stdout.decode("utf-8", "surrogateescape").splitlines())
        return {ref: as_sha(sha) for sha, ref in pairs}

    async def is_ancestor(self, ancestor: str, of: str) -> bool:
        """True if ``of`` contains ``ancestor`` (or is it)."""
        args = ["merge-base", "--is-ancestor", as_sha(ancestor), as_sha(of)]
        return (await self.run(args, ok=(0, 1), read_only=True)).code == 0

    async def merge_base(self, one: str, other: str) -> Sha | None:
        """The best common ancestor, None for unrelated histories."""
        result = await self.run(["merge-base", as_sha(one), as_sha(other)], ok=(0, 1), read_only=True)
        return as_sha(result.line) if result.code == 0 else None

    async def commits_between(self, base: str, head: str, *, limit: int = 1000) -> tuple[Sha, ...]:
        """Commits in ``head`` and not in ``base``, oldest first. Raises ``too_large`` past ``limit``."""
        result = await self.run(
            [
                "rev-list",
                "--reverse",
                "--topo-order",
                f"--max-count={limit + 1}",
                as_sha(head),
                f"^{as_sha(base)}",
            ],
            read_only=True,
        )
        found = tuple(as_sha(line) for line in result.stdout.decode("ascii").split())
        if len(found) > limit:
            raise GitError("too_large", f"more than {limit} commits since the base")
        return found

    async def commit(self, sha: str) -> CommitInfo:
        """Read a commit. Raises :class:`GitError` if it is not here."""
        result = await self.run(["cat-file", "commit", as_sha(sha)], read_only=True)
        return parse_commit(as_sha(sha), result.stdout)

    async def blob(self, sha: str, *, limit_bytes: int = 1024 * 1024) -> bytes:
        """The first ``limit_bytes`` of a blob."""
        result = await self.run(
            ["cat-file", "blob", as_sha(sha)], read_only=True, output_bytes=limit_bytes, prefix=True
        )
        return result.stdout

    async def blobs(self, shas: Iterable[str], *, limit_bytes: int = 64 * 1024 * 1024) -> dict[Sha, bytes]:
        """Several blobs in one call. Raises ``too_large`` if they are together more than ``limit_bytes``."""
        wanted = tuple(dict.fromkeys(as_sha(sha) for sha in shas))
        if not wanted:
            return {}
        result = await self.run(
            ["cat-file", "--batch"],
            stdin="".join(f"{s}\n" for s in wanted).encode(),
            read_only=True,
            output_bytes=limit_bytes,
        )
        found: dict[Sha, bytes] = {}
        rest = memoryview(result.stdout)
        at = 0
        for sha in wanted:
            end = result.stdout.index(b"\n", at)
            head = result.stdout[at:end].split()
            if len(head) != 3:
                raise GitError("invalid_object", f"object {sha} is not here")
            size = int(head[2])
            found[sha] = bytes(rest[end + 1 : end + 1 + size])
            at = end + 2 + size
        return found

    async def sizes(self, shas: Iterable[str]) -> dict[Sha, int]:
        """Sizes in bytes of several objects in one call; objects that are not here are left out."""
        wanted = tuple(dict.fromkeys(as_sha(sha) for sha in shas))
        if not wanted:
            return {}
        result = await self.run(
            ["cat-file", "--batch-check=%(objectname) %(objectsize)"],
            stdin="".join(f"{s}\n" for s in wanted).encode(),
            read_only=True,
        )
        rows = (line.split() for line in result.stdout.decode("ascii").splitlines())
        return {as_sha(sha): int(size) for sha, size in rows if size != "missing"}

    async def tree_entries(self, treeish: str, *, sizes: bool = True) -> tuple[TreeEntry, ...]:
        """All leaves of a tree, in git's order. Without ``sizes`` no object needs to be looked at."""
        result = await self.run(
            ["ls-tree", "-r", "-z", *(["--long"] if sizes else []), "--full-tree", as_sha(treeish)],
            read_only=True,
        )
        return parse_tree(result.stdout)

    async def changed_files(self, base: str, head: str) -> tuple[ChangedFile, ...]:
        """What differs between two commits or trees, with renames found."""
        result = await self.run(
            [
                "diff-tree",
                *DIFF_OPTIONS,
                "--raw",
                "--numstat",
                "-z",
                "--no-abbrev",
                as_sha(base),
                as_sha(head),
            ],
            read_only=True,
        )
        return parse_changes(result.stdout)

    async def diff_text(
        self,
        base: str,
        head: str,
        *,
        paths: Sequence[str] = (),
        context: int = 3,
        limit_bytes: int = 1024 * 1024,
    ) -> DiffText:
        """The unified diff. Binary is what the content says; attributes of a tree hide nothing."""
        only = [b"--", *(encode_path(path) for path in paths)] if paths else []
        result = await self.run(
            [
                "diff-tree",
                "-p",
                *DIFF_OPTIONS,
                "--full-index",
                f"--unified={context}",
                "--no-color",
                "--src-prefix=a/",
                "--dst-prefix=b/",
                as_sha(base),
                as_sha(head),
                *only,
            ],
            read_only=True,
            output_bytes=limit_bytes,
            prefix=True,
        )
        return DiffText(text=result.stdout, truncated=result.truncated)

    # -- refs -------------------------------------------------------------------------------------------

    async def update_ref(self, ref: str, new: str, old: str | None) -> bool:
        """Move a ref if it still is at ``old`` (None: does not exist). False if it is elsewhere."""
        expected = zero(new) if old is None else as_sha(old)
        return await self._change_ref(["update-ref", as_ref(ref), as_sha(new), expected], ref, expected)

    async def delete_ref(self, ref: str, old: str) -> bool:
        """Delete a ref if it still is at ``old``. False if it is elsewhere or gone."""
        return await self._change_ref(["update-ref", "-d", as_ref(ref), as_sha(old)], ref, as_sha(old))

    async def _change_ref(self, args: list[str], ref: str, expected: str) -> bool:
        try:
            await self.run(args)
        except GitError:
            # git says "cannot lock ref" for a wrong old value and for a leftover lock file alike.
            if (await self.resolve(ref) or zero(expected)) == expected:
                raise
            return False
        return True

    async def set_ref(self, ref: str, sha: str) -> None:
        """Point a ref somewhere, whatever it was. For pins that one owner alone writes."""
        await self.run(["update-ref", as_ref(ref), as_sha(sha)])

    async def commit_tree(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        *,
        author: Identity,
        committer: Identity,
        signing_key: Path | None = None,
    ) -> Sha:
        """Write a commit object. The same arguments give the same id, also after a crash. No ref moves.

        ``signing_key`` is an ssh key without a passphrase. Use Ed25519 (or RSA): their signatures are
        the same each time, those of ECDSA keys are not.
        """
        signing = [("gpg.format", "ssh"), ("user.signingKey", str(signing_key))] if signing_key else []
        result = await self.run(
            [
                "commit-tree",
                *(["-S"] if signing_key else []),
                as_sha(tree),
                *(arg for parent in parents for arg in ("-p", as_sha(parent))),
                "-F",
                "-",
            ],
            stdin=message.replace("\0", "").encode("utf-8", "replace") or b"\n",
            author=author,
            committer=committer,
            config=signing,
        )
        return as_sha(result.line)

    # -- exchange ---------------------------------------------------------------------------------------

    async def fetch(self, remote: Remote, refspecs: Sequence[str], *, timeout_s: float = 300.0) -> None:
        """Fetch by refspecs such as ``+refs/heads/main:refs/upstream/main``. Full names on both sides."""
        for spec in refspecs:
            source, _, target = spec.removeprefix("+").partition(":")
            if not is_sha(source):
                as_ref(source.removesuffix("/*") if source.endswith("/*") else source)
            if target:
                as_ref(target.removesuffix("/*") if target.endswith("/*") else target)
        async with self.locked("fetch", wait_s=timeout_s):
            await self.run(
                [
                    "fetch",
                    "--quiet",
                    "--no-tags",
                    "--no-write-fetch-head",
                    "--no-recurse-submodules",
                    "--no-auto-maintenance",
                    "--end-of-options",
                    remote.url,
                    *refspecs,
                ],
                remote=remote,
                timeout_s=timeout_s,
            )

    async def fetch_sha(
        self, remote: Remote, sha: str, into: str, *, fallback: str | None = None, timeout_s: float = 300.0
    ) -> bool:
        """Fetch exactly this commit and pin it at ``into``. False if the remote does not have it.

        A remote that serves no bare ids is asked for the ref ``fallback``, and what it gives must contain
        the id: a branch that has moved on is no reason to take its new head.
        """
        wanted = as_sha(sha)
        if await self.commit_of(wanted) is None:
            try:
                await self.fetch(remote, [wanted], timeout_s=timeout_s)
            except GitError as error:
                if error.kind != "missing_ref":
                    raise
                if fallback is None:
                    return False
                try:
                    await self.fetch(remote, [as_ref(fallback)], timeout_s=timeout_s)
                except GitError as second:
                    if second.kind != "missing_ref":
                        raise
                    return False
            if await self.commit_of(wanted) is None:
                return False
        await self.set_ref(into, wanted)
        return True

    async def ls_remote(
        self, remote: Remote, refs: Sequence[str] = (), *, timeout_s: float = 60.0
    ) -> dict[str, Sha]:
        """Refs of a remote by full name; all of them without ``refs``."""
        result = await self.run(
            ["ls-remote", "--quiet", "--refs", "--end-of-options", remote.url, *map(as_ref, refs)],
            remote=remote,
            read_only=True,
            timeout_s=timeout_s,
        )
        found: dict[str, Sha] = {}
        for line in result.stdout.split(b"\n"):
            sha, tab, ref = line.partition(b"\t")
            if tab and is_sha(sha.decode("ascii", "replace")):
                found[ref.decode("utf-8", "surrogateescape")] = Sha(sha.decode("ascii"))
        # ls-remote matches tails: asking for refs/heads/x also answers refs/heads/y/refs/heads/x.
        return {ref: sha for ref, sha in found.items() if not refs or ref in refs}

    async def push(
        self, remote: Remote, updates: Sequence[RefUpdate], *, atomic: bool = True, timeout_s: float = 300.0
    ) -> PushReport:
        """Push with one explicit lease per ref; all of them really change, or ValueError (see ``pushes``)."""
        result = await self.run(
            ["push", *push_arguments(updates, atomic=atomic, url=remote.url)],
            remote=remote,
            ok=(0, 1),
            timeout_s=timeout_s,
        )
        return parse_porcelain(result.stdout, result.stderr, updates)

    async def bundle_create(
        self, sha: str, base: str, *, ref: str, limit_bytes: int = 64 * 1024 * 1024
    ) -> bytes:
        """The commits in ``sha`` and not in ``base`` as a git bundle naming ``ref``."""
        return await bundles.create(self.git, self.path, as_sha(sha), as_sha(base), as_ref(ref), limit_bytes)

    async def bundle_import(
        self, data: bytes, expected: str, into: str, *, limit_bytes: int = 64 * 1024 * 1024
    ) -> bundles.Imported | bundles.BundleRefused:
        """Take the objects of a bundle if they pass fsck and lead to ``expected``; pin that at ``into``."""
        outcome = await bundles.take(self.git, self.path, data, as_sha(expected), limit_bytes)
        if isinstance(outcome, bundles.Imported):
            await self.set_ref(into, expected)
        return outcome

    async def repack(self, *, timeout_s: float = 1800.0) -> None:
        """Gather loose objects and refs. Never drops an object: workspaces borrow them."""
        async with self.locked("fetch", wait_s=timeout_s):
            await self.run(["repack", "--quiet", "-d", "-l", "--geometric=2"], timeout_s=timeout_s)
            await self.run(["pack-refs", "--all"], timeout_s=timeout_s)
