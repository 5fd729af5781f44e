"""``look``: what is failing here? Lint, types, tests and spelling, counted; nothing is changed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pushpals.protocol.events import ScanResult
from pushpals.protocol.jobs import Evidence, JobResult
from pushpals.work import ruff, spelling
from pushpals.work.checks import READ
from pushpals.work.kind import Args, JobKind
from pushpals.work.reports import tool_of
from pushpals.work.run_check import describe

if TYPE_CHECKING:
    from pushpals.work.context import JobContext

Subject = Literal["tests", "lint", "types", "spelling"]
JSON_BYTES = 32 * 1024 * 1024


class LookArgs(Args, frozen=True, kw_only=True):
    """``about`` says what to look at; nothing means everything."""

    about: list[Subject] = []


class Look:
    name = "look"
    description = "Report failing tests, lint, type errors and misspellings, without changing anything."
    changes = False
    Args: type[Args] = LookArgs

    async def run(self, ctx: JobContext, args: LookArgs) -> JobResult:
        about = args.about or ["tests", "lint", "types", "spelling"]
        files = await ctx.files()
        output: dict[str, Any] = {}
        told: list[str] = []
        evidence: list[Evidence] = []
        if "lint" in about and any(path.endswith(".py") for path in files.paths):
            ctx.say("Looking at the lint.")
            told.append(await _lint(ctx, output))
        if "spelling" in about:
            told.append(await _spelling(ctx, output))
        for spec in (await ctx.detected()).checks:
            kind = {"mypy": "types", "ruff": "", "ruff-format": "", "typos": ""}.get(
                tool_of(spec.argv), "tests"
            )
            if kind not in about:
                continue
            ctx.say(f"Running {spec.name}.")
            checked = await ctx.check(spec)
            evidence.append(checked.evidence)
            told.append(describe(checked.evidence))
            output.setdefault(kind, {})[spec.name] = {
                "verdict": checked.evidence.verdict,
                "failures": checked.evidence.failures,
            }
        if "tests" in about and "tests" not in output:
            told.append("no tests were found")
        summary = "; ".join(filter(None, told)) or "there is nothing to look at"
        summary = f"{summary[:1].upper()}{summary[1:]}."
        ctx.tell(
            ScanResult(
                summary=summary,
                files_read=[path for path in files.paths if path in READ],
                git_status_porcelain="",
                git_diff="",
            )
        )
        return JobResult(summary=summary, base=ctx.base, evidence=evidence, output=output)


async def _lint(ctx: JobContext, output: dict[str, Any]) -> str:
    options = ruff.lint_options(await ctx.files())
    ran = await ctx.run(
        ["ruff", "check", *options, "--exit-zero", "--output-format", "json", "."],
        tool="look:lint",
        quiet=True,
        output_bytes=JSON_BYTES,
    )
    findings = ruff.read_findings(ran.outcome.stdout) if ran.ok else None
    if findings is None:
        output["lint"] = {"error": ran.why}
        return f"ruff could not run: {ran.why}"
    fixable = [one for one in findings if one.fixable]
    output["lint"] = {
        "findings": len(findings),
        "fixable": len(fixable),
        "byRule": ruff.by_code(findings, 30),
        "first": [f"{one.path}:{one.line} {one.code} {one.message}" for one in findings[:50]],
    }
    if not findings:
        return "no lint"
    safe = f", {len(fixable)} can be fixed safely" if fixable else ""
    return (
        f"{len(findings)} lint finding{'s' if len(findings) != 1 else ''} ({ruff.by_code(findings, 4)}{safe})"
    )


async def _spelling(ctx: JobContext, output: dict[str, Any]) -> str:
    ran = await ctx.run(
        ["typos", "--format", "json", "--no-check-filenames"],
        tool="look:spelling",
        quiet=True,
        output_bytes=JSON_BYTES,
    )
    if ran.outcome.exit_code not in (0, 2):
        output["spelling"] = {"error": ran.why}
        return ""
    found = spelling.read_typos(ran.outcome.stdout)
    prose = [one for one in found if spelling.may_read(one.path) and re.fullmatch(r"[A-Za-z]+", one.word)]
    output["spelling"] = {
        "findings": len(found),
        "first": [f"{one.path}:{one.line} {one.word}" for one in found[:50]],
    }
    return f"{len(prose)} possible misspelling{'s' if len(prose) != 1 else ''}" if prose else ""


KIND: JobKind = Look()
