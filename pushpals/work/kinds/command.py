"""``command``: run one command without a shell, or a script.

What it prints is the answer. If it exits 0 and changed files, the change is proposed like any other; if it
fails, what it left behind is thrown away.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import msgspec

from pushpals.protocol.jobs import Evidence, JobResult
from pushpals.work.kind import Args, JobFailure, JobKind

if TYPE_CHECKING:
    from pushpals.work.context import JobContext

TAIL = 2_000
"""Characters of output in the result: the end, where commands say what came of it."""


class CommandArgs(Args, frozen=True, kw_only=True):
    """``argv`` is the program and its arguments; instead of it, ``script`` is a shell script. ``keep``
    proposes
    what it changed."""

    argv: Annotated[list[str], msgspec.Meta(max_length=1_000)] = []
    script: Annotated[str, msgspec.Meta(min_length=1, max_length=16 * 1024)] | None = None
    cwd: str = "."
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 600.0
    keep: bool = True


class CommandKind:
    name = "command"
    description = "Run a command (an argument list, or a script) and report its output and what it changed."
    changes = True
    Args: type[Args] = CommandArgs

    async def run(self, ctx: JobContext, args: CommandArgs) -> JobResult:
        if bool(args.argv) == (args.script is not None):
            raise JobFailure("give either `argv` or `script`")
        ran = await ctx.run(
            args.argv,
            script=args.script,
            cwd=args.cwd,
            timeout_s=args.timeout_s,
            tool="run" if args.script is None else "shell",
        )
        line = ctx.tools.redact(args.script or shlex.join(args.argv))
        if ran.outcome.error is not None:
            raise JobFailure(f"`{line}` could not run: {ran.outcome.error}", error_class="code")
        argv = args.argv or ["bash", "-c", args.script or ""]
        output = {"argv": argv, "exitCode": ran.outcome.exit_code, "tail": ran.output[-TAIL:]}
        if ran.artifact:
            output["artifact"] = ran.artifact
        if ran.ok and args.keep:
            return await ctx.propose(
                title=f"Run {line}", summary=f"`{line}` ended with exit 0.", output=output
            )
        evidence = Evidence(
            check="command",
            argv=argv,
            verdict="passed" if ran.ok else "timed_out" if ran.outcome.timed_out else "failed",
            commit=ctx.base,
            tree=ctx.tree,
            exit_code=ran.outcome.exit_code,
            seconds=round(ran.outcome.wall_s, 3),
            detail=None if ran.ok else ran.why,
            output=ran.artifact,
            sandbox=ctx.tools.executor.level,
            environment=ctx.tools.environment.digest,
            run_by=ctx.worker_id,
        )
        changed = await ctx.workspace.tracked_changes()
        left = f" It had changed {len(changed)} files; that was not kept." if changed else ""
        return JobResult(
            summary=f"`{line}`: {ran.why}.{left}", base=ctx.base, evidence=[evidence], output=output
        )


KIND: JobKind = CommandKind()
