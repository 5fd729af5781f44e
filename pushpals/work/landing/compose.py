"""Merge, squash, revert: commits made in a bare repository, without a checkout.

No index, no working tree, no lock file, no hook. A composition is a function of its arguments: the same
base, head, message, identities and dates give the same commit id, so recomposing after a crash is
idempotent and a differing id is a bug. Attributes of a tree choose no merge driver (``repo.ATTRIBUTES``).

Merging two trees over any third one uses three throw-away commits, because ``merge-tree --merge-base`` is
newer than the oldest git supported; the answer is the one of ``git revert`` and ``cherry-pick``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from pushpals.work.git import many
from pushpals.work.git.changes import ChangedFile
from pushpals.work.git.commits import CommitInfo
from pushpals.work.git.errors import GitError
from pushpals.work.git.names import Sha, as_sha, decode_path, show_path, split_nul
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity

Style = Literal["merge", "squash"]

_SHOWN_COMMITS = 20
_PATCH_BYTES = 32 * 1024 * 1024
_NOBODY = Identity(name="pushpals", email="pushpals@localhost", when=datetime.fromtimestamp(0, UTC))


class ConflictMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One conflict in git's words, e.g. kind ``CONFLICT (contents)``. Paths are escaped for display."""

    kind: str
    text: str
    paths: tuple[str, ...]


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """The two sides cannot be merged by text. A normal outcome.

    ``with_target``: it conflicts with the target branch alone, so the author has to act. Otherwise only
    something ahead in the same batch is in the way, which may never land.
    """

    onto: Sha
    head: Sha
    base: Sha
    paths: tuple[str, ...]
    messages: tuple[ConflictMessage, ...]
    their_commits: tuple[Sha, ...]
    """Commits of the target (or batch) since the base that touch the paths, newest first."""
    our_commits: tuple[Sha, ...]
    """Commits of the branch that touch them, newest first."""
    with_target: bool = True
    marked: Sha | None = None
    """The tree with conflict markers in its files, as git left it."""


