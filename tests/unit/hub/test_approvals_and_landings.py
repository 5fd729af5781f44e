"""From a result to a landing: who may say yes, to what, and what the pusher may then do."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from pushpals.hub import decisions, jobs, landings, lanes, leasing
from pushpals.hub.of import Of
from pushpals.protocol.approvals import TRANSITIONS, Approval, ApprovalMove, ApprovalState, advance
from pushpals.protocol.commands import (
    CancelJob,
    Complete,
    Decide,
    Enqueue,
    LandingStep,
    LaneWork,
    LeaseLane,
    Moved,
    MoveLanding,
    MoveLandings,
    NoteLanding,
    Ok,
    Overlap,
    SetLaneMode,
    SubmitLanding,
)
from pushpals.protocol.errors import BadRequest, Conflict, Forbidden, LeaseLost, NotFound, UnknownApproval
from pushpals.protocol.jobs import Evidence, JobResult
from pushpals.protocol.landings import ENDS, STEPS, Candidate, Intent, Landing, Lane
from pushpals.protocol.records import Actor
from pushpals.testing.bench import BUDDY, OPERATOR, PUSHER, WORKER, Bench

BASE, HEAD, MERGE, TREE = "b" * 40, "c" * 40, "d" * 40, "e" * 40
BRANCH = "agent/w1/job-1"
STATES: tuple[ApprovalState, ...] = ("open", "approved", "denied", "expired", "void", "consumed")
MOVES: tuple[ApprovalMove, ...] = ("approve", "deny", "expire", "void", "consume")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("move", MOVES)
def test_the_approval_machine_has_exactly_the_steps_of_its_table(
    state: ApprovalState, move: ApprovalMove
) -> None:
    if (state, move) in TRANSITIONS:
        assert advance(state, move) == TRANSITIONS[state, move]
    else:
        with pytest.raises(Conflict):
            advance(state, move)


def test_an_ended_landing_never_moves_again() -> None:
    assert all(not STEPS[state] for state in ENDS)
    assert all(STEPS[state] for state in STEPS if state not in ENDS)


async def submitted(bench: Bench, **changes: object) -> Landing:
    job = await bench.run(jobs.enqueue, Enqueue(task_id="t1", kind="fix", session_id="dev"), BUDDY)
    await bench.claim()
    result = JobResult(summary="fixed", base=BASE, head=HEAD, tree=TREE, branch=BRANCH)
    done = Of(id=job.job_id, body=Complete(attempt=1, result=result))
    await leasing.complete(bench.hub, done, actor=WORKER)
    fields = {
        "session_id": "dev", "repository": "demo", "target": "main", "head": HEAD, "base": BASE,
        "branch": BRANCH, "tree": TREE, "title": "Fix the lint", "job_id": job.job_id, **changes,
    }  # fmt: skip
    reply = await bench.run(landings.submit, SubmitLanding(**fields), BUDDY)  # type: ignore[arg-type]
    return reply.landing  # type: ignore[no-any-return]


async def approval_of(bench: Bench, landing: Landing) -> Approval:
    return await bench.get(Approval, landing.approval_id or "")  # type: ignore[no-any-return]


async def decide(bench: Bench, approval: Approval, decision: str, actor: Actor = OPERATOR) -> Approval:
    body = Decide(decision=decision, action_hash=approval.action_hash)  # type: ignore[arg-type]
    return await bench.run(decisions.decide, Of(id=approval.id, body=body), actor)  # type: ignore[no-any-return]


async def lease(bench: Bench, holder: str = "pusher-1", fence: int | None = None) -> LaneWork:
    ask = LeaseLane(lane="demo:main", holder=holder, repository="demo", branch="main", fence=fence)
    return await leasing.lease_lane(bench.hub, ask, actor=PUSHER)


async def move(bench: Bench, landing: Landing, to: str, fence: int = 1, **facts: object) -> Landing:
    body = MoveLanding(fence=fence, expected=landing.state, to=to, **facts)  # type: ignore[arg-type]
    return await bench.run(landings.move, Of(id=landing.id, body=body), PUSHER)  # type: ignore[no-any-return]


def intent(**changes: str) -> Intent:
    fields = {
        "remote": "/srv/demo.git", "target_ref": "refs/heads/main", "old": BASE, "new": MERGE,
        "agent_ref": f"refs/heads/{BRANCH}", "head": HEAD, "commit": MERGE,
        "record_ref": "refs/pushpals/landed/job-1", **changes,
    }  # fmt: skip
    return Intent(**fields)  # type: ignore[arg-type]


CANDIDATE = Candidate(base=BASE, commit=MERGE, tree=TREE)


async def green(bench: Bench) -> Landing:
    landing = await submitted(bench)
    await decide(bench, await approval_of(bench, landing), "approve")
    await lease(bench)
    landing = await bench.get(Landing, landing.id)
    for step in ("prepared", "composed", "checking"):
        landing = await move(bench, landing, step)
    passed = Evidence(check="tests", argv=["pytest"], verdict="passed", commit=MERGE, tree=TREE, exit_code=0)
    return await move(bench, landing, "green", candidate=CANDIDATE, evidence=[passed])


async def test_a_landing_asks_a_person_about_the_exact_head(bench: Bench) -> None:
    landing = await submitted(bench)
    assert landing.state == "needs_approval"
    approval = await approval_of(bench, landing)
    assert approval.action == {
        "kind": "land", "repository": "demo", "target": "refs/heads/main", "head": HEAD, "base": BASE,
        "tree": TREE, "landing": landing.id,
    }  # fmt: skip
    asked = next(event for event in bench.events() if event.type == "approval_required")
    assert asked.payload.action == "git.push"  # type: ignore[attr-defined]
    assert asked.payload.details["actionHash"] == approval.action_hash  # type: ignore[attr-defined]


async def test_approved_checked_and_pushed_it_lands_and_everything_is_in_the_history(bench: Bench) -> None:
    landing = await green(bench)
    landing = await move(bench, landing, "pushing", intent=intent())
    landing = await move(bench, landing, "landed", landed_commit=MERGE)
    assert (landing.state, landing.landed_commit, landing.approved_by) == ("landed", MERGE, "client:ada")
    assert (await approval_of(bench, landing)).state == "consumed"
    assert (await bench.get(Lane, "demo:main")).head == MERGE
    told = [e.payload.state for e in bench.events() if e.type == "landing_moved"]  # type: ignore[attr-defined]
    assert told == [
        "submitted", "needs_approval", "queued", "prepared", "composed", "checking", "green", "pushing",
        "landed",
    ]  # fmt: skip
    assert bench.types()[-1] == "committed"
    decided = next(event.payload for event in bench.events() if event.type == "approval_decided")
    assert (decided.by, decided.token_id, decided.device) == ("client:ada", "op", "laptop")  # type: ignore[attr-defined]


async def test_denied_nothing_moves_and_the_session_says_so(bench: Bench) -> None:
    landing = await submitted(bench)
    body = Decide(decision="deny", reason="not like this")
    await bench.run(decisions.decide, Of(id=landing.approval_id or "", body=body))
    landing = await bench.get(Landing, landing.id)
    assert (landing.state, landing.cause) == ("rejected", "denied by client:ada: not like this")
    assert bench.types()[-3:] == ["denied", "approval_decided", "landing_moved"]


@pytest.mark.parametrize("actor", [BUDDY, WORKER, PUSHER, replace(OPERATOR, role="viewer")])
async def test_only_an_operator_decides(bench: Bench, actor: Actor) -> None:
    approval = await approval_of(bench, await submitted(bench))
    for decision in ("approve", "deny"):
        with pytest.raises(Forbidden):
            await decide(bench, approval, decision, actor)
    assert (await bench.get(Approval, approval.id)).state == "open"


async def test_a_yes_names_what_it_says_yes_to(bench: Bench) -> None:
    approval = await approval_of(bench, await submitted(bench))
    for sent, code in [(None, "approval.hash_required"), ("0" * 64, "approval.hash_differs")]:
        yes = Of(id=approval.id, body=Decide(decision="approve", action_hash=sent))
        with pytest.raises(Conflict) as caught:
            await bench.run(decisions.decide, yes)
        assert caught.value.code == code


async def test_of_many_decisions_at_once_exactly_one_wins(bench: Bench) -> None:
    approval = await approval_of(bench, await submitted(bench))
    answers = await asyncio.gather(
        *(decide(bench, approval, "approve" if n % 2 else "deny") for n in range(30)), return_exceptions=True
    )
    assert sum(isinstance(answer, Approval) for answer in answers) == 1
    assert sum(isinstance(answer, Conflict) for answer in answers) == 29
    assert sum(kind in ("approved", "denied") for kind in bench.types()) == 1


async def test_no_answer_in_time_means_no(bench: Bench) -> None:
    landing = await submitted(bench)
    approval = await approval_of(bench, landing)
    bench.clock.advance(24 * 3600 + 1)
    with pytest.raises(Conflict):
        await decide(bench, approval, "approve")
    await bench.upkeep.step()
    assert (await bench.get(Approval, approval.id)).state == "expired"
    assert (await bench.get(Landing, landing.id)).state == "stale"
    assert "approval_expired" in bench.types()


async def test_an_unknown_approval_is_a_400_and_one_of_another_session_is_unseen(bench: Bench) -> None:
    approval = await approval_of(bench, await submitted(bench))
    with pytest.raises(UnknownApproval):
        await bench.run(decisions.decide, Of(id="approval-x", body=Decide(decision="deny")))
    elsewhere = replace(OPERATOR, sessions=["other"])
    with pytest.raises(NotFound):
        await decide(bench, approval, "approve", elsewhere)


async def test_no_step_before_the_approval(bench: Bench) -> None:
    landing = await submitted(bench)
    await lease(bench)
    with pytest.raises(Conflict):
        await move(bench, landing, "queued")
    with pytest.raises(Conflict):
        await move(bench, landing, "prepared")


@pytest.mark.parametrize(
    "wrong",
    [
        {"intent": None},
        {"intent": intent(head="f" * 40)},
        {"intent": intent(new="f" * 40)},
        {"intent": intent(old="f" * 40)},
    ],
)
async def test_only_the_tested_commit_of_the_approved_head_may_be_pushed(
    bench: Bench, wrong: dict[str, Intent | None]
) -> None:
    landing = await green(bench)
    with pytest.raises(Conflict):
        await move(bench, landing, "pushing", **wrong)


async def test_landed_is_said_only_of_what_was_intended(bench: Bench) -> None:
    landing = await move(bench, await green(bench), "pushing", intent=intent())
    with pytest.raises(Conflict):
        await move(bench, landing, "landed", landed_commit="f" * 40)


async def test_when_main_moved_the_approval_still_holds_for_the_same_head(bench: Bench) -> None:
    landing = await move(bench, await green(bench), "pushing", intent=intent())
    landing = await move(bench, landing, "queued", cause="main moved", main_moved=True, clear_intent=True)
    assert (landing.main_moved, landing.intent) == (1, None)
    for step in ("prepared", "composed", "checking"):
        landing = await move(bench, landing, step)
    landing = await move(bench, landing, "green", candidate=CANDIDATE)
    landing = await move(bench, landing, "pushing", intent=intent())
    assert landing.state == "pushing"


async def test_a_newer_head_supersedes_the_old_landing_and_voids_its_approval(bench: Bench) -> None:
    old = await submitted(bench)
    again = SubmitLanding(
        session_id="dev",
        repository="demo",
        target="main",
        head="f" * 40,
        base=BASE,
        branch=BRANCH,
        title="v2",
    )
    new = (await bench.run(landings.submit, again, BUDDY)).landing
    assert (await bench.get(Landing, old.id)).state == "stale"
    assert (await approval_of(bench, old)).state == "void"
    assert new.id != old.id


async def test_asking_again_for_the_same_head_is_the_same_landing(bench: Bench) -> None:
    first = await submitted(bench)
    again = await submitted(bench)
    assert again.id == first.id
    assert bench.types().count("approval_required") == 1


async def test_a_job_lands_only_the_head_that_it_produced(bench: Bench) -> None:
    with pytest.raises(Conflict):
        await submitted(bench, head="f" * 40)


@pytest.mark.parametrize(
    "branch",
    [
        "main",
        "refs/heads/main",
        "agent/w1",
        "agent/w1/-x",
        "agent/w1/a..b",
        "agent/w1/x.lock",
        "agent/W/j",
        "--x",
    ],
)
async def test_only_agent_branches_can_be_landed(bench: Bench, branch: str) -> None:
    with pytest.raises(BadRequest):
        await submitted(bench, branch=branch)


async def test_a_cancelled_landing_is_over_unless_it_is_being_pushed(bench: Bench) -> None:
    landing = await green(bench)
    pushing = await move(bench, landing, "pushing", intent=intent())
    with pytest.raises(Conflict):
        await bench.run(landings.cancel, Of(id=pushing.id, body=CancelJob()))
    back = await move(bench, pushing, "queued")
    gone = await bench.run(landings.cancel, Of(id=back.id, body=CancelJob(reason="changed my mind")))
    assert gone.state == "cancelled"
    with pytest.raises(Conflict):
        await move(bench, back, "prepared")


async def test_an_ended_landing_is_tried_again_as_a_new_one_with_a_new_question(bench: Bench) -> None:
    landing = await submitted(bench)
    await bench.run(decisions.decide, Of(id=landing.approval_id or "", body=Decide(decision="deny")))
    again = await bench.run(landings.retry, Of(id=landing.id, body=Ok()))
    assert again.landing.id != landing.id
    assert again.approval.state == "open"


async def test_a_repeated_step_is_answered_as_the_first_time(bench: Bench) -> None:
    landing = await submitted(bench)
    await decide(bench, await approval_of(bench, landing), "approve")
    await lease(bench)
    queued = await bench.get(Landing, landing.id)
    first = await move(bench, queued, "prepared")
    assert await move(bench, queued, "prepared") == first


async def test_the_same_holder_takes_over_at_once_and_fences_its_dead_self_out(bench: Bench) -> None:
    landing = await submitted(bench)
    await decide(bench, await approval_of(bench, landing), "approve")
    assert (await lease(bench)).lane.fence == 1
    assert (await lease(bench)).lane.fence == 2
    with pytest.raises(LeaseLost):
        await move(bench, await bench.get(Landing, landing.id), "prepared", fence=1)
    note = Of(id=landing.id, body=NoteLanding(fence=1, published=True))
    with pytest.raises(LeaseLost):
        await bench.run(landings.note, note, PUSHER)


async def test_another_holder_waits_until_the_lease_has_run_out(bench: Bench) -> None:
    await lease(bench)
    with pytest.raises(Conflict) as caught:
        await lease(bench, "pusher-2")
    assert caught.value.code == "lane.held"
    bench.clock.advance(31)
    await bench.upkeep.step()
    taken = await lease(bench, "pusher-2")
    assert (taken.lane.holder, taken.lane.fence) == ("pusher-2", 2)
    with pytest.raises(Conflict):
        await lease(bench, fence=1)


@pytest.mark.parametrize("mode", ["frozen", "red"])
async def test_nothing_is_pushed_while_the_queue_is_closed(bench: Bench, mode: str) -> None:
    landing = await green(bench)
    await bench.run(lanes.set_mode, SetLaneMode(lane="demo:main", mode=mode, cause="release day"))  # type: ignore[arg-type]
    with pytest.raises(Conflict) as caught:
        await move(bench, landing, "pushing", intent=intent())
    assert caught.value.code == "lane.closed"
    await bench.run(lanes.set_mode, SetLaneMode(lane="demo:main", mode="open"))
    assert (await move(bench, landing, "pushing", intent=intent())).state == "pushing"


async def test_the_pusher_may_say_that_main_is_red_but_not_reopen_what_a_person_closed(bench: Bench) -> None:
    await submitted(bench)
    await lease(bench)
    red = SetLaneMode(lane="demo:main", mode="red", cause="tests fail", fence=1)
    await bench.run(lanes.set_mode, red, PUSHER)
    await bench.run(lanes.set_mode, SetLaneMode(lane="demo:main", mode="open", fence=1), PUSHER)
    await bench.run(lanes.set_mode, SetLaneMode(lane="demo:main", mode="paused"))
    with pytest.raises(Forbidden):
        await bench.run(lanes.set_mode, SetLaneMode(lane="demo:main", mode="open", fence=1), PUSHER)


async def test_the_work_of_a_lane_comes_in_landing_order_and_its_version_changes_with_it(
    bench: Bench,
) -> None:
    before = await lease(bench)
    landing = await submitted(bench)
    after = await lease(bench, fence=before.lane.fence)
    assert [x.id for x in after.landings] == [landing.id]
    assert before.version != after.version
    same = await lease(bench, fence=before.lane.fence)
    assert same.version == after.version


async def moves(bench: Bench, *steps: LandingStep, together: bool = False) -> Moved:
    ask = MoveLandings(lane="demo:main", fence=1, steps=list(steps), all_or_none=together)
    return await bench.run(landings.move_all, ask, PUSHER)  # type: ignore[no-any-return]


def step(landing: Landing, expected: str, to: str, **facts: object) -> LandingStep:
    return LandingStep(id=landing.id, expected=expected, to=to, **facts)  # type: ignore[arg-type]


async def queued(bench: Bench, number: int, **changes: object) -> Landing:
    fields = {
        "session_id": "dev", "repository": "demo", "target": "main", "head": f"{number:040x}", "base": BASE,
        "branch": f"agent/w1/job-{number}", "title": "Change", **changes,
    }  # fmt: skip
    reply = await bench.run(landings.submit, SubmitLanding(**fields), BUDDY)  # type: ignore[arg-type]
    await decide(bench, reply.approval, "approve")
    return await bench.get(Landing, reply.landing.id)  # type: ignore[no-any-return]


async def test_several_steps_are_one_transaction_and_what_is_refused_is_named(bench: Bench) -> None:
    one, other = await queued(bench, 1), await queued(bench, 2)
    await lease(bench)
    await bench.run(landings.cancel, Of(id=other.id, body=CancelJob()))
    done = await moves(
        bench,
        step(one, "queued", "prepared"),
        step(other, "queued", "prepared"),
        step(one, "prepared", "composed", facts={"commit": MERGE}),
        step(other, "prepared", "composed"),
        step(one, "composed", "composed", facts={"note": "only facts"}),
    )
    assert {x.id: x.state for x in done.items} == {one.id: "composed", other.id: "cancelled"}
    assert [(x.id, x.code) for x in done.refused] == [(other.id, "landing.state")] * 2
    assert (await bench.get(Landing, one.id)).facts == {"commit": MERGE, "note": "only facts"}
    told = [e.payload.state for e in bench.events() if e.type == "landing_moved"]  # type: ignore[attr-defined]
    assert told[-3:] == ["cancelled", "prepared", "composed"]


async def test_together_means_all_or_none(bench: Bench) -> None:
    one, other = await queued(bench, 1), await queued(bench, 2)
    await lease(bench)
    seen = len(bench.published)
    with pytest.raises(Conflict):
        await moves(
            bench, step(one, "queued", "prepared"), step(other, "prepared", "composed"), together=True
        )
    assert (await bench.get(Landing, one.id)).state == "queued"
    assert len(bench.published) == seen


async def test_steps_of_another_lane_or_under_an_old_fence_are_refused(bench: Bench) -> None:
    one, other = await queued(bench, 1), await queued(bench, 2, target="other")
    await lease(bench)
    done = await moves(bench, step(one, "queued", "prepared"), step(other, "queued", "prepared"))
    assert [(x.id, x.code) for x in done.refused] == [(other.id, "landing.lane")]
    await bench.run(lanes.release, lanes.LaneRef(id="demo:main", fence=1))
    with pytest.raises(LeaseLost):
        await moves(bench, step(one, "prepared", "composed"))


async def test_a_landing_is_found_to_have_landed_only_if_it_was_ever_pushed(bench: Bench) -> None:
    landing = await queued(bench, 1)
    await lease(bench)
    done = await moves(
        bench, step(landing, "queued", "prepared"), step(landing, "prepared", "landed", landed_commit=MERGE)
    )
    assert [x.code for x in done.refused] == ["landing.no_intent"]
    assert done.items[0].state == "prepared"


async def test_a_yes_carries_over_only_with_a_person_s_word_an_older_yes_and_the_same_patch(
    bench: Bench,
) -> None:
    old = await queued(bench, 1)
    await lease(bench)
    ask = SubmitLanding(
        session_id="dev", repository="demo", target="main", head="9" * 40, base=BASE, branch=old.branch,
        title="Again",
    )  # fmt: skip
    new = (await bench.run(landings.submit, ask, BUDDY)).landing
    same = {"patchId": "f" * 40}
    carry = SetLaneMode(lane="demo:main", mode="open", carry_approval=True)
    with pytest.raises(Conflict):
        await move(bench, new, "queued", facts=same)
    with pytest.raises(Forbidden):
        await bench.run(lanes.set_mode, replace(carry, fence=1), PUSHER)
    await bench.run(lanes.set_mode, carry)
    with pytest.raises(Conflict):
        await move(bench, new, "queued")
    moved = await move(bench, new, "queued", facts=same)
    assert (moved.state, moved.approved_by) == ("queued", "client:ada")
    decided = [e.payload for e in bench.events() if e.type == "approval_decided"][-1]
    assert decided.reason == f"carried over from {old.id}: the patch is identical"  # type: ignore[attr-defined]


async def test_overlaps_are_told_once_and_again_when_they_become_a_conflict(bench: Bench) -> None:
    one = await queued(bench, 1)
    await lease(bench)
    for conflict in (False, False, True):
        seen = Overlap(other="landing-x", paths=["a.py"], conflict=conflict)
        await moves(bench, step(one, "queued", "queued", overlaps=[seen]))
    told = [e.payload.conflict for e in bench.events() if e.type == "overlap_found"]  # type: ignore[attr-defined]
    assert told == [False, True]


async def test_the_place_in_the_queue_is_by_number_and_nobody_jumps_further_than_the_bound(
    bench: Bench,
) -> None:
    for number in range(1, 31):
        await queued(bench, number, priority="background" if number < 30 else "interactive")
    order = [landing.number for landing in (await lease(bench)).landings]
    assert order == [*range(1, 11), 30, *range(11, 30)]


async def test_what_made_main_red_is_proposed_to_be_taken_back(bench: Bench) -> None:
    landing = await queued(bench, 1)
    await lease(bench)
    culprit = {"commit": MERGE, "subject": "Break it", "author": "Eve", "landing": landing.id}
    red = SetLaneMode(lane="demo:main", mode="red", cause="fails", fence=1, culprit=culprit)
    await bench.run(lanes.set_mode, red, PUSHER)
    (told,) = [e.payload for e in bench.events() if e.type == "suggestions"]
    assert told.items[0].detail == f"undo landing {landing.id}"  # type: ignore[attr-defined]
    assert (await bench.get(Lane, "demo:main")).facts["culprit"] == culprit
