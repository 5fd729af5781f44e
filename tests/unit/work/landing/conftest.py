from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pushpals.testing.repos import Cloned, Content, make_cloned
from pushpals.work.git.names import Sha
from pushpals.work.git.remotes import Remote, parse_remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity
from pushpals.work.landing.compose import Composed, Conflict, Noop, Unrelated, compose
from pushpals.work.landing.push import Intent, LandingJob

PUSHER = Identity(
    name="serial-pusher", email="pusher@example.org", when=datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
)
TARGET = "refs/heads/main"

LINES = "".join(f"line {n}\n" for n in range(30))


class Stage:
    """An upstream with a person's checkout, and the pusher's own repository beside it."""

    def __init__(self, cloned: Cloned, repo: BareRepo, remote: Remote) -> None:
        self.cloned = cloned
        self.work = cloned.checkout
        self.upstream = cloned.upstream
        self.repo = repo
        self.remote = remote

    def main(self) -> Sha:
        return Sha(self.upstream.refs()[TARGET])

    def lands_by_hand(self, files: Mapping[str, Content], message: str = "By hand") -> Sha:
        """Somebody pushes to main."""
        self.work.git("fetch", "--quiet", "origin")
        self.work.checkout("main")
        self.work.git("reset", "--quiet", "--hard", self.main())
        sha = self.work.commit(message, files)
        self.cloned.push()
        return Sha(sha)

    async def head(
        self, job: str, *steps: Mapping[str, Content], start: str = "", message: str = "Work"
    ) -> Sha:
        """A worker's branch with one commit per step, published; its head is in the pusher's repository."""
        self.work.git("fetch", "--quiet", "origin")
        self.work.branch(f"agent/w/{job}", start or self.main())
        for step in steps:
            self.work.commit(message, step)
        return await self.publish(job, self.work.sha("HEAD"))

    async def publish(self, job: str, sha: str) -> Sha:
        self.cloned.push(f"+{sha}:refs/heads/agent/w/{job}")
        assert await self.repo.fetch_sha(self.remote, sha, f"refs/queue/{job}/head")
        return Sha(sha)

    async def compose(
        self, head: str, *, onto: str | None = None, message: str = "Land\n"
    ) -> Composed | Noop | Conflict | Unrelated:
        target = self.main()
        await self.repo.fetch_sha(self.remote, target, "refs/upstream/main")
        return await compose(
            self.repo, target=target, head=head, onto=onto, message=message, committer=PUSHER
        )

    async def composed(self, head: str, *, onto: str | None = None) -> Composed:
        result = await self.compose(head, onto=onto)
        assert isinstance(result, Composed), result
        return result

    async def repo_tree(self, files: Mapping[str, str]) -> Sha:
        """A flat tree in the pusher's repository."""
        rows = b""
        for name, text in sorted(files.items()):
            blob = (await self.repo.run(["hash-object", "-w", "--stdin"], stdin=text.encode())).line
            rows += f"100644 blob {blob}\t{name}\0".encode()
        return Sha((await self.repo.run(["mktree", "-z"], stdin=rows)).line)

    async def intent(self, job: str, files: Mapping[str, Content]) -> Intent:
        """A job that is ready to be pushed."""
        head = await self.head(job, files)
        made = await self.composed(head)
        return Intent(
            target=TARGET,
            old=made.onto,
            new=made.commit,
            jobs=(LandingJob(job=job, head=head, commit=made.commit, branch=f"refs/heads/agent/w/{job}"),),
        )


@pytest.fixture
async def stage(tmp_path: Path) -> Stage:
    cloned = make_cloned(tmp_path, {"README.md": "# Example\n", "a.txt": LINES, "b.txt": LINES})
    repo = await BareRepo.init(tmp_path / "pusher.git")
    return Stage(cloned, repo, parse_remote(cloned.upstream.path))
