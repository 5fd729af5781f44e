"""Approvals of commands as the hub keeps them: one exact action, one answer, one use (table E)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pushpals.hub import decisions, grants, jobs, leasing, rules, sessions
from pushpals.hub.of import Of
from pushpals.policy.actions import ExecAction, Executable, action_hash, as_dict
from pushpals.protocol.approvals import Approval, RememberedRule
from pushpals.protocol.commands import (
    AskApproval,
    CancelJob,
    CreateSession,
    Decide,
    Enqueue,
    MakeRule,
    Ok,
    RevokeApproval,
    UseApproval,
)
from pushpals.protocol.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    LeaseLost,
    NotFound,
    PushPalsError,
    TooMany,
)
from pushpals.protocol.events import ApprovalConsumed, ApprovalRequired
from pushpals.protocol.jobs import Job
from pushpals.protocol.records import Actor
from pushpals.store.base import StoredEvent
from pushpals.store.memory import open_store
from pushpals.testing.bench import BUDDY, OPERATOR, PUSHER, WORKER, Bench
from pushpals.testing.clock import CountedIds, ManualClock

OTHER_WORKER = Actor(role="worker", token_id="wo2", label="w2")
ELSEWHERE = Actor(role="operator", token_id="op2", label="eve", sessions=["other"])


async def make_bench() -> Bench:
    published: list[StoredEvent] = []
    store = await open_store(None, on_commit=published.extend, new_id=CountedIds())
    bench = Bench(store, ManualClock(), published)
    await bench.hub.start()
    for name in ("dev", "other"):
        await bench.run(sessions.create, CreateSession(session_id=name))
    return bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = await make_bench()
    yield made
    await made.store.close()


async def claimed(bench: Bench, **fields: Any) -> Job:
    await bench.run(
        jobs.enqueue, Enqueue(task_id="t", kind="command", session_id="dev", **fields), actor=OPERATOR
    )
    job = await bench.claim()
    assert job is not None
    return job


def action(job: Job, **fields: Any) -> ExecAction:
    base = ExecAction(
        argv=("pip", "install", "x"),
        cwd="/repo",
        env=(("CI", "1"),),
        executables=(Executable(name="pip", path="/usr/bin/pip", sha256="a" * 64),),
        tree="b" * 64,
        capabilities=("exec.interp", "pkg.install"),
        sandbox="full",
        policy_version="c" * 64,
        session=job.session_id,
        job=job.id,
        attempt=job.attempt,
        worker=job.worker_id or "",
    )
    return msgspec.structs.replace(base, **fields)


def plain(what: ExecAction) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(as_dict(what)))
    return decoded


async def ask(
    bench: Bench, job: Job, what: ExecAction | None = None, *, actor: Actor = WORKER, **fields: Any
) -> Approval:
    body = AskApproval(
        kind=fields.pop("kind", "exec"),
        action=plain(what or action(job)),
        attempt=job.attempt,
        reasons=fields.pop("reasons", ["install", "exec.interp"]),
        **fields,
    )
    asked: Approval = await bench.run(grants.ask, body, actor=actor)
    return asked


async def decide(bench: Bench, approval: Approval, decision: Any = "approve", **fields: Any) -> Approval:
    actor = fields.pop("actor", OPERATOR)
    body = Decide(decision=decision, action_hash=fields.pop("hash", approval.action_hash), **fields)
    decided: Approval = await bench.run(decisions.decide, Of(id=approval.id, body=body), actor=actor)
    return decided


async def use(
    bench: Bench, approval: Approval, *, hash: str | None = None, attempt: int = 1, actor: Actor = WORKER
) -> grants.Used:
    body = UseApproval(action_hash=hash or approval.action_hash, attempt=attempt)
    used: grants.Used = await bench.run(grants.use, Of(id=approval.id, body=body), actor=actor)
    return used


async def test_e02_a_yes_without_the_hash_or_with_another_one_is_refused(bench: Bench) -> None:
    approval = await ask(bench, await claimed(bench))
    for wrong in (None, "0" * 64, approval.action_hash.upper()):
        with pytest.raises(Conflict):
            await decide(bench, approval, hash=wrong)
    assert (await bench.get(Approval, approval.id)).state == "open"


async def test_e04_of_a_hundred_that_use_it_one_may(bench: Bench) -> None:
    approval = await ask(bench, await claimed(bench))
    await decide(bench, approval)
    outcomes = await asyncio.gather(*(use(bench, approval) for _ in range(100)), return_exceptions=True)
    assert sum(isinstance(one, grants.Used) and one.ok for one in outcomes) == 1
    refused = [one for one in outcomes if isinstance(one, Conflict)]
    assert {one.code for one in refused} == {"approval.used"}
    assert len(refused) == 99
    assert bench.types().count("approval_consumed") == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"argv": ("pip", "install", "x ")},
        {"cwd": "/repo/sub"},
        {"env": (("CI", "2"),)},
        {"tree": "d" * 64},
        {"capabilities": ("exec.interp", "pkg.install", "net:a.test:443")},
        {"sandbox": "none"},
        {"policy_version": "d" * 64},
        {"attempt": 2},
        {"executables": (Executable(name="pip", path="/usr/bin/pip", sha256="e" * 64),)},
        {"stdin_sha256": "f" * 64},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_e06_whatever_differs_from_what_was_approved_is_stale(
    bench: Bench, changed: dict[str, Any]
) -> None:
    job = await claimed(bench)
    approval = await ask(bench, job)
    await decide(bench, approval)
    used = await use(bench, approval, hash=action_hash(action(job, **changed)))
    assert (used.ok, used.code, used.approval.state) == (False, "approval.stale", "void")
    with pytest.raises(Conflict, match="void"):
        await use(bench, approval)
    assert "approval_consumed" not in bench.types()


async def test_e08_an_expired_yes_is_no_yes(bench: Bench) -> None:
    job = await claimed(bench)
    approval = await ask(bench, job)
    await decide(bench, approval)
    bench.clock.advance(31 * 60)
    used = await use(bench, approval)
    assert (used.ok, used.code, used.approval.state) == (False, "approval.expired", "expired")


async def test_e10_the_first_answer_wins_and_no_replay_revives_it(bench: Bench) -> None:
    approval = await ask(bench, await claimed(bench))
    await decide(bench, approval)
    await use(bench, approval)
    for again in ("approve", "deny"):
        with pytest.raises(Conflict, match="consumed already"):
            await decide(bench, approval, again)


async def test_e14_of_another_session_there_is_no_approval(bench: Bench) -> None:
    approval = await ask(bench, await claimed(bench))
    with pytest.raises(NotFound):
        await decide(bench, approval, actor=ELSEWHERE)
    with pytest.raises(NotFound):
        await bench.run(grants.revoke, Of(id=approval.id, body=RevokeApproval()), actor=ELSEWHERE)


async def test_e16_what_is_asked_is_kept_and_shown_whole(bench: Bench) -> None:
    job = await claimed(bench)
    long = ("sh", "-c", "echo " + "a" * 9_000 + "; rm -rf ~")
    approval = await ask(bench, job, action(job, argv=long))
    assert approval.action["argv"] == list(long)
    (required,) = [event.payload for event in bench.events() if isinstance(event.payload, ApprovalRequired)]
    assert required.details["words"][2].endswith("; rm -rf ~")
    assert len(required.details["words"][2]) == len(long[2])
    with pytest.raises(PushPalsError, match="64 KiB"):
        await ask(bench, job, action(job, argv=("x", "a" * 70_000)))


async def test_e18_an_agent_s_words_stay_apart_from_the_action(bench: Bench) -> None:
    job = await claimed(bench)
    lie = "<b>harmless</b> [approve](http://x) " + "x" * 600
    approval = await ask(bench, job, says=lie)
    assert approval.says == lie[:500]
    assert "harmless" not in approval.summary
    assert "harmless" not in str(approval.action)
    assert approval.summary == "Run pip install x"


async def test_e20_a_job_has_only_so_many_questions_open(bench: Bench) -> None:
    job = await claimed(bench)
    for number in range(3):
        await ask(bench, job, action(job, argv=("pip", "install", str(number))))
    with pytest.raises(TooMany) as refused:
        await ask(bench, job)
    assert (refused.value.status, refused.value.code) == (429, "approval.too_many_pending")


async def test_e24_the_record_says_who_where_when_and_with_what(bench: Bench) -> None:
    approval = await ask(bench, await claimed(bench))
    phone = msgspec.structs.replace(OPERATOR, address="10.1.2.3", method="cookie")
    await decide(bench, approval, actor=phone, device="phone")
    kept = await bench.get(Approval, approval.id)
    assert (kept.decided_by, kept.device, kept.token_id, kept.address, kept.method) == (
        "client:ada", "phone", "op", "10.1.2.3", "cookie",
    )  # fmt: skip
    told = next(event for event in bench.events() if event.type == "approval_decided")
    assert (told.payload.address, told.payload.method, told.ts) == ("10.1.2.3", "cookie", kept.decided_at)


@pytest.mark.parametrize("actor", [BUDDY, WORKER, PUSHER], ids=lambda actor: actor.role)
async def test_no_process_can_answer_revoke_or_remember(bench: Bench, actor: Actor) -> None:
    approval = await ask(bench, await claimed(bench))
    with pytest.raises(Forbidden):
        await decide(bench, approval, actor=actor)
    with pytest.raises(Forbidden):
        await bench.run(grants.revoke, Of(id=approval.id, body=RevokeApproval()), actor=actor)
    with pytest.raises(Forbidden):
        await bench.run(rules.make, MakeRule(approval_id=approval.id), actor=actor)


async def test_a_worker_asks_about_its_own_lease_only(bench: Bench) -> None:
    job = await claimed(bench)
    with pytest.raises(NotFound):
        await ask(bench, job, actor=OTHER_WORKER)
    with pytest.raises(BadRequest):
        await ask(bench, job, action(job, worker="w9"))
    with pytest.raises(BadRequest):
        await ask(bench, job, action(job, session="other"))
    with pytest.raises(NotFound):
        await ask(bench, job, msgspec.structs.replace(action(job), job="job-99"))
    approval = await ask(bench, job)
    await decide(bench, approval)
    with pytest.raises(NotFound):
        await use(bench, approval, actor=OTHER_WORKER)
    await bench.run(jobs.cancel, Of(id=job.id, body=CancelJob()))
    await bench.run(jobs.expire_lease, jobs.LeaseRef(id=job.id, attempt=1))
    with pytest.raises((LeaseLost, Conflict)):
        await use(bench, approval)


async def test_an_action_with_a_field_that_we_do_not_know_is_refused(bench: Bench) -> None:
    job = await claimed(bench)
    body = AskApproval(kind="exec", action={**plain(action(job)), "also": "rm"}, attempt=1)
    with pytest.raises(BadRequest):
        await bench.run(grants.ask, body, actor=WORKER)


# --- longer than once ---------------------------------------------------------------------------------


NET = {"kind": "net", "reasons": ["net", "exec.plain"]}


def to_host(job: Job, *hosts: str, tree: str = "b") -> ExecAction:
    return action(
        job,
        argv=("curl", *hosts),
        tree=tree * 64,
        capabilities=("exec.plain", *(f"net:{host}:443" for host in hosts)),
    )


async def test_a_yes_for_a_session_is_for_those_hosts_and_eight_hours_at_most(bench: Bench) -> None:
    job = await claimed(bench)
    wide = await ask(bench, job, to_host(job, "a.test"), **NET)
    await decide(bench, wide, scope="session")
    same = await ask(bench, job, to_host(job, "a.test", tree="d"), **NET)
    assert (same.state, same.basis) == ("approved", wide.id)
    assert (await use(bench, same)).ok
    other = await ask(bench, job, to_host(job, "a.test", "b.test"), **NET)
    assert other.state == "open"
    also_installs = await ask(bench, job, to_host(job, "a.test"), kind="net", reasons=["net", "install"])
    assert also_installs.state == "open"
    assert (await bench.get(Approval, wide.id)).used == 1
    bench.clock.advance(8 * 3_600 + 1)
    late = await ask(bench, job, to_host(job, "a.test", tree="e"), **NET)
    assert late.state == "open"


async def test_d17_a_job_that_reads_from_outside_needs_a_fresh_yes(bench: Bench) -> None:
    first = await claimed(bench)
    wide = await ask(bench, first, to_host(first, "a.test"), **NET)
    await decide(bench, wide, scope="session")
    tainted = await claimed(bench, tainted=True)
    assert (await ask(bench, tainted, to_host(tainted, "a.test"), **NET)).state == "open"
    clean = await claimed(bench)
    assert (await ask(bench, clean, to_host(clean, "a.test"), **NET)).state == "approved"


async def test_a_session_s_yes_is_refused_for_anything_but_hosts(bench: Bench) -> None:
    approval = await ask(bench, await claimed(bench))
    with pytest.raises(BadRequest, match="network host"):
        await decide(bench, approval, scope="session")


async def test_a_yes_taken_back_takes_back_what_rests_on_it(bench: Bench) -> None:
    job = await claimed(bench)
    wide = await ask(bench, job, to_host(job, "a.test"), **NET)
    await decide(bench, wide, scope="session")
    running = await ask(bench, job, to_host(job, "a.test", tree="d"), **NET)
    assert (await use(bench, running)).ok
    waiting = await ask(bench, job, to_host(job, "a.test", tree="e"), **NET)
    await bench.run(grants.revoke, Of(id=wide.id, body=RevokeApproval(reason="enough")))
    assert [(await bench.get(Approval, one.id)).state for one in (wide, running, waiting)] == ["void"] * 3
    with pytest.raises(Conflict):
        await use(bench, waiting)
    assert (await ask(bench, job, to_host(job, "a.test", tree="f"), **NET)).state == "open"


# --- remembered rules ---------------------------------------------------------------------------------


async def test_a_rule_answers_the_same_shape_and_no_other(bench: Bench) -> None:
    job = await claimed(bench)
    approval = await ask(bench, job)
    await decide(bench, approval)
    made = await bench.run(rules.make, MakeRule(approval_id=approval.id, label="pip"))
    assert (made.tested.matched, made.tested.agreed, made.tested.contradicted) == (1, 1, [])
    again = await ask(bench, job, action(job, tree="d" * 64))
    assert (again.state, again.basis) == ("approved", made.rule.id)
    assert (await use(bench, again)).ok
    kept = await bench.get(RememberedRule, made.rule.id)
    assert kept.used == 1
    swapped = action(job, executables=(Executable(name="pip", path="/usr/bin/pip", sha256="0" * 64),))
    for other in (
        swapped,
        action(job, argv=("pip", "install", "x", "y")),
        action(job, cwd="/repo/sub"),
        action(job, sandbox="none"),
    ):
        asked = await ask(bench, job, other, max_pending=50)
        assert asked.state == "open"


async def test_a_rule_taken_back_answers_nothing_not_even_what_waits(bench: Bench) -> None:
    job = await claimed(bench)
    approval = await ask(bench, job)
    await decide(bench, approval)
    made = await bench.run(rules.make, MakeRule(approval_id=approval.id))
    answered = await ask(bench, job, action(job, tree="d" * 64))
    await bench.run(rules.revoke, Of(id=made.rule.id, body=Ok()))
    used = await use(bench, answered)
    assert (used.ok, used.code) == (False, "approval.stale")
    assert (await ask(bench, job, action(job, tree="e" * 64))).state == "open"


async def test_a_rule_that_people_s_answers_speak_against_is_refused(bench: Bench) -> None:
    job = await claimed(bench)
    said_no = await ask(bench, job)
    await decide(bench, said_no, "deny")
    said_yes = await ask(bench, job, action(job, tree="d" * 64))
    await decide(bench, said_yes)
    tested = await bench.run(rules.back_test, MakeRule(approval_id=said_yes.id))
    assert (tested.matched, tested.agreed, tested.contradicted) == (2, 1, [said_no.id])
    with pytest.raises(Conflict) as refused:
        await bench.run(rules.make, MakeRule(approval_id=said_yes.id))
    assert refused.value.detail["contradicted"] == [said_no.id]
    made = await bench.run(rules.make, MakeRule(approval_id=said_yes.id, despite=True))
    assert made.rule.verdict == "allow"


async def test_a_rule_that_says_no_wins_over_one_that_says_yes(bench: Bench) -> None:
    job = await claimed(bench)
    approval = await ask(bench, job)
    await decide(bench, approval)
    await bench.run(rules.make, MakeRule(approval_id=approval.id))
    await bench.run(rules.make, MakeRule(approval_id=approval.id, verdict="deny", despite=True))
    assert (await ask(bench, job, action(job, tree="d" * 64))).state == "denied"


async def test_i06_a_buddy_passes_on_no_more_than_the_session_has(bench: Bench) -> None:
    await bench.run(
        sessions.create, CreateSession(session_id="small", capabilities=["fs.read", "net:a.test:443"])
    )
    small = {"task_id": "t", "kind": "command", "session_id": "small"}
    for beyond in (["net:b.test:443"], ["fs.read", "host.unsandboxed"], ["net:*"]):
        with pytest.raises(Forbidden) as refused:
            await bench.run(jobs.enqueue, Enqueue(**small, capabilities=beyond), actor=BUDDY)
        assert refused.value.code == "capability.not_yours"
    done = await bench.run(jobs.enqueue, Enqueue(**small, capabilities=["net:a.test:443"]), actor=BUDDY)
    assert (await bench.get(Job, done.job_id)).capabilities == ["net:a.test:443"]
    wanted = Enqueue(task_id="t", kind="command", session_id="dev", capabilities=["net:a.test:443"])
    with pytest.raises(Forbidden):
        await bench.run(jobs.enqueue, wanted, actor=BUDDY)
    with pytest.raises(Forbidden):
        await bench.run(sessions.create, CreateSession(session_id="mine", capabilities=[]), actor=BUDDY)


# --- no interleaving executes twice or without a yes ------------------------------------------------------


class Interleavings(RuleBasedStateMachine):
    """Asks, answers, silences, revocations, lost leases and uses in any order, against a plain model."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.bench: Bench = self.loop.run_until_complete(make_bench())
        self.job: Job = self.do(claimed(self.bench))
        self.asked: list[Approval] = []
        self.yes: set[str] = set()
        self.executed: list[str] = []

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def maybe(self, work: Any) -> Any:
        try:
            return self.do(work)
        except PushPalsError:
            return None

    def pick(self, number: int) -> Approval | None:
        return self.asked[number % len(self.asked)] if self.asked else None

    @rule(host=st.sampled_from(["", "a.test", "b.test"]), tree=st.sampled_from("de"))
    def ask(self, host: str, tree: str) -> None:
        what = to_host(self.job, host, tree=tree) if host else action(self.job, tree=tree * 64)
        found = self.maybe(ask(self.bench, self.job, what, **(NET if host else {})))
        if found is not None:
            self.asked.append(found)
            if found.state == "approved":
                assert found.basis is not None
                self.yes.add(found.id)

    @rule(
        number=st.integers(0, 50),
        decision=st.sampled_from(["approve", "deny"]),
        scope=st.sampled_from(["once", "job", "session"]),
        actor=st.sampled_from([OPERATOR, OPERATOR, BUDDY, WORKER]),
    )
    def decide(self, number: int, decision: str, scope: Any, actor: Actor) -> None:
        approval = self.pick(number)
        if approval is None:
            return
        done = self.maybe(decide(self.bench, approval, decision, scope=scope, actor=actor))
        if done is not None:
            assert actor is OPERATOR
            if decision == "approve":
                self.yes.add(approval.id)

    @rule(number=st.integers(0, 50), right=st.booleans())
    def use(self, number: int, right: bool) -> None:
        approval = self.pick(number)
        if approval is None:
            return
        used = self.maybe(
            use(self.bench, approval, hash=None if right else "0" * 64, attempt=self.job.attempt)
        )
        if used is not None and used.ok:
            assert right
            self.executed.append(approval.id)

    @rule(number=st.integers(0, 50))
    def revoke(self, number: int) -> None:
        approval = self.pick(number)
        if approval is not None:
            self.maybe(self.bench.run(grants.revoke, Of(id=approval.id, body=RevokeApproval())))

    @rule(seconds=st.sampled_from([60, 1_900, 30_000]))
    def wait(self, seconds: int) -> None:
        self.bench.clock.advance(seconds)
        self.do(self.bench.run(decisions.expire_unanswered, decisions.ApprovalTick()))

    @rule()
    def lose_the_lease(self) -> None:
        self.do(self.bench.run(jobs.expire_lease, jobs.LeaseRef(id=self.job.id, attempt=self.job.attempt)))
        again = self.do(self.bench.claim())
        self.job = again if again is not None else self.do(claimed(self.bench))

    @invariant()
    def each_runs_at_most_once_and_with_a_yes(self) -> None:
        if not hasattr(self, "executed"):
            return
        assert len(self.executed) == len(set(self.executed))
        assert set(self.executed) <= self.yes
        told = [e.payload.approval_id for e in self.bench.events() if isinstance(e.payload, ApprovalConsumed)]
        assert told == self.executed

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.do(self.bench.store.close())
            self.loop.close()


def test_no_interleaving_executes_twice_or_without_a_yes() -> None:
    run_state_machine_as_test(
        Interleavings, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
    )


async def test_only_the_token_that_claimed_a_job_reports_for_it(bench: Bench) -> None:
    from pushpals.protocol.commands import Complete, Progress

    job = await claimed(bench)
    for work in (
        leasing.progress(bench.hub, Of(id=job.id, body=Progress(attempt=1)), actor=OTHER_WORKER),
        leasing.complete(bench.hub, Of(id=job.id, body=Complete(attempt=1)), actor=OTHER_WORKER),
    ):
        with pytest.raises(NotFound):
            await work