class Noop(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing to land. ``contained``: the head is in the target; ``same_tree``: merging changes nothing;
    ``landed_before``: the same change is there as one other commit, ``by``."""

    reason: Literal["contained", "same_tree", "landed_before"]
    by: Sha | None = None


class Unrelated(msgspec.Struct, frozen=True, kw_only=True):
    """The head shares no history with the target. A matter of policy, never a conflict, never retried."""

    onto: Sha
    head: Sha


class Composed(msgspec.Struct, frozen=True, kw_only=True):
    """A commit that exists and is not yet anywhere. ``base`` is the merge base of ``onto`` and ``head``."""

    commit: Sha
    tree: Sha
    onto: Sha
    head: Sha
    base: Sha


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """A tree without conflicts."""

    tree: Sha


class Conflicted(msgspec.Struct, frozen=True, kw_only=True):
    """What git says about a merge that has conflicts. Paths as bytes came (surrogateescape). ``tree`` has
    conflict markers in its files."""

    tree: Sha
    paths: tuple[str, ...]
    messages: tuple[ConflictMessage, ...]


async def merge_trees(repo: BareRepo, ours: str, theirs: str) -> Merged | Conflicted:
    """Merge two commits. Raises :class:`GitError` for everything that is no answer (exit 128)."""
    result = await repo.run(
        ["merge-tree", "--write-tree", "-z", "--messages", as_sha(ours), as_sha(theirs)],
        ok=(0, 1),
        timeout_s=300.0,
    )
    tree, rest = _split_once(result.stdout)
    if result.code == 0:
        return Merged(tree=as_sha(tree.decode("ascii")))
    return _parse_conflict(as_sha(tree.decode("ascii")), rest)


async def merge_over(repo: BareRepo, base_tree: str, ours_tree: str, theirs_tree: str) -> Merged | Conflicted:
    """Apply the difference from ``base_tree`` to ``theirs_tree`` onto ``ours_tree``."""

    async def synthetic(tree: str, parents: Sequence[Sha]) -> Sha:
        return await repo.commit_tree(tree, parents, "synthetic\n", author=_NOBODY, committer=_NOBODY)

    base = await synthetic(base_tree, [])
    ours, theirs = await synthetic(ours_tree, [base]), await synthetic(theirs_tree, [base])
    if ours == theirs:
        return Merged(tree=as_sha(ours_tree))
    return await merge_trees(repo, ours, theirs)


async def compose(
    repo: BareRepo,
    *,
    target: str,
    head: str,
    message: str,
    committer: Identity,
    author: Identity | None = None,
    onto: str | None = None,
    style: Style = "merge",
    signing_key: Path | None = None,
) -> Composed | Noop | Conflict | Unrelated:
    """Put ``head`` on top of ``onto`` (the target, or the tip of a batch built on it).

    ``author`` defaults to the author of ``head``. Nothing is pinned; the caller points a ref at the result.
    """
    onto, head, target = as_sha(onto or target), as_sha(head), as_sha(target)
    base = await repo.merge_base(onto, head)
    if base is None:
        return Unrelated(onto=onto, head=head)
    if base == head:
        return Noop(reason="contained")
    onto_tree = await repo.tree_of(onto)
    assert onto_tree is not None
    return await compose_onto(
        repo,
        target=target,
        onto=onto,
        onto_tree=onto_tree,
        base=base,
        head=await repo.commit(head),
        message=message,
        committer=committer,
        author=author,
        style=style,
        signing_key=signing_key,
    )


async def compose_onto(
    repo: BareRepo,
    *,
    target: Sha,
    onto: Sha,
    onto_tree: Sha,
    base: Sha,
    head: CommitInfo,
    message: str,
    committer: Identity,
    author: Identity | None = None,
    style: Style = "merge",
    signing_key: Path | None = None,
) -> Composed | Noop | Conflict:
    """:func:`compose` where everything about the two sides is known: one process, for the merge itself."""
    info, head_id = head, head.sha
    merged = await merge_trees(repo, onto, head_id)
    if isinstance(merged, Conflicted):
        if by := await landed_before(repo, base=base, head=head_id, target=onto):
            return Noop(reason="landed_before", by=by)
        alone = onto == target or isinstance(await merge_trees(repo, target, head_id), Conflicted)
        return Conflict(
            onto=onto,
            head=head_id,
            base=base,
            paths=tuple(show_path(path) for path in merged.paths),
            messages=merged.messages,
            their_commits=await _touching(repo, base, onto, merged.paths),
            our_commits=await _touching(repo, base, head_id, merged.paths),
            with_target=alone,
            marked=merged.tree,
        )
    if merged.tree == onto_tree:
        return Noop(reason="same_tree")
    parents = [onto, head_id] if style == "merge" else [onto]
    author = author or info.author
    if signing_key is None:
        text = many.commit_text(merged.tree, parents, message, author=author, committer=committer)
        commit = many.write_commit(repo, text)
    else:
        commit = await repo.commit_tree(
            merged.tree, parents, message, author=author, committer=committer, signing_key=signing_key
        )
    return Composed(commit=commit, tree=merged.tree, onto=onto, head=head_id, base=base)


async def conflict_text(repo: BareRepo, conflict: Conflict, *, limit: int = 6_000) -> str:
    """Both sides of what conflicts, between git's markers, for whoever repairs it; ``limit`` characters."""
    if conflict.marked is None:
        return ""
    entries = {show_path(e.path): e for e in await repo.tree_entries(conflict.marked, sizes=False)}
    parts: list[str] = []
    for path in conflict.paths[:20]:
        entry = entries.get(path)
        if entry is None or entry.mode not in ("100644", "100755"):
            continue
        text = (await repo.blob(entry.sha, limit_bytes=512 * 1024)).decode("utf-8", "replace")
        if hunks := _MARKED.findall(text):
            parts.append(f"{path}\n" + "\n".join(hunk.rstrip() for hunk in hunks))
    return "\n\n".join(parts)[:limit]


_MARKED = re.compile(r"^<{7} .*?^>{7} [^\n]*\n?", re.M | re.S)


async def compose_revert(
    repo: BareRepo, *, target: str, landed: str, message: str, author: Identity, committer: Identity
) -> Composed | Noop | Conflict:
    """Undo a landed commit (against its first parent) on top of ``target``."""
    target, landed = as_sha(target), as_sha(landed)
    info = await repo.commit(landed)
    if not info.parents or not await repo.is_ancestor(landed, target):
        raise ValueError(f"{landed} is not a landing on this branch")
    before, now = await repo.tree_of(info.parents[0]), await repo.tree_of(target)
    assert before is not None
    assert now is not None
    merged = await merge_over(repo, info.tree, now, before)
    if isinstance(merged, Conflicted):
        return Conflict(
            onto=target,
            head=landed,
            base=landed,
            paths=tuple(show_path(path) for path in merged.paths),
            messages=merged.messages,
            their_commits=await _touching(repo, landed, target, merged.paths),
            our_commits=(landed,),
        )
    if merged.tree == now:
        return Noop(reason="same_tree")
    commit = await repo.commit_tree(merged.tree, [target], message, author=author, committer=committer)
    return Composed(commit=commit, tree=merged.tree, onto=target, head=landed, base=landed)


async def landed_before(
    repo: BareRepo, *, base: str, head: str, target: str, look_back: int = 200
) -> Sha | None:
    """The commit on the target that makes the same change as the whole branch, e.g. its squash."""
    try:
        ours = await _patch_ids(repo, ["diff-tree", "-p", "-r", as_sha(base), as_sha(head)])
        if not ours:
            return None
        theirs = await _patch_ids(
            repo,
            [
                "log", "-p", "--no-color", "--first-parent", "--diff-merges=first-parent",
                f"--max-count={look_back}", "--format=commit %H", as_sha(target), f"^{as_sha(base)}",
            ],
        )  # fmt: skip
    except GitError as error:
        if error.kind != "too_large":
            raise
        return None
    return next((commit for patch, commit in theirs if patch == ours[0][0]), None)


async def same_patch(repo: BareRepo, one: tuple[str, str], other: tuple[str, str]) -> str | None:
    """The patch identity that two changes (base, head) share, None if they differ or are too large to say."""
    ids = []
    for base, head in (one, other):
        if await many.missing(repo, [base, head]):
            return None
        try:
            found = await _patch_ids(repo, ["diff-tree", "-p", "-r", as_sha(base), as_sha(head)])
        except GitError as error:
            if error.kind != "too_large":
                raise
            return None
        ids.append(found[0][0] if found else None)
    return ids[0] if ids[0] == ids[1] else None


async def stray_paths(
    repo: BareRepo, *, old: str, new: str, branches: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    """Paths that landing would change and no branch (merge base, head) changes. Must be none.

    This is the check against a merge that was computed from the wrong base. A file that the target
    renamed meanwhile counts under both names.
    """
    allowed: set[str] = set()
    for base, head in branches:
        touched = _paths(await repo.changed_files(base, head))
        for file in await repo.changed_files(base, old):
            if file.old_path in touched and file.status in ("renamed", "copied"):
                touched.add(file.path)
        allowed |= touched
    return tuple(sorted(_paths(await repo.changed_files(old, new)) - allowed))


def _paths(files: Sequence[ChangedFile]) -> set[str]:
    return {path for file in files for path in file.paths}


async def _patch_ids(repo: BareRepo, args: list[str]) -> list[tuple[str, Sha]]:
    patch = await repo.run(
        [args[0], "--no-ext-diff", "--no-textconv", "--full-index", *args[1:]],
        read_only=True,
        output_bytes=_PATCH_BYTES,
    )
    if not patch.stdout:
        return []
    # patch-id is line-based text work and needs no repository.
    ids = await repo.git.run(["patch-id", "--stable"], stdin=patch.stdout)
    rows = (line.split() for line in ids.stdout.decode("ascii").splitlines())
    return [(patch_id, Sha(commit)) for patch_id, commit in rows]


async def _touching(repo: BareRepo, base: str, tip: str, paths: Sequence[str]) -> tuple[Sha, ...]:
    result = await repo.run(
        [
            "rev-list", f"--max-count={_SHOWN_COMMITS}", as_sha(tip), f"^{as_sha(base)}",
            "--", *(path.encode("utf-8", "surrogateescape") for path in paths[:1000]),
        ],
        read_only=True,
    )  # fmt: skip
    return tuple(as_sha(line) for line in result.stdout.decode("ascii").split())


def _split_once(raw: bytes) -> tuple[bytes, bytes]:
    head, _, rest = raw.partition(b"\0")
    return head, rest


def _parse_conflict(tree: Sha, rest: bytes) -> Conflicted:
    # "<mode> <id> <stage>\t<path>" fields, an empty field, then for each message: count, paths, kind, text.
    fields = iter(split_nul(rest))
    paths: dict[str, None] = {}
    for field in fields:
        if not field:
            break
        paths[decode_path(field.partition(b"\t")[2])] = None
    messages: list[ConflictMessage] = []
    for count in fields:
        named = tuple(show_path(decode_path(next(fields))) for _ in range(int(count)))
        kind, text = next(fields), next(fields)
        if kind.startswith(b"CONFLICT"):
            messages.append(
                ConflictMessage(
                    kind=kind.decode("utf-8", "replace"),
                    text=show_path(text.decode("utf-8", "surrogateescape").strip()),
                    paths=named,
                )
            )
    return Conflicted(tree=tree, paths=tuple(paths), messages=tuple(messages))
