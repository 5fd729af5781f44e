"""``check``: run the repository's checks, or some of them by name, on the base as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushpals.protocol.jobs import JobResult
from pushpals.work.checks import BadConfig, pick
from pushpals.work.kind import Args, JobFailure, JobKind
from pushpals.work.run_check import describe

if TYPE_CHECKING:
    from pushpals.work.context import JobContext


class CheckArgs(Args, frozen=True, kw_only=True):
    """``names`` are names of checks; none means all."""

    names: list[str] = []


class Check:
    name = "check"
    description = "Run the repository's checks, or the named ones, and report what they say."
    changes = False
    Args: type[Args] = CheckArgs

    async def run(self, ctx: JobContext, args: CheckArgs) -> JobResult:
        detected = await ctx.detected()
        try:
            specs = pick(detected.checks, args.names or ctx.job.checks)
        except BadConfig as error:
            raise JobFailure(str(error)) from None
        evidence = []
        for number, spec in enumerate(specs):
            ctx.say(f"Running {spec.name}.", percent=round(100 * number / len(specs), 1))
            evidence.append((await ctx.check(spec)).evidence)
        told = "; ".join(describe(one) for one in evidence) or "This repository has no checks"
        notes = "".join(f" {note[:1].upper()}{note[1:]}." for note in detected.notes) if not specs else ""
        return JobResult(
            summary=f"{told}.{notes}",
            base=ctx.base,
            evidence=evidence,
            output={
                "checks": [
                    {"name": one.check.name, "argv": one.check.argv, "reason": one.reason}
                    for one in detected.found
                ],
                "notes": list(detected.notes),
            },
        )


KIND: JobKind = Check()
