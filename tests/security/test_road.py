"""Every command of a job passes the policy, and where the policy asks, a person: with a real worker and hub."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pushpals.hub import decisions, grants
from pushpals.hub.of import Of
from pushpals.policy.redact import Secret, redact_text
from pushpals.policy.rules import load_policy
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import Decide, UseApproval
from pushpals.protocol.errors import Conflict
from pushpals.protocol.events import (
    ApprovalConsumed,
    ApprovalDecided,
    ApprovalExpired,
    ApprovalRequired,
    ApprovalVoid,
    Log,
    ToolCall,
    ToolResult,
)
from pushpals.protocol.jobs import Budget, Job
from pushpals.testing.bench import OPERATOR, WORKER
from pushpals.testing.workshop import Workshop
from pushpals.work.guard import redacted_env
from pushpals.work.tree_digest import tree_digest

FILES = {"README.md": "hello\n", "tool.sh": "echo tool ran\n"}
ASK_TOUCH = {
    "ask": [{"id": "touching", "exe": ["touch"], "match": ["touch x"], "not_match": ["ls"]}],
}


async def asked(shop: Workshop) -> Approval:
    """The question that the worker asks."""
    required = await shop.until(ApprovalRequired)
    approval = await shop.bench.hub.store.reader.get(Approval, required.approval_id)
    assert approval is not None
    return approval


async def decide(shop: Workshop, approval: Approval, decision: Any = "approve", **fields: Any) -> Approval:
    body = Decide(decision=decision, action_hash=approval.action_hash, **fields)
    return await shop.bench.hub.run(decisions.decide, Of(id=approval.id, body=body), actor=OPERATOR)


async def ask_and(shop: Workshop, argv: list[str], then: Any, **fields: Any) -> Job:
    """Let the worker do a command that asks, and do ``then`` with the question."""
    job_id = await shop.ask("command", {"argv": argv}, checks=[], **fields)
    working = asyncio.create_task(shop.worker.step())
    try:
        await then(await asked(shop))
        await asyncio.wait_for(working, 30)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    return await shop.job(job_id)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["sudo", "id"], "priv"),
        (["timeout", "5", "sudo", "id"], "priv"),
        (["git", "push"], "git-out"),
        (["docker", "run", "x"], "containers"),
        (["curl", "http://169.254.169.254/"], "net.denied-address"),
        (["/proc/self/root/usr/bin/id"], "proc-path"),
    ],
)
async def test_a_denied_command_never_runs_and_says_why(tmp_path: Path, argv: list[str], code: str) -> None:
    async with Workshop(tmp_path, FILES) as shop:
        job = await shop.do("command", {"argv": argv}, checks=[])
        assert job.state == "failed"
        assert job.error is not None
        assert (job.error.error_class, job.attempt) == ("policy", 1)
        assert f"{code}:" in job.error.message
        (call,), (result,) = shop.events(ToolCall), shop.events(ToolResult)
        assert (call.args["decision"], call.args["reasons"][0]) == ("deny", code)
        assert code in (result.stderr or "")
        assert result.exit_code is None


async def test_a_yes_runs_exactly_what_was_shown_once(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES, policy=load_policy(ASK_TOUCH)) as shop:

        async def say_yes(approval: Approval) -> None:
            assert approval.kind == "exec"
            assert approval.summary == "Run touch made"
            assert approval.action["argv"] == ["touch", "made"]
            (program,) = approval.action["executables"]
            assert (program["name"], len(program["sha256"])) == ("touch", 64)
            assert len(approval.action["tree"]) == 64
            assert approval.action["job"] == approval.job_id
            assert not shop.events(ToolResult)
            await decide(shop, approval, device="phone")

        job = await ask_and(shop, ["touch", "made"], say_yes)
        assert job.state == "completed"
        assert job.result is not None
        assert [file.path for file in job.result.files] == ["made"]
        (used,) = shop.events(ApprovalConsumed)
        (decided,) = shop.events(ApprovalDecided)
        assert (decided.device, decided.token_id) == ("phone", OPERATOR.token_id)
        with pytest.raises(Conflict, match=r"used|no lease"):
            await shop.bench.run(
                grants.use,
                Of(id=used.approval_id, body=UseApproval(action_hash=used.action_hash, attempt=1)),
                actor=WORKER,
            )


async def test_a_no_ends_the_job_and_nothing_ran(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES, policy=load_policy(ASK_TOUCH)) as shop:
        job = await ask_and(
            shop, ["touch", "made"], lambda approval: decide(shop, approval, "deny", reason="not today")
        )
        assert job.state == "failed"
        assert job.error is not None
        assert "approval.denied" in job.error.message
        assert "not today" in job.error.message
        assert shop.events(ApprovalConsumed) == []


async def test_e08_no_answer_means_no_and_a_late_yes_is_refused(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES, policy=load_policy(ASK_TOUCH)) as shop:

        async def wait_too_long(approval: Approval) -> None:
            shop.clock.advance(31 * 60)
            await shop.bench.hub.run(decisions.expire_unanswered, decisions.ApprovalTick(), actor=OPERATOR)
            with pytest.raises(Conflict, match="expired"):
                await decide(shop, approval)

        job = await ask_and(shop, ["touch", "made"], wait_too_long)
        assert job.error is not None
        assert "approval.expired" in job.error.message
        assert len(shop.events(ApprovalExpired)) == 1
        assert shop.events(ApprovalConsumed) == []


async def test_a_tree_that_changes_after_the_question_makes_the_yes_stale(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES, policy=load_policy(ASK_TOUCH)) as shop:

        async def change_then_yes(approval: Approval) -> None:
            (tree,) = (tmp_path / "state" / "w1" / "trees").glob("slot-*/repo")
            (tree / "tool.sh").write_text("echo something else\n")
            await decide(shop, approval)

        job = await ask_and(shop, ["touch", "made"], change_then_yes)
        assert job.error is not None
        assert "approval.stale" in job.error.message
        assert len(shop.events(ApprovalVoid)) == 1
        assert shop.events(ApprovalConsumed) == []


async def test_a_cancelled_job_takes_its_question_with_it(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES, policy=load_policy(ASK_TOUCH)) as shop:

        async def cancel(approval: Approval) -> None:
            assert approval.job_id is not None
            await shop.asker.cancel_job(approval.job_id)

        job = await ask_and(shop, ["touch", "made"], cancel)
        assert job.state == "cancelled"
        (void,) = shop.events(ApprovalVoid)
        approval = await shop.bench.hub.store.reader.get(Approval, void.approval_id)
        assert approval is not None
        with pytest.raises(Conflict, match="void already"):
            await decide(shop, approval)


async def test_waiting_for_a_person_costs_the_job_none_of_its_time(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES, policy=load_policy(ASK_TOUCH)) as shop:

        async def late(approval: Approval) -> None:
            await asyncio.sleep(1.6)
            await decide(shop, approval)

        budget = Budget(run_s=1.2, final_s=0.2)
        job = await ask_and(shop, ["touch", "made"], late, budget=budget)
        assert job.state == "completed", job.error


async def test_at_level_none_every_command_asks_even_a_look(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES, machine_is_the_sandbox=False) as shop:

        async def say_yes(approval: Approval) -> None:
            assert approval.kind == "unsandboxed"
            assert "level.none" in approval.reasons
            assert "host.unsandboxed" in approval.capabilities
            await decide(shop, approval)

        job = await ask_and(shop, ["ls"], say_yes)
        assert job.state == "completed"
        assert shop.events(ToolCall)[0].args["sandbox"] == "none"


async def test_a_policy_that_wants_the_sandbox_cannot_be_talked_out_of_it(tmp_path: Path) -> None:
    policy = load_policy({"sandbox": {"required": "full"}})
    async with Workshop(tmp_path, FILES, policy=policy) as shop:
        job = await shop.do("command", {"argv": ["ls"]}, checks=[])
        assert job.error is not None
        assert "sandbox.required" in job.error.message


async def test_i04_a_repository_tightens_and_what_widens_is_ignored_and_told(tmp_path: Path) -> None:
    own = """
