"""A merge queue to play with: real git, the real hub, the real pusher, and checks that read a file.

A commit is *bad* if its tree holds a file whose name begins with ``BAD``; with ``CLASH-a`` and ``CLASH-b``
both present it is bad too, although each alone is good. That is all a check has to be for the queue.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from pushpals.hub import decisions, landings
from pushpals.hub.of import Of
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import Decide, SubmitLanding
from pushpals.protocol.jobs import CheckSpec, Evidence
from pushpals.protocol.landings import Landing
from pushpals.roles.pusher import PusherSettings, SerialPusher
from pushpals.testing.bench import BUDDY, PUSHER, Bench
from pushpals.testing.direct import DirectHub
from pushpals.testing.mortal import Life, Mortal
from pushpals.testing.repos import Content, Repository
from pushpals.work.git.remotes import parse_remote
from pushpals.work.git.repo import BareRepo

PUSHES = frozenset({"push", "fetch", "ls_remote", "set_ref"})
"""What a pusher does to repositories that a death can fall before or after."""
TESTS = CheckSpec(name="tests", argv=["tests"])


class FileChecks:
    """A verifier whose verdict is a function of the tree. ``flaky`` makes the first run of each tree fail."""

    environment = "yard"

    def __init__(self, repo: BareRepo):
        self._repo = repo
        self.checks: tuple[CheckSpec, ...] = (TESTS,)
        self.runs: list[str] = []
        self.flaky: set[int] = set()
        """Numbers of the runs (from 1) that fail whatever the tree holds."""
        self.during: Callable[[str], object] | None = None
        """Called with the commit while a check runs."""

    async def checks_at(self, base: str) -> tuple[CheckSpec, ...]:
        return self.checks

    async def run(self, commit: str, check: CheckSpec) -> Evidence:
        self.runs.append(commit)
        if self.during is not None:
            self.during(commit)
        names = {entry.path for entry in await self._repo.tree_entries(commit, sizes=False)}
        bad = any(name.startswith("BAD") for name in names) or {"CLASH-a", "CLASH-b"} <= names
        bad = bad or len(self.runs) in self.flaky
        return Evidence(
            check=check.name,
            argv=check.argv,
            verdict="failed" if bad else "passed",
            commit=commit,
            tree=await self._repo.tree_of(commit) or "",
            exit_code=1 if bad else 0,
            failures=sorted(name for name in names if name.startswith("BAD")),
            environment=self.environment,
        )

    async def close(self) -> None:
        return None


class PusherYard:
    """A remote, a person's clone, a hub and a pusher."""

    def __init__(self, bench: Bench, root: Path, repo: BareRepo):
        self.bench = bench
        self.root = root
        self.repo = repo
        self.remote = Repository(root / "remote.git", bare=True)
        self.person = Repository(root / "person")
        self.checks = FileChecks(repo)
        self._jobs = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, bench: Bench, root: Path) -> AsyncIterator[PusherYard]:
        Repository.create(root / "remote.git", bare=True)
        person = Repository.create(root / "person", {"README": "hello\n", "shared.txt": "one\ntwo\nthree\n"})
        person.git("push", "--quiet", str(root / "remote.git"), "main")
        repo = await BareRepo.init(root / "pusher" / "pusher.git")
        yield cls(bench, root, repo)

    def pusher(
        self,
        holder: str = "pusher-1",
        max_batch: int = 64,
        life: Life | None = None,
        slots: int = 1,
        host: Any = None,
        **settings_: Any,
    ) -> SerialPusher:
        """A (new) pusher process, as far as the hub can tell; with ``life``, one that dies."""
        settings = PusherSettings(
            repository="demo",
            branch="main",
            remote=parse_remote(self.root / "remote.git"),
            data_dir=self.root / "pusher",
            holder=holder,
            wait_s=0.0,
            max_batch=max_batch,
            slots=slots,
            **settings_,
        )
        hub: Any = DirectHub(self.bench.hub, PUSHER)
        repo: Any = self.repo
        if life is not None:
            hub, repo = Mortal(hub, life), Mortal(repo, life, PUSHES)
        return SerialPusher(hub, settings, repo, self.checks, host)

    @property
    def main(self) -> str:
        return self.remote.git("rev-parse", "refs/heads/main")

    def branch(self, files: dict[str, Content], *, base: str = "main") -> tuple[str, str]:
        """An agent's branch with one commit, on the remote. Returns its name and head."""
        self._jobs += 1
        name = f"agent/w1/j{self._jobs}"
        self.person.git("checkout", "--quiet", "-b", name, base)
        head = self.person.commit(f"Work {self._jobs}", files)
        self.person.git("push", "--quiet", str(self.remote.path), name)
        self.person.git("checkout", "--quiet", "main")
        return name, head

    async def submit(self, files: dict[str, Content], *, approve: bool = True, **changes: object) -> Landing:
        """An agent's change, asked to be landed and approved by a person."""
        branch, head = self.branch(files)
        fields = {
            "session_id": "dev", "repository": "demo", "target": "main", "head": head,
            "base": self.person.git("rev-parse", "main"), "branch": branch,
            "title": f"Change {branch}", **changes,
        }  # fmt: skip
        reply = await self.bench.run(landings.submit, SubmitLanding(**fields), BUDDY)  # type: ignore[arg-type]
        if approve:
            await self.approve(reply.landing)
        return await self.get(reply.landing)

    async def approve(self, landing: Landing) -> None:
        approval = await self.bench.get(Approval, landing.approval_id or "")
        body = Decide(decision="approve", action_hash=approval.action_hash)
        await self.bench.run(decisions.decide, Of(id=approval.id, body=body))

    async def get(self, landing: Landing) -> Landing:
        return await self.bench.get(Landing, landing.id)  # type: ignore[no-any-return]

    async def states(self, *of: Landing) -> list[str]:
        return [(await self.get(landing)).state for landing in of]

    def files_on_main(self) -> set[str]:
        return set(self.remote.git("ls-tree", "-r", "--name-only", "main").split("\n"))
