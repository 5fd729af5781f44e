"""``revert``: take back what a landing brought, on top of the present main.

The reverse change is composed from commits, without a checkout, as ``git revert`` would: what landed since
stays. Where that is not possible the job fails with the paths and with the later commits that touch them; it
never guesses. Later landings that touch the same files without a conflict are listed, for who approves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pushpals.protocol.jobs import JobResult
from pushpals.work.git import many
from pushpals.work.git.names import is_sha
from pushpals.work.kind import Args, JobFailure, JobKind
from pushpals.work.landing.compose import Conflict, Noop, compose_revert
from pushpals.work.landing.message import trailer

if TYPE_CHECKING:
    from pushpals.work.context import JobContext

LISTED = 50


class RevertArgs(Args, frozen=True, kw_only=True):
    """``commit`` is the landing's own commit on main; ``landing`` its id, for the record."""

    commit: str
    landing: str = ""
    title: str = ""


class Revert:
    name = "revert"
    description = "Take back a landed change, and run the checks on the result."
    changes = True
    Args: type[Args] = RevertArgs

    async def run(self, ctx: JobContext, args: RevertArgs) -> JobResult:
        if not is_sha(args.commit) or await many.missing(ctx.repo, [args.commit]):
            raise JobFailure(f"commit {args.commit[:12]} is not on the main branch")
        later = await _later(ctx, args.commit)
        subject = args.title or (await ctx.repo.commit(args.commit)).subject
        title = f"Revert “{subject}”"[:120]
        body = f"This takes back {args.commit}." + (f"\n\nLanding: {args.landing}" if args.landing else "")
        try:
            made = await compose_revert(
                ctx.repo,
                target=ctx.base,
                landed=args.commit,
                message=ctx.message(title, body),
                author=ctx.author(),
                committer=ctx.author(),
            )
        except ValueError:
            raise JobFailure(f"commit {args.commit[:12]} is not on the main branch") from None
        output: dict[str, Any] = {"reverts": args.commit, "landing": args.landing, "later": later}
        if isinstance(made, Conflict):
            raise JobFailure(
                f"later changes build on it: {', '.join(made.paths[:5])} cannot be taken back by themselves",
                error_class="conflict",
                detail="\n".join(
                    f"{one['commit'][:12]} {one['subject']}"
                    for one in later
                    if set(one["paths"]) & set(made.paths)
                ),
            )
        if isinstance(made, Noop):
            return JobResult(
                summary="It is taken back already; there is nothing to change.", base=ctx.base, output=output
            )
        touched = f" {len(later)} later landings touch the same files." if later else ""
        return await ctx.propose_commit(
            made.commit,
            made.tree,
            title=title,
            summary=f"{args.commit[:12]} is taken back.{touched}",
            output=output,
        )


async def _later(ctx: JobContext, commit: str) -> list[dict[str, Any]]:
    """What came after it on main's own line and touches the same files, newest first."""
    parents = (await ctx.repo.commit(commit)).parents
    if not parents or not await ctx.repo.is_ancestor(commit, ctx.base):
        return []
    paths = {path for file in await ctx.repo.changed_files(parents[0], commit) for path in file.paths}
    line = await ctx.repo.run(
        ["rev-list", "--first-parent", f"--max-count={LISTED * 10}", ctx.base, f"^{commit}"], read_only=True
    )
    infos = await many.commits(ctx.repo, line.stdout.decode("ascii").split())
    before = await many.commits(ctx.repo, {info.parents[0] for info in infos.values() if info.parents})
    pairs = {sha: (before[info.parents[0]].tree, info.tree) for sha, info in infos.items() if info.parents}
    changes = await many.changes(ctx.repo, pairs.values())
    found = []
    for sha, pair in pairs.items():
        both = paths & {path for file in changes[pair] for path in file.paths}
        if both:
            found.append(
                {
                    "commit": sha,
                    "subject": infos[sha].subject[:100],
                    "job": trailer(infos[sha].message, "Job-Id"),
                    "paths": sorted(both)[:20],
                }
            )
    return found[:LISTED]


KIND: JobKind = Revert()
