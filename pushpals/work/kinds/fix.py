"""``fix``: a named fixer, safe fixes only.

=========  ==========================================================================================
``ruff``   ``ruff check --fix`` with the rules of :mod:`pushpals.work.ruff`
``format`` ``ruff format``, if the repository says that it is formatted, or nearly is
``typos``  misspellings in documents, comments and docstrings, see :mod:`pushpals.work.spelling`
=========  ==========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pushpals.protocol.jobs import JobResult
from pushpals.work import ruff, spelling
from pushpals.work.kind import Args, JobFailure, JobKind
from pushpals.work.scope import outside
from pushpals.work.tools import Ran

if TYPE_CHECKING:
    from pushpals.work.context import JobContext

NEARLY = 0.1
"""A repository of which at most this share of files would change counts as formatted."""
JSON_BYTES = 32 * 1024 * 1024


class FixArgs(Args, frozen=True, kw_only=True):
    """``force`` formats a repository that does not say it is formatted."""

    fixer: Literal["ruff", "format", "typos"] = "ruff"
    force: bool = False


class Fix:
    name = "fix"
    description = "Apply a fixer's safe fixes: ruff (lint), format, or typos."
    changes = True
    Args: type[Args] = FixArgs

    async def run(self, ctx: JobContext, args: FixArgs) -> JobResult:
        match args.fixer:
            case "ruff":
                return await _lint(ctx)
            case "format":
                return await _format(ctx, force=args.force)
            case "typos":
                return await _typos(ctx)


async def _lint(ctx: JobContext) -> JobResult:
    files = await ctx.files()
    targets = await _targets(ctx)
    if not targets:
        return JobResult(summary="There is no Python here that ruff could check.", base=ctx.base)
    options = ruff.lint_options(files)
    # Exit 0 for findings keeps "found something" apart from "could not look".
    look = await ctx.run(
        ["ruff", "check", *options, "--exit-zero", "--output-format", "json", *targets],
        tool="fix:ruff",
        quiet=True,
        output_bytes=JSON_BYTES,
    )
    before = ruff.read_findings(look.outcome.stdout) if look.ok else None
    if before is None:
        raise _tool_failed("ruff", look)
    fixable = [finding for finding in before if finding.fixable]
    left = len(before) - len(fixable)
    rest = f" {left} more finding{'s need' if left != 1 else ' needs'} a person." if left else ""
    output = {
        "findings": len(before),
        "fixed": len(fixable),
        "left": [f"{one.path}:{one.line} {one.code} {one.message}" for one in before if not one.fixable][
            :100
        ],
    }
    if not fixable:
        what = f"ruff finds nothing that it can fix safely.{rest}" if left else "ruff finds nothing."
        return JobResult(summary=what, base=ctx.base, output=output)
    ctx.say(f"ruff can fix {len(fixable)} of {len(before)} findings: {ruff.by_code(fixable)}.")
    done = await ctx.run(
        ["ruff", "check", *options, "--fix", "--exit-zero", "--output-format", "concise", *targets],
        tool="fix:ruff",
    )
    if not done.ok:
        raise _tool_failed("ruff", done)
    many = f"{len(fixable)} finding{'s' if len(fixable) != 1 else ''}"
    return await ctx.propose(
        title=f"Fix lint: {ruff.by_code(fixable, 5)}",
        summary=f"ruff fixed {many} ({ruff.by_code(fixable)}).{rest}",
        body="Safe fixes of `ruff check --fix` only.",
        output=output,
    )


async def _format(ctx: JobContext, *, force: bool) -> JobResult:
    files = await ctx.files()
    targets = await _targets(ctx)
    if not targets:
        return JobResult(summary="There is no Python here that ruff could format.", base=ctx.base)
    options = ruff.format_options(files)
    look = await ctx.run(
        ["ruff", "format", *options, "--check", *targets],
        tool="fix:format",
        quiet=True,
        output_bytes=JSON_BYTES,
    )
    would, same = ruff.read_format_counts(look.output)
    if look.outcome.exit_code not in (0, 1):
        raise _tool_failed("ruff", look)
    if not would:
        return JobResult(
            summary="Everything is formatted already.", base=ctx.base, output={"formatted": same}
        )
    where = ruff.formatter_configured(files)
    if where is None and not force and would / (would + same) > NEARLY:
        return JobResult(
            summary=f"This repository is not formatted: {would} of {would + same} files would change, and "
            "nothing in it says that it wants that, so nothing was done. "
            "Say so with [tool.ruff.format] in pyproject.toml, or ask for the format with force.",
            base=ctx.base,
            output={"wouldChange": would, "formatted": same},
        )
    done = await ctx.run(["ruff", "format", *options, *targets], tool="fix:format")
    if not done.ok:
        raise _tool_failed("ruff", done)
    why = f" (it says so in {where})" if where else ""
    return await ctx.propose(
        title=f"Format {would} file{'s' if would != 1 else ''} with ruff",
        summary=f"ruff format changed {would} of {would + same} files{why}.",
        output={"changed": would, "formatted": same},
    )


async def _typos(ctx: JobContext) -> JobResult:
    files = await ctx.files()
    own = any(name in files.texts for name in ("_typos.toml", "typos.toml", ".typos.toml"))
    configured = own or "typos" in files.toml("pyproject.toml").get("tool", {})
    look = await ctx.run(
        ["typos", "--format", "json", "--no-check-filenames", *(() if configured else ("--isolated",))],
        tool="fix:typos",
        quiet=True,
        output_bytes=JSON_BYTES,
    )
    if look.outcome.exit_code not in (0, 2):
        raise _tool_failed("typos", look)
    found = spelling.read_typos(look.outcome.stdout)
    allowed = [one for one in found if not outside([one.path], ctx.job.paths) and spelling.may_read(one.path)]
    contents = await _contents(ctx, {one.path for one in allowed})
    fixes = spelling.safe(allowed, contents)
    taken = {(one.path, one.line, one.offset) for one in fixes}
    left = [one for one in found if (one.path, one.line, one.offset) not in taken]
    output = {
        "findings": len(found),
        "fixed": len(fixes),
        "left": [f"{t.path}:{t.line} {t.word} → {' or '.join(t.corrections)}" for t in left[:100]],
    }
    rest = f" {len(left)} more are in code or not certain: left to a person." if left else ""
    if not fixes:
        what = "typos finds nothing that is certain to be prose." if found else "typos finds nothing."
        return JobResult(summary=f"{what}{rest}", base=ctx.base, output=output)
    done = await ctx.run(
        ["git", "apply", "--unidiff-zero", "--whitespace=nowarn", "-p1"],
        stdin=spelling.as_diff(fixes, contents),
        tool="fix:typos",
    )
    if not done.ok:
        raise _tool_failed("git apply", done)
    words = list(dict.fromkeys(f"{one.word} → {one.corrections[0]}" for one in fixes))
    shown = ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
    return await ctx.propose(
        title=f"Correct spelling: {shown}",
        summary=f"Corrected {len(fixes)} word{'s' if len(fixes) != 1 else ''} in prose ({shown}).{rest}",
        output=output,
    )


async def _targets(ctx: JobContext) -> list[str]:
    """What the fixer is pointed at: the whole tree, or the files that the job may change."""
    python = [path for path in (await ctx.files()).paths if path.endswith((".py", ".pyi", ".ipynb"))]
    if not ctx.job.paths:
        return ["."] if python else []
    strays = set(outside(python, ctx.job.paths))
    return [f"./{path}" for path in python if path not in strays]


async def _contents(ctx: JobContext, paths: set[str]) -> dict[str, bytes]:
    entries = await ctx.repo.tree_entries(ctx.base)
    wanted = {
        entry.path: entry.sha
        for entry in entries
        if entry.path in paths
        and entry.mode in ("100644", "100755")
        and (entry.size or 0) <= spelling.MAX_FILE_BYTES
    }
    blobs = await ctx.repo.blobs(wanted.values())
    return {path: blobs[sha] for path, sha in wanted.items()}


def _tool_failed(name: str, ran: Ran) -> JobFailure:
    if ran.outcome.error is not None:
        return JobFailure(
            f"{name} is not here: {ran.outcome.error}; add its folder to worker.path",
            error_class="environment",
        )
    lines = [line for line in ran.output.splitlines() if line.strip()]
    return JobFailure(
        f"{name} failed ({ran.why})" + (f": {lines[-1].strip()[:300]}" if lines else ""),
        detail=ran.output[-4_000:],
    )


KIND: JobKind = Fix()
