"""Policy gates: everything about a branch that is judged before it is merged.

Judged are the branch's whole change and each of its commits, because with a merge they all become part
of the target's history: a secret that a later commit removes is still a secret that lands. The findings
come back as values; a refusal is final for this head, a flag only asks for a person's look. A scanner or
a diff that cannot be read is an error, never a pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from pushpals.work.git.changes import DIFF_OPTIONS, ChangedFile
from pushpals.work.git.commits import CommitInfo
from pushpals.work.git.errors import GitError
from pushpals.work.git.hunks import added_sections
from pushpals.work.git.judge import ChangeLimits, judge_change
from pushpals.work.git.names import Sha, as_sha, show_path
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.tree_rules import Refusal
from pushpals.work.landing.message import reserved_trailers


class Finding(Protocol):
    """A place that seems to hold a secret. ``line`` is 1-based in the text scanned, 0 for the whole."""

    @property
    def rule(self) -> str: ...

    @property
    def line(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...


Scan = Callable[[str, str], Sequence[Finding]]
"""``scan(path, added_text)``. Must be pure; an exception stops the landing."""

Protected = Callable[[str], str | None]
"""Why a path needs a person's look, or None."""


class GatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What may pass. ``commits_land``: the branch's own commits become history (merge, not squash).

    ``forgive_removed_secrets`` counts only without ``commits_land``: then a secret that the branch itself
    took out again is not in what lands. It still is in the branch, wherever that was published.
    """

    limits: ChangeLimits = ChangeLimits()
    commits: int = 200
    allow_submodules: bool = False
    commits_land: bool = True
    forgive_removed_secrets: bool = False
    scan_bytes: int = 64 * 1024 * 1024


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """Something a person should look at first. Not a reason against landing by itself."""

    code: str
    path: str
    detail: str


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the gates say about one head. ``files`` is the branch's change against its merge base."""

    base: Sha
    head: Sha
    commits: tuple[Sha, ...]
    files: tuple[ChangedFile, ...]
    refusals: tuple[Refusal, ...]
    flags: tuple[Flag, ...]

    @property
    def passed(self) -> bool:
        return not self.refusals


async def judge_branch(
    repo: BareRepo,
    *,
    target: str,
    head: str,
    scan: Scan,
    policy: GatePolicy | None = None,
    protected: Protected | None = None,
) -> Judgement:
    """Judge a head against the target. Both must be in the repository."""
    policy = policy or GatePolicy()
    target, head = as_sha(target), as_sha(head)
    base = await repo.merge_base(target, head)
    if base is None:
        unrelated = Refusal(
            code="branch.unrelated", path="", detail="the branch shares no history with the target"
        )
        return Judgement(base=head, head=head, commits=(), files=(), refusals=(unrelated,), flags=())
    try:
        commits = await repo.commits_between(target, head, limit=policy.commits)
    except GitError as error:
        if error.kind != "too_large":
            raise
        many = Refusal(code="branch.commits", path="", detail=f"more than {policy.commits} commits")
        return Judgement(base=base, head=head, commits=(), files=(), refusals=(many,), flags=())
    files = await repo.changed_files(base, head)
    refusals = list(
        await judge_change(repo, files, head, limits=policy.limits, allow_submodules=policy.allow_submodules)
    )
    flags = _flags(files, protected or default_protected)
    forgiving = policy.forgive_removed_secrets and not policy.commits_land
    if forgiving:
        everything = {file.path for file in files}
        refusals += await _secrets(repo, base, head, files, everything, policy, scan)
    for sha in () if forgiving else commits:
        info = await repo.commit(sha)
        refusals += await _judge_commit(repo, info, policy, scan)
    unique = tuple(dict.fromkeys(refusals))[: policy.limits.refusals]
    return Judgement(base=base, head=head, commits=commits, files=files, refusals=unique, flags=flags)


async def _judge_commit(repo: BareRepo, info: CommitInfo, policy: GatePolicy, scan: Scan) -> list[Refusal]:
    refusals: list[Refusal] = []
    if policy.commits_land and (keys := reserved_trailers(info.message)):
        detail = f"commit {info.sha[:12]} carries {', '.join(sorted(set(keys)))[:200]}"
        refusals.append(Refusal(code="commit.reserved_trailer", path="", detail=detail))
    parent = info.parents[0] if info.parents else await _empty_tree(repo)
    files = await repo.changed_files(parent, info.sha)
    # A merge of the target into the branch brings files that are there already: only what differs from
    # every parent is the merge's own.
    own = {file.path for file in files}
    for other in info.parents[1:]:
        own &= {file.path for file in await repo.changed_files(other, info.sha)}
    if policy.commits_land:
        refusals += await judge_change(
            repo,
            [file for file in files if file.path in own],
            info.sha,
            limits=policy.limits,
            allow_submodules=policy.allow_submodules,
        )
    refusals += await _secrets(repo, parent, info.sha, files, own, policy, scan)
    return refusals


