"""The landing push on a real remote: what lands, what is refused, and what a crash leaves to find out."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from pushpals.testing.repos import Program
from pushpals.work.git.names import Sha, agent_branch
from pushpals.work.git.pushes import RefUpdate
from pushpals.work.git.remotes import parse_remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.landing.push import (
    HeadMoved,
    Intent,
    Landed,
    LandingJob,
    MainMoved,
    NotPushed,
    Published,
    RecordExists,
    RemoteRefused,
    Rewound,
    Taken,
    Unreachable,
    land,
    land_without_atomic,
    publish_branch,
    recover,
    withdraw_branch,
)

from .conftest import TARGET, Stage

RECORD = "refs/pushpals/landed/j"
BRANCH = "refs/heads/agent/w/j"


def hook(stage: Stage, name: str, script: str) -> Path:
    path = stage.upstream.path / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def test_one_push_moves_main_takes_the_branch_and_leaves_the_record(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    assert await recover(stage.repo, stage.remote, intent) == NotPushed()
    assert await land(stage.repo, stage.remote, intent) == Landed(at=intent.new)
    assert stage.upstream.refs() == {TARGET: intent.new, RECORD: intent.new}
    # The commit that was composed (and tested) is the commit that landed.
    assert stage.upstream.sha("main") == intent.new
    assert await land(stage.repo, stage.remote, intent) == Landed(at=intent.new)
    assert await recover(stage.repo, stage.remote, intent) == Landed(at=intent.new)


async def test_a_kept_branch_is_moved_to_the_landed_commit(stage: Stage) -> None:
    intent = msgspec.structs.replace(await stage.intent("j", {"a.txt": "new\n"}), keep_branches=True)
    assert await land(stage.repo, stage.remote, intent) == Landed(at=intent.new)
    assert stage.upstream.refs() == {TARGET: intent.new, RECORD: intent.new, BRANCH: intent.new}


async def test_a_job_that_was_never_published_lands_by_its_commit_alone(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    stage.upstream.git("update-ref", "-d", BRANCH)
    bare = msgspec.structs.replace(intent, jobs=(msgspec.structs.replace(intent.jobs[0], branch=None),))
    assert await land(stage.repo, stage.remote, bare) == Landed(at=intent.new)
    assert stage.upstream.refs() == {TARGET: intent.new, RECORD: intent.new}


async def test_a_batch_lands_in_one_push_with_a_record_for_each_job(stage: Stage) -> None:
    old = stage.main()
    jobs = []
    tip: str = old
    for name in ("one", "two", "three"):
        head = await stage.head(name, {f"{name}.txt": "x\n"}, start=old)
        made = await stage.composed(head, onto=tip)
        tip = made.commit
        jobs.append(LandingJob(job=name, head=head, commit=made.commit, branch=f"refs/heads/agent/w/{name}"))
    intent = Intent(target=TARGET, old=old, new=Sha(tip), jobs=tuple(jobs))
    assert await land(stage.repo, stage.remote, intent) == Landed(at=Sha(tip))
    assert stage.upstream.refs() == {TARGET: tip} | {
        f"refs/pushpals/landed/{job.job}": job.commit for job in jobs
    }


async def test_main_that_moved_by_hand_refuses_everything(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    by_hand = stage.lands_by_hand({"b.txt": "by hand\n"})
    assert await land(stage.repo, stage.remote, intent) == MainMoved(at=by_hand)
    assert stage.upstream.refs() == {TARGET: by_hand, BRANCH: intent.jobs[0].head}
    assert await recover(stage.repo, stage.remote, intent) == MainMoved(at=by_hand)


async def test_main_that_was_rewound_by_hand_is_not_landed_over(stage: Stage) -> None:
    bad = stage.lands_by_hand({"b.txt": "bad\n"})
    intent = await stage.intent("j", {"a.txt": "new\n"})
    rewound = Sha(stage.upstream.git("rev-parse", "main~1"))
    stage.upstream.git("update-ref", TARGET, rewound)
    assert intent.old == bad
    assert await land(stage.repo, stage.remote, intent) == MainMoved(at=rewound)
    assert stage.main() == rewound
    stage.upstream.git("update-ref", "-d", TARGET)
    assert await land(stage.repo, stage.remote, intent) == MainMoved(at=None)


async def test_a_head_that_moved_after_its_approval_voids_it(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    sneaked = await stage.head("j", {"a.txt": "not approved\n"})
    assert await land(stage.repo, stage.remote, intent) == HeadMoved(job="j", at=sneaked)
    assert stage.upstream.refs() == {TARGET: intent.old, BRANCH: sneaked}
    stage.upstream.git("update-ref", "-d", BRANCH)
    assert await land(stage.repo, stage.remote, intent) == HeadMoved(job="j", at=None)


@pytest.mark.parametrize("ref", [TARGET, BRANCH, RECORD])
async def test_a_move_inside_the_push_window_refuses_everything(stage: Stage, ref: str) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    other = await stage.head("other", {"b.txt": "x\n"})
    before = stage.upstream.refs()
    # The remote itself moves the ref after it has told us its refs and before it applies ours.
    hook(stage, "pre-receive", f"unset GIT_QUARANTINE_PATH; git update-ref {ref} {other}")
    outcome = await land(stage.repo, stage.remote, intent)
    assert stage.upstream.refs() == {**before, ref: other}
    expected: dict[str, object] = {
        TARGET: MainMoved(at=other),
        BRANCH: HeadMoved(job="j", at=other),
        RECORD: RecordExists(job="j", at=other),
    }
    assert outcome == expected[ref]


async def test_a_job_lands_once_whatever_is_tried(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    assert await land(stage.repo, stage.remote, intent) == Landed(at=intent.new)
    again = await stage.intent("j", {"b.txt": "the same job once more\n"})
    assert await land(stage.repo, stage.remote, again) == RecordExists(job="j", at=intent.new)
    assert stage.main() == intent.new


async def test_landed_stays_landed_when_main_goes_on_or_back(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    await land(stage.repo, stage.remote, intent)
    beyond = stage.lands_by_hand({"b.txt": "later\n"})
    assert await recover(stage.repo, stage.remote, intent) == Landed(at=beyond)
    stage.upstream.git("update-ref", TARGET, intent.old)
    assert await recover(stage.repo, stage.remote, intent) == Rewound(at=intent.old)
    assert await land(stage.repo, stage.remote, intent) == Rewound(at=intent.old)
    assert stage.main() == intent.old
    stage.upstream.git("update-ref", TARGET, beyond)
    # Without the record (a host that lost it), ancestry answers.
    stage.upstream.git("update-ref", "-d", RECORD)
    assert await recover(stage.repo, stage.remote, intent) == Landed(at=beyond, recorded=False)


async def test_a_rule_of_the_remote_is_told_in_its_words_and_passes_when_it_is_lifted(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    before = stage.upstream.refs()
    rule = hook(stage, "update", '[ "$1" = refs/heads/main ] && echo "main is frozen" >&2 && exit 1; exit 0')
    outcome = await land(stage.repo, stage.remote, intent)
    assert outcome == RemoteRefused(
        kind="rule", text="main is frozen\nerror: hook declined to update refs/heads/main", refs=(TARGET,)
    )
    assert stage.upstream.refs() == before
    rule.unlink()
    assert await land(stage.repo, stage.remote, intent) == Landed(at=intent.new)


async def test_a_person_s_checkout_is_never_moved_under_their_feet(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    stage.work.checkout("main")
    stage.work.git("update-ref", BRANCH, intent.jobs[0].head)
    own = parse_remote(stage.work.path)
    outcome = await land(stage.repo, own, intent)
    assert isinstance(outcome, RemoteRefused)
    assert (outcome.kind, outcome.refs) == ("rule", (TARGET,))
    assert stage.work.sha("main") == intent.old
    assert stage.work.git("status", "--porcelain") == ""


async def test_a_lock_on_the_remote_may_pass(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    lock = stage.upstream.path / "refs/heads/main.lock"
    lock.touch()
    outcome = await land(stage.repo, stage.remote, intent)
    assert isinstance(outcome, RemoteRefused)
    assert outcome.kind == "locked"
    lock.unlink()
    assert await land(stage.repo, stage.remote, intent) == Landed(at=intent.new)


async def test_a_remote_that_is_away_leaves_it_open(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    away = stage.upstream.path.rename(stage.upstream.path.with_suffix(".away"))
    outcome = await land(stage.repo, stage.remote, intent)
    assert isinstance(outcome, Unreachable)
    assert outcome.kind == "network"
    assert isinstance(await recover(stage.repo, stage.remote, intent), Unreachable)
    away.rename(stage.upstream.path)
    assert await recover(stage.repo, stage.remote, intent) == NotPushed()


async def test_a_push_that_succeeds_although_its_answer_is_lost_is_landed(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    hook(stage, "post-receive", "exec sleep 30")
    assert await land(stage.repo, stage.remote, intent, timeout_s=2.0) == Landed(at=intent.new)
    assert stage.upstream.refs() == {TARGET: intent.new, RECORD: intent.new}


async def test_an_intent_that_does_not_move_main_forward_is_a_mistake(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    backwards = msgspec.structs.replace(intent, old=intent.new, new=intent.old)
    with pytest.raises(ValueError, match="forward"):
        await land(stage.repo, stage.remote, backwards)
    stranger = await stage.head("k", {"b.txt": "x\n"})
    foreign = msgspec.structs.replace(intent, jobs=(LandingJob(job="k", head=stranger, commit=stranger),))
    with pytest.raises(ValueError, match="not part"):
        await land(stage.repo, stage.remote, foreign)
    assert stage.main() == intent.old


async def test_twenty_rounds_of_two_pushers_have_one_winner_each(stage: Stage, tmp_path: Path) -> None:
    rival = await BareRepo.init(tmp_path / "rival.git")
    for number in range(20):
        first = await stage.intent(f"a{number}", {f"a{number}.txt": "x\n"})
        second = await stage.intent(f"b{number}", {f"b{number}.txt": "x\n"})
        await rival.fetch(parse_remote(stage.repo.path), [f"+refs/queue/b{number}/head:refs/queue/b/head"])
        await stage.repo.set_ref("refs/queue/b/merge", second.new)
        await rival.fetch(parse_remote(stage.repo.path), ["+refs/queue/b/merge:refs/queue/b/merge"])
        outcomes = await asyncio.gather(
            land(stage.repo, stage.remote, first), land(rival, stage.remote, second)
        )
        main = stage.main()
        assert main in (first.new, second.new)
        won, lost = (first, second) if main == first.new else (second, first)
        result = dict(zip((first.jobs[0].job, second.jobs[0].job), outcomes, strict=True))
        assert result[won.jobs[0].job] == Landed(at=won.new)
        assert result[lost.jobs[0].job] == MainMoved(at=won.new)
        refs = stage.upstream.refs()
        assert refs[won.jobs[0].record] == won.new
        assert lost.jobs[0].record not in refs
        assert refs[str(lost.jobs[0].branch)] == lost.jobs[0].head
    assert len([ref for ref in stage.upstream.refs() if ref.startswith("refs/pushpals/landed/")]) == 20
    stage.upstream.git("fsck", "--no-dangling")


async def test_the_same_intent_pushed_by_two_at_once_lands_once(stage: Stage) -> None:
    for number in range(5):
        intent = await stage.intent(f"j{number}", {f"{number}.txt": "x\n"})
        outcomes = await asyncio.gather(*(land(stage.repo, stage.remote, intent) for _ in range(2)))
        settled = [await recover(stage.repo, stage.remote, intent) for _ in outcomes]
        assert settled == [Landed(at=intent.new)] * 2
        assert stage.main() == intent.new


async def test_a_host_without_atomic_pushes_is_recognised_and_served_by_the_fallback(stage: Stage) -> None:
    stage.upstream.git("config", "receive.advertiseAtomic", "false")
    intent = await stage.intent("j", {"a.txt": "new\n"})
    outcome = await land(stage.repo, stage.remote, intent)
    assert isinstance(outcome, RemoteRefused)
    assert outcome.kind == "no_atomic"
    landed = Landed(at=intent.new, recorded=False, checked_by="reading")
    assert await land_without_atomic(stage.repo, stage.remote, intent) == landed
    assert stage.upstream.refs() == {TARGET: intent.new}
    assert await land_without_atomic(stage.repo, stage.remote, intent) == landed
    assert await recover(stage.repo, stage.remote, intent) == Landed(at=intent.new, recorded=False)


async def test_a_host_that_hides_our_namespace_lands_without_a_record_and_that_is_told(stage: Stage) -> None:
    # git's receiving end skips a hidden ref and applies the rest, although the push was atomic.
    stage.upstream.git("config", "receive.hideRefs", "refs/pushpals")
    intent = await stage.intent("j", {"a.txt": "new\n"})
    assert await land(stage.repo, stage.remote, intent) == Landed(at=intent.new, recorded=False)
    assert stage.upstream.refs() == {TARGET: intent.new}
    assert await land(stage.repo, stage.remote, intent) == Landed(at=intent.new, recorded=False)


async def test_the_fallback_refuses_what_moved_before_it(stage: Stage) -> None:
    intent = await stage.intent("j", {"a.txt": "new\n"})
    sneaked = await stage.head("j", {"a.txt": "not approved\n"})
    assert await land_without_atomic(stage.repo, stage.remote, intent) == HeadMoved(job="j", at=sneaked)
    by_hand = stage.lands_by_hand({"b.txt": "x\n"})
    assert await land_without_atomic(stage.repo, stage.remote, intent) == MainMoved(at=by_hand)
    other = await stage.intent("k", {"a.txt": "x\n"})
    hook(stage, "pre-receive", "echo closed >&2; exit 1")
    assert await land_without_atomic(stage.repo, stage.remote, other) == RemoteRefused(
        kind="rule", text="closed", refs=(TARGET,)
    )


async def test_a_branch_is_published_once_and_moved_only_from_where_it_was(stage: Stage) -> None:
    branch = agent_branch("w", "fresh")
    one = await stage.head("source", {"a.txt": "1\n"})
    two = await stage.head("source", {"a.txt": "2\n"})
    assert await publish_branch(stage.repo, stage.remote, branch, one) == Published(at=one)
    assert await publish_branch(stage.repo, stage.remote, branch, one) == Published(at=one)
    assert await publish_branch(stage.repo, stage.remote, branch, two) == Taken(at=one)
    assert await publish_branch(stage.repo, stage.remote, branch, two, old=one) == Published(at=two)
    assert await publish_branch(stage.repo, stage.remote, branch, one, old=one) == Taken(at=two)
    hook(stage, "pre-receive", "echo closed >&2; exit 1")
    assert await publish_branch(stage.repo, stage.remote, agent_branch("w", "no"), one) == RemoteRefused(
        kind="rule", text="closed", refs=("refs/heads/agent/w/no",)
    )


async def test_a_branch_is_withdrawn_only_where_it_stands(stage: Stage) -> None:
    head = await stage.head("j", {"a.txt": "1\n"})
    moved = await stage.head("j", {"a.txt": "2\n"})
    assert not await withdraw_branch(stage.repo, stage.remote, BRANCH, head)
    assert stage.upstream.refs()[BRANCH] == moved
    assert await withdraw_branch(stage.repo, stage.remote, BRANCH, moved)
    assert await withdraw_branch(stage.repo, stage.remote, BRANCH, moved)


async def test_hooks_that_a_branch_ships_do_not_run(stage: Stage, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    evil = Program(f"#!/bin/sh\ntouch {marker}\n")
    names = ("pre-push", "post-merge", "pre-commit", "reference-transaction", "post-rewrite")
    files = {f"hooks/{name}": evil for name in names} | {f".git-hooks/{name}": evil for name in names}
    intent = await stage.intent("j", {**files, ".gitattributes": "* filter=evil merge=evil diff=evil\n"})
    # And somebody wrote into the pusher's own repository, as an agent with a linked worktree could.
    (stage.repo.path / "hooks").mkdir()
    for name in names:
        path = stage.repo.path / "hooks" / name
        path.write_text(evil.text)
        path.chmod(0o755)
    await stage.repo.run(["config", "core.fsmonitor", f"touch {marker}"])
    await stage.repo.run(["config", "core.hooksPath", "hooks"])
    await stage.repo.run(["config", "push.gpgSign", "true"])
    await stage.repo.run(["config", "credential.helper", f"!touch {marker}"])
    assert await land(stage.repo, stage.remote, intent) == Landed(at=intent.new)
    assert not marker.exists()


def test_an_intent_survives_its_storage() -> None:
    intent = Intent(
        target=TARGET,
        old=Sha("a" * 40),
        new=Sha("b" * 40),
        jobs=(LandingJob(job="j", head=Sha("c" * 40), commit=Sha("b" * 40), branch=BRANCH),),
    )
    assert msgspec.json.decode(msgspec.json.encode(intent), type=Intent) == intent
    assert intent.updates() == [
        RefUpdate(ref=TARGET, old=Sha("a" * 40), new=Sha("b" * 40)),
        RefUpdate(ref=RECORD, old=None, new=Sha("b" * 40)),
        RefUpdate(ref=BRANCH, old=Sha("c" * 40), new=None),
    ]
