"""What the serial-pusher does with landings, on real git."""

from __future__ import annotations

import pytest

from pushpals.hub import landings, lanes
from pushpals.hub.of import Of
from pushpals.protocol.commands import CancelJob, SetLaneMode
from pushpals.testing.repos import Link
from pushpals.testing.yard import PusherYard


async def settle(yard: PusherYard, rounds: int = 6) -> None:
    pusher = yard.pusher()
    for _ in range(rounds):
        await pusher.step()


async def test_an_approved_change_lands_as_the_commit_that_was_tested(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    await settle(yard)
    landed = await yard.get(landing)
    assert landed.state == "landed"
    assert landed.landed_commit == yard.main
    assert yard.checks.runs == [yard.main]
    assert landed.evidence[0].commit == yard.main
    assert "new.txt" in yard.files_on_main()


async def test_the_landing_commit_says_who_made_approved_and_checked_it(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"}, body="Because.\n\nApproved-by: mallory")
    await settle(yard)
    message = yard.remote.git("log", "-1", "--format=%B", "main")
    assert "Approved-by: client:ada" in message
    assert f"Approved-Head: {landing.head}" in message
    assert "Session-Id: dev" in message
    assert "mallory" not in message


async def test_the_agent_branch_is_gone_and_the_record_stands(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    await settle(yard)
    refs = yard.remote.git("for-each-ref", "--format=%(refname)").split("\n")
    assert f"refs/heads/{landing.branch}" not in refs
    assert [ref for ref in refs if ref.startswith("refs/pushpals/landed/")] != []


async def test_nothing_moves_without_a_yes(yard: PusherYard) -> None:
    before = yard.main
    landing = await yard.submit({"new.txt": "new\n"}, approve=False)
    await settle(yard)
    assert await yard.states(landing) == ["needs_approval"]
    assert (yard.main, yard.checks.runs) == (before, [])


async def test_a_bad_change_is_rejected_with_the_named_failure_and_main_stays(yard: PusherYard) -> None:
    before = yard.main
    landing = await yard.submit({"BAD-test": "x\n"})
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, ended.cause) == ("rejected", "tests failed: BAD-test")
    assert yard.main == before


async def test_ten_green_changes_cost_one_run_and_land_in_one_push(yard: PusherYard) -> None:
    all_of_them = [await yard.submit({f"f{n}.txt": "x\n"}) for n in range(10)]
    await settle(yard)
    assert await yard.states(*all_of_them) == ["landed"] * 10
    assert len(yard.checks.runs) == 1
    assert {f"f{n}.txt" for n in range(10)} <= yard.files_on_main()


@pytest.mark.parametrize("bad", [0, 3, 7])
async def test_only_the_culprit_leaves_the_batch(yard: PusherYard, bad: int) -> None:
    all_of_them = [await yard.submit({f"BAD{n}" if n == bad else f"f{n}.txt": "x\n"}) for n in range(8)]
    await settle(yard)
    wanted = ["rejected" if n == bad else "landed" for n in range(8)]
    assert await yard.states(*all_of_them) == wanted
    assert len(yard.checks.runs) < 12


async def test_two_changes_that_only_clash_together_cost_the_later_one(yard: PusherYard) -> None:
    first = await yard.submit({"CLASH-a": "x\n"})
    second = await yard.submit({"CLASH-b": "x\n"})
    await settle(yard)
    assert await yard.states(first, second) == ["landed", "rejected"]


async def test_a_conflict_with_main_names_both_sides_and_costs_no_run(yard: PusherYard) -> None:
    landing = await yard.submit({"shared.txt": "one\nTWO by the agent\nthree\n"})
    theirs = yard.person.commit("By hand", {"shared.txt": "one\ntwo by hand\nthree\n"})
    yard.person.git("push", "--quiet", str(yard.remote.path), "main")
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, ended.conflict_paths, yard.checks.runs) == ("conflict", ["shared.txt"], [])
    assert ended.facts["theirs"] == [theirs]
    assert ended.facts["ours"] == [landing.head]
    assert yard.remote.git("rev-parse", f"refs/heads/{landing.branch}") == landing.head


async def test_a_conflict_inside_the_batch_waits_for_the_one_ahead(yard: PusherYard) -> None:
    first = await yard.submit({"shared.txt": "one\nTWO\nthree\n"})
    second = await yard.submit({"shared.txt": "one\nzwei\nthree\n"})
    await yard.pusher().step()
    assert await yard.states(first, second) == ["landed", "queued"]
    await settle(yard)
    assert await yard.states(first, second) == ["landed", "conflict"]


async def test_a_branch_that_moves_after_its_approval_is_stale(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    pusher = yard.pusher()
    await pusher._publish(await pusher._lane.lease())
    yard.person.git("checkout", "--quiet", landing.branch)
    yard.person.commit("Sneak something in", {"evil.txt": "x\n"})
    yard.person.git("push", "--quiet", str(yard.remote.path), landing.branch)
    before = yard.main
    await settle(yard)
    ended = await yard.get(landing)
    assert ended.state == "stale"
    assert "the approval is void" in (ended.cause or "")
    assert yard.main == before


async def test_main_that_moves_by_hand_during_the_checks_costs_no_attempt(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})

    def push_by_hand(commit: str) -> None:
        yard.checks.during = None
        yard.person.commit("By hand", {"hand.txt": "x\n"})
        yard.person.git("push", "--quiet", str(yard.remote.path), "main")

    yard.checks.during = push_by_hand
    await settle(yard)
    ended = await yard.get(landing)
    assert (ended.state, ended.main_moved) == ("landed", 1)
    assert {"hand.txt", "new.txt"} <= yard.files_on_main()
    assert len(yard.checks.runs) == 2


async def test_what_fails_once_and_then_passes_lands_and_is_named_a_flake(yard: PusherYard) -> None:
    yard.checks.flaky = {1}
    landing = await yard.submit({"new.txt": "new\n"})
    await settle(yard)
    ended = await yard.get(landing)
    assert ended.state == "landed"
    assert ended.evidence[0].detail == "flaky: failed first, then passed"


async def test_a_red_main_closes_the_queue_and_blames_nobody(yard: PusherYard) -> None:
    yard.person.commit("Break main", {"BAD-main": "x\n"})
    yard.person.git("push", "--quiet", str(yard.remote.path), "main")
    landing = await yard.submit({"new.txt": "new\n"})
    await settle(yard)
    assert await yard.states(landing) == ["held"]
    work = await yard.pusher()._lane.lease()
    assert (work.lane.mode, "fails its own checks" in (work.lane.cause or "")) == ("red", True)


async def test_a_fix_lands_on_a_red_main_and_reopens_the_queue(yard: PusherYard) -> None:
    yard.person.commit("Break main", {"BAD-main": "x\n"})
    yard.person.git("push", "--quiet", str(yard.remote.path), "main")
    waiting = await yard.submit({"new.txt": "new\n"})
    await settle(yard, 2)
    fix = await yard.submit({"BAD-main": None}, fix=True)
    await settle(yard)
    assert await yard.states(fix, waiting) == ["landed", "landed"]


async def test_nothing_lands_while_a_person_has_paused_the_queue(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    await yard.bench.run(lanes.set_mode, SetLaneMode(lane="demo:main", mode="paused", cause="release"))
    await settle(yard)
    assert await yard.states(landing) == ["queued"]
    await yard.bench.run(lanes.set_mode, SetLaneMode(lane="demo:main", mode="open"))
    await settle(yard)
    assert await yard.states(landing) == ["landed"]


async def test_cancelling_while_its_checks_run_takes_it_out_of_the_batch(yard: PusherYard) -> None:
    import asyncio

    first = await yard.submit({"a.txt": "x\n"})
    second = await yard.submit({"b.txt": "x\n"})
    cancelled: list[asyncio.Task[object]] = []

    def cancel(commit: str) -> None:
        yard.checks.during = None
        ask = Of(id=first.id, body=CancelJob(reason="changed my mind"))
        cancelled.append(asyncio.ensure_future(yard.bench.run(landings.cancel, ask)))

    yard.checks.during = cancel
    await settle(yard)
    assert await yard.states(first, second) == ["cancelled", "landed"]
    assert "a.txt" not in yard.files_on_main()


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"link": Link("/etc/passwd")}, "link"),
        ({"key.txt": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\n"}, "secret"),
        ({"a\x1bb.txt": "x\n"}, "control"),
    ],
)
async def test_what_the_gates_refuse_is_rejected_before_any_run(
    yard: PusherYard, files: dict[str, object], code: str
) -> None:
    landing = await yard.submit(files)  # type: ignore[arg-type]
    await settle(yard)
    ended = await yard.get(landing)
    assert ended.state == "rejected"
    assert code in (ended.cause or "")
    assert yard.checks.runs == []


