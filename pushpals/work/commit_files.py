"""What of a commit the detectors need, read from git objects: no checkout, nothing executed."""

from __future__ import annotations

from pushpals.work.checks import MAX_CONFIG_BYTES, READ, Detected, Files, detect
from pushpals.work.git.errors import GitError
from pushpals.work.git.repo import BareRepo


async def files_at(repo: BareRepo, commit: str) -> Files:
    """The names in a commit's tree and the configuration files at its root."""
    entries = await repo.tree_entries(commit)
    wanted = {
        entry.path: entry.sha
        for entry in entries
        if entry.path in READ and entry.mode in ("100644", "100755") and (entry.size or 0) <= MAX_CONFIG_BYTES
    }
    try:
        blobs = await repo.blobs(wanted.values())
    except GitError:
        blobs = {}
    return Files(
        paths=tuple(entry.path for entry in entries),
        texts={path: blobs[sha].decode("utf-8", "replace") for path, sha in wanted.items() if sha in blobs},
    )


async def detect_at(repo: BareRepo, commit: str) -> Detected:
    """The checks and fixers of a commit. Raises :class:`~pushpals.work.checks.BadConfig`."""
    return detect(await files_at(repo, commit))
