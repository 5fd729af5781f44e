"""Judge a change between two trees: the part of the rules that needs to look into objects.

Used twice with the same answer: when a workspace is turned into a commit, so that the worker learns it
first, and before a merge, because the worker is not trusted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from pushpals.work.git.changes import GITLINK, SYMLINK, ChangedFile
from pushpals.work.git.names import Sha, show_path
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.tree_rules import MODES, Refusal, fold_path, judge_link, judge_path, judge_twins


class ChangeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one change. Sizes are of the new content, not of the difference."""

    files: int = 2000
    file_bytes: int = 10 * 1024 * 1024
    total_bytes: int = 50 * 1024 * 1024
    refusals: int = 100
    """At most this many findings are reported; the first is reason enough."""


async def judge_change(
    repo: BareRepo,
    files: Sequence[ChangedFile],
    head: str,
    *,
    limits: ChangeLimits,
    allow_submodules: bool = False,
    sizes: Mapping[Sha, int] | None = None,
    names: Names | None = None,
) -> tuple[Refusal, ...]:
    """Everything against a change, by rule. ``head`` is the tree or commit that it leads to.

    ``sizes`` of the new blobs and the ``names`` of the tree before the change spare two looks if they are
    known already.
    """
    if len(files) > limits.files:
        return (
            Refusal(
                code="change.files", path="", detail=f"{len(files)} files, at most {limits.files} are taken"
            ),
        )
    refusals: list[Refusal] = []
    present = [file for file in files if file.status != "deleted"]
    for file in present:
        if file.new_mode not in MODES:
            refusals.append(
                Refusal(code="tree.mode", path=show_path(file.path), detail=f"mode {file.new_mode}")
            )
        elif file.new_mode == GITLINK and not allow_submodules:
            refusals.append(
                Refusal(
                    code="tree.submodule",
                    path=show_path(file.path),
                    detail="a submodule pointer is new or changed",
                )
            )
    named = [file for file in present if file.status in ("added", "renamed", "copied")]
    refusals += [refusal for file in named if (refusal := judge_path(file.path))]
    if names is None:
        refusals += await _twins(repo, named, head)
    else:
        refusals += names.twins(files)
    refusals += await _sizes(repo, present, limits, sizes)
    links = [file for file in present if file.new_mode == SYMLINK]
    for file in links:
        target = await repo.blob(file.new_sha, limit_bytes=4096)
        if refusal := judge_link(file.path, target):
            refusals.append(refusal)
    return tuple(refusals[: limits.refusals])


async def _twins(repo: BareRepo, named: Sequence[ChangedFile], head: str) -> list[Refusal]:
    if not named:
        return []
    # Old twins are the repository's own business; only those that a new name makes are refused.
    new = {file.path for file in named}
    old = [entry.path for entry in await repo.tree_entries(head, sizes=False) if entry.path not in new]
    before = {refusal.path for refusal in judge_twins(old)}
    return [refusal for refusal in judge_twins([*old, *sorted(new)]) if refusal.path not in before]


async def _sizes(
    repo: BareRepo,
    present: Sequence[ChangedFile],
    limits: ChangeLimits,
    known: Mapping[Sha, int] | None,
) -> list[Refusal]:
    blobs = [file for file in present if file.new_mode != GITLINK]
    sizes = known if known is not None else await repo.sizes(file.new_sha for file in blobs)
    refusals = [
        Refusal(
            code="change.file_bytes",
            path=show_path(file.path),
            detail=f"{sizes[file.new_sha]} bytes, at most {limits.file_bytes} are taken",
        )
        for file in blobs
        if sizes.get(file.new_sha, 0) > limits.file_bytes
    ]
    total = sum(sizes.get(file.new_sha, 0) for file in blobs)
    if total > limits.total_bytes:
        refusals.append(
            Refusal(
                code="change.total_bytes",
                path="",
                detail=f"{total} bytes, at most {limits.total_bytes} are taken",
            )
        )
    return refusals


class Names:
    """The names of a tree, folded as file systems fold them, to judge many changes of it."""

    def __init__(self, paths: Iterable[str]):
        self._spelled: dict[str, Counter[str]] = defaultdict(Counter)
        for path in paths:
            for folded, prefix in fold_path(path):
                self._spelled[folded][prefix] += 1

    def twins(self, files: Sequence[ChangedFile]) -> list[Refusal]:
        """Names that the change makes and that are one with another where case is not kept."""
        made = sorted(file.path for file in files if file.status in ("added", "renamed", "copied"))
        gone: Counter[str] = Counter()
        for file in files:
            left = file.path if file.status == "deleted" else None
            left = file.old_path if file.status == "renamed" else left
            if left is not None:
                gone.update(prefix for _, prefix in fold_path(left))
        refused: dict[str, Refusal] = {}
        seen: dict[str, str] = {}
        for path in made:
            for folded, prefix in fold_path(path):
                old = [p for p, n in self._spelled.get(folded, Counter()).items() if n > gone[p]]
                other = next((p for p in old if p != prefix), None) or seen.setdefault(folded, prefix)
                # Twins that were there before are the repository's own business.
                if other != prefix and prefix not in old:
                    refused.setdefault(
                        folded,
                        Refusal(
                            code="tree.twin",
                            path=show_path(prefix),
                            detail=f"the same name as {show_path(other)} where case or "
                            "Unicode form is not kept",
                        ),
                    )
        return list(refused.values())
