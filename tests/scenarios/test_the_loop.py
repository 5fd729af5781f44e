"""From a message to a landed commit, and every way in which it may not get there."""

from __future__ import annotations

from pushpals.testing.repos import Repository
from pushpals.testing.town import Town

FORBIDDEN_PATCH = """\
--- a/README.md
+++ b/README.md
@@ -1,1 +1,1 @@
-no such line
+another line
"""


def checkout_state(town: Town) -> dict[str, object]:
    """Everything about a person's checkout that the team might have touched."""
    repository = Repository(town.checkout)
    return {
        "head": repository.git("rev-parse", "HEAD"),
        "branch": repository.git("symbolic-ref", "HEAD"),
        "refs": repository.git("for-each-ref"),
        "index": (town.checkout / ".git" / "index").read_bytes(),
        "files": {
            str(path.relative_to(town.checkout)): path.read_bytes()
            for path in sorted(town.checkout.rglob("*"))
            if path.is_file() and ".git" not in path.parts
        },
    }


async def test_lint_is_fixed_and_lands_after_a_persons_yes(town: Town) -> None:
    before = checkout_state(town)
    assert "import os" in town.main["parcels/labels.py"]
    await town.say("fix the lint")
    await town.work()
    approval = await town.open_approval()
    await town.approve(approval)
    (landing,) = await town.land()
    assert landing.state == "landed", landing.cause
    assert "import os" not in town.main["parcels/labels.py"]
    assert landing.head == approval.action["head"]
    assert {(e.check, e.verdict, e.commit) for e in landing.evidence} == {
        (name, "passed", landing.landed_commit) for name in ("pytest", "ruff", "mypy")
    }
    assert checkout_state(town) == before


async def test_the_history_tells_the_whole_story(town: Town) -> None:
    await town.say("fix the lint")
    await town.work()
    await town.approve()
    await town.land()
    types = [event.type for event in await town.events()]
    for needed in [
        "message", "assistant_message", "plan_made", "task_created", "job_enqueued", "task_started",
        "job_claimed", "job_based", "tool_call", "tool_result", "diff_ready", "committed", "check_finished",
        "job_completed", "approval_required", "landing_moved", "approved", "approval_decided",
        "task_completed",
    ]:  # fmt: skip
        assert needed in types, needed
    order = [
        "message",
        "job_enqueued",
        "job_claimed",
        "diff_ready",
        "job_completed",
        "approval_required",
        "approved",
    ]
    assert [types.index(name) for name in order] == sorted(types.index(name) for name in order)


async def test_denied_nothing_moves_and_the_session_says_so(town: Town) -> None:
    before = town.main
    await town.say("fix the lint")
    await town.work()
    await town.deny("we keep that import")
    (landing,) = await town.land()
    assert landing.state == "rejected"
    assert town.main == before
    assert "we keep that import" in (await town.said())[-1]


async def test_running_the_tests_changes_nothing_and_reports_the_counts(town: Town) -> None:
    before = town.main
    await town.say("run the tests")
    (job,) = await town.work()
    assert job.state == "completed"
    assert job.result is not None
    assert [(e.check, e.verdict) for e in job.result.evidence] == [("pytest", "passed")]
    assert job.result.head is None
    assert town.main == before
    assert "8 passed" in (await town.said())[-1]


async def test_a_command_runs_without_a_shell(town: Town) -> None:
    await town.say("run: echo $HOME && id")
    jobs = await town.work()
    outputs = [event.payload.stdout for event in await town.events("tool_result")]  # type: ignore[attr-defined]
    assert all("uid=" not in (out or "") for out in outputs)
    assert len(jobs) <= 1


async def test_a_patch_that_does_not_apply_says_which_and_loses_nothing(town: Town) -> None:
    before = town.main
    await town.say(f"apply this patch\n```diff\n{FORBIDDEN_PATCH}```")
    (job,) = await town.work()
    assert job.state == "failed"
    assert job.error is not None
    assert "README.md" in f"{job.error.message} {job.error.detail}"
    assert town.main == before


async def test_what_no_planner_understands_is_answered_honestly(town: Town) -> None:
    await town.say("please write me a poem about merge queues")
    assert await town.work() == []
    assert "model" in (await town.said())[-1]
