"""Looking at a person's own checkout without changing a byte of it.

Every git call is read-only, takes no lock and works on a *copy* of the index: git refreshes the index it
reads, so it gets one that nobody else uses. Hooks, filters, fsmonitor, external diffs, pagers and the
person's configuration are off (``work/git/runner.py``). What is found is redacted before it leaves the
machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from pushpals.policy.display import plain
from pushpals.policy.redact import redact_text
from pushpals.roles import words
from pushpals.work.git.errors import GitError
from pushpals.work.git.runner import Git, GitResult

ROWS = 50
"""Lines of a list that are shown."""
DIFF_BYTES = 64 * 1024
OUTPUT_BYTES = 4 * 1024 * 1024
TIMEOUT_S = 30.0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question: words, and what a ``scan_result`` holds."""

    text: str
    files: tuple[str, ...] = ()
    status: str = ""
    diff: str = ""


class CannotLook(Exception):
    """The question has no answer here; the message says why."""


class Checkout:
    """A person's working tree. ``root`` is its top folder."""

    def __init__(self, git: Git, root: Path, git_dir: Path) -> None:
        self._git = git
        self.root = root
        self._git_dir = git_dir

    @classmethod
    async def at(cls, git: Git, path: Path) -> Checkout:
        """The checkout that ``path`` is in. Raises :class:`CannotLook` when it is in none."""
        try:
            result = await git.run(
                ["-C", str(path), "rev-parse", "--show-toplevel", "--absolute-git-dir"],
                read_only=True,
                timeout_s=TIMEOUT_S,
            )
        except GitError as error:
            raise CannotLook(f"{path} is no git checkout ({error})") from error
        root, git_dir = (Path(line) for line in result.stdout.decode("utf-8", "surrogateescape").splitlines())
        return cls(git, root, git_dir)

    async def status(self) -> Seen:
        """The branch, how far it is from its upstream, and what is changed."""
        raw = _text(await self._run(["status", "--porcelain=v1", "--branch", "-z"]))
        fields = [field for field in raw.split("\0") if field]
        branch, ahead, behind = _head(fields[0] if fields else "")
        staged = changed = untracked = 0
        lines: list[str] = []
        skip = False
        for field in fields[1:]:
            if skip:  # the old name of a rename
                skip = False
                continue
            code = field[:2]
            skip = "R" in code or "C" in code
            untracked += code == "??"
            staged += code[0] not in " ?"
            changed += code[1] not in " ?"
            lines.append(field)
        text = words.local_status(branch, ahead, behind, changed, staged, untracked)
        rows = lines[:ROWS] + ([f"… and {len(lines) - ROWS} more"] if len(lines) > ROWS else [])
        return Seen(text="\n".join([text, *rows]), status="\n".join(lines[:2_000]))

    async def diff(self, path: str | None = None) -> Seen:
        """What differs from the last commit, staged or not."""
        where = ["--", _inside(path)] if path else []
        base = "HEAD" if await self._has_commit() else _EMPTY
        numbers = _text(await self._run(["diff", *_PLAIN, "--numstat", "-z", "--no-renames", base, *where]))
        files = [row.split("\t", 2) for row in numbers.split("\0") if row.count("\t") == 2]
        added = sum(int(row[0]) for row in files if row[0].isdigit())
        deleted = sum(int(row[1]) for row in files if row[1].isdigit())
        shown = await self._run(["diff", *_PLAIN, base, *where], output_bytes=DIFF_BYTES, prefix=True)
        text = _text(shown)
        if shown.truncated:
            text = text[: text.rfind("\n") + 1] + "[cut]\n"
        said = words.local_diff(len(files), added, deleted, path)
        return Seen(text=said, files=tuple(row[2] for row in files[:500]), diff=text)

    async def log(self, count: int = 10) -> Seen:
        """The newest commits of the branch."""
        if not await self._has_commit():
            return Seen(text=words.local_list("commits", [], 0))
        form = "--format=%h %ad %an: %s"
        raw = _text(await self._run(["log", f"-{min(max(count, 1), ROWS)}", "--date=short", form]))
        rows = raw.splitlines()
        return Seen(text=words.local_list("newest commits", rows, len(rows)))

    async def branches(self) -> Seen:
        """Local branches, the newest first."""
        form = "--format=%(if)%(HEAD)%(then)* %(else)  %(end)%(refname:short) %(objectname:short) %(subject)"
        raw = _text(await self._run(["for-each-ref", "--sort=-committerdate", form, "refs/heads"]))
        rows = raw.splitlines()
        return Seen(text=words.local_list("branches", rows[:ROWS], len(rows)))

    async def files(self, folder: str | None = None) -> Seen:
        """Tracked files, all or below a folder."""
        where = ["--", _inside(folder)] if folder else []
        raw = _text(await self._run(["ls-files", "-z", *where]))
        rows = [row for row in raw.split("\0") if row]
        what = f"tracked files in {folder}" if folder else "tracked files"
        return Seen(text=words.local_list(what, rows[:ROWS], len(rows)))

    async def search(self, text: str) -> Seen:
        """Lines of tracked files that hold ``text``; its case counts if it has capitals."""
        case = [] if any(char.isupper() for char in text) else ["-i"]
        result = await self._run(["grep", "-n", "-I", "-F", "--no-color", *case, "-e", text], ok=(0, 1))
        rows = [row[:300] for row in _text(result).splitlines()]
        files = dict.fromkeys(row.partition(":")[0] for row in rows)
        return Seen(text=words.local_found(text, rows[:ROWS], len(rows)), files=tuple(files)[:500])

    async def _has_commit(self) -> bool:
        return (await self._run(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], ok=(0, 1))).code == 0

    async def _run(
        self,
        args: Sequence[str],
        *,
        ok: Sequence[int] = (0,),
        output_bytes: int = OUTPUT_BYTES,
        prefix: bool = False,
    ) -> GitResult:
        try:
            config = await self._no_filters()
            async with self._index() as index:
                return await self._git.run(
                    list(args),
                    git_dir=self._git_dir,
                    work_tree=self.root,
                    index_file=index,
                    config=config,
                    read_only=True,
                    ok=ok,
                    timeout_s=TIMEOUT_S,
                    output_bytes=output_bytes,
                    prefix=prefix,
                )
        except (GitError, OSError) as error:
            raise CannotLook(str(error)) from error

    async def _no_filters(self) -> list[tuple[str, str]]:
        """Configuration that turns off every filter that this repository configures.

        Comparing a file runs its clean filter, which is a program of the repository's choice and may write
        (git-lfs stores objects). Without it such a file may show as changed; nothing runs.
        """
        found = await self._git.run(
            ["config", "-z", "--name-only", "--get-regexp", r"^filter\."],
            git_dir=self._git_dir,
            read_only=True,
            ok=(0, 1),
            timeout_s=TIMEOUT_S,
        )
        keys = found.stdout.decode("utf-8", "surrogateescape").split("\0")
        names = dict.fromkeys(key.removeprefix("filter.").rpartition(".")[0] for key in keys if key)
        off = [("log.showSignature", "false")]
        for name in names:
            off += [(f"filter.{name}.{part}", "") for part in ("clean", "smudge", "process")]
            off.append((f"filter.{name}.required", "false"))
        return off

    @contextlib.asynccontextmanager
    async def _index(self) -> AsyncIterator[Path]:
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="pushpals-look-"))
        try:
            copy = folder / "index"
            with contextlib.suppress(FileNotFoundError):
                await asyncio.to_thread(shutil.copyfile, self._git_dir / "index", copy)
            yield copy
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)


_EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color")


def _text(result: GitResult) -> str:
    """Output that may be told: secrets masked, control characters out, names as they are."""
    decoded = result.stdout.decode("utf-8", "replace")
    return "\0".join(plain(redact_text(part)) for part in decoded.split("\0"))


def _inside(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise CannotLook(f"{path} leaves the checkout")
    return path.rstrip("/") or "."


def _head(line: str) -> tuple[str, int, int]:
    """``## main...origin/main [ahead 1, behind 2]``."""
    body = line.removeprefix("## ")
    for unborn in ("No commits yet on ", "Initial commit on "):
        body = body.removeprefix(unborn)
    name, _, rest = body.partition("...")
    numbers = {"ahead": 0, "behind": 0}
    for part in rest.partition("[")[2].rstrip("]").split(","):
        word, _, number = part.strip().partition(" ")
        if word in numbers and number.isdigit():
            numbers[word] = int(number)
    detached = name.startswith("HEAD (")
    return ("a detached HEAD" if detached else name), numbers["ahead"], numbers["behind"]