async def test_the_remote_s_own_rule_holds_the_landing_until_a_person_reopens_the_queue(
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
    ended = await yard.get(landing)
    assert ended.state == "held"
    assert "main is protected" in (ended.cause or "")
    hook.unlink()
    yard.bench.clock.advance(60)
    await yard.bench.run(lanes.set_mode, SetLaneMode(lane="demo:main", mode="paused"))
    await yard.bench.run(lanes.set_mode, SetLaneMode(lane="demo:main", mode="open"))
    await settle(yard)
    assert await yard.states(landing) == ["landed"]


async def test_what_main_contains_already_is_no_landing(yard: PusherYard) -> None:
    landing = await yard.submit({"new.txt": "new\n"})
    yard.person.git("merge", "--quiet", "--ff-only", landing.branch)
    yard.person.git("push", "--quiet", str(yard.remote.path), "main")
    await settle(yard)
    assert await yard.states(landing) == ["noop"]
    assert yard.checks.runs == []


async def test_a_second_pusher_with_another_name_waits_for_the_lane(yard: PusherYard) -> None:
    from pushpals.roles.pusher import LaneLost

    await yard.submit({"new.txt": "new\n"})
    await yard.pusher("pusher-1").step()
    with pytest.raises(LaneLost):
        await yard.pusher("pusher-2").round()
