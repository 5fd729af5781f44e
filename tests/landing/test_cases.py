"""The hard cases, by number. Each says what must come of it, and that the queue goes on afterwards.

Numbers are those of the design; 3, 6, 7 and others between were filled in with what had been left out. Every
case also demands that the events say what the tables say, and that the next landing lands.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pushpals.hub import decisions, landings, lanes
from pushpals.hub.of import Of
from pushpals.protocol.commands import CancelJob, Ok, SetLaneMode, SubmitLanding
from pushpals.protocol.fold import fold
from pushpals.protocol.jobs import CheckSpec, Evidence
from pushpals.protocol.landings import Landing, Lane
from pushpals.roles.pusher import LaneLost
from pushpals.testing.bench import BUDDY, open_bench
from pushpals.testing.mortal import Died, Life
from pushpals.testing.repos import Link, Repository
from pushpals.testing.yard import FileChecks, PusherYard
from pushpals.work.git.changes import GITLINK
from pushpals.work.hosts import HostTrouble, Proposal, Shown

LANE = "demo:main"


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[PusherYard]:
    async with open_bench() as bench, PusherYard.open(bench, tmp_path) as made:
        yield made
        await mode(made, "open")
        following = await made.submit({"and-then.txt": "x\n"})
        await settle(made)
        assert await made.states(following) == ["landed"], (await made.get(following)).cause
        view = fold(bench.events())
        for landing in await bench.store.reader.find(Landing):
            assert (view.landings[landing.id].state, view.landings[landing.id].cause) == (
                landing.state,
                landing.cause,
            )
        assert not [*(made.repo.path / "refs").rglob("*.lock"), *made.remote.path.rglob("*.lock")]


async def settle(yard: PusherYard, rounds: int = 5, **options: Any) -> None:
    pusher = yard.pusher(**options)
    for _ in range(rounds):
        await pusher.round()


async def mode(yard: PusherYard, name: Any, cause: str | None = None) -> Lane | None:
    yard.bench.clock.advance(1)
    if await yard.bench.get(Lane, LANE) is None:
        return None
    ask = SetLaneMode(lane=LANE, mode=name, cause=cause)
    return await yard.bench.run(lanes.set_mode, ask)  # type: ignore[no-any-return]


def by_hand(yard: PusherYard, files: dict[str, Any]) -> str:
    yard.person.git("fetch", "--quiet", str(yard.remote.path), "main")
    yard.person.git("checkout", "--quiet", "-B", "main", "FETCH_HEAD")
    commit = yard.person.commit("By hand", files)
    yard.person.git("push", "--quiet", str(yard.remote.path), "main")
    return commit


def once(yard: PusherYard, happens: Any) -> None:
    """During the next check run."""

    def now(commit: str) -> None:
        yard.checks.during = None
        happens()

    yard.checks.during = now


# --- conflicts -----------------------------------------------------------------------------------------


async def test_case_1_a_textual_conflict_carries_both_sides_and_costs_no_run(yard: PusherYard) -> None:
    landing = await yard.submit({"shared.txt": "one\nTWO by the agent\nthree\n"})
    theirs = by_hand(yard, {"shared.txt": "one\ntwo by hand\nthree\n"})
    before = yard.main
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, ended.conflict_paths, yard.main, yard.checks.runs) == (
        "conflict", ["shared.txt"], before, [],
    )  # fmt: skip
    assert (ended.facts["theirs"], ended.facts["ours"]) == ([theirs], [landing.head])
    assert ended.facts["subjects"][theirs] == "By hand"
    assert "TWO by the agent" in ended.facts["both"]
    assert "two by hand" in ended.facts["both"]
    assert yard.remote.git("rev-parse", f"refs/heads/{landing.branch}") == landing.head


async def test_case_2_a_conflict_with_a_landing_ahead_waits_for_it(yard: PusherYard) -> None:
    first = await yard.submit({"shared.txt": "one\nTWO\nthree\n"})
    second = await yard.submit({"shared.txt": "one\nzwei\nthree\n"})
    await yard.pusher().round()
    assert await yard.states(first, second) == ["landed", "queued"]
    await settle(yard)
    assert await yard.states(first, second) == ["landed", "conflict"]


async def test_case_3_what_is_ahead_is_turned_away_and_the_conflict_is_gone(yard: PusherYard) -> None:
    first = await yard.submit({"shared.txt": "one\nTWO\nthree\n", "BAD": "x\n"})
    second = await yard.submit({"shared.txt": "one\nzwei\nthree\n"})
    await settle(yard)
    assert await yard.states(first, second) == ["rejected", "landed"]


# --- checks --------------------------------------------------------------------------------------------


async def test_case_4_a_check_that_runs_out_of_time_is_run_again_and_then_rejects(yard: PusherYard) -> None:
    class Slow(FileChecks):
        async def run(self, commit: str, check: CheckSpec) -> Evidence:
            one = await super().run(commit, check)
            slow = one.verdict == "failed"
            return one if not slow else Evidence(
                check=check.name, argv=check.argv, verdict="timed_out", commit=commit, tree=one.tree
            )  # fmt: skip

    yard.checks = Slow(yard.repo)
    landing = await yard.submit({"BAD": "x\n"})
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, ended.cause) == ("rejected", "tests did not end within its time")
    assert ended.facts["confirmedBy"] == "a second run"


async def test_case_5_what_fails_once_and_passes_again_lands_and_the_ledger_knows(yard: PusherYard) -> None:
    yard.checks.flaky = {1}
    landing = await yard.submit({"new.txt": "new\n"})
    await settle(yard)
    assert await yard.states(landing) == ["landed"]
    lane: Lane = await yard.bench.get(Lane, LANE)
    assert (lane.facts["checks"]["tests"]["flaked"], lane.facts["checks"]["tests"]["runs"]) == (1, 3)


async def test_case_6_what_cannot_run_anywhere_is_nobody_s_fault(yard: PusherYard) -> None:
    class Broken(FileChecks):
        broken = True

        async def run(self, commit: str, check: CheckSpec) -> Evidence:
            one = await super().run(commit, check)
            if not self.broken:
                return one
            return Evidence(
                check=check.name, argv=check.argv, verdict="could_not_run", commit=commit, tree=one.tree,
                detail="no disk",
            )  # fmt: skip

    yard.checks = checks = Broken(yard.repo)
    landing = await yard.submit({"new.txt": "x\n"})
    await settle(yard, 2)
    held = await yard.get(landing)
    assert (held.state, held.cause) == ("held", "the checks could not run: no disk")
    checks.broken = False
    await mode(yard, "open")
    await settle(yard)
    assert await yard.states(landing) == ["landed"]


async def test_case_7_a_check_that_only_the_branch_breaks_is_for_an_operator(yard: PusherYard) -> None:
    class Runner(FileChecks):
        async def run(self, commit: str, check: CheckSpec) -> Evidence:
            one = await super().run(commit, check)
            if "README" in {entry.path for entry in await self._repo.tree_entries(commit)}:
                return one
            return Evidence(
                check=check.name, argv=check.argv, verdict="could_not_run", commit=commit, tree=one.tree,
                detail="no README, no runner",
            )  # fmt: skip

    yard.checks = Runner(yard.repo)
    landing = await yard.submit({"README": None})
    other = await yard.submit({"new.txt": "x\n"})
    await settle(yard)
    assert await yard.states(landing, other) == ["failed", "landed"]


async def test_case_10_checks_come_from_the_base_not_from_the_branch(yard: PusherYard) -> None:
    asked: list[str] = []

    class Named(FileChecks):
        async def checks_at(self, base: str) -> tuple[CheckSpec, ...]:
            asked.append(base)
            return self.checks

    yard.checks = Named(yard.repo)
    landing = await yard.submit({"pushpals.toml": "[[checks]]\nname = 'x'\nargv = ['true']\n"})
    mains = {yard.main}
    await settle(yard)
    mains.add(yard.main)
    assert await yard.states(landing) == ["landed"]
    assert set(asked) <= mains
    assert "protected pushpals.toml" in (await yard.get(landing)).facts["flags"]


# --- branches and approvals ----------------------------------------------------------------------------


async def test_case_9_hooks_and_filters_of_a_branch_never_run(yard: PusherYard, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for name in ("post-checkout", "reference-transaction", "pre-push", "post-merge"):
        hook = yard.repo.path / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> {marker}\n")
        hook.chmod(0o755)
    landing = await yard.submit({".gitattributes": "* filter=evil merge=evil diff=evil\n", "a": "x\n"})
    config = yard.repo.path / "config"
    config.write_text(
        config.read_text() + f'[filter "evil"]\n\tsmudge = touch {marker}\n\tclean = touch {marker}\n'
        f'[merge "evil"]\n\tdriver = touch {marker}\n[diff "evil"]\n\tcommand = touch {marker}\n'
    )
    await settle(yard)
    assert await yard.states(landing) == ["landed"]
    assert not marker.exists()


async def test_case_11_a_branch_rewritten_after_its_approval_is_stale(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    yard.person.git("checkout", "--quiet", landing.branch)
    head = yard.person.commit("Sneak in", {"evil.txt": "x\n"})
    yard.person.git("push", "--quiet", str(yard.remote.path), landing.branch)
    yard.person.git("checkout", "--quiet", "main")
    before = yard.main
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, yard.main) == ("stale", before)
    assert head[:12] in (ended.cause or "")


async def test_case_12_a_branch_that_moves_inside_the_push_stops_everything(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    other = await yard.submit({"other.txt": "new\n"})
    before = yard.main

    def sneak() -> None:
        yard.person.git("checkout", "--quiet", landing.branch)
        yard.person.commit("Sneak in", {"evil.txt": "x\n"})
        yard.person.git("push", "--quiet", str(yard.remote.path), landing.branch)
        yard.person.git("checkout", "--quiet", "main")

    once(yard, sneak)
    await yard.pusher().round()
    assert await yard.states(landing, other) == ["stale", "queued"]
    assert yard.main == before
    await settle(yard)
    assert await yard.states(other) == ["landed"]
    assert "evil.txt" not in yard.files_on_main()


async def test_case_13_an_approval_that_expires_in_the_queue_is_void(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    yard.bench.clock.advance(25 * 3600)
    await yard.bench.run(decisions.expire_unanswered, decisions.ApprovalTick())
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, ended.cause) == ("stale", "the approval expired")
    assert yard.checks.runs == []


async def test_case_15_a_new_head_takes_the_place_of_the_old_one(yard: PusherYard) -> None:
    old = await yard.submit({"new.txt": "new\n"})
    yard.person.git("checkout", "--quiet", old.branch)
    head = yard.person.commit("Better", {"new.txt": "better\n"})
    yard.person.git("push", "--quiet", str(yard.remote.path), old.branch)
    yard.person.git("checkout", "--quiet", "main")
    ask = SubmitLanding(
        session_id="dev", repository="demo", target="main", head=head, base=old.base, branch=old.branch,
        title="Better",
    )  # fmt: skip
    new = (await yard.bench.run(landings.submit, ask, BUDDY)).landing
    assert (new.supersedes, new.state) == (old.id, "needs_approval")
    await settle(yard)
    assert await yard.states(old, new) == ["stale", "needs_approval"]
    await yard.approve(new)
    await settle(yard)
    assert await yard.states(new) == ["landed"]


@pytest.mark.parametrize("allowed", [True, False])
async def test_case_17_a_yes_carries_over_an_identical_patch_only_where_a_person_said_so(
    yard: PusherYard, allowed: bool
) -> None:
    old = await yard.submit({"new.txt": "new\n"})
    await yard.pusher(max_batch=0).round()
    yard.bench.clock.advance(1)
    ask = SetLaneMode(lane=LANE, mode="open", carry_approval=allowed)
    await yard.bench.run(lanes.set_mode, ask)
    main = by_hand(yard, {"elsewhere.txt": "x\n"})
    yard.person.git("checkout", "--quiet", "-B", old.branch, main)
    head = yard.person.commit("The same, rebased", {"new.txt": "new\n"})
    yard.person.git("push", "--quiet", "--force", str(yard.remote.path), old.branch)
    yard.person.git("checkout", "--quiet", "main")
    submit = SubmitLanding(
        session_id="dev",
        repository="demo",
        target="main",
        head=head,
        base=main,
        branch=old.branch,
        title="Same",
    )
    new = (await yard.bench.run(landings.submit, submit, BUDDY)).landing
    await settle(yard)
    assert await yard.states(old, new) == ["stale", "landed" if allowed else "needs_approval"]
    if allowed:
        landed = await yard.get(new)
        assert landed.approved_by == "client:ada"
        assert landed.facts["patchId"]


# --- main and the remote -------------------------------------------------------------------------------


async def test_case_14_main_moved_by_hand_costs_no_attempt(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    once(yard, lambda: by_hand(yard, {"hand.txt": "x\n"}))
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, ended.main_moved, ended.attempts) == ("landed", 1, 0)
    assert {"hand.txt", "new.txt"} <= yard.files_on_main()


async def test_case_16_a_rule_of_the_remote_holds_without_a_storm_until_a_person_opens(
    yard: PusherYard,
) -> None:
    hook = yard.remote.path / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        '#!/bin/sh\n[ "$1" = refs/heads/main ] && echo "main is protected" >&2 && exit 1\nexit 0\n'
    )
    hook.chmod(0o755)
    landing = await yard.submit({"new.txt": "new\n"})
    await settle(yard)
    pushes = len(yard.checks.runs)
    held = await yard.get(landing)
    assert held.state == "held"
    assert "main is protected" in (held.cause or "")
    await settle(yard)
    assert len(yard.checks.runs) == pushes
    hook.unlink()
    await mode(yard, "open")
    await settle(yard)
    assert await yard.states(landing) == ["landed"]


@pytest.mark.parametrize("after", [False, True])
async def test_case_18_killed_at_the_push_it_lands_once_and_no_check_is_repeated(
    yard: PusherYard, after: bool
) -> None:
    landing = await yard.submit({"new.txt": "x\n"})
    for at in range(1, 30):
        life = Life(at, after=after)
        try:
            await yard.pusher(life=life).round()
        except Died:
            if life.log[-1] == "push":
                break
    await settle(yard)
    assert await yard.states(landing) == ["landed"]
    assert len(yard.checks.runs) == 1
    assert yard.remote.git("log", "--format=%B", "main").count(f"Job-Id: {landing.id}\n") == 1


async def test_case_19_a_push_that_arrives_after_its_intent_was_given_up_is_found_to_have_landed(
    yard: PusherYard,
) -> None:
    """The pusher died, its git lived on: the landing was queued again when its push arrived."""
    landing = await yard.submit({"new.txt": "x\n"})
    other = await yard.submit({"other.txt": "x\n"})
    dying = yard.pusher(life=None)
    sent: list[Any] = []

    async def keep(*args: Any, **options: Any) -> Any:
        sent.append((args, options))
        raise Died("push")

    push = yard.repo.push
    yard.repo.push = keep  # type: ignore[method-assign]
    with pytest.raises(Died):
        await dying.round()
    yard.repo.push = push  # type: ignore[method-assign]
    assert await yard.states(landing, other) == ["pushing", "pushing"]
    work = await yard.pusher()._lane.lease()
    steps = yard.pusher()._lane
    steps.fence = work.lane.fence
    for one in work.landings:
        await steps.move(one, "queued", cause="given up", clear=True)
    ((args, options),) = sent
    await push(*args, **options)
    await settle(yard)
    assert await yard.states(landing, other) == ["landed", "landed"]
    assert (await yard.get(landing)).cause == "its record was found on the remote"


async def test_case_20_two_pushers_of_one_hub_one_waits(yard: PusherYard) -> None:
    await yard.submit({"new.txt": "new\n"})
    await yard.pusher("pusher-1").round()
    with pytest.raises(LaneLost):
        await yard.pusher("pusher-2").round()


async def test_case_21_main_rewound_by_hand_does_not_bring_back_what_was_taken_out(yard: PusherYard) -> None:
    before = yard.main
    landing = await yard.submit({"taken-out.txt": "x\n"})
    await settle(yard)
    assert await yard.states(landing) == ["landed"]
    yard.person.git("fetch", "--quiet", str(yard.remote.path), "main")
    yard.person.git("checkout", "--quiet", "-B", "main", "FETCH_HEAD")
    on_top = await yard.submit({"on-top.txt": "x\n"})
    yard.remote.git("update-ref", "refs/heads/main", before)
    yard.person.git("checkout", "--quiet", "-B", "main", before)
    fresh = await yard.submit({"fresh.txt": "x\n"})
    await settle(yard)
    assert await yard.states(on_top, fresh) == ["stale", "landed"]
    assert "does not hold" in ((await yard.get(on_top)).cause or "")
    assert not {"taken-out.txt", "on-top.txt"} & yard.files_on_main()


async def test_case_22_what_was_taken_out_lands_again_only_if_a_person_asks(yard: PusherYard) -> None:
    before = yard.main
    landing = await yard.submit({"new.txt": "x\n"}, job_id=None)
    await settle(yard)
    yard.remote.git("update-ref", "refs/heads/main", before)
    yard.remote.git("update-ref", f"refs/heads/{landing.branch}", landing.head)
    again = await yard.submit({"other.txt": "x\n"})
    await settle(yard)
    assert await yard.states(landing, again) == ["landed", "landed"]
    assert "new.txt" not in yard.files_on_main()


async def test_case_23_the_clone_of_the_user_is_not_touched(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    yard.person.git("checkout", "--quiet", "--detach")
    (yard.person.path / "dirty.txt").write_text("half\n")
    (yard.person.path / ".git" / "MERGE_HEAD").write_text(landing.head + "\n")
    before = snapshot(yard.person.path)
    await settle(yard)
    assert await yard.states(landing) == ["landed"]
    assert snapshot(yard.person.path) == before
    (yard.person.path / ".git" / "MERGE_HEAD").unlink()
    (yard.person.path / "dirty.txt").unlink()
    yard.person.git("checkout", "--quiet", "main")


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def test_case_24_the_remote_is_away_and_comes_back(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    pusher = yard.pusher()
    yard.remote.path.rename(yard.root / "away")
    with pytest.raises(Exception, match="git fetch failed"):
        await pusher.round()
    assert await yard.states(landing) == ["queued"]
    (yard.root / "away").rename(yard.remote.path)
    await settle(yard)
    assert await yard.states(landing) == ["landed"]


# --- content -------------------------------------------------------------------------------------------


async def rejected(yard: PusherYard, files: dict[Any, Any]) -> Landing:
    before = yard.main
    landing = await yard.submit(files)
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, yard.main, yard.checks.runs) == ("rejected", before, []), ended.cause
    return ended


async def test_case_25_a_submodule_pointer_is_refused(yard: PusherYard) -> None:
    name = "agent/w1/sub"
    yard.person.git("checkout", "--quiet", "-b", name)
    yard.person.git("update-index", "--add", "--cacheinfo", f"{GITLINK},{yard.main},vendored")
    yard.person.git("commit", "--quiet", "-m", "Vendor")
    head = yard.person.git("rev-parse", "HEAD")
    yard.person.git("push", "--quiet", str(yard.remote.path), name)
    yard.person.git("checkout", "--quiet", "--force", "main")
    ask = SubmitLanding(
        session_id="dev",
        repository="demo",
        target="main",
        head=head,
        base=yard.main,
        branch=name,
        title="Sub",
    )
    landing = (await yard.bench.run(landings.submit, ask, BUDDY)).landing
    await yard.approve(landing)
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, ended.facts["code"]) == ("rejected", "tree.submodule")


async def test_case_28_names_that_break_terminals_and_file_systems_are_flagged(yard: PusherYard) -> None:
    twins = await rejected(yard, {"Name.txt": "x\n", "name.TXT": "y\n"})
    assert twins.facts["code"] == "tree.twin"
    control = await rejected(yard, {"a\nb\tc\x1b.txt": "x\n"})
    assert "\\n" in (control.cause or "")
    assert "\n" not in (control.cause or "")
    turned = await rejected(yard, {"evil\u202etxt.py": "x\n"})
    assert "\u202e" not in (turned.cause or "")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../out", ".git/config"])
async def test_case_31_links_to_outside_are_refused(yard: PusherYard, target: str) -> None:
    assert (await rejected(yard, {"link": Link(target)})).facts["code"] == "tree.link"


async def test_case_32_a_secret_is_named_by_rule_and_place_never_by_value(yard: PusherYard) -> None:
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    name = "agent/w1/leak"
    yard.person.git("checkout", "--quiet", "-b", name)
    yard.person.commit("Leak", {"key.txt": f"token = {secret}\n"})
    head = yard.person.commit("Take it out again", {"key.txt": "none\n"})
    yard.person.git("push", "--quiet", str(yard.remote.path), name)
    yard.person.git("checkout", "--quiet", "main")
    ask = SubmitLanding(
        session_id="dev",
        repository="demo",
        target="main",
        head=head,
        base=yard.main,
        branch=name,
        title="Leak",
    )
    landing = (await yard.bench.run(landings.submit, ask, BUDDY)).landing
    await yard.approve(landing)
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, ended.facts["code"]) == ("rejected", "secret")
    assert "key.txt" in (ended.cause or "")
    assert not any(secret.encode() in event.data for event in yard.bench.published)


async def test_case_33_a_forged_trailer_is_refused_in_a_commit_and_removed_from_a_text(
    yard: PusherYard,
) -> None:
    landing = await yard.submit({"a": "x\n"}, body="Words.\n\nApproved-by: mallory\nJob-Id: other")
    await settle(yard)
    message = yard.remote.git("log", "-1", "--format=%B", "main")
    assert "mallory" not in message
    assert message.count("Job-Id:") == 1
    assert await yard.states(landing) == ["landed"]


@pytest.mark.parametrize("how", ["merged", "same", "squashed"])
async def test_case_35_what_is_there_already_is_a_noop_without_a_run(yard: PusherYard, how: str) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    if how == "merged":
        yard.person.git("merge", "--quiet", "--ff-only", landing.branch)
    elif how == "same":
        yard.person.commit("The same by hand", {"new.txt": "new\n"})
    else:
        yard.person.commit("Squashed", {"new.txt": "new\n"})
        yard.person.commit("And changed since", {"new.txt": "newer\n"})
    yard.person.git("push", "--quiet", str(yard.remote.path), "main")
    await settle(yard)
    assert await yard.states(landing) == ["noop"]
    assert yard.checks.runs == []


async def test_case_37_unrelated_history_is_refused_not_a_conflict(yard: PusherYard, tmp_path: Path) -> None:
    alien = Repository.create(tmp_path / "alien", {"x": "x\n"})
    head = alien.git("rev-parse", "HEAD")
    alien.git("push", "--quiet", str(yard.remote.path), "HEAD:refs/heads/agent/w1/alien")
    ask = SubmitLanding(
        session_id="dev", repository="demo", target="main", head=head, base=yard.main, branch="agent/w1/alien",
        title="Alien",
    )  # fmt: skip
    landing = (await yard.bench.run(landings.submit, ask, BUDDY)).landing
    await yard.approve(landing)
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, ended.facts["code"]) == ("rejected", "branch.unrelated")


# --- the queue -----------------------------------------------------------------------------------------


async def test_case_26_nobody_is_overtaken_without_end(yard: PusherYard) -> None:
    patient = await yard.submit({"patient.txt": "x\n"}, priority="background")
    landed: list[str] = []
    for number in range(24):
        urgent = await yard.submit({f"u{number}.txt": "x\n"}, priority="interactive")
        await yard.pusher(max_batch=1).round()
        if (await yard.get(urgent)).state == "landed":
            landed.append(urgent.id)
        if (await yard.get(patient)).state == "landed":
            break
    assert await yard.states(patient) == ["landed"]
    assert 15 <= len(landed) <= 20
    await settle(yard)


async def test_case_27_a_landing_waits_for_what_it_builds_on(yard: PusherYard) -> None:
    first = await yard.submit({"first.txt": "x\n"}, approve=False)
    second = await yard.submit({"second.txt": "x\n"}, after=[first.id])
    await settle(yard, 2)
    held = await yard.get(second)
    assert (held.state, held.cause) == ("held", f"waits for {first.id} (needs_approval)")
    await yard.approve(first)
    await settle(yard)
    assert await yard.states(first, second) == ["landed", "landed"]
    third = await yard.submit({"third.txt": "x\n"}, approve=False)
    fourth = await yard.submit({"fourth.txt": "x\n"}, after=[third.id])
    await yard.bench.run(landings.cancel, Of(id=third.id, body=CancelJob()))
    await settle(yard)
    assert (await yard.get(fourth)).cause == f"it builds on {third.id}, which is cancelled"


async def test_case_29_a_drained_queue_lands_what_was_in_it_and_stops(yard: PusherYard) -> None:
    inside = await yard.submit({"inside.txt": "x\n"})
    await mode(yard, "draining")
    late = await yard.submit({"late.txt": "x\n"})
    await settle(yard, 3)
    assert await yard.states(inside, late) == ["landed", "queued"]
    lane: Lane = await yard.bench.get(Lane, LANE)
    assert (lane.mode, lane.cause) == ("paused", "drained: everything that was in it has left")
    await mode(yard, "open")
    await settle(yard)
    assert await yard.states(late) == ["landed"]


async def test_case_30_frozen_during_the_checks_nothing_is_pushed_and_no_run_is_lost(
    yard: PusherYard,
) -> None:
    landing = await yard.submit({"new.txt": "x\n"})
    frozen: list[asyncio.Task[Any]] = []
    once(yard, lambda: frozen.append(asyncio.ensure_future(mode(yard, "frozen", "release"))))
    before = yard.main
    await settle(yard, 3)
    held = await yard.get(landing)
    assert (held.state, held.cause, yard.main) == ("held", "the queue is frozen: release", before)
    await mode(yard, "open")
    await settle(yard)
    assert await yard.states(landing) == ["landed"]
    assert len(yard.checks.runs) == 1


async def test_case_34_a_cancel_that_comes_while_it_is_pushed_has_lost(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "x\n"})
    push = yard.repo.push
    refused: list[str] = []

    async def slow(*args: Any, **options: Any) -> Any:
        try:
            await yard.bench.run(landings.cancel, Of(id=landing.id, body=CancelJob()))
        except Exception as error:
            refused.append(getattr(error, "code", ""))
        return await push(*args, **options)

    yard.repo.push = slow  # type: ignore[method-assign]
    await settle(yard)
    yard.repo.push = push  # type: ignore[method-assign]
    assert await yard.states(landing) == ["landed"]
    assert refused[0] == "landing.pushing"


async def test_case_36_live_branches_that_touch_the_same_lines_are_told_of_each_other(
    yard: PusherYard,
) -> None:
    one = await yard.submit({"shared.txt": "one\nTWO\nthree\n"}, approve=False)
    other = await yard.submit({"shared.txt": "one\nzwei\nthree\n"}, approve=False)
    await yard.submit({"elsewhere.txt": "x\n"}, approve=False)
    await settle(yard, 2)
    told = [e.payload for e in yard.bench.events() if e.type == "overlap_found"]
    assert {(p.landing_id, p.other_id, p.conflict) for p in told} == {  # type: ignore[attr-defined]
        (one.id, other.id, True),
        (other.id, one.id, True),
    }
    assert all(p.paths == ["shared.txt"] for p in told)  # type: ignore[attr-defined]
    assert (await yard.get(one)).facts["overlaps"] == {other.id: True}


async def test_case_38_an_ended_landing_may_be_tried_again_with_the_same_head(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "x\n"})
    await yard.bench.run(landings.cancel, Of(id=landing.id, body=CancelJob()))
    await settle(yard, 1)
    again = (await yard.bench.run(landings.retry, Of(id=landing.id, body=Ok()))).landing
    await settle(yard, 1)
    assert await yard.states(landing, again) == ["cancelled", "needs_approval"]
    await yard.approve(again)
    await settle(yard)
    assert await yard.states(again) == ["landed"]


async def test_case_39_a_red_main_holds_all_names_its_culprit_and_lets_a_fix_through(
    yard: PusherYard,
) -> None:
    fine = await yard.submit({"fine.txt": "x\n"})
    await settle(yard)
    assert await yard.states(fine) == ["landed"]
    by_hand(yard, {"ok.txt": "x\n"})
    culprit = by_hand(yard, {"BAD-main": "x\n"})
    by_hand(yard, {"also-ok.txt": "x\n"})
    waiting = await yard.submit({"new.txt": "new\n"})
    await settle(yard, 2)
    held = await yard.get(waiting)
    assert held.state == "held"
    lane: Lane = await yard.bench.get(Lane, LANE)
    assert (lane.mode, lane.facts["culprit"]["commit"]) == ("red", culprit)
    assert culprit[:12] in (lane.cause or "")
    (proposed,) = [e.payload for e in yard.bench.events() if e.type == "suggestions"]
    assert culprit[:12] in proposed.items[0].title  # type: ignore[attr-defined]
    no_fix = await yard.submit({"useless.txt": "x\n"}, fix=True)
    await settle(yard, 2)
    assert await yard.states(waiting, no_fix) == ["held", "held"]
    fix = await yard.submit({"BAD-main": None}, fix=True)
    await settle(yard)
    assert await yard.states(fix, waiting, no_fix) == ["landed", "landed", "landed"]


async def test_case_40_a_landing_commit_is_signed_and_verifies(yard: PusherYard, tmp_path: Path) -> None:
    key = tmp_path / "key"
    await asyncio.to_thread(
        subprocess.run, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True
    )
    allowed = tmp_path / "allowed"
    allowed.write_text(f"pusher@example.org {key.with_suffix('.pub').read_text()}")
    landing = await yard.submit({"new.txt": "x\n"})
    await settle(yard, signing_key=key)
    assert await yard.states(landing) == ["landed"]
    config = ["-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={allowed}"]
    yard.remote.git(*config, "verify-commit", "main")


async def test_case_41_a_worker_s_own_run_counts_only_where_policy_and_tree_allow(yard: PusherYard) -> None:
    branch, head = yard.branch({"new.txt": "x\n"})
    tree = yard.person.git("rev-parse", f"{head}^{{tree}}")
    receipt = Evidence(
        check="tests", argv=["tests"], verdict="passed", commit=head, tree=tree, environment="yard"
    )
    ask = SubmitLanding(
        session_id="dev", repository="demo", target="main", head=head, base=yard.main, branch=branch,
        title="Checked", evidence=[receipt],
    )  # fmt: skip
    landing = (await yard.bench.run(landings.submit, ask, BUDDY)).landing
    await yard.approve(landing)
    await settle(yard, reuse_workers_runs=True)
    assert await yard.states(landing) == ["landed"]
    assert yard.checks.runs == []
    assert yard.remote.git("rev-parse", "main^{tree}") == tree


async def test_case_42_a_published_branch_is_shown_as_a_pull_request_and_a_host_in_trouble_stops_nothing(
    yard: PusherYard,
) -> None:
    class Scripted:
        asked: list[Proposal] = []
        away = False

        async def propose(self, proposal: Proposal) -> Shown:
            self.asked.append(proposal)
            if self.away:
                raise HostTrouble("the host is away")
            return Shown(number=7, url="https://host.example/pulls/7", reused=False)

        async def close(self) -> None:
            return None

    host = Scripted()
    first = await yard.submit({"one.txt": "x\n"}, body="Because.")
    await settle(yard, host=host)
    landed = await yard.get(first)
    assert (landed.state, landed.facts["pull"]["number"]) == ("landed", 7)
    assert [(one.branch, one.title, one.body) for one in host.asked] == [
        (first.branch, first.title, "Because.")
    ]
    host.away = True
    second = await yard.submit({"two.txt": "x\n"})
    await settle(yard, host=host)
    assert (await yard.get(second)).facts["pullTrouble"] == "the host is away"
    assert await yard.states(second) == ["landed"]
