"""The queue as a state machine against real git: whatever happens in whatever order, the invariants hold.

Rules are what people, agents, remotes and fate do; after each of them everything that can be looked at is
looked at: every value that main ever had (I1, I2, I4), records (I5), approvals (I3), branches (I9), and the
event log against the tables (I12). ``PUSHPALS_EXAMPLES`` sets how many histories are tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pushpals.hub import decisions, landings, lanes
from pushpals.hub.of import Of
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import CancelJob, Decide, Ok, SetLaneMode, SubmitLanding
from pushpals.protocol.errors import Conflict
from pushpals.protocol.fold import fold
from pushpals.protocol.landings import ENDS, Landing, Lane
from pushpals.roles.pusher import LaneLost
from pushpals.testing.bench import BUDDY, open_bench
from pushpals.testing.mortal import Died, Life
from pushpals.testing.yard import PusherYard

EXAMPLES = int(os.environ.get("PUSHPALS_EXAMPLES", "5"))
LANE = "demo:main"


class Queue(RuleBasedStateMachine):
    """One remote, one hub, one pusher after another."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = contextlib.AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory(prefix="pushpals-machine-")
        self.taken_out: set[str] = set()
        self.by_hand: set[str] = set()
        self.n = 0

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        async def open_all() -> None:
            self.bench = await self.stack.enter_async_context(open_bench())
            self.yard = await self.stack.enter_async_context(
                PusherYard.open(self.bench, Path(self.folder.name))
            )

        self.do(open_all())
        self.yard.remote.git("config", "core.logAllRefUpdates", "always")
        self.first = self.yard.main
        self.pusher = self.yard.pusher()

    def teardown(self) -> None:
        try:
            if hasattr(self, "pusher"):
                self.end_well()
        finally:
            self.do(self.stack.aclose())
            self.loop.close()
            self.folder.cleanup()

    def end_well(self) -> None:
        """Left alone, an open queue comes to rest: what can end has ended, and nobody waits for nothing."""
        self.mode("open")
        self.yard.checks.flaky = set()
        for _ in range(6):
            self.work()
        self.everything_holds()
        lane: Lane = self.do(self.bench.get(Lane, LANE))
        if lane is not None and lane.mode == "open":
            left = {x.state for x in self.all() if not x.ended}
            assert left <= {"needs_approval"}, [(x.id, x.state, x.cause) for x in self.all() if not x.ended]

    def work(self) -> None:
        """One round; a pusher whose lease ran out takes the lane anew, as its loop does."""
        try:
            self.do(self.pusher.round())
        except LaneLost:
            self.do(self.pusher.round())

    def all(self) -> list[Landing]:
        found: list[Landing] = self.do(self.bench.store.reader.find(Landing, limit=1000))
        return found

    # -- what happens ---------------------------------------------------------------------------------------

    @rule(
        what=st.sampled_from(["good", "good", "good", "bad", "shared", "clash-a", "clash-b"]),
        approve=st.booleans(),
        priority=st.sampled_from(["interactive", "normal", "background"]),
    )
    def submit(self, what: str, approve: bool, priority: str) -> None:
        self.n += 1
        files: dict[str, Any] = {
            "good": {f"f{self.n}": "x\n"},
            "bad": {f"BAD{self.n}": "x\n"},
            "shared": {"shared.txt": f"one\nby {self.n}\nthree\n"},
            "clash-a": {"CLASH-a": f"{self.n}\n"},
            "clash-b": {"CLASH-b": f"{self.n}\n"},
        }[what]
        self.yard.person.git("fetch", "--quiet", str(self.yard.remote.path), "main")
        self.yard.person.git("checkout", "--quiet", "-B", "main", "FETCH_HEAD")
        self.do(self.yard.submit(files, approve=approve, priority=priority))

    @rule(which=st.randoms(use_true_random=False), say=st.sampled_from(["approve", "deny"]))
    def decide(self, which: Any, say: Any) -> None:
        if waiting := [x for x in self.all() if x.state == "needs_approval"]:
            landing = which.choice(waiting)
            approval = self.do(self.bench.get(Approval, landing.approval_id))
            body = Decide(decision=say, action_hash=approval.action_hash)
            with contextlib.suppress(Conflict):
                self.do(self.bench.run(decisions.decide, Of(id=approval.id, body=body)))

    @rule(which=st.randoms(use_true_random=False))
    def cancel(self, which: Any) -> None:
        if alive := [x for x in self.all() if not x.ended]:
            ask = Of(id=which.choice(alive).id, body=CancelJob(reason="no"))
            with contextlib.suppress(Conflict):
                self.do(self.bench.run(landings.cancel, ask))

    @rule(which=st.randoms(use_true_random=False))
    def try_again(self, which: Any) -> None:
        if ended := [x for x in self.all() if x.state in ("conflict", "rejected", "stale", "cancelled")]:
            reply = self.do(self.bench.run(landings.retry, Of(id=which.choice(ended).id, body=Ok())))
            if reply.landing.state == "needs_approval":
                self.do(self.yard.approve(reply.landing))

    @rule(which=st.randoms(use_true_random=False), resubmit=st.booleans())
    def branch_moves(self, which: Any, resubmit: bool) -> None:
        alive = [x for x in self.all() if not x.ended and x.published]
        if not alive:
            return
        landing: Landing = which.choice(alive)
        self.n += 1
        self.yard.person.git("fetch", "--quiet", str(self.yard.remote.path), landing.head)
        self.yard.person.git("checkout", "--quiet", "--detach", landing.head)
        head = self.yard.person.commit(f"More {self.n}", {f"more{self.n}": "x\n"})
        self.yard.person.git(
            "push", "--quiet", "--force", str(self.yard.remote.path), f"{head}:refs/heads/{landing.branch}"
        )
        self.yard.person.git("checkout", "--quiet", "main")
        if resubmit:
            ask = SubmitLanding(
                session_id="dev", repository="demo", target="main", head=head, base=landing.base,
                branch=landing.branch, title="More",
            )  # fmt: skip
            with contextlib.suppress(Conflict):
                self.do(self.bench.run(landings.submit, ask, BUDDY))

    @rule()
    def somebody_pushes_by_hand(self) -> None:
        self.n += 1
        self.yard.person.git("fetch", "--quiet", str(self.yard.remote.path), "main")
        self.yard.person.git("checkout", "--quiet", "--detach", "FETCH_HEAD")
        head = self.yard.person.commit(f"By hand {self.n}", {f"hand{self.n}": "x\n"})
        self.yard.person.git("push", "--quiet", str(self.yard.remote.path), f"{head}:refs/heads/main")
        self.yard.person.git("checkout", "--quiet", "main")
        self.by_hand.add(head)

    @rule()
    def somebody_rewinds_main(self) -> None:
        main = self.yard.main
        if main == self.first:
            return
        before = self.yard.remote.git("rev-parse", f"{main}^1")
        lost = self.yard.remote.git("rev-list", main, f"^{before}").split()
        self.taken_out.update(lost)
        self.yard.remote.git("update-ref", "-m", "rewound", "refs/heads/main", before)
        self.by_hand.add(before)

    @rule(mode=st.sampled_from(["open", "open", "paused", "frozen", "draining"]))
    def mode(self, mode: Any) -> None:
        self.bench.clock.advance(1)
        if self.do(self.bench.get(Lane, LANE)) is not None:
            self.do(self.bench.run(lanes.set_mode, SetLaneMode(lane=LANE, mode=mode, cause="because")))

    @rule(hours=st.sampled_from([1, 25]))
    def time_passes(self, hours: int) -> None:
        self.bench.clock.advance(hours * 3600)
        self.do(self.bench.upkeep.step())

    @rule(run=st.integers(1, 3))
    def a_check_flakes(self, run: int) -> None:
        self.yard.checks.flaky.add(len(self.yard.checks.runs) + run)

    @rule(slots=st.integers(1, 3))
    def the_pusher_is_started_again(self, slots: int) -> None:
        self.pusher = self.yard.pusher(slots=slots)

    @rule(rounds=st.integers(1, 3))
    def the_pusher_works(self, rounds: int) -> None:
        for _ in range(rounds):
            self.work()

    @rule(at=st.integers(1, 30), after=st.booleans())
    def the_pusher_dies(self, at: int, after: bool) -> None:
        dying = self.yard.pusher(life=Life(at, after=after))
        with contextlib.suppress(Died):
            self.do(dying.round())
            self.do(dying.round())
        self.pusher = self.yard.pusher()

    # -- what must hold -------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "yard"))
    @invariant()
    def everything_holds(self) -> None:
        found = self.all()
        self._main_was_always_green_and_only_moved_forward()
        self._what_landed_is_what_was_approved(found)
        self._the_events_say_what_the_tables_say(found)

    def _main_was_always_green_and_only_moved_forward(self) -> None:
        git = self.yard.remote.git
        log = self.yard.remote.path / "logs" / "refs" / "heads" / "main"
        lines = log.read_text().splitlines() if log.exists() else []
        values = [self.first, *(line.split()[1] for line in lines)]
        for old, new in itertools.pairwise(values):
            names = set(git("ls-tree", "--name-only", new).split("\n"))
            assert not any(name.startswith("BAD") for name in names), new
            assert not {"CLASH-a", "CLASH-b"} <= names, new
            if new not in self.by_hand:
                git("merge-base", "--is-ancestor", old, new)
                # A landing moved it: nothing changed but what the branches change.
                changed = set(git("diff", "--name-only", old, new).split())
                assert not {name for name in changed if name.startswith("hand")}, changed

    def _what_landed_is_what_was_approved(self, found: list[Landing]) -> None:
        git = self.yard.remote.git
        heads = dict(
            reversed(line.split(" ", 1)) for line in git("for-each-ref", "--format=%(objectname) %(refname)").split("\n")
        )  # fmt: skip
        messages = git("log", "--all", "--format=%B")
        for landing in found:
            record = f"refs/pushpals/landed/{landing.id}"
            if landing.state == "landed":
                approval: Approval = self.do(self.bench.get(Approval, landing.approval_id))
                assert approval.state == "consumed"
                assert approval.action["head"] == landing.head
                commit = heads[record]
                assert landing.head in git("rev-list", "--parents", "-1", commit).split()
                assert commit in self.taken_out or _holds(git, commit, self.yard.main) or self.taken_out
                assert messages.count(f"Job-Id: {landing.id}\n") <= 1
            elif landing.state != "pushing":
                assert record not in heads or landing.state in ("failed", "noop"), (
                    landing.state,
                    landing.cause,
                )
            if landing.state in ENDS - {"landed", "noop"} and landing.published and landing.intent is None:
                others = [x for x in found if x.branch == landing.branch and x.state == "landed"]
                assert others or f"refs/heads/{landing.branch}" in heads, landing.state

    def _the_events_say_what_the_tables_say(self, found: list[Landing]) -> None:
        view = fold(self.bench.events())
        assert {x.id: (x.state, x.cause, x.head) for x in found} == {
            x.id: (x.state, x.cause, x.head) for x in view.landings.values()
        }
        approvals: list[Approval] = self.do(self.bench.store.reader.find(Approval, limit=1000))
        shown = {x.id: x.state for x in view.approvals.values()}
        for approval in approvals:
            told = "approved" if approval.state == "consumed" else approval.state
            assert shown[approval.id] in (told, approval.state), approval


def _holds(git: Any, commit: str, main: str) -> bool:
    return commit in git("rev-list", main).split()


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
