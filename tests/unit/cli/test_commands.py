"""Commands against a real hub: what they print, as text and as JSON, and how they end."""

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from pushpals.client import HubClient
from pushpals.protocol.commands import Claim, Complete, Enqueue, LeaseLane, SubmitLanding
from pushpals.protocol.events import AssistantMessage, TaskCompleted, TaskCreated
from pushpals.protocol.jobs import Evidence, FileChange, JobResult

T = TypeVar("T")
HEAD, BASE, TREE = "a" * 40, "b" * 40, "c" * 40
PATCH = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new \x1b[2Kline\n"


def act(terminal, role: str, work: Callable[[HubClient], Awaitable[T]]) -> T:
    """What another member of the team does, with its own token."""

    async def connected() -> T:
        running = terminal.state.running()
        async with HubClient(running.url, terminal.state.token(role)) as hub:
            return await work(hub)

    return asyncio.run(connected())


def words(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


def done_job(terminal, session: str) -> str:
    """A job that a worker claimed and completed with a change."""

    async def order(hub: HubClient) -> str:
        await hub.create_session(session)
        ask = Enqueue(
            task_id=f"task-{session}", kind="fix", session_id=session, title="Fix the lint", base=BASE
        )
        return (await hub.enqueue(ask)).job_id

    job_id = act(terminal, "buddy", order)

    async def work(hub: HubClient) -> None:
        job = await hub.claim(Claim(worker_id="w1"))
        assert job is not None
        assert job.id == job_id
        patch = await hub.put_artifact(PATCH, kind="patch", session_id=session, job_id=job_id)
        result = JobResult(
            summary="One finding fixed", base=BASE, head=HEAD, tree=TREE, branch=f"agent/w1/{job_id}",
            patch=patch.sha256, diff_stat="1 file changed",
            evidence=[Evidence(check="lint", argv=["ruff"], verdict="passed", commit=HEAD, tree=TREE)],
        )  # fmt: skip
        await hub.complete(job_id, Complete(attempt=1, summary="One finding fixed", result=result))

    act(terminal, "worker", work)
    return job_id


def asked_landing(terminal, session: str) -> tuple[str, str]:
    """A landing that waits for a person's yes. Returns its id and the approval's."""
    job_id = done_job(terminal, session)

    async def submit(hub: HubClient) -> tuple[str, str]:
        job = (await hub.job(job_id)).job
        assert job.result is not None
        reply = await hub.submit_landing(
            SubmitLanding(
                session_id=session, repository="parcels", target="main", head=HEAD, base=BASE, tree=TREE,
                branch=job.result.branch or "", title="Fix the lint", job_id=job_id, patch=job.result.patch,
                files=[FileChange(path="x\u202etxt", status="M", added=1, deleted=1)],
                evidence=job.result.evidence,
            )
        )  # fmt: skip
        assert reply.approval is not None
        return reply.landing.id, reply.approval.id

    return act(terminal, "buddy", submit)


def test_what_a_person_says_is_in_the_log(running) -> None:
    said = running.run("say", "-s", "talk", "hello", "there")
    assert (said.exit_code, said.output) == (0, "said, at 1. Watch: pushpals tail --after 1\n")
    assert words(running.run("log", "-s", "talk").output)[0][1:] == ["you", "hello", "there"]


def test_a_dash_reads_the_message_from_standard_input(running) -> None:
    running.run("say", "-s", "piped", "-", stdin="one\ntwo\n")
    shown = running.run("log", "-s", "piped", "--json")
    (entry,) = [json.loads(line) for line in shown.output.splitlines()]
    assert (entry["cursor"], entry["envelope"]["payload"]) == (1, {"text": "one\ntwo\n"})


def test_saying_nothing_is_a_usage_error(running) -> None:
    assert running.run("say", "-", stdin=" \n").exit_code == 2


def test_waiting_ends_with_the_task_that_the_message_began(running) -> None:
    session = "waiting"
    talk = running.start("-s", session, "say", "fix it", "--wait")

    async def answer(hub: HubClient) -> None:
        await hub.create_session(session)
        async for event in hub.follow(session):
            turn = event.id
            break
        mine: dict[str, Any] = {"from_": "agent:remote", "turn_id": turn, "correlation_id": "task-1"}
        await hub.post(session, AssistantMessage(text="I will."), **mine)
        created = TaskCreated(task_id="task-1", title="Fix it", description="", created_by="agent:remote")
        await hub.post(session, created, **mine)
        await hub.post(session, TaskCompleted(task_id="task-1", summary="Fixed."), **mine)

    act(running, "buddy", answer)
    out, _ = talk.communicate(timeout=60)
    assert talk.returncode == 0
    assert [row[1:] for row in words(out.decode())] == [
        ["you", "fix", "it"], ["remote", "I", "will."], ["task", "task-1", "Fix", "it"],
        ["task", "done", "Fix", "it"],
    ]  # fmt: skip


def test_an_answer_without_a_task_is_the_end_of_waiting(running) -> None:
    session = "answered"
    talk = running.start("-s", session, "say", "help", "--wait")

    async def answer(hub: HubClient) -> None:
        await hub.create_session(session)
        async for event in hub.follow(session):
            await hub.post(session, AssistantMessage(text="I can do this."), turn_id=event.id)
            return

    act(running, "buddy", answer)
    assert talk.wait(timeout=60) == 0
    talk.communicate()


def test_jobs_are_listed_and_found_by_the_beginning_of_their_id(running) -> None:
    job_id = done_job(running, "jobs")
    rest = job_id.partition("-")[2]
    listed = words(running.run("jobs", "-s", "jobs").output)
    assert listed[0] == ["id", "state", "kind", "title", "worker", "since"]
    assert listed[1][:7] == [f"job-{rest[:6]}", "completed", "fix", "Fix", "the", "lint", "w1"]
    for beginning in (job_id, job_id[:12], rest[:8]):
        shown = running.run("job", "show", beginning, "--json")
        assert json.loads(shown.output)["id"] == job_id
    assert "lint passed" in running.run("job", "show", job_id).output


def test_an_unknown_or_short_beginning_says_so(running) -> None:
    done_job(running, "first")
    done_job(running, "second")
    assert "no job begins with 'zzz'" in running.run("job", "show", "zzz").output
    assert "begins more than one job" in running.run("job", "show", "job-").output


def test_a_diff_is_shown_without_what_a_terminal_would_obey(running) -> None:
    job_id = done_job(running, "diff")
    shown = running.run("diff", job_id)
    assert shown.exit_code == 0
    assert shown.output == "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new line\n"


def test_an_approval_shows_the_action_the_evidence_and_the_diff_before_it_asks(running) -> None:
    landing_id, approval_id = asked_landing(running, "asked")
    shown = running.run("approve", approval_id, stdin="n\n")
    assert shown.exit_code == 4
    for part in (HEAD, BASE, TREE, "lint passed", "x\\u{202e}txt", "+new line", "Approve exactly this?"):
        assert part in shown.output
    assert "\u202e" not in shown.output
    still = json.loads(running.run("landing", "show", landing_id, "--json").output)
    assert still["state"] == "needs_approval"
    running.run("deny", approval_id)


def test_a_yes_is_recorded_with_who_said_it(running) -> None:
    landing_id, approval_id = asked_landing(running, "yes")
    said = running.run("approve", approval_id, "--yes", "--no-wait")
    assert said.exit_code == 0, said.output
    landing = json.loads(running.run("landing", "show", landing_id, "--json").output)
    assert landing["state"] == "queued"
    assert landing["approvedBy"].startswith("client:")
    again = running.run("approve", approval_id, "--yes")
    assert again.exit_code == 1
    assert "approved already" in again.output
    assert running.run("landing", "cancel", landing_id).exit_code == 0


def test_a_no_moves_nothing_and_says_why(running) -> None:
    landing_id, approval_id = asked_landing(running, "no")
    assert running.run("deny", approval_id, "--reason", "not now").exit_code == 0
    assert json.loads(running.run("landing", "show", landing_id, "--json").output)["state"] == "rejected"
    assert "not now" in running.run("log", "-s", "no").output


def test_the_only_open_approval_needs_no_name_and_several_do(running) -> None:
    assert running.run("approve", "--yes").output.endswith("nothing waits for your word\n")
    first = asked_landing(running, "one")[1]
    second = asked_landing(running, "two")[1]
    several = running.run("approve", "--yes")
    assert several.exit_code == 1
    assert "2 approvals are open" in several.output
    assert running.run("deny", second).exit_code == 0
    assert running.run("deny").exit_code == 0
    assert json.loads(running.run("approvals", "--json").output)["items"] == []
    assert first in running.run("approvals", "--all", "--json").output


def test_the_queue_is_paused_frozen_and_resumed(running) -> None:
    async def lease(hub: HubClient) -> None:
        await hub.lease_lane(LeaseLane(lane="parcels:main", holder="p", repository="parcels", branch="main"))

    act(running, "pusher", lease)
    for word, mode in (("pause", "paused"), ("freeze", "frozen"), ("resume", "open")):
        changed = json.loads(running.run("queue", word, "--json", "--reason", "why").output)
        assert changed.get("mode", "open") == mode
    assert "parcels:main" in running.run("queue", "show").output


def test_a_token_is_shown_once_and_ends_when_it_is_revoked(running) -> None:
    made = json.loads(running.run("token", "new", "viewer", "--label", "wall", "--json").output)
    viewer = {"PUSHPALS_TOKEN": made["secret"]}
    assert running.run("status", env=viewer).exit_code == 0
    assert running.run("say", "hello", env=viewer).exit_code == 4
    assert made["secret"] not in running.run("token", "list", "--json").output
    assert running.run("token", "revoke", made["token"]["id"]).exit_code == 0
    assert running.run("status", env=viewer).exit_code == 4


def test_tail_prints_one_json_object_for_each_event(running) -> None:
    running.run("say", "-s", "tailed", "one")
    running.run("say", "-s", "tailed", "two")
    every = [
        json.loads(line)
        for line in running.run("tail", "-s", "tailed", "--once", "--json").output.splitlines()
    ]
    assert [(one["cursor"], one["envelope"]["payload"]["text"]) for one in every] == [(1, "one"), (2, "two")]
    last = running.run("tail", "-s", "tailed", "--once", "--after", "1")
    assert [row[1:] for row in words(last.output)] == [["you", "two"]]


def test_tail_refuses_a_type_that_does_not_exist(running) -> None:
    refused = running.run("tail", "--types", "mesage")
    assert refused.exit_code == 2
    assert "no such event type: mesage" in refused.output


def test_open_gives_a_fresh_code_each_time(running) -> None:
    first, second = (json.loads(running.run("open", "--json").output) for _ in range(2))
    assert first["url"] == second["url"]
    assert first["code"] != second["code"]


def test_secrets_are_readable_by_their_owner_only(running) -> None:
    files = [
        running.state.root / "run.json",
        running.state.login_file,
        *(running.state.root / "tokens").iterdir(),
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(running.state.root.stat().st_mode) == 0o700


def test_the_database_is_copied_and_checked_while_the_hub_runs(running) -> None:
    target = running.home / "copy.db"
    copied = running.run("db", "backup", str(target))
    assert copied.exit_code == 0, copied.output
    assert running.run("db", "backup", str(target)).exit_code == 2
    assert running.run("db", "check").output.endswith("nothing is wrong\n")


def test_a_second_hub_on_the_same_database_is_refused(running) -> None:
    second = running.start("hub", "--port", "0")
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "pushpals:" in out.decode()


@pytest.mark.parametrize("command", ["status", "jobs", "approvals", "workers"])
def test_every_list_is_also_json(running, command: str) -> None:
    json.loads(running.run(command, "--json").output)
