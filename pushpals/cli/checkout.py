"""The person's checkout and the place where its main branch lives. The checkout is only ever read.

With a remote, main lives there: the branch's own upstream, else ``origin``, else the only one there is.
Without one, main lives in a bare repository in the data directory. It is seeded from the person's branch
and, at each start, moved to it when that is a fast-forward; otherwise the two have parted, and the person
is told how to bring them together. The person gets landed work with ``git pull <path> <branch>``.

git runs with optional locks off, so that not even the index is refreshed.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

from pushpals.config import Settings

_TIMEOUT_S = 60.0
_SCP_LIKE = re.compile(r"^(?:[^@/:]+@)?[^/:]+:(?!//)")


class CheckoutError(Exception):
    """The repository cannot be used as it is; the message says what to do."""


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """Where main lives. ``state`` compares it with the person's branch, for an upstream of our own."""

    url: str
    branch: str
    name: str
    own: bool
    state: Literal["remote", "seeded", "equal", "forwarded", "ahead", "parted"] = "remote"

    @property
    def shown(self) -> str:
        """The address without credentials."""
        parts = urlsplit(self.url)
        if not parts.hostname or "@" not in parts.netloc:
            return self.url
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def find(start: Path) -> Path:
    """The top of the working tree that ``start`` is in."""
    if not start.is_dir():
        raise CheckoutError(f"{start} is not a folder")
    done = _git(start, "rev-parse", "--show-toplevel", ok=(0, 128))
    top = done.stdout.strip()
    if done.returncode != 0 or not top:
        raise CheckoutError(
            f"{start} is not in a git working tree; go into one, name it with -C, or make one: git init"
        )
    return Path(top)


def current_branch(checkout: Path) -> str | None:
    """The branch that is checked out; None for a detached HEAD."""
    return _git(checkout, "symbolic-ref", "--quiet", "--short", "HEAD", ok=(0, 1)).stdout.strip() or None


def tracked(checkout: Path) -> list[str]:
    """The names of all tracked files."""
    return [name for name in _git(checkout, "ls-files", "-z").stdout.split("\0") if name]


def resolve(checkout: Path, own: Path, settings: Settings) -> Upstream:
    """Where main lives, without changing anything anywhere."""
    remote = _remote_name(checkout, settings.remote)
    if remote is None:
        branch = settings.branch or current_branch(checkout)
        if branch is None:
            raise CheckoutError(
                "HEAD is detached: check out your main branch, or set landing.branch in pushpals.toml"
            )
        return Upstream(url=str(own), branch=branch, name="(own)", own=True, state="equal")
    url = _absolute(_git(checkout, "remote", "get-url", "--push", remote).stdout.strip(), checkout)
    branch = settings.branch or _remote_head(checkout, remote) or current_branch(checkout)
    if branch is None:
        raise CheckoutError(f"which branch of {remote} is main? Set landing.branch in pushpals.toml")
    return Upstream(url=url, branch=branch, name=remote, own=False)


def prepare(checkout: Path, own: Path, settings: Settings) -> Upstream:
    """The same, and for a repository without a remote: seed our own upstream, or bring it up to date."""
    upstream = resolve(checkout, own, settings)
    if not upstream.own:
        return upstream
    ref = f"refs/heads/{upstream.branch}"
    mine = _git(checkout, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", ok=(0, 1)).stdout.strip()
    if not mine:
        raise CheckoutError(
            f"the branch {upstream.branch} has no commit yet; make a first one, then start again"
        )
    if not (own / "HEAD").exists():
        own.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _git(
            None, "init", "--quiet", "--bare", "--template=", f"--initial-branch={upstream.branch}", str(own)
        )
    _git(None, "--git-dir", str(own), "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(checkout),
         f"+{ref}:refs/person/{upstream.branch}")  # fmt: skip
    theirs = _git(
        None, "--git-dir", str(own), "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", ok=(0, 1)
    ).stdout.strip()
    if not theirs:
        _git(None, "--git-dir", str(own), "update-ref", ref, mine, "0" * len(mine))
        return msgspec.structs.replace(upstream, state="seeded")
    if mine == theirs:
        return upstream
    if _contains(own, mine, theirs):
        _git(None, "--git-dir", str(own), "update-ref", ref, mine, theirs)
        return msgspec.structs.replace(upstream, state="forwarded")
    return msgspec.structs.replace(upstream, state="ahead" if _contains(own, theirs, mine) else "parted")


def advice(upstream: Upstream) -> str | None:
    """What the person should know about an upstream of our own, in one sentence."""
    pull = f"git pull {upstream.url} {upstream.branch}"
    match upstream.state:
        case "remote" | "equal":
            return None
        case "seeded":
            return f"No remote: main lives in {upstream.url}, seeded from your branch {upstream.branch}."
        case "forwarded":
            return f"Your new commits on {upstream.branch} are taken over."
        case "ahead":
            return f"Landed work that your checkout does not have yet: {pull}"
        case "parted":
            return f"Your {upstream.branch} and the landed one have parted. Bring them together with: {pull}"


def _contains(git_dir: Path, descendant: str, ancestor: str) -> bool:
    return (
        _git(
            None, "--git-dir", str(git_dir), "merge-base", "--is-ancestor", ancestor, descendant, ok=(0, 1)
        ).returncode
        == 0
    )


def _remote_name(checkout: Path, wanted: str | None) -> str | None:
    names = _git(checkout, "remote").stdout.split()
    if wanted is not None:
        if wanted not in names:
            raise CheckoutError(
                f"landing.remote says {wanted!r}, no git remote; there are: {', '.join(names) or 'none'}"
            )
        return wanted
    branch = current_branch(checkout)
    if branch is not None:
        tracked = _git(checkout, "config", "--get", f"branch.{branch}.remote", ok=(0, 1)).stdout.strip()
        if tracked in names:
            return tracked
    if "origin" in names or not names:
        return "origin" if names else None
    if len(names) == 1:
        return names[0]
    raise CheckoutError(
        f"which remote holds main? Set landing.remote in pushpals.toml to one of: {', '.join(names)}"
    )


def _remote_head(checkout: Path, remote: str) -> str | None:
    known = _git(checkout, "symbolic-ref", "--quiet", f"refs/remotes/{remote}/HEAD", ok=(0, 1)).stdout.strip()
    if known:
        return known.removeprefix(f"refs/remotes/{remote}/")
    asked = _git(checkout, "ls-remote", "--symref", "--", remote, "HEAD", ok=range(256)).stdout
    named = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", asked, re.MULTILINE)
    return named[1] if named else None


def _absolute(url: str, checkout: Path) -> str:
    """git takes a relative remote from the top of the working tree."""
    if url.startswith("file://"):
        return url.removeprefix("file://")
    if "://" in url or _SCP_LIKE.match(url):
        return url
    return str((checkout / Path(url).expanduser()).resolve())


def _git(
    where: Path | None, *args: str, ok: range | tuple[int, ...] = (0,)
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        env.pop(name, None)
    argv = ["git", *(("-C", str(where)) if where else ()), *args]
    try:
        done = subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S,
            encoding="utf-8", errors="surrogateescape", check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise CheckoutError("git is not installed, or not on PATH") from None
    except subprocess.TimeoutExpired:
        raise CheckoutError(f"git {args[0]} took longer than {_TIMEOUT_S:g} s") from None
    if done.returncode not in ok:
        raise CheckoutError(f"git {args[0]} failed: {done.stderr.strip() or done.returncode}")
    return done
