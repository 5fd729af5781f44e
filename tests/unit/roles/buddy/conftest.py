"""A hub with a person, a repository, a worker's hands and a pusher's, and a buddy that is stepped by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from msgspec.structs import replace

from pushpals.client import HubClient
from pushpals.hub import decisions, jobs, sessions
from pushpals.hub.of import Of
from pushpals.protocol import events as e
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import (
    CancelJob,
    Claim,
    Complete,
    CreateSession,
    Decide,
    EventIn,
    Fail,
    LeaseLane,
    MoveLanding,
    Progress,
    RegisterWorker,
)
from pushpals.protocol.events import Event
from pushpals.protocol.jobs import (
    CheckSpec,
    Counts,
    ErrorClass,
    Evidence,
    FileChange,
    Job,
    JobResult,
    Verdict,
)
from pushpals.protocol.landings import Candidate, Intent, Landing
from pushpals.protocol.records import Actor, Repository
from pushpals.roles.buddy import SessionBuddy
from pushpals.store.base import StoredEvent
from pushpals.store.memory import open_store
from pushpals.testing.bench import BUDDY, OPERATOR, PUSHER, WORKER, Bench
from pushpals.testing.clock import CountedIds, ManualClock
from pushpals.testing.direct import DirectHub

BASE, HEAD, TREE, MERGE = "b" * 40, "c" * 40, "d" * 40, "e" * 40
CHECKS = [
    CheckSpec(name="pytest", argv=["pytest", "-q"]),
    CheckSpec(name="ruff", argv=["ruff", "check", "--no-cache", "."]),
    CheckSpec(name="mypy", argv=["mypy", "pkg"], required=False),
]


def receipt(
    check: str = "pytest",
    verdict: Verdict = "passed",
    *,
    commit: str = HEAD,
    failures: Sequence[str] = (),
    counts: Counts | None = None,
    detail: str | None = None,
) -> Evidence:
    return Evidence(
        check=check,
        argv=[check],
        verdict=verdict,
        commit=commit,
        tree=TREE,
        exit_code=0 if verdict == "passed" else 1,
        seconds=1.5,
        failures=list(failures),
        counts=counts,
        detail=detail,
    )


def changed(*evidence: Evidence, summary: str = "ruff fixed 2 findings.", **facts: Any) -> JobResult:
    """A result with a change, as a worker reports it."""
    return JobResult(
        summary=summary,
        base=BASE,
        head=HEAD,
        tree=TREE,
        branch="agent/w1/job-1",
        diff_stat="1 file changed, 2 insertions(+), 1 deletion(-)",
        files=[FileChange(path="pkg/a.py", status="M", added=2, deleted=1)],
        evidence=list(evidence),
        **facts,
    )


class Team:
    """The verbs of a story. The buddy catches up only when told, so a test can stop it anywhere."""

    def __init__(self, bench: Bench):
        self.bench = bench
        self.person = DirectHub(bench.hub, OPERATOR)
        self.worker = DirectHub(bench.hub, WORKER)
        self.pusher = DirectHub(bench.hub, PUSHER)
        self.buddy = self.new_buddy()
        self._fence = 0

    def new_buddy(self, hub: Any = None, actor: Actor = BUDDY) -> SessionBuddy:
        client = hub or DirectHub(self.bench.hub, actor)
        return SessionBuddy(cast(HubClient, client), "dev")

    async def prepare(self) -> None:
        await self.bench.run(sessions.create, CreateSession(session_id="dev"))
        repository = Repository(
            id="repo", name="repo", upstream="/srv/repo", branch="main", head=BASE, checks=CHECKS
        )
        await self.pusher.put_repository(repository)
        await self.worker.register_worker("w1", RegisterWorker(kinds=["check", "fix"]))

    async def say(self, text: str, *, to: str | None = None) -> None:
        await self.person.say("dev", text, to=to)
        await self.buddy.catch_up()

    async def take(self) -> Job:
        job = await self.worker.claim(Claim(worker_id="w1", lease_s=30.0))
        assert job is not None, "there is nothing to claim"
        return job

    async def complete(self, result: JobResult, job: Job | None = None) -> Job:
        job = job or await self.take()
        if result.head is not None:
            result = replace(result, branch=f"agent/w1/{job.id}")
            await self.worker.progress(job.id, _change_events(result, job))
        await self.worker.complete(job.id, Complete(attempt=job.attempt, result=result))
        await self.buddy.catch_up()
        return job

    async def fail(self, message: str, error_class: ErrorClass = "code") -> Job:
        job = await self.take()
        body = Fail(attempt=job.attempt, message=message, error_class=error_class, no_retry=True)
        await self.worker.fail(job.id, body)
        await self.buddy.catch_up()
        return job

    async def cancel(self, job: Job, reason: str | None = None) -> None:
        await self.bench.run(jobs.cancel, Of(id=job.id, body=CancelJob(reason=reason)))
        await self.buddy.catch_up()

    async def waiting(self) -> Approval:
        snapshot = await self.person.snapshot("dev")
        assert len(snapshot.approvals) == 1
        return snapshot.approvals[0]

    async def decide(self, decision: Any, reason: str | None = None) -> None:
        asked = await self.waiting()
        body = Decide(
            decision=decision, action_hash=asked.action_hash if decision == "approve" else None, reason=reason
        )
        await self.bench.run(decisions.decide, Of(id=asked.id, body=body))
        await self.buddy.catch_up()

    async def push(self, *moves: str, **facts: Any) -> Landing:
        """Move the only unfinished landing through the given states, as the pusher would."""
        work = await self.pusher.lease_lane(
            LeaseLane(
                lane="repo:main", holder="p", repository="repo", branch="main", fence=self._fence or None
            )
        )
        self._fence = work.lane.fence
        landing = work.landings[0]
        for to in moves:
            last = to == moves[-1]
            candidate = Candidate(base=BASE, commit=MERGE, tree=TREE) if to == "composed" else None
            intent = _intent(landing) if to == "pushing" else None
            landing = await self.pusher.move_landing(
                landing.id,
                MoveLanding(
                    fence=self._fence,
                    expected=landing.state,
                    to=cast(Any, to),
                    candidate=candidate,
                    intent=intent,
                    landed_commit=MERGE if to == "landed" else None,
                    **(facts if last else {}),
                ),
            )
        await self.buddy.catch_up()
        return landing

    # --- looking ------------------------------------------------------------------------------------

    @property
    def events(self) -> list[Event]:
        return self.bench.events()

    def said(self) -> list[str]:
        return [event.payload.text for event in self.events if isinstance(event.payload, e.AssistantMessage)]

    def types(self) -> list[str]:
        return self.bench.types()

    def payloads(self, kind: type[Any]) -> list[Any]:
        return [event.payload for event in self.events if isinstance(event.payload, kind)]


def _change_events(result: JobResult, job: Job) -> Progress:
    diff = {"unifiedDiff": "--- a\n+++ b\n", "diffStat": result.diff_stat, "branch": result.branch}
    commit = {"branch": result.branch, "commitHash": result.head, "message": job.title}
    return Progress(
        attempt=job.attempt,
        base=BASE,
        events=[EventIn(type="diff_ready", payload=diff), EventIn(type="committed", payload=commit)],
    )


def _intent(landing: Landing) -> Intent:
    return Intent(
        remote="/srv/repo",
        target_ref="refs/heads/main",
        old=BASE,
        new=MERGE,
        commit=MERGE,
        agent_ref=f"refs/heads/{landing.branch}",
        head=landing.head,
        record_ref=f"refs/pushpals/landed/{landing.id}",
    )


@pytest.fixture(name="receipt")
def _receipt() -> Any:
    return receipt


@pytest.fixture(name="changed")
def _changed() -> Any:
    return changed


@pytest.fixture
def opened() -> Any:
    return opened_team


@pytest.fixture
async def team() -> AsyncIterator[Team]:
    async with opened_team() as made:
        yield made


class opened_team:
    """A fresh team over a fresh memory store."""

    async def __aenter__(self) -> Team:
        published: list[StoredEvent] = []
        self._store = await open_store(None, on_commit=published.extend, new_id=CountedIds())
        bench = Bench(self._store, ManualClock(), published)
        await bench.hub.start()
        made = Team(bench)
        await made.prepare()
        return made

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()