[policy]
preset = "standard"
[[policy.allow]]
id = "root"
exe = ["sudo"]
match = ["sudo id"]
not_match = ["ls"]
[[policy.deny]]
id = "no-cat"
exe = ["cat"]
match = ["cat x"]
not_match = ["ls"]
"""
    async with Workshop(tmp_path, {**FILES, "pushpals.toml": own}) as shop:
        first = await shop.do("command", {"argv": ["cat", "README.md"]}, checks=[])
        second = await shop.do("command", {"argv": ["sudo", "id"]}, checks=[])
        assert first.error is not None
        assert "repo.no-cat" in first.error.message
        assert second.error is not None
        assert "policy.widening-ignored" in second.error.message
        told = [log.message for log in shop.events(Log) if "widening" in log.message]
        assert any("allow.root" in line for line in told)
        assert any("preset" in line for line in told)


async def test_a_repository_s_policy_that_cannot_be_read_stops_the_job(tmp_path: Path) -> None:
    own = '[policy]\ndeny = [{id = "x", exe = ["a"], match = ["b"], not_match = ["c"]}]\n'
    async with Workshop(tmp_path, {**FILES, "pushpals.toml": own}) as shop:
        job = await shop.do("command", {"argv": ["ls"]}, checks=[])
        assert job.error is not None
        assert job.error.error_class == "policy"
        assert "does not match its example" in job.error.message
        assert shop.events(ToolCall) == []


@pytest.mark.parametrize(
    ("script", "out"),
    [
        ("printf a; printf b", "ab"),
        ("false || printf c && printf d", "cd"),
        ("printf 'x\\ny\\n' | sort -r | head -1", "y"),
        ("cd sub && cat in.txt; cd /repo; cat README.md", "inner\nhello"),
        ("printf kept 2>&1; printf gone > /dev/null", "kept"),
        ("nothing-like-it; printf 127", "nothing-like-it: No such file or directory\n127"),
        ("test -n 'a[$(id)]' && printf safe", "safe"),
        ("cd .. ; pwd", None),
        ("printf '%s' '$(id)'", "$(id)"),
        ("for n in 1 2; do printf $n; done", "12"),
    ],
)
async def test_a_script_without_a_shell_means_what_the_shell_would_mean(
    tmp_path: Path, script: str, out: str | None
) -> None:
    async with Workshop(tmp_path, {**FILES, "sub/in.txt": "inner\n"}) as shop:
        job = await shop.do("command", {"script": script, "keep": False}, checks=[])
        assert job.result is not None, job.error
        tail = job.result.output["tail"].strip()
        if out is not None:
            assert tail == out
        call = shop.events(ToolCall)[-1]
        assert call.args["script"] == script


async def test_a_yes_for_the_job_answers_the_identical_action_again(tmp_path: Path) -> None:
    async with Workshop(tmp_path, FILES, policy=load_policy(ASK_TOUCH)) as shop:

        async def say_yes(approval: Approval) -> None:
            decided = await decide(shop, approval, scope="job")
            assert decided.scope == "job"

        job = await ask_and(shop, ["touch", "made"], say_yes)
        assert job.state == "completed"
        (used,) = shop.events(ApprovalConsumed)
        after = await shop.bench.hub.store.reader.get(Approval, used.approval_id)
        assert after is not None
        assert (after.state, after.used_at is not None) == ("void", True), "it ended with its job"


async def test_secrets_of_an_agent_are_not_in_what_is_asked(tmp_path: Path) -> None:
    secret = Secret(name="KEY", value="canary-5e1f-canary")
    shown = redacted_env({"KEY": "canary-5e1f-canary"}, lambda text: redact_text(text, [secret]))
    assert "canary" not in str(shown)


def test_the_tree_digest_sees_every_kind_of_change(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    seen = {tree_digest(tree)}

    def differs() -> bool:
        digest = tree_digest(tree)
        fresh = digest not in seen
        seen.add(digest)
        return fresh

    (tree / "a").write_text("1")
    assert differs()
    (tree / "a").write_text("2")
    assert differs()
    (tree / "a").chmod(0o755)
    assert differs()
    (tree / "d").mkdir()
    assert differs()
    (tree / "d" / "link").symlink_to("../a")
    assert differs()
    (tree / "d" / "link").unlink()
    (tree / "d" / "link").symlink_to("/etc/passwd")
    assert differs()
    git_dir = tmp_path / "gitdir"
    (git_dir / "hooks").mkdir(parents=True)
    with_git = tree_digest(tree, git_dir)
    (git_dir / "hooks" / "pre-commit").write_text("evil")
    assert tree_digest(tree, git_dir) != with_git
