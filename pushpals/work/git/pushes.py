"""A push with a lease on every ref, and what the remote said about each of them.

What the server compares is the old value of each ref that the push creates, changes or deletes, and
nothing else: a lease on a ref that is not pushed is silently ignored, and one on a ref that is pushed
unchanged misses a move inside the push window. Hence the rule here: each update names its old value, and
really changes its ref.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from pushpals.work.git.errors import GitError, classify, printable
from pushpals.work.git.names import Sha, as_ref, as_sha

RefVerdict = Literal["moved", "unchanged", "stale", "rule", "atomic", "unknown"]
"""``stale``: the lease did not hold. ``rule``: the remote refused by a hook or protection.
``atomic``: refused because of another ref, or a lock on the remote."""


class RefUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """Move ``ref`` from ``old`` to ``new``. None: does not exist before, or not after."""

    ref: str
    old: Sha | None
    new: Sha | None


class RefReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the remote did with one ref, in its own words in ``text``."""

    ref: str
    verdict: RefVerdict
    text: str = ""


class PushReport(msgspec.Struct, frozen=True, kw_only=True):
    """All refs of one push. ``remote_text`` is what hooks on the other side wrote."""

    refs: tuple[RefReport, ...]
    remote_text: str = ""

    @property
    def accepted(self) -> bool:
        return all(report.verdict == "moved" for report in self.refs)

    def verdict(self, ref: str) -> RefVerdict:
        return next((report.verdict for report in self.refs if report.ref == ref), "unknown")


def push_arguments(updates: Sequence[RefUpdate], *, atomic: bool, url: str) -> list[str]:
    """The arguments after ``push``. Raises ValueError for an update that changes nothing, or none at all."""
    if not updates or len({update.ref for update in updates}) != len(updates):
        raise ValueError("a push needs updates, one per ref")
    leases: list[str] = []
    specs: list[str] = []
    for update in updates:
        ref = as_ref(update.ref)
        old = "" if update.old is None else as_sha(update.old)
        new = "" if update.new is None else as_sha(update.new)
        if old == new:
            raise ValueError(f"the lease on {ref} would not be checked: the push does not change it")
        leases.append(f"--force-with-lease={ref}:{old}")
        specs.append(f"{new}:{ref}")
    flags = [
        "--porcelain",
        "--no-verify",
        "--no-follow-tags",
        "--no-thin",
        "--recurse-submodules=no",
        "--no-signed",
    ]
    return [*flags, *(["--atomic"] if atomic else ["--no-atomic"]), *leases, "--end-of-options", url, *specs]


_LINE = re.compile(rb"([ +\-*!=])\t[^\t]*:([^\t:]+)\t(.*)")


def parse_porcelain(stdout: bytes, stderr: bytes, updates: Sequence[RefUpdate]) -> PushReport:
    """Read ``push --porcelain``. Raises :class:`GitError` if the remote was never asked."""
    seen: dict[str, RefReport] = {}
    for line in stdout.split(b"\n"):
        if match := _LINE.fullmatch(line):
            ref = match[2].decode("utf-8", "replace")
            seen[ref] = RefReport(
                ref=ref, verdict=_verdict(match[1], match[3]), text=printable(match[3], limit=500)
            )
    if not seen:
        raise GitError(classify(stderr), f"git push failed: {printable(stderr)}")
    said = b"\n".join(line[8:].rstrip() for line in stderr.split(b"\n") if line.startswith(b"remote: "))
    return PushReport(
        refs=tuple(seen.get(u.ref, RefReport(ref=u.ref, verdict="unknown")) for u in updates),
        remote_text=printable(said),
    )


def _verdict(flag: bytes, summary: bytes) -> RefVerdict:
    if flag == b"=":
        return "unchanged"
    if flag != b"!":
        return "moved"
    if b"stale info" in summary or b"fetch first" in summary or b"non-fast-forward" in summary:
        return "stale"
    if summary.startswith(b"[remote rejected]") and not re.search(
        rb"atomic|failed to (update|lock)|cannot lock|incorrect old value|reference already exists", summary
    ):
        return "rule"
    if b"atomic" in summary or summary.startswith(b"[remote rejected]"):
        return "atomic"
    return "unknown"
