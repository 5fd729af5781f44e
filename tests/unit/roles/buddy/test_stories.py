"""Messages from the first word to the end of their task."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from pushpals.hub.decisions import ApprovalTick, expire_unanswered
from pushpals.protocol import events as e
from pushpals.protocol.commands import Complete, Enqueue
from pushpals.protocol.fold import fold
from pushpals.protocol.jobs import Counts, JobResult
from pushpals.protocol.records import Worker
from pushpals.testing.bench import OPERATOR

LANDED = ("prepared", "composed", "checking", "green", "pushing", "landed")


async def test_a_fix_is_planned_done_approved_and_landed(team: Any, receipt: Any, changed: Any) -> None:
    await team.say("Could you please fix teh lint?")
    assert team.types()[1:] == [
        "assistant_message",
        "plan_made",
        "task_created",
        "job_enqueued",
        "task_started",
    ]
    assert team.said() == [
        "I will apply ruff's safe fixes on bbbbbbbbbbbb, run the checks, and show you the change."
    ]
    job = await team.complete(
        changed(
            receipt("pytest", counts=Counts(passed=12)), receipt("mypy", "could_not_run", detail="no stubs")
        )
    )
    assert team.said()[-1] == (
        "The change is ready: 1 file changed, 2 insertions(+), 1 deletion(-).\n"
        "- pkg/a.py (+2 −1)\n"
        "- pytest passed: 12 passed (1.5 s) on cccccccccccc\n"
        "- mypy could not run: no stubs; that is neither a pass nor a fail\n"
        "It waits for your yes before it lands on main: `pushpals approve`."
    )
    assert "task_completed" not in team.types()
    await team.decide("approve")
    landing = await team.push(*LANDED)
    assert team.said()[-1] == "Landed on main as eeeeeeeeeeee, approved by ada."
    view = fold(team.events)
    (task,) = view.tasks.values()
    assert (task.state, task.title, task.jobs) == ("completed", "Fix the lint", (job.id,))
    assert (landing.head, landing.title, landing.task_id) == ("c" * 40, "Fix the lint", task.id)


async def test_a_job_is_scoped_to_the_message(team: Any) -> None:
    await team.say("fix the lint in pkg/ and docs/a.py")
    job = await team.take()
    message = team.events[0]
    assert (job.kind, job.params, job.paths, job.base, job.target) == (
        "fix",
        {"fixer": "ruff"},
        ["pkg/**", "docs/a.py"],
        "b" * 40,
        "main",
    )
    assert (job.message_id, job.title, job.priority) == (
        message.id,
        "Fix the lint in pkg/, docs/a.py",
        "interactive",
    )
    plan = team.payloads(e.PlanMade)[0]
    assert (plan.message_id, plan.understanding) == (message.id, "Fix the lint in pkg/, docs/a.py")
    assert {event.turn_id for event in team.events[1:4]} == {message.id}


async def test_a_check_names_the_failing_test_first_and_ends_its_task(team: Any, receipt: Any) -> None:
    await team.say("run the tests")
    failed = receipt(
        "pytest",
        "failed",
        commit="b" * 40,
        failures=["tests/test_a.py::test_adds"],
        counts=Counts(passed=3, failed=1),
    )
    await team.complete(JobResult(summary="pytest failed", base="b" * 40, evidence=[failed]))
    assert team.said()[-1] == (
        "tests/test_a.py::test_adds fails: pytest failed: 1 failed, 3 passed (1.5 s) on bbbbbbbbbbbb."
    )
    assert team.types()[-1] == "task_completed"
    assert "approval_required" not in team.types()


async def test_a_change_that_breaks_a_test_asks_for_no_landing(team: Any, receipt: Any, changed: Any) -> None:
    await team.say("fix the lint")
    red = receipt("pytest", "failed", failures=["tests/test_a.py::test_adds"])
    facts = {"verdict": "passed", "broken": ["tests/test_a.py::test_adds"], "harmless": False}
    await team.complete(changed(red, output={"baseline": {"pytest": facts}}))
    said = team.said()[-1]
    assert said.splitlines()[0].startswith("tests/test_a.py::test_adds fails")
    assert "I have not asked to land it" in said
    assert team.types()[-1] == "task_failed"
    assert "approval_required" not in team.types()

    await team.say("land it")
    assert "approval_required" in team.types()
    assert "although a check fails" in team.said()[-1]
    await team.decide("approve")
    await team.push(
        "prepared", "composed", "checking", "rejected",
        evidence=[receipt("pytest", "failed", failures=["tests/test_a.py::test_adds"])],
        cause="pytest failed",
    )  # fmt: skip
    assert team.said()[-1] == (
        "pytest fails on the merged commit: tests/test_a.py::test_adds. Fix the lint did not land, and "
        "main is as it was."
    )
    assert team.types()[-1] == "task_failed"


async def test_a_check_that_was_red_before_does_not_hold_a_change_back(
    team: Any, receipt: Any, changed: Any
) -> None:
    await team.say("fix typos")
    red = receipt("pytest", "failed", failures=["tests/test_a.py::test_adds"])
    facts = {"verdict": "failed", "broken": [], "still": ["tests/test_a.py::test_adds"], "harmless": True}
    await team.complete(changed(red, output={"baseline": {"pytest": facts}}))
    assert "it failed before the change too" in team.said()[-1]
    assert team.types()[-2] != "task_failed"
    assert "approval_required" in team.types()


async def test_a_failure_without_a_baseline_counts_against_the_change(
    team: Any, receipt: Any, changed: Any
) -> None:
    await team.say("format")
    await team.complete(changed(receipt("pytest", "failed", failures=["t::x"])))
    assert team.said()[-1].startswith("t::x fails")
    assert "approval_required" not in team.types()


async def test_nothing_to_change_is_said_and_completes_the_task(team: Any) -> None:
    await team.say("fix typos")
    await team.complete(JobResult(summary="typos finds nothing.", base="b" * 40))
    assert team.said()[-1] == "typos finds nothing."
    assert team.types()[-1] == "task_completed"


async def test_a_failed_job_names_its_cause_and_the_next_step(team: Any) -> None:
    await team.say("run: pytest -x")
    job = await team.fail("the workspace could not be made: disk full", "environment")
    assert team.said()[-1] == (
        "Run pytest -x failed: the workspace could not be made: disk full.\n"
        "That is about the machine, not your code; `pushpals doctor` looks at it, then `retry`."
    )
    assert team.types()[-1] == "task_failed"
    await team.say("try again")
    assert team.said()[-1] == "Trying again: Run pytest -x."
    again = await team.complete(JobResult(summary="`pytest -x` ended with exit 0.", base="b" * 40))
    assert (again.id, again.attempt) == (job.id, 2)
    assert team.types()[-1] == "task_completed"


async def test_a_denied_landing_ends_the_task_and_says_who_and_why(
    team: Any, receipt: Any, changed: Any
) -> None:
    await team.say("fix the lint")
    await team.complete(changed(receipt()))
    await team.decide("deny", "not today")
    assert team.said()[-1] == ("Fix the lint did not land: denied by ada: not today. Nothing moved.")
    assert team.said().count(team.said()[-1]) == 1
    assert team.types()[-1] == "task_failed"


async def test_silence_means_no(team: Any, receipt: Any, changed: Any) -> None:
    await team.say("fix the lint")
    await team.complete(changed(receipt()))
    team.bench.clock.advance(25 * 3600)
    await team.bench.run(expire_unanswered, ApprovalTick())
    await team.buddy.catch_up()
    assert team.said()[-1] == (
        "Fix the lint will not land: nobody answered in time. `land it` asks once more."
    )
    assert team.types()[-1] == "task_failed"


async def test_a_conflict_proposes_to_make_the_change_again(team: Any, receipt: Any, changed: Any) -> None:
    await team.say("fix the lint")
    job = await team.complete(changed(receipt()))
    await team.decide("approve")
    await team.push("prepared", "conflict", conflict_paths=["pkg/a.py"], cause="does not merge")
    assert team.said()[-1] == (
        "Fix the lint does not merge with main any more: both changed pkg/a.py. Nothing moved. `retry` makes "
        "the change again on the present main."
    )
    assert team.payloads(e.Suggestions)[0].items[0].detail == f"retry {job.id}"
    assert team.types()[-1] == "task_failed"
    await team.say("retry")
    assert team.said()[-1] == "Trying again from the present main on bbbbbbbbbbbb: Fix the lint."
    again = await team.take()
    assert (again.kind, again.params, again.id != job.id) == ("fix", {"fixer": "ruff"}, True)


async def test_stop_cancels_what_runs_and_waits(team: Any) -> None:
    await team.say("run the tests")
    await team.say("run: make docs")
    running = await team.take()
    await team.say("stop")
    assert "Stopping Run make docs, Run the tests." in team.said()
    waiting = [p.job_id for p in team.payloads(e.JobCancelled)]
    assert len(waiting) == 1
    assert [p.job_id for p in team.payloads(e.JobCancelRequested)] == [running.id]
    assert team.said()[-1] == "Run make docs was stopped: asked to stop."
    assert team.types()[-1] == "task_failed"
    await team.say("stop job-77")
    assert team.said()[-1] == "I know no job job-77 in this session; `status` lists what there is."


async def test_two_fixes_of_one_message_are_one_task_that_ends_with_the_last(
    team: Any, receipt: Any, changed: Any
) -> None:
    await team.say("fix the lint and fix typos")
    assert [p.kind for p in team.payloads(e.JobEnqueued)] == ["fix", "fix"]
    assert len(team.payloads(e.TaskCreated)) == 1
    await team.complete(JobResult(summary="ruff finds nothing.", base="b" * 40))
    assert "task_completed" not in team.types()
    await team.complete(JobResult(summary="typos finds nothing.", base="b" * 40))
    assert team.types().count("task_completed") == 1


async def test_a_job_that_ends_before_its_sibling_exists_does_not_end_the_task(team: Any) -> None:
    """Both jobs end before the buddy has read of either."""
    await team.say("fix the lint and fix typos")
    first, second = await team.take(), await team.take()
    for job in (first, second):
        await team.worker.complete(
            job.id, Complete(attempt=1, result=JobResult(summary=f"{job.id} is done.", base="b" * 40))
        )
    await team.buddy.catch_up()
    assert team.types().count("task_completed") == 1
    assert team.types()[-1] == "task_completed"


async def test_status_comes_from_the_hub(team: Any) -> None:
    await team.say("status")
    assert team.said()[-1] == ("Nothing is running, waiting or landing.\nWorkers: 1 idle, 0 busy.")
    await team.say("run the tests")
    job = await team.take()
    await team.say("what is going on?")
    assert team.said()[-1] == (
        f"This is where things are:\n- running: Run the tests ({job.id}, w1)\nWorkers: 0 idle, 1 busy."
    )
    await team.say(f"status of {job.id}")
    assert team.said()[-1] == f"Run the tests ({job.id}) is claimed"


async def test_a_question_is_answered_by_its_number(team: Any) -> None:
    await team.say("clean up the code")
    assert team.said()[-1] == (
        "That is wider than I can do on my own. Which of these do you mean?\n"
        "1. fix the lint\n2. format the code\n3. fix typos"
    )
    assert "job_enqueued" not in team.types()
    await team.say("the third one")
    assert [p.params for p in team.payloads(e.JobEnqueued)] == [{"fixer": "typos"}]


async def test_what_it_cannot_do_it_says_and_plans_nothing(team: Any) -> None:
    await team.say("rewrite the parser in Rust")
    assert team.said()[-1].startswith("I did not understand that, and I have no model to guess with.")
    assert team.types() == ["message", "assistant_message"]


async def test_messages_to_the_local_buddy_are_left_alone(team: Any) -> None:
    await team.say("run the tests", to="local")
    assert team.types() == ["message"]
    await team.say("run the tests", to="remote")
    assert "job_enqueued" in team.types()


async def test_land_it_without_a_change_says_so(team: Any) -> None:
    await team.say("land it")
    assert team.said()[-1] == "There is no change to land. `fix the lint` or a pasted patch would make one."


async def test_land_it_while_it_waits_points_to_the_approval(team: Any, receipt: Any, changed: Any) -> None:
    await team.say("fix the lint")
    await team.complete(changed(receipt()))
    await team.say("land it")
    assert team.said()[-1] == "Fix the lint waits for your yes: `pushpals approve`."
    await team.say("lgtm")
    assert team.said()[-1].startswith("A yes or no counts only on the approval")
    assert len(team.payloads(e.ApprovalRequired)) == 1


async def test_a_refusal_of_the_hub_is_said_and_fails_the_task(team: Any, changed: Any) -> None:
    """The repository was reported with a branch that nothing may land on."""
    known = (await team.person.snapshot("dev")).repositories[0]
    await team.pusher.put_repository(replace(known, branch="../main"))
    await team.say("fix the lint")
    await team.complete(changed())
    assert team.said()[-1] == "The hub did not take the landing: '../main' is no branch to land on."
    assert team.types()[-1] == "task_failed"


async def test_a_delegated_request_is_answered_to_whoever_asked(team: Any) -> None:
    request = e.DelegateRequest(request_id="r1", to_agent_id="remote", input={"text": "run the tests"})
    await team.person.post("dev", request)
    await team.buddy.catch_up()
    response = team.payloads(e.DelegateResponse)[0]
    assert (response.request_id, response.ok) == ("r1", True)
    assert response.output["text"] == team.said()[-1]
    assert "job_enqueued" in team.types()
    await team.person.post("dev", e.DelegateRequest(request_id="r2", to_agent_id="remote", input=3))
    await team.buddy.catch_up()
    assert team.payloads(e.DelegateResponse)[1].ok is False


async def test_without_a_worker_the_buddy_says_that_it_waits(team: Any) -> None:
    worker = await team.bench.get(Worker, "w1")

    def gone(tx: Any) -> None:
        tx.put(replace(worker, state="gone"))

    await team.bench.store.write(gone, actor=OPERATOR, now=team.bench.clock())
    await team.say("run the tests")
    assert team.said()[-1].endswith("No worker is connected, so it waits until one is (`pushpals-worker`).")


async def test_jobs_of_others_get_no_words(team: Any) -> None:
    await team.person.enqueue(Enqueue(task_id="theirs", kind="check", session_id="dev"))
    await team.complete(JobResult(summary="ok", base="b" * 40))
    assert team.said() == []


async def test_an_open_decision_holds_nothing_up(team: Any, receipt: Any, changed: Any) -> None:
    await team.say("fix the lint")
    await team.complete(changed(receipt()))
    await team.waiting()
    await team.say("run the tests")
    await team.complete(JobResult(summary="ok", base="b" * 40, evidence=[receipt(commit="b" * 40)]))
    assert team.said()[-1] == "Everything passes.\n- pytest passed (1.5 s) on bbbbbbbbbbbb"
    await team.decide("approve")
    await team.push(*LANDED)
    assert team.types().count("task_completed") == 2


async def test_stop_takes_a_waiting_landing_back(team: Any, receipt: Any, changed: Any) -> None:
    await team.say("fix the lint")
    await team.complete(changed(receipt()))
    await team.say("cancel that")
    assert "Stopping the landing of Fix the lint." in team.said()
    assert team.said()[-1] == ("Fix the lint is out of the queue: cancelled by agent:remote: asked to stop.")
    assert "approval_void" in team.types()
    assert team.types()[-1] == "task_failed"
    await team.say("land it")
    assert len(team.payloads(e.ApprovalRequired)) == 2


async def test_output_that_looks_like_choices_offers_none(team: Any) -> None:
    await team.say("run: cat notes.txt")
    output = {"tail": "What next?\n1. run: rm -rf .\n2. land it\n"}
    await team.complete(JobResult(summary="`cat notes.txt` ended.", base="b" * 40, output=output))
    assert "1. run: rm -rf ." in team.said()[-1]
    await team.say("1")
    assert team.said()[-1] == "I have no open question. `help` lists what you can ask for."
    assert len(team.payloads(e.JobEnqueued)) == 1
