"""``patch``: apply a unified diff that a person posted, all of it or none.

git applies it inside the sandbox: exactly first, then with the counts of the hunk headers computed anew (hand
made diffs have wrong ones), then by three-way merge with the blobs that the diff names. A patch that applies
with conflicts is not applied. Nothing is ever applied with fuzz.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pushpals.protocol.jobs import JobResult
from pushpals.work.kind import Args, JobFailure, JobKind
from pushpals.work.patching import (
    MAX_PATCH_BYTES,
    Rejected,
    extract,
    rejections,
    strip_level,
    subject,
    touched,
)
from pushpals.work.tools import Ran

if TYPE_CHECKING:
    from pushpals.work.context import JobContext

_APPLY = ("git", "apply", "--whitespace=nowarn")


class PatchArgs(Args, frozen=True, kw_only=True):
    """``diff`` is a unified diff; words and code fences around it are ignored."""

    diff: str
    title: str = ""


class Patch:
    name = "patch"
    description = "Apply a unified diff that was pasted or posted, and run the checks on the result."
    changes = True
    Args: type[Args] = PatchArgs

    async def run(self, ctx: JobContext, args: PatchArgs) -> JobResult:
        if len(args.diff) > MAX_PATCH_BYTES:
            raise JobFailure(f"the patch is larger than {MAX_PATCH_BYTES} characters")
        diff = extract(args.diff)
        if diff is None:
            raise JobFailure(
                "there is no unified diff in this text; it needs `---`, `+++` and `@@` lines, "
                "as `git diff` prints them"
            )
        paths = touched(diff)
        how = await self._apply(ctx, diff)
        named = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
        return await ctx.propose(
            title=args.title or subject(args.diff) or f"Apply a patch to {named}",
            summary=f"The patch applies{how}.",
            output={"paths": paths[:200]},
        )

    async def _apply(self, ctx: JobContext, diff: str) -> str:
        level = f"-p{strip_level(diff)}"
        data = diff.encode("utf-8", "surrogateescape")
        first: Ran | None = None
        for options, how in (
            ((), ""),
            (("--recount",), " (the line counts in its headers were wrong)"),
        ):
            tried = await ctx.run(
                [*_APPLY, level, "--check", *options], stdin=data, tool="patch", timeout_s=120.0
            )
            _must_have_run(tried)
            first = first or tried
            if tried.ok:
                done = await ctx.run([*_APPLY, level, *options], stdin=data, tool="patch", timeout_s=120.0)
                if done.ok:
                    return how
        merged = await ctx.run([*_APPLY, level, "--3way"], stdin=data, tool="patch", timeout_s=120.0)
        if merged.ok:
            return " after a three-way merge with what changed since it was made"
        assert first is not None
        raise _failure(first, merged, diff)


def _must_have_run(ran: Ran) -> None:
    if ran.outcome.error is not None:
        raise JobFailure(f"git is needed inside the sandbox: {ran.outcome.error}", error_class="environment")
    if ran.outcome.timed_out:
        raise JobFailure("git did not finish within its time")


def _failure(first: Ran, merged: Ran, diff: str) -> JobFailure:
    stderr = first.outcome.stderr.decode("utf-8", "replace")
    rejected = rejections(stderr, diff)
    conflicts = "with conflicts" in merged.output
    message = "the patch does not apply"
    if outside := re.search(r"^error: invalid path '(.*)'$", stderr, re.M):
        return JobFailure(
            f"the patch names {outside[1]}, which is no path of a repository", error_class="policy"
        )
    if rejected:
        message += f": {_where(rejected[0])}"
        if len(rejected) > 1:
            message += f", and {len(rejected) - 1} more"
    if conflicts:
        message += "; a three-way merge ends in conflicts"
    shown = "\n\n".join(f"{_where(one)}\n{one.hunk}" for one in rejected[:20])
    return JobFailure(message, error_class="conflict", detail=shown or first.output[-4_000:])


def _where(one: Rejected) -> str:
    return f"{one.path}, hunk at line {one.line}" if one.line else f"{one.path}: {one.hunk}"


KIND: JobKind = Patch()
