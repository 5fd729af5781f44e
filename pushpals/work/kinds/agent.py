"""``agent``: let a coding agent that the operator configured work on a brief.

The only result is what host git finds changed in the workspace. What the agent prints is shown as its words,
and how it exits is noted: an agent whose every command failed can still end with exit 0 and "the tests pass".
Whether it is true, the checks say. The agent runs in the job's sandbox, with the variables and the network
that its configuration names and no others, in a process tree that ends with the job.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from pushpals.protocol.jobs import JobResult
from pushpals.work.executors.base import Mount
from pushpals.work.executors.profile import TREE
from pushpals.work.kind import Args, JobFailure, JobKind

if TYPE_CHECKING:
    from pushpals.work.context import JobContext

WORDS = 4_000
"""Characters of the agent's last words that are kept."""
BRIEF_AT = "/brief"


class AgentArgs(Args, frozen=True, kw_only=True):
    """``brief`` is the whole task. ``agent`` names one of the configured agents; the only one by default."""

    brief: Annotated[str, msgspec.Meta(min_length=1, max_length=256 * 1024)]
    agent: str | None = None
    title: str = ""


class Agent:
    name = "agent"
    description = "Let a configured coding agent change the tree; only the resulting diff counts."
    changes = True
    Args: type[Args] = AgentArgs

    async def run(self, ctx: JobContext, args: AgentArgs) -> JobResult:
        agents = ctx.settings.agents
        name = args.agent or (next(iter(agents)) if len(agents) == 1 else None)
        if name is None or name not in agents:
            known = ", ".join(sorted(agents))
            raise JobFailure(
                (f"there is no agent {name!r}; " if name else "")
                + (f"this worker has: {known}" if known else "no coding agent is configured on this worker")
                + "; name one under [agents] in the worker's settings",
                error_class="environment",
            )
        command = agents[name]
        note = f"\n\nNote from the last attempt: {ctx.job.note}" if ctx.job.note else ""
        brief = f"{args.brief}{note}\n"
        as_file = any("{brief_file}" in word for word in command.argv)
        sandboxed = ctx.tools.executor.level != "none"
        file = await asyncio.to_thread(_write_brief, ctx.scratch / "brief", brief)
        places = {
            "brief_file": f"{BRIEF_AT}/{file.name}" if sandboxed else str(file),
            "repo": TREE if sandboxed else str(ctx.workspace.place.tree),
        }
        mounts = (Mount(source=file.parent, at=BRIEF_AT),) if sandboxed and as_file else ()
        ctx.say(f"{name} is working on it.")
        ran = await ctx.run(
            [_filled(word, places) for word in command.argv],
            tool=f"agent:{name}",
            stdin=b"" if as_file else brief.encode(),
            env=command.env,
            timeout_s=command.timeout_s,
            network=command.network,
            mounts=mounts,
        )
        if ran.outcome.error is not None:
            raise JobFailure(f"{name} could not start: {ran.outcome.error}", error_class="environment")
        words = ran.output.strip()[-WORDS:]
        first = " ".join(args.brief.split())[:72]
        return await ctx.propose(
            title=args.title or first,
            summary=f"{name} ended ({ran.why}).",
            body=f"Made by the agent {name!r} from the brief:\n\n{args.brief.strip()[:2_000]}",
            output={"agent": name, "agentSays": words, "ended": ran.why, "artifact": ran.artifact},
        )


def _write_brief(folder: Path, brief: str) -> Path:
    folder.mkdir(mode=0o755, exist_ok=True)
    file = folder / "brief.md"
    file.write_text(brief, encoding="utf-8")
    # The sandbox's own user reads it; a brief is no secret to the agent.
    folder.chmod(0o755)
    file.chmod(0o644)
    return file


def _filled(word: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(f"{{{name}}}", value)
    return word


KIND: JobKind = Agent()
