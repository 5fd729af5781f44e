"""A history that is the same every time: fixed clock, counted ids, one day in the life of a small team.

Runbooks, SQL tests and pages are written against it, so that their outputs can be compared word for word.
In the session ``ops``:

- a lint fix is asked for, checked, approved and lands; a renamed flag lands after it, and main turns red;
- one job fails for want of its tool, one comes back when its worker goes silent, one waits for a worker
  with a capability that nobody has;
- one landing is denied, and one waits for a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pushpals.hub import jobs, landings, lanes, leasing, sessions, workers
from pushpals.hub.of import Of
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import (
    Claim,
    Complete,
    CreateSession,
    Decide,
    Enqueue,
    EventIn,
    Fail,
    LeaseLane,
    MoveLanding,
    Progress,
    RegisterWorker,
    SetLaneMode,
    SubmitLanding,
)
from pushpals.protocol.events import (
    AssistantMessage,
    CheckFinished,
    Payload,
    PlanMade,
    PlanStep,
    ToolCall,
    ToolResult,
)
from pushpals.protocol.jobs import Counts, Evidence, FileChange, Job, JobResult
from pushpals.protocol.landings import Candidate, Intent, Landing
from pushpals.protocol.records import Actor
from pushpals.store.base import Store, StoredEvent
from pushpals.store.sqlite import open_store
from pushpals.testing.bench import BUDDY, OPERATOR, PUSHER, Bench
from pushpals.testing.clock import CountedIds, ManualClock
from pushpals.testing.direct import DirectHub

SESSION = "ops"
START = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
LANE = "shop:main"
W1 = Actor(role="worker", token_id="wo-1", label="w1")
W2 = Actor(role="worker", token_id="wo-2", label="w2")


def commit(number: int) -> str:
    """A commit id that people can tell from others at a glance."""
    return f"{number:x}" * 40


class Seed:
    """Verbs over a hub whose clock stands still between them."""

    def __init__(self, store: Store, clock: ManualClock):
        self.bench = Bench(store, clock, [])
        self.clock = clock
        self.person = DirectHub(self.bench.hub, OPERATOR)
        self.buddy = DirectHub(self.bench.hub, BUDDY)
        self.pusher = DirectHub(self.bench.hub, PUSHER)
        self.main = commit(1)
        self.fence = 0

    async def begin(self) -> None:
        await self.bench.hub.start()
        await self.bench.run(
            sessions.create, CreateSession(session_id=SESSION, label="Operating a small fleet")
        )
        for actor, capabilities in ((W1, ["git"]), (W2, ["git"])):
            body = RegisterWorker(
                kinds=["check", "command", "fix", "patch"], capabilities=capabilities, sandbox="full"
            )
            await self.bench.run(workers.register, Of(id=actor.label, body=body), actor)

    async def ask(self, text: str, kind: str, title: str, *, answer: str = "", **more: Any) -> str:
        """A person asks, the buddy plans, a job waits."""
        said = await self.person.say(SESSION, text)
        self.clock.advance(2)
        plan = PlanMade(
            plan_id=f"plan-{said.cursor}",
            message_id=said.event_id,
            understanding=title,
            steps=[PlanStep(kind=kind, title=title)],
        )
        await self.buddy.post(SESSION, plan)
        await self.buddy.post(SESSION, AssistantMessage(text=answer or f"{title}: on it."))
        ask = Enqueue(
            task_id=f"task-{said.cursor}",
            kind=kind,
            title=title,
            session_id=SESSION,
            message_id=said.event_id,
            **more,
        )
        return (await self.bench.run(jobs.enqueue, ask, BUDDY)).job_id  # type: ignore[no-any-return]

    async def claim(self, actor: Actor = W1) -> Job:
        self.clock.advance(3)
        ask = Claim(worker_id=actor.label, lease_s=30.0, capabilities=["git"])
        job = await leasing.claim(self.bench.hub, ask, actor=actor)
        assert job is not None
        return job

    async def command(
        self, job: Job, argv: list[str], *, ok: bool = True, out: str = "", seconds: float = 2.0
    ) -> None:
        """The worker of a job runs something."""
        call = f"call-{job.id}-{argv[0]}"
        args = {"argv": argv, "cwd": ".", "sandbox": "full"}
        await self.report(job, ToolCall(tool_call_id=call, tool="shell", args=args, task_id=job.task_id))
        self.clock.advance(seconds)
        result = ToolResult(
            tool_call_id=call, ok=ok, exit_code=0 if ok else 1, stdout=out or None, task_id=job.task_id
        )
        await self.report(job, result)

    async def report(self, job: Job, payload: Payload) -> None:
        """The worker of a job tells something about it."""
        event = EventIn(type=payload.TYPE, payload=msgspec.to_builtins(payload))
        body = Progress(attempt=job.attempt, events=[event])
        await leasing.progress(self.bench.hub, Of(id=job.id, body=body), actor=W1)

    async def complete(self, job: Job, *, head: str | None = None, files: Sequence[str] = ()) -> JobResult:
        """The worker ``w1`` brings a result."""
        changed = [FileChange(path=path, status="M", added=1, deleted=1) for path in files]
        passed = receipt("pytest", head or self.main, W1.label, passed=8, seconds=4.5)
        await self.report(job, CheckFinished(evidence=passed, job_id=job.id))
        result = JobResult(
            summary=job.title,
            base=self.main,
            head=head,
            tree=head and "e" * 40,
            branch=f"agent/{W1.label}/{job.id}" if head else None,
            diff_stat=f" {len(changed)} file changed, 1 insertion(+), 1 deletion(-)" if changed else "",
            files=changed,
            evidence=[passed],
        )
        done = Of(id=job.id, body=Complete(attempt=job.attempt, result=result, summary=result.summary))
        await leasing.complete(self.bench.hub, done, actor=W1)
        return result

    async def fail(self, job: Job, message: str, error_class: Any) -> None:
        body = Fail(attempt=job.attempt, message=message, error_class=error_class, no_retry=True)
        await leasing.fail(self.bench.hub, Of(id=job.id, body=body), actor=W1)

    async def submit(self, job: Job, result: JobResult) -> Landing:
        ask = SubmitLanding(
            session_id=SESSION,
            repository="shop",
            target="main",
            head=result.head or "",
            base=result.base,
            branch=result.branch or "",
            tree=result.tree or "",
            title=job.title,
            job_id=job.id,
            task_id=job.task_id,
            agent="w1",
            files=result.files,
            evidence=result.evidence,
        )
        return (await self.bench.run(landings.submit, ask, BUDDY)).landing  # type: ignore[no-any-return]

    async def decide(self, landing: Landing, decision: Any, reason: str | None = None) -> None:
        approval: Approval = await self.bench.get(Approval, landing.approval_id or "")
        body = Decide(decision=decision, action_hash=approval.action_hash, reason=reason)
        await self.person.decide(approval.id, body)

    async def land(self, landing: Landing, number: int) -> None:
        """The pusher takes an approved landing all the way."""
        lease = LeaseLane(
            lane=LANE,
            holder="pusher-1",
            repository="shop",
            branch="main",
            fence=self.fence or None,
            head=self.main,
        )
        self.fence = (await leasing.lease_lane(self.bench.hub, lease, actor=PUSHER)).lane.fence
        landed = commit(number)
        candidate = Candidate(base=self.main, commit=landed, tree="e" * 40)
        intent = Intent(
            remote="/srv/shop.git", target_ref="refs/heads/main", old=self.main, new=landed,
            agent_ref=f"refs/heads/{landing.branch}", head=landing.head, commit=landed,
            record_ref=f"refs/pushpals/landed/{landing.job_id}",
        )  # fmt: skip
        steps: list[tuple[Any, dict[str, Any]]] = [
            ("prepared", {}),
            ("composed", {"candidate": candidate}),
            ("checking", {}),
            (
                "green",
                {"candidate": candidate, "evidence": [receipt("pytest", landed, "pusher-1", passed=8)]},
            ),
            ("pushing", {"intent": intent}),
            ("landed", {"landed_commit": landed}),
        ]
        now: Any = "queued"
        for to, facts in steps:
            self.clock.advance(1.5)
            body = MoveLanding(fence=self.fence, expected=now, to=to, **facts)
            await self.pusher.move_landing(landing.id, body)
            now = to
        self.main = landed

    async def red(self, cause: str) -> None:
        ask = SetLaneMode(lane=LANE, mode="red", cause=cause, fence=self.fence)
        await self.bench.run(lanes.set_mode, ask, PUSHER)


def receipt(
    check: str, of: str, by: str, *, passed: int = 0, failed: Sequence[str] = (), seconds: float = 3.2
) -> Evidence:
    return Evidence(
        check=check,
        argv=["python", "-m", check],
        verdict="failed" if failed else "passed",
        commit=of,
        tree="e" * 40,
        exit_code=1 if failed else 0,
        seconds=seconds,
        counts=Counts(passed=passed, failed=len(failed)),
        failures=list(failed),
        sandbox="full",
        run_by=by,
    )


async def a_day(seed: Seed) -> None:
    """The history of this module's docstring."""
    await seed.begin()
    clock = seed.clock

    await seed.ask("fix the lint", "fix", "Fix the lint")
    job = await seed.claim()
    await seed.command(job, ["ruff", "check", "--fix"], out="Found 1 error (1 fixed, 0 remaining).\n")
    clock.advance(6)
    landing = await seed.submit(job, await seed.complete(job, head=commit(2), files=["parcels/labels.py"]))
    clock.advance(40)
    await seed.decide(landing, "approve")
    await seed.land(landing, 3)

    clock.advance(600)
    await seed.ask("call the flag --width everywhere", "patch", "Rename the flag --wide to --width")
    job = await seed.claim()
    await seed.command(job, ["git", "apply", "rename.patch"], seconds=0.4)
    clock.advance(5)
    changed = ["parcels/cli.py", "tests/test_cli.py"]
    landing = await seed.submit(job, await seed.complete(job, head=commit(4), files=changed))
    clock.advance(95)
    await seed.decide(landing, "approve")
    await seed.land(landing, 5)

    clock.advance(900)
    await seed.ask("is main still green?", "check", "Run the checks on main")
    job = await seed.claim()
    await seed.command(job, ["python", "-m", "pytest"], ok=False, out="1 failed, 7 passed\n", seconds=4.5)
    broken = receipt(
        "pytest", seed.main, "w1", passed=7, failed=["tests/test_docs.py::test_the_example_runs"]
    )
    await seed.report(job, CheckFinished(evidence=broken, job_id=job.id))
    result = JobResult(summary="pytest failed: 1 failed, 7 passed", base=seed.main, evidence=[broken])
    done = Of(id=job.id, body=Complete(attempt=job.attempt, result=result, summary=result.summary))
    await leasing.complete(seed.bench.hub, done, actor=W1)
    await seed.red(f"pytest fails on {seed.main[:10]}")

    clock.advance(120)
    await seed.ask("check the types", "command", "Run mypy")
    job = await seed.claim()
    await seed.command(job, ["mypy"], ok=False, seconds=0.1)
    await seed.fail(job, "mypy could not be started: not installed", "environment")

    clock.advance(60)
    await seed.ask("shorten the readme", "patch", "Shorten the README")
    job = await seed.claim()
    clock.advance(8)
    landing = await seed.submit(job, await seed.complete(job, head=commit(6), files=["README.md"]))
    clock.advance(30)
    await seed.decide(landing, "deny", "we keep the long one")

    clock.advance(60)
    await seed.ask("sort the imports", "fix", "Sort the imports")
    job = await seed.claim(W2)
    clock.advance(31)
    await seed.bench.upkeep.step()
    job = await seed.claim()
    clock.advance(7)
    landing = await seed.submit(job, await seed.complete(job, head=commit(7), files=["parcels/rates.py"]))

    clock.advance(60)
    waiting = await seed.ask("train the label model", "command", "Train the label model", needs=["gpu"])
    clock.advance(30)
    await seed.person.say(SESSION, "why does nothing happen?")
    text = f"{waiting} waits for a worker with the capability gpu; none of the 2 workers has it."
    await seed.buddy.post(SESSION, AssistantMessage(text=text))


async def write(path: Path, ids: CountedIds | None = None) -> ManualClock:
    """A database with :func:`a_day` in it, at ``path``. Returns the clock, where the day ended."""

    def forget(events: Sequence[StoredEvent]) -> None:
        return None

    clock = ManualClock(START)
    store = await open_store(path, on_commit=forget, new_id=ids or CountedIds())
    try:
        await a_day(Seed(store, clock))
    finally:
        await store.close()
    return clock
