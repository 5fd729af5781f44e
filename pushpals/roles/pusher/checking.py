"""Running the checks of one commit: memo first, then a worker's own run where policy allows, then a run.

A failure is a :class:`Red`: what failed, by which names, and which landings were in it. Two red runs that
name the same failure and share a landing are two witnesses against it; the second needs no further run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from pushpals.protocol.jobs import CheckSpec, Evidence
from pushpals.roles.pusher.ledger import Ledger
from pushpals.roles.pusher.memo import Memo
from pushpals.roles.pusher.verifier import Verifier, passes


class EnvironmentBroken(Exception):
    """A check cannot run on the base either. Nobody's change is to blame."""


class Red(msgspec.Struct, frozen=True, kw_only=True):
    """A red run. ``landings`` are the ids of everything in it that main does not have.

    ``names`` are its failures as the check names them; empty if it only says that it failed.
    """

    landings: frozenset[str]
    commit: str
    check: str
    names: frozenset[str]
    evidence: tuple[Evidence, ...]

    @property
    def failed(self) -> Evidence:
        return self.evidence[-1]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks of one commit came to. The last piece of evidence decides."""

    evidence: tuple[Evidence, ...]
    green: bool

    def red(self, landings: Sequence[str], commit: str) -> Red:
        failed = self.evidence[-1]
        named = frozenset(failed.failures) if failed.verdict == "failed" else frozenset()
        return Red(
            landings=frozenset(landings),
            commit=commit,
            check=failed.check,
            names=named,
            evidence=self.evidence,
        )


class Checker:
    """Checks of one repository. ``count`` is told of each run that really happens."""

    def __init__(
        self,
        verifier: Verifier,
        memo: Memo,
        ledger: Ledger,
        *,
        reuse_workers_runs: bool = False,
        count: Callable[[], None] = lambda: None,
    ):
        self.verifier = verifier
        self.memo = memo
        self.ledger = ledger
        self._reuse = reuse_workers_runs
        self._count = count

    async def check(
        self, commit: str, tree: str, checks: Sequence[CheckSpec], workers: Sequence[Evidence] = ()
    ) -> Checked:
        """Run what is not known yet, up to the first required failure.

        ``workers`` are receipts of the landing's author. One counts only if the tree, the check and the
        environment are the very same, and policy allows it.
        """
        found: list[Evidence] = []
        for check in checks:
            one = self._known(tree, check, workers)
            if one is None:
                one = await self.run(commit, check)
            found.append(one)
            if one.verdict != "passed" and check.required:
                break
        return Checked(evidence=tuple(found), green=passes(found, checks))

    async def run(self, commit: str, check: CheckSpec) -> Evidence:
        """Run one check, whatever is known."""
        self._count()
        one = await self.verifier.run(commit, check)
        self.ledger.ran(check.name, one.verdict, one.seconds)
        self.memo.keep(check, self.verifier.environment, one)
        return one

    async def again(self, commit: str, tree: str, checks: Sequence[CheckSpec], first: Checked) -> Checked:
        """A second run of what failed. If it passes, the first was a flake, and is named one."""
        failed = first.evidence[-1]
        check = next(check for check in checks if check.name == failed.check)
        self.memo.forget(tree, check, self.verifier.environment)
        second = await self.run(commit, check)
        if second.verdict != "passed":
            return Checked(evidence=(*first.evidence, second), green=False)
        self.ledger.flaked(check.name, commit, frozenset(failed.failures))
        flaky = msgspec.structs.replace(second, detail=f"flaky: {failed.verdict} first, then passed")
        self.memo.keep(check, self.verifier.environment, flaky)
        return await self.check(commit, tree, checks)

    def is_known_green(self, tree: str, checks: Sequence[CheckSpec]) -> bool:
        return all(
            (known := self.memo.recall(tree, check, self.verifier.environment)) is not None
            and known.verdict == "passed"
            for check in checks
            if check.required
        )

    def _known(self, tree: str, check: CheckSpec, workers: Sequence[Evidence]) -> Evidence | None:
        known = self.memo.recall(tree, check, self.verifier.environment)
        if known is not None:
            return known
        for one in workers if self._reuse else ():
            same = one.check == check.name and one.argv == check.argv and one.tree == tree
            here = self.verifier.environment in (one.environment, f"{one.environment}/{one.sandbox}")
            if same and here and one.verdict == "passed":
                self.ledger.of(check.name).reused += 1
                return msgspec.structs.replace(one, detail="the worker's own run, on the very same tree")
        return None
