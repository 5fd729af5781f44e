"""Handing a commit over as one file.

A worker on any machine sends its commit as a git bundle: it needs no credential for a push and no shared
disk. The bundle is written and read here, without ``git bundle``, for two reasons: writing it needs no
ref in the repository, and reading it goes through fsck into a quarantine first, which ``git bundle
unbundle`` of the supported versions does not do. The format is git's own (version 2, 3 for SHA-256).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

import msgspec

from pushpals.work.git.errors import GitError
from pushpals.work.git.names import InvalidName, Sha, as_ref, as_sha
from pushpals.work.git.runner import Git

BundleProblem = Literal[
    "not_a_bundle", "wrong_head", "missing_base", "invalid_object", "too_large", "incomplete"
]

_HEADER_BYTES = 64 * 1024
# Above this size git streams an object instead of holding it: a small pack can inflate to gigabytes.
_BIG_FILE = ("core.bigFileThreshold", "32m")


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """The objects are here; ``objects_bytes`` is the size of the pack taken, 0 if nothing was new."""

    sha: Sha
    objects_bytes: int


class BundleRefused(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was taken. ``missing_base`` may pass after a fetch; every other reason is the sender's."""

    code: BundleProblem
    detail: str


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself, before anything is believed."""

    needs: tuple[Sha, ...]
    refs: dict[str, Sha]
    pack_at: int


async def create(git: Git, git_dir: Path, sha: Sha, base: Sha, ref: str, limit_bytes: int) -> bytes:
    result = await git.run(
        ["pack-objects", "--quiet", "--stdout", "--revs", "--thin", "--delta-base-offset"],
        git_dir=git_dir,
        stdin=f"{sha}\n^{base}\n".encode(),
        output_bytes=limit_bytes,
    )
    version = b"# v2 git bundle\n" if len(sha) == 40 else b"# v3 git bundle\n@object-format=sha256\n"
    return version + f"-{base} \n{sha} {ref}\n\n".encode() + result.stdout


def parse_header(data: bytes) -> Header | None:
    """Read a bundle's header; None if this is no bundle that we read."""
    end = data.find(b"\n\n", 0, _HEADER_BYTES)
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\n")
    if first == b"# v3 git bundle":
        if not lines or lines.pop(0) != b"@object-format=sha256":
            return None
    elif first != b"# v2 git bundle":
        return None
    needs: list[Sha] = []
    refs: dict[str, Sha] = {}
    try:
        for line in lines:
            text = line.decode("utf-8")
            if text.startswith("-"):
                needs.append(as_sha(text[1:].split(" ", 1)[0]))
            else:
                sha, _, ref = text.partition(" ")
                refs[as_ref(ref)] = as_sha(sha)
    except (InvalidName, UnicodeDecodeError):
        return None
    return Header(needs=tuple(needs), refs=refs, pack_at=end + 2)


async def take(
    git: Git, git_dir: Path, data: bytes, expected: Sha, limit_bytes: int
) -> Imported | BundleRefused:
    """Judge a bundle in quarantine, then move its pack into the store. A refusal leaves nothing behind."""
    if len(data) > limit_bytes:
        return BundleRefused(code="too_large", detail=f"{len(data)} bytes, at most {limit_bytes} are taken")
    header = parse_header(data)
    if header is None:
        return BundleRefused(code="not_a_bundle", detail="the header is not that of a git bundle")
    if expected not in header.refs.values():
        return BundleRefused(code="wrong_head", detail=f"the bundle does not offer {expected}")
    for need in header.needs:
        there = await git.run(
            ["cat-file", "-e", f"{need}^{{commit}}"], git_dir=git_dir, ok=(0, 1, 128), read_only=True
        )
        if there.code != 0:
            return BundleRefused(code="missing_base", detail=f"the base {need} is not known here")
    store = git_dir / "objects"
    quarantine = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="tmp_objdir-bundle-", dir=store))
    try:
        try:
            await git.run(
                ["index-pack", "--stdin", "--fix-thin", "--strict", f"--max-input-size={limit_bytes}"],
                git_dir=git_dir,
                object_directory=quarantine,
                alternates=store,
                stdin=data[header.pack_at :],
                config=(_BIG_FILE,),
            )
        except GitError as error:
            if error.kind in ("timeout", "disk_full"):
                raise
            code: BundleProblem = "too_large" if error.kind == "too_large" else "invalid_object"
            return BundleRefused(code=code, detail=str(error)[:500])
        # The pack may be sound and still not lead to the commit it announces.
        whole = await git.run(
            ["rev-list", "--objects", "--quiet", expected, "--not", *header.needs],
            git_dir=git_dir,
            object_directory=quarantine,
            alternates=store,
            ok=(0, 1, 128),
            read_only=True,
        )
        if whole.code != 0:
            return BundleRefused(code="incomplete", detail=f"objects needed by {expected} are missing")
        return Imported(sha=expected, objects_bytes=await asyncio.to_thread(_migrate, quarantine, store))
    finally:
        await asyncio.to_thread(shutil.rmtree, quarantine, ignore_errors=True)


def _migrate(quarantine: Path, store: Path) -> int:
    """Move packs in. The index goes last: a pack is visible to readers once its index is."""
    taken = 0
    (store / "pack").mkdir(exist_ok=True)
    files = sorted((quarantine / "pack").glob("pack-*"), key=lambda p: p.suffix == ".idx")
    for file in files:
        if file.suffix == ".keep":
            continue
        if file.suffix == ".pack":
            taken += file.stat().st_size
        target = store / "pack" / file.name
        if not target.exists():
            os.replace(file, target)
    return taken
