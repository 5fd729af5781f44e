"""The defects of the original that take a whole team to repeat, each a first acceptance test.

The number is that of ``docs/explanation/defects.md``; the hub's own are in ``tests/http/test_defects.py``.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pushpals.protocol.events import DelegateRequest
from pushpals.roles.buddy import SessionBuddy
from pushpals.roles.local import LocalBuddy
from pushpals.roles.looking import Checkout
from pushpals.testing.repos import Repository
from pushpals.testing.stack import fingerprint, new_file_patch
from pushpals.testing.town import Town
from pushpals.work.git.runner import Git

BREAKING = """\
apply this patch
```diff
--- a/parcels/prices.py
+++ b/parcels/prices.py
@@ -1,6 +1,6 @@
 \"\"\"What it costs to send a parcel.\"\"\"
 
-BASE_CENTS = 390
+BASE_CENTS = 400
 CENTS_PER_STEP = 120
 STEP_GRAMS = 500
 LIMIT_GRAMS = 31_500
```"""


def changed_line(text: str) -> str:
    """A request that rewrites the README's second paragraph."""
    old = "Prices and labels for parcels. The checks are pytest, ruff and mypy."
    return (
        "apply this patch\n```diff\n--- a/README.md\n+++ b/README.md\n@@ -1,3 +1,3 @@\n # parcels\n \n"
        f"-{old}\n+{text}\n```"
    )


async def test_defect_04_an_open_question_holds_nothing_up_and_its_yes_is_heard_at_once(town: Town) -> None:
    await town.say("fix the lint")
    await town.work()
    await town.open_approval()
    await town.say("run the tests")
    (job,) = await town.work()
    assert job.state == "completed"
    await town.approve()
    (landing,) = await town.land()
    assert landing.state == "landed"


async def test_defect_05_every_change_is_asked_about_before_it_reaches_anything_shared(town: Town) -> None:
    before = Repository(town.upstream, bare=True).sha("main")
    for request in ("fix the lint", new_file_patch("a.txt", "a"), "run: touch b.txt"):
        await town.say(request)
    await town.work()
    await town.land()
    assert Repository(town.upstream, bare=True).sha("main") == before
    asked = (await town.person.approvals(session_id="dev")).items
    assert [approval.kind for approval in asked] == ["land"] * len(asked)
    assert len(asked) >= 2
    assert {landing.state for landing in await town.land()} == {"needs_approval"}


async def test_defect_06_a_branch_under_the_prefix_lands_only_if_it_was_approved(town: Town) -> None:
    upstream = Repository(town.upstream, bare=True)
    stranger = Repository(town.root / "stranger")
    upstream.git("clone", "--quiet", str(town.upstream), str(stranger.path))
    stranger.branch("agent/w9/j9")
    stranger.commit("Nobody asked for this", {"surprise.txt": "!\n"})
    stranger.git("push", "--quiet", "origin", "agent/w9/j9")
    assert await town.land() == []
    assert "surprise.txt" not in town.main
    (repository,) = (await town.person.repositories()).items
    assert [check.name for check in repository.checks] == ["pytest", "ruff", "mypy"]


async def test_defect_07_a_red_change_ends_with_its_failure_named_and_stops_no_other(town: Town) -> None:
    await town.say(BREAKING)
    await town.say(new_file_patch("fine.txt", "fine"))
    red, fine = await town.work()
    assert red.result is not None
    assert [
        e.verdict for e in red.result.evidence if e.check == "pytest" and e.commit == red.result.head
    ] == ["failed"]
    asked = await town.open_approval()
    assert asked.action["head"] == (fine.result.head if fine.result else None)
    assert any("test_every_begun_step_counts" in said for said in await town.said())
    await town.approve()
    (landing,) = await town.land()
    assert (landing.state, town.main["fine.txt"]) == ("landed", "fine")


async def test_defect_07_a_conflict_says_which_paths_and_why(town: Town) -> None:
    for text in ("One.", "Two."):
        await town.say(changed_line(text))
    await town.work()
    for approval in (await town.person.approvals(session_id="dev")).items:
        await town.approve(approval)
    landings = await town.land()
    assert sorted(landing.state for landing in landings) == ["conflict", "landed"]
    (conflict,) = [landing for landing in landings if landing.state == "conflict"]
    assert conflict.conflict_paths == ["README.md"]
    assert conflict.cause
    assert any("README.md" in said for said in (await town.said())[-2:])


