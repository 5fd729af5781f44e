"""One train: landings in order, composed into a chain, tested by prefixes, pushed as far as green.

The commit that is pushed is the commit that was tested. Nobody is blamed for one red run alone: a culprit
was red in a run in which only it was new, and again in another run that names the same failure; or it is run
again. Main itself is looked at before the first of a train is blamed: what is red without the branch is not
the branch's fault.

With several check slots several prefixes are tested at once; a run that can tell nothing more is ended. What
is left over is queued again, in front, without an attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import assert_never

from pushpals.policy.redact import redact_text
from pushpals.protocol.commands import LaneWork
from pushpals.protocol.jobs import CheckSpec
from pushpals.protocol.landings import Candidate, Landing, place
from pushpals.protocol.landings import Intent as StoredIntent
from pushpals.roles.pusher.checking import Checked, EnvironmentBroken, Red
from pushpals.roles.pusher.lane import Dropped, LandingsChanged, LaneClosed, Step
from pushpals.roles.pusher.prepare import prepare
from pushpals.roles.pusher.settle import Report, intent_of, record_name, settle
from pushpals.roles.pusher.verifier import checks_digest
from pushpals.roles.pusher.yard import Link, Member, Yard
from pushpals.work.git import many
from pushpals.work.git.names import Sha, as_sha, landed_ref
from pushpals.work.landing import push
from pushpals.work.landing.compose import Composed, Conflict, Noop, compose_onto, conflict_text, stray_paths
from pushpals.work.landing.search import Learned, Search

__all__ = ["Report", "Train"]


class Train:
    """Runs once, from ``base``. ``learned`` is what is believed of the share of bad landings."""

    def __init__(self, yard: Yard, base: Sha, learned: Learned):
        self._yard = yard
        self._lane = yard.lane
        self._base = base
        self._main = base
        self._tree: Sha
        self._members: list[Member] = []
        self._chain: list[Link] = []
        self._suspects: list[tuple[Member, Red]] = []
        self._blamed: set[tuple[str, str]] = set()
        self._checks: tuple[CheckSpec, ...] = ()
        self._pushing = True
        self.learned = learned
        self.report = Report()

    async def run(self, landings: Sequence[Landing]) -> Report:
        """Take each landing as far as it goes."""
        try:
            self._checks = await self._yard.checker.verifier.checks_at(self._base)
        except ValueError as error:
            cause = f"the checks of the target are unusable: {error}"
            await self._lane.steps(
                [Step(landing=x, to="held", cause=cause, facts={"hold": "checks"}) for x in landings]
            )
            return self.report
        self._tree = await self._tree_of(self._base)
        digest = checks_digest(self._checks)
        self._members = await prepare(self._yard, landings, self._base, digest, self.report)
        try:
            while self._members and self._pushing:
                await self._search()
                if self._members and self._pushing:
                    await self._look_up()
            if self._suspects and self._pushing:
                await self._second_look()
        except (LandingsChanged, Dropped) as change:
            await self._back_to_queue(f"composed anew: {change}"[:500])
        except LaneClosed as closed:
            await self._back_to_queue(f"{closed}")
        except EnvironmentBroken as broken:
            self.report.again_in = 60.0
            await self._leave("held", f"the checks could not run: {broken}", {"hold": "environment"})
        return self.report

    async def is_green(self) -> bool:
        """Whether the base itself passes its own checks."""
        self._checks = await self._yard.checker.verifier.checks_at(self._base)
        self._tree = await self._tree_of(self._base)
        return await self._base_is_green()

    # -- compose --------------------------------------------------------------------------------------------

    async def _compose(self, upto: int) -> bool:
        """Make the chain ``upto`` long. False if members left the train on the way."""
        before = len(self._members)
        steps: list[Step] = []
        made: list[tuple[Member, Sha]] = []
        heads = await many.commits(
            self._yard.repo, [member.landing.head for member in self._members[len(self._chain) : upto]]
        )
        while len(self._chain) < min(upto, len(self._members)):
            member = self._members[len(self._chain)]
            tip = self._chain[-1] if self._chain else Link(commit=self._base, tree=self._tree)
            result = await compose_onto(
                self._yard.repo,
                target=self._base,
                onto=tip.commit,
                onto_tree=tip.tree,
                base=member.base,
                head=heads[as_sha(member.landing.head)],
                message=member.message,
                committer=self._yard.committer(member.landing),
                signing_key=self._yard.signing_key,
            )
            if isinstance(result, Composed):
                made.append((member, tip.tree))
                self._chain.append(Link(commit=result.commit, tree=result.tree))
                continue
            del self._members[len(self._chain)]
            steps += await self._not_composed(member, result)
        await self._no_stray(made)
        if steps:
            self.report.did = True
            await self._lane.steps(steps)
        return len(self._members) == before

    async def _not_composed(self, member: Member, result: Noop | Conflict) -> list[Step]:
        landing = member.landing
        match result:
            case Noop(reason=reason, by=by):
                words = {
                    "contained": "the target contains it already",
                    "same_tree": "merging it changes nothing",
                    "landed_before": f"the same change landed as {(by or '')[:12]}",
                }[reason]
                if self._chain and reason == "same_tree":
                    # It is in what is ahead of it, which may still be turned away.
                    return self._queue(member, "its change is in a landing ahead of it; waits for that one")
                if landing.state == "checking":
                    return [*self._queue(member, words), *_from_queue(landing, "noop", cause=words)]
                return [Step(landing=landing, to="noop", cause=words)]
            case Conflict(with_target=True):
                facts = await self._conflict_facts(member, result)
                cause = "; ".join(m.text for m in result.messages[:10]) or "the two sides conflict"
                options = {"cause": cause, "conflict_paths": result.paths, "facts": facts}
                if landing.state == "checking":
                    return [*self._queue(member, cause), *_from_queue(landing, "conflict", **options)]
                return [Step(landing=landing, to="conflict", **options)]  # type: ignore[arg-type]
            case Conflict():
                return self._queue(member, "conflicts with a landing ahead of it; waits for that one")
            case never:
                assert_never(never)

    async def _conflict_facts(self, member: Member, conflict: Conflict) -> dict[str, object]:
        """Both sides, for whoever repairs it: commits with their subjects, and the lines between markers."""
        sides = [*conflict.their_commits[:5], *conflict.our_commits[:5]]
        subjects = {
            sha: info.subject[:100] for sha, info in (await many.commits(self._yard.repo, sides)).items()
        }
        return {
            "theirs": list(conflict.their_commits[:5]),
            "ours": list(conflict.our_commits[:5]),
            "subjects": subjects,
            "onto": conflict.onto,
            "mergeBase": conflict.base,
            "both": redact_text(await conflict_text(self._yard.repo, conflict)),
        }

    async def _no_stray(self, made: Sequence[tuple[Member, Sha]]) -> None:
        """What a merge changes, its branch changes: nothing else may move (I4)."""
        if not made:
            return
        at = {member.landing.id: number for number, member in enumerate(self._members)}
        pairs = {m.landing.id: (tree, self._chain[at[m.landing.id]].tree) for m, tree in made}
        changes = await many.changes(self._yard.repo, pairs.values())
        for member, onto_tree in made:
            new = self._chain[at[member.landing.id]].tree
            moved = {path for file in changes[onto_tree, new] for path in file.paths}
            if moved <= member.paths:
                continue
            stray = await stray_paths(
                self._yard.repo, old=onto_tree, new=new, branches=[(member.base, member.landing.head)]
            )
            if stray:
                number = at[member.landing.id]
                await self._lane.steps(
                    [
                        Step(
                            landing=member.landing,
                            to="failed",
                            cause=f"the merge changes foreign paths: {', '.join(stray[:5])}",
                        )
                    ]
                )
                del self._members[number]
                del self._chain[number:]
                raise LandingsChanged(f"{member.landing.id} would have changed foreign paths")

    # -- test -----------------------------------------------------------------------------------------------

    async def _search(self) -> None:
        """Until every member has landed or one is to blame for what is left."""
        search = Search(presumed=self._presumed())
        while True:
            sizes = search.next_sizes(len(self._members), self.learned, self._yard.slots)
            if not sizes:
                break
            if not await self._compose(sizes[0]):
                search = Search(green=search.green, red=search.red, presumed=self._presumed())
                continue
            search, checked = await self._wave(search, sizes)
            if search.green:
                count = search.green
                self._pushing = await self._push(count, checked[count])
                if not self._pushing:
                    await self._back_to_queue("waits behind what was not pushed")
                    return
                self.learned = self.learned.after(landed=count)
                search = search.landed(count)
        if search.culprit is not None:
            await self._blame(search.culprit)

    async def _wave(self, search: Search, sizes: Sequence[int]) -> tuple[Search, dict[int, Checked]]:
        """Test several prefixes at once. Ends when each has an answer, or needs none any more."""
        checked: dict[int, Checked] = {}
        running: dict[asyncio.Task[Checked], int] = {}
        try:
            for size in sizes:
                # The first is being checked while the next is composed.
                if not await self._compose(size):
                    search = Search(green=search.green, red=search.red, presumed=self._presumed())
                    break
                await self._begin(size)
                running[asyncio.create_task(self._test(size), name=f"prefix {size}")] = size
            async with self._lane.kept(self._unchanged):
                while running:
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        size = running.pop(task)
                        checked[size] = await task
                        search = search.saw(size, green=checked[size].green)
                        if not checked[size].green:
                            await self._remember(size, checked[size])
                    for task in [task for task, size in running.items() if search.moot(size)]:
                        running.pop(task)
                        await _ended(task)
        finally:
            for task in running:
                await _ended(task)
        return search, checked

    async def _begin(self, size: int) -> None:
        """Say that checks begin, for all members of a prefix that do not know yet."""
        steps: list[Step] = []
        for member, link in zip(self._members[:size], self._chain[:size], strict=True):
            if member.landing.state != "prepared":
                continue
            others = size - 1
            cause = f"checking {link.commit[:12]}" + (f" with {others} more" if others else "")
            facts = {"commit": link.commit, "flags": list(member.flags)}
            steps += [
                Step(landing=member.landing, to="composed", facts=facts),
                Step(landing=member.landing, since="composed", to="checking", cause=cause),
            ]
        if not steps:
            return
        self.report.did = True
        done = await self._lane.steps(steps)
        for member in self._members[:size]:
            member.landing = done.landings.get(member.landing.id, member.landing)
        if done.refused:
            raise LandingsChanged("a landing was taken out of the queue")

    async def _test(self, size: int) -> Checked:
        link = self._chain[size - 1]
        # A worker's receipt is about its own branch: it can only be about the first commit of a chain.
        workers = self._members[0].landing.worker_evidence if size == 1 else ()
        checked = await self._check(link, workers)
        if not checked.green and checked.evidence[-1].verdict == "could_not_run":
            again = await self._yard.checker.again(link.commit, link.tree, self._checks, checked)
            if not again.green and again.evidence[-1].verdict == "could_not_run":
                base = await self._check(Link(commit=self._base, tree=self._tree))
                if not base.green and base.evidence[-1].verdict == "could_not_run":
                    raise EnvironmentBroken(base.evidence[-1].detail or "no reason given")
            return again
        return checked

    async def _check(self, link: Link, workers: Sequence[object] = ()) -> Checked:
        return await self._yard.checker.check(link.commit, link.tree, self._checks, workers)  # type: ignore[arg-type]

    async def _remember(self, size: int, checked: Checked) -> None:
        ids = [member.landing.id for member in self._members[:size]]
        red = checked.red(ids, self._chain[size - 1].commit)
        if red not in self._yard.reds:
            self._yard.reds.append(red)

    def _presumed(self) -> int | None:
        """The shortest prefix that an earlier red run makes look red: it named what nobody is blamed for."""
        at = {member.landing.id: number for number, member in enumerate(self._members)}
        found = []
        for red in self._yard.reds:
            places = [at[id_] for id_ in red.landings if id_ in at]
            if places and any((red.check, name) not in self._blamed for name in red.names):
                found.append(max(places) + 1)
        return min(found) if found else None

    # -- blame ----------------------------------------------------------------------------------------------

    async def _blame(self, number: int) -> None:
        """One member is new in a red run of which the rest is green. Is it so again?"""
        member, link = self._members[number], self._chain[number]
        red = next(red for red in reversed(self._yard.reds) if red.commit == link.commit)
        if self._base == self._main and not await self._base_is_green():
            self.report.main_red = True
            # What failed, failed because of main: it says nothing about anybody here.
            self._yard.reds.clear()
            await self._back_to_queue(f"{self._lane.branch} itself is red")
            self._pushing = False
            return
        self._blamed |= {(red.check, name) for name in red.names}
        if witness := self._witness(member, red):
            await self._reject(member, number, red, witness)
        elif self._yard.checker.ledger.steady(red.check, red.names):
            # It has named what fails: one run of all such together tells whether they fail again.
            self._suspects.append((member, red))
            self._take_out(number)
            self.learned = self.learned.after(rejected=1)
        else:
            async with self._lane.kept(self._unchanged):
                again = await self._yard.checker.again(
                    link.commit, link.tree, self._checks, Checked(evidence=red.evidence, green=False)
                )
            self._forget(red)
            if again.green:
                self._pushing = await self._push(number + 1, again)
                self.learned = self.learned.after(landed=number + 1)
                return
            confirmed = again.red(sorted(red.landings), link.commit)
            await self._reject(member, number, confirmed, "a second run")

    def _witness(self, member: Member, red: Red) -> str | None:
        """Another run that failed with this landing in it, by the same name."""
        steady = self._yard.checker.ledger.steady(red.check, red.names)
        for other in self._yard.reds:
            same = other.check == red.check and other.commit != red.commit
            if same and member.landing.id in other.landings and steady & other.names:
                return f"a run of {other.commit[:12]}"
        for receipt in member.landing.worker_evidence:
            if receipt.check == red.check and receipt.verdict == "failed" and steady & {*receipt.failures}:
                return "the worker's own run"
        return None

    async def _second_look(self) -> None:
        """All suspects together, once: whoever's failure is named again is to blame; the others are not."""
        self._members = [member for member, _ in self._suspects]
        self._chain = []
        while not await self._compose(len(self._members)):
            pass
        if not self._members:
            return
        size = len(self._members)
        tip = self._chain[-1]
        async with self._lane.kept(self._unchanged):
            self._yard.checker.memo.forget_all(
                tip.tree, self._checks, self._yard.checker.verifier.environment
            )
            checked = await self._check(tip)
        by_id = {member.landing.id: red for member, red in self._suspects}
        if checked.green:
            for red in by_id.values():
                self._yard.checker.ledger.flaked(red.check, red.commit, red.names)
                self._forget(red)
            self._pushing = await self._push(size, checked)
            return
        now = checked.red([member.landing.id for member in self._members], tip.commit)
        guilty = [
            (number, member, by_id[member.landing.id])
            for number, member in enumerate(self._members)
            if size == 1
            or (now.check == by_id[member.landing.id].check and now.names & by_id[member.landing.id].names)
        ]
        for number, member, red in reversed(guilty):
            await self._reject(member, number, red, f"a run of {tip.commit[:12]}", now)
        for member in self._members:
            self._forget(by_id[member.landing.id])
        await self._back_to_queue("what it failed with did not repeat; tested again")

    def _forget(self, red: Red) -> None:
        """A run that did not repeat is no witness."""
        for known in [known for known in self._yard.reds if known.commit == red.commit]:
            self._yard.reds.remove(known)
        checker = self._yard.checker
        failed = [check for check in self._checks if check.name == red.check]
        checker.memo.forget_all(red.failed.tree, failed, checker.verifier.environment)

    async def _base_is_green(self) -> bool:
        """Whether main passes without any of this. A failure is looked at twice."""
        checker = self._yard.checker
        if checker.is_known_green(self._tree, self._checks):
            return True
        async with self._lane.kept(self._unchanged):
            checked = await self._check(Link(commit=self._base, tree=self._tree))
            if not checked.green:
                checked = await checker.again(self._base, self._tree, self._checks, checked)
        if not checked.green and checked.evidence[-1].verdict == "could_not_run":
            raise EnvironmentBroken(checked.evidence[-1].detail or "no reason given")
        return checked.green

    async def _reject(
        self, member: Member, at: int, red: Red, witness: str, second: Red | None = None
    ) -> None:
        failed = red.failed
        names = ", ".join(failed.failures[:3])
        words = {
            "timed_out": f"{failed.check} did not end within its time",
            "could_not_run": f"{failed.check} could not run: {failed.detail or 'no reason given'}",
        }.get(failed.verdict, f"{failed.check} failed" + (f": {names}" if names else ""))
        self.report.rejected += 1
        self.report.did = True
        self._take_out(at)
        if not any(suspect is member for suspect, _ in self._suspects):
            self.learned = self.learned.after(rejected=1)
        step = Step(
            landing=member.landing,
            # What cannot run here, and can on main, is for a person to look at: it is no verdict.
            to="failed" if failed.verdict == "could_not_run" else "rejected",
            cause=words,
            evidence=[*red.evidence, *(second.evidence[-1:] if second else ())],
            facts={
                "check": failed.check,
                "base": self._base,
                "commit": red.commit,
                "tree": failed.tree,
                "culprit": member.landing.head,
                "confirmedBy": witness,
                "with": len(red.landings) - 1,
            },
        )
        await self._lane.steps([step])

    def _take_out(self, number: int) -> None:
        del self._members[number]
        del self._chain[number:]

    # -- push -----------------------------------------------------------------------------------------------

    async def _push(self, count: int, checked: Checked) -> bool:
        """Land a tested prefix. True if it is on the remote."""
        yard, lane = self._yard, self._lane
        members, links = self._members[:count], self._chain[:count]
        tip = links[-1]
        candidate = Candidate(base=self._base, commit=tip.commit, tree=tip.tree)
        ids = [member.landing.id for member in members]
        steps: list[Step] = []
        for member, link in zip(members, links, strict=True):
            landing = member.landing
            intent = StoredIntent(
                remote=yard.remote.url,
                target_ref=yard.target,
                old=self._base,
                new=tip.commit,
                agent_ref=f"refs/heads/{landing.branch}",
                head=landing.head,
                commit=link.commit,
                record_ref=landed_ref(record_name(landing)),
                record_old=member.record_old,
                batch=ids,
            )
            steps += [
                Step(landing=landing, to="green", candidate=candidate, evidence=checked.evidence),
                Step(landing=landing, since="green", to="pushing", intent=intent),
            ]
        done = await lane.steps(steps, together=True)
        landings = [done.landings[id_] for id_ in ids]
        for member, landing in zip(members, landings, strict=True):
            member.landing = landing
        outcome = await push.land(yard.repo, yard.remote, intent_of(landings))
        if isinstance(outcome, push.RemoteRefused) and outcome.kind == "no_atomic":
            outcome = await push.land_without_atomic(yard.repo, yard.remote, intent_of(landings))
        settled = await settle(lane, landings, outcome, self.report)
        for member, landing in zip(members, settled, strict=True):
            member.landing = landing
        if not isinstance(outcome, push.Landed):
            return False
        self._base, self._tree = tip.commit, tip.tree
        del self._members[:count]
        del self._chain[:count]
        # Somebody else may have landed on top of it in the meantime.
        return outcome.at == tip.commit

    async def _look_up(self) -> None:
        """Between two searches: has a person closed the queue, or does something more urgent wait?"""
        work = await self._lane.lease()
        waiting = [landing for landing in work.landings if landing.state == "queued" and landing.published]
        first = place(self._members[0].landing)
        if work.lane.mode in ("frozen", "paused"):
            raise LandingsChanged(f"the queue is {work.lane.mode}")
        if any(place(landing) < first for landing in waiting):
            raise LandingsChanged("something more urgent goes first")

    # -- leave ----------------------------------------------------------------------------------------------

    def _unchanged(self, work: LaneWork) -> bool:
        there = {landing.id: landing.state for landing in work.landings}
        ours = [*self._members, *(member for member, _ in self._suspects)]
        return all(there.get(m.landing.id) == m.landing.state for m in ours if not m.landing.ended)

    def _queue(self, member: Member, cause: str) -> list[Step]:
        return [Step(landing=member.landing, to="queued", cause=cause, clear=True)]

    async def _back_to_queue(self, cause: str) -> None:
        await self._leave("queued", cause, {})

    async def _leave(self, to: str, cause: str, facts: dict[str, object]) -> None:
        ours = {m.landing.id: m for m in (*self._members, *(member for member, _ in self._suspects))}
        steps = [
            Step(landing=member.landing, to=to, cause=cause, clear=True, facts=facts)  # type: ignore[arg-type]
            for member in ours.values()
            if member.landing.state in ("prepared", "composed", "checking", "green")
        ]
        self._members, self._chain, self._suspects = [], [], []
        if steps:
            self.report.did = True
            await self._lane.steps(steps)

    async def _tree_of(self, commit: str) -> Sha:
        tree = await self._yard.repo.tree_of(commit)
        assert tree is not None
        return tree


def _from_queue(landing: Landing, to: str, **options: object) -> list[Step]:
    return [
        Step(landing=landing, since="queued", to="prepared"),
        Step(landing=landing, since="prepared", to=to, **options),  # type: ignore[arg-type]
    ]


async def _ended(task: asyncio.Task[Checked]) -> None:
    """Cancel a run and wait until its processes are gone."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