async def _secrets(
    repo: BareRepo,
    parent: Sha,
    sha: Sha,
    files: Sequence[ChangedFile],
    own: set[str],
    policy: GatePolicy,
    scan: Scan,
) -> list[Refusal]:
    # --text: a NUL byte in a file must not keep its lines from being scanned.
    patch = await repo.run(
        [
            "diff-tree",
            "-p",
            *DIFF_OPTIONS,
            "--text",
            "--unified=0",
            "--no-color",
            "--submodule=short",
            parent,
            sha,
        ],
        read_only=True,
        output_bytes=policy.scan_bytes,
    )
    # A change of type is written as a removal and an addition: two sections for one entry.
    named = [file for file in files for _ in range(2 if file.status == "type_changed" else 1)]
    try:
        sections = list(added_sections(patch.stdout))
    except ValueError as error:
        raise GitError("other", f"the diff of {sha} could not be read: {error}") from error
    if len(sections) != len(named):
        raise GitError("other", f"the diff of {sha} has {len(sections)} sections for {len(named)} files")
    refusals = []
    for file, added in zip(named, sections, strict=True):
        if file.path not in own or not added.text:
            continue
        for finding in scan(file.path, added.text.decode("utf-8", "surrogateescape")):
            line = added.file_line(finding.line)
            refusals.append(
                Refusal(
                    code="secret",
                    path=show_path(file.path),
                    detail=f"{finding.rule} in line {line} of commit {sha[:12]} ({finding.fingerprint})",
                )
            )
    return refusals


async def _empty_tree(repo: BareRepo) -> Sha:
    """The empty tree, written: a root commit is compared with it."""
    return as_sha((await repo.run(["hash-object", "-w", "-t", "tree", "--stdin"])).line)


_PROTECTED: tuple[tuple[str, str], ...] = tuple(
    (pattern, why)
    for why, patterns in (
        (
            "runs in continuous integration",
            (
                r"\.(github|gitea|forgejo)/(workflows|actions)/.*",
                r"\.(circleci|buildkite|woodpecker|drone|tekton|ci)(/.*|\.ya?ml)",
                r"(.*/)?(\.gitlab-ci|\.travis|azure-pipelines|bitbucket-pipelines)\.ya?ml",
                r"(.*/)?jenkinsfile",
            ),
        ),
        ("changes what git does here", (r"(.*/)?(\.gitattributes|\.gitmodules|\.lfsconfig|\.mailmap)",)),
        (
            "says who decides",
            (r"(.*/)?codeowners", r"\.github/(settings|dependabot)\.ya?ml", r"(.*/)?renovate\.json5?"),
        ),
        ("says how this product treats the repository", (r"pushpals\.toml|\.pushpals/.*",)),
        (
            "says what the checks are",
            (
                r"(.*/)?\.pre-commit-config\.ya?ml",
                r"(.*/)?(tox\.ini|noxfile\.py|conftest\.py|pytest\.ini|justfile|makefile)",
            ),
        ),
        (
            "pins what is installed",
            (
                r"(.*/)?(poetry|pdm|uv|cargo|composer|gemfile|pipfile|flake|bun|yarn)\.lockb?",
                r"(.*/)?(package-lock|npm-shrinkwrap)\.json",
                r"(.*/)?(pnpm-lock\.yaml|go\.sum)",
            ),
        ),
        (
            "runs or redirects an installation",
            (r"(.*/)?(setup\.py|\.npmrc|\.yarnrc(\.yml)?|pip\.conf|\.pypirc)",),
        ),
    )
    for pattern in patterns
)


def default_protected(path: str) -> str | None:
    """Why a path needs a person's look: it decides what runs, who decides, or what is installed."""
    folded = path.casefold()
    return next((why for pattern, why in _PROTECTED if re.fullmatch(pattern, folded)), None)


def _flags(files: Sequence[ChangedFile], protected: Protected) -> tuple[Flag, ...]:
    flags: list[Flag] = []
    for file in files:
        for path in file.paths:
            if why := protected(path):
                flags.append(Flag(code="protected", path=show_path(path), detail=why))
        if file.old_mode == "100644" and file.new_mode == "100755":
            flags.append(Flag(code="executable", path=show_path(file.path), detail="becomes executable"))
        if file.binary and file.status != "deleted":
            flags.append(
                Flag(
                    code="binary", path=show_path(file.path), detail="binary content cannot be read in a diff"
                )
            )
    return tuple(flags)