async def test_defect_08_uncommitted_work_in_the_checkout_survives_byte_for_byte(town: Town) -> None:
    person = Repository(town.checkout)
    person.write({"parcels/prices.py": "half a thought\n", "scratch.txt": "not added\n", "README.md": None})
    person.write({"staged.txt": "added, not committed\n"})
    person.git("add", "staged.txt")
    before = fingerprint(town.checkout)
    await town.say("fix the lint")
    await town.work()
    await town.approve()
    (landing,) = await town.land()
    assert landing.state == "landed"
    assert fingerprint(town.checkout) == before


async def test_defect_09_a_job_reaches_neither_paths_outside_nor_the_network_nor_the_checkout(
    town: Town,
) -> None:
    for name in ("../escape.txt", f"{town.root}/escape.txt", ".git/hooks/post-checkout"):
        await town.say(new_file_patch(name, "out"))
    await town.say(f"run: ls {town.checkout}")
    connect = f"socket.create_connection(('127.0.0.1', {urlsplit(town.service.url).port}), 1)"
    await town.say(f'run: python -c "import socket; {connect}"')
    before = fingerprint(town.checkout)
    jobs = await town.work()
    assert all(job.result is None or job.result.head is None for job in jobs)
    assert [path for path in town.root.rglob("*") if path.name in ("escape.txt", "post-checkout")] == []
    assert [job.error.error_class if job.error else job.state for job in jobs] == [
        "policy", "policy", "policy", "completed", "completed",
    ]  # fmt: skip
    tails = [job.result.output["tail"] for job in jobs if job.result]
    assert ["No such file or directory" in tails[0], "Connection refused" in tails[1]] == [True, True]
    assert fingerprint(town.checkout) == before
    assert {job.sandbox for job in jobs} == {"full"}


async def test_defect_11_a_buddy_that_starts_anew_ends_the_tasks_of_the_one_before(town: Town) -> None:
    await town.person.say("dev", "run the tests")
    await town.buddy.close()
    town.buddy = SessionBuddy(await town.client("buddy", "second"), "dev")
    await town.buddy.start()
    await town.read()
    job = await town.worker._claim()
    assert job is not None
    await town.worker.do(job)
    await town.buddy.close()
    town.buddy = SessionBuddy(await town.client("buddy", "third"), "dev")
    await town.buddy.start()
    await town.read()
    types = [event.type for event in await town.events("task_created", "task_completed", "job_enqueued")]
    assert types == ["task_created", "job_enqueued", "task_completed"]


async def test_defect_13_an_agent_that_delegates_gets_a_valid_answer(town: Town) -> None:
    buddy = await town.client("buddy", "other")
    asked = DelegateRequest(request_id="r1", to_agent_id="remote", input={"text": "status"})
    await buddy.post("dev", asked, from_="agent:other")
    await town.read()
    (answer,) = await town.events("delegate_response")
    assert answer.payload.request_id == "r1"  # type: ignore[attr-defined]
    assert answer.payload.ok  # type: ignore[attr-defined]


async def test_defect_14_every_job_that_is_told_of_exists(town: Town) -> None:
    checkout = await Checkout.at(await Git.find(), town.checkout)
    local = LocalBuddy(await town.client("buddy", "local"), "dev", checkout)
    await town.person.say("dev", "run the tests", to="local")
    while await local.catch_up():
        await town.read()
    await town.work()
    told = [event.payload.job_id for event in await town.events("job_enqueued")]  # type: ignore[attr-defined]
    assert len(told) == 1
    assert [(await town.person.job(job_id)).job.state for job_id in told] == ["completed"]
    await local.close()


async def test_defect_16_the_diff_is_told_and_landing_is_asked_for_in_the_conversation(town: Town) -> None:
    await town.say("fix the lint")
    await town.work()
    (diff,) = await town.events("diff_ready")
    assert "-import os" in diff.payload.unified_diff  # type: ignore[attr-defined]
    await town.say("land it")
    approval = await town.open_approval()
    assert "pushpals approve" in (await town.said())[-1]
    await town.approve(approval)
    (landing,) = await town.land()
    assert landing.state == "landed"
