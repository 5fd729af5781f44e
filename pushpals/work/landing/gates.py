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

from pushpals.work.git import many
from pushpals.work.git.changes import GITLINK, ChangedFile
from pushpals.work.git.commits import CommitInfo
from pushpals.work.git.errors import GitError
from pushpals.work.git.hunks import AddedText
from pushpals.work.git.judge import ChangeLimits, Names, judge_change
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

    @property
    def forgives(self) -> bool:
        return self.forgive_removed_secrets and not self.commits_land


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
    found = await judge_branches(
        repo, target=target, heads=[head], scan=scan, policy=policy, protected=protected
    )
    return found[as_sha(head)]


async def judge_branches(
    repo: BareRepo,
    *,
    target: str,
    heads: Sequence[str],
    scan: Scan,
    policy: GatePolicy | None = None,
    protected: Protected | None = None,
) -> dict[Sha, Judgement]:
    """Judge several heads against the target, each for itself, with one set of git calls for all."""
    policy = policy or GatePolicy()
    branches = await many.branches(repo, as_sha(target), heads)
    judged = {head: verdict for head, branch in branches.items() if (verdict := _hopeless(branch, policy))}
    rest = [branch for head, branch in branches.items() if head not in judged]
    if len(rest) > 1:
        try:
            return judged | await _judge_all(repo, rest, scan, policy, protected)
        except GitError as error:
            if error.kind != "too_large":
                raise
    for branch in rest:
        try:
            judged |= await _judge_all(repo, [branch], scan, policy, protected)
        except GitError as error:
            if error.kind != "too_large":
                raise
            judged[branch.head] = _refused(branch, "change.too_large", "the difference is too large to read")
    return judged


def _hopeless(branch: many.Branch, policy: GatePolicy) -> Judgement | None:
    if branch.base is None:
        return _refused(branch, "branch.unrelated", "the branch shares no history with the target")
    if len(branch.commits) > policy.commits:
        return _refused(branch, "branch.commits", f"more than {policy.commits} commits")
    return None


def _refused(branch: many.Branch, code: str, detail: str) -> Judgement:
    refusal = Refusal(code=code, path="", detail=detail)
    return Judgement(
        base=branch.base or branch.head, head=branch.head, commits=(), files=(), refusals=(refusal,), flags=()
    )


async def _judge_all(
    repo: BareRepo,
    branches: Sequence[many.Branch],
    scan: Scan,
    policy: GatePolicy,
    protected: Protected | None,
) -> dict[Sha, Judgement]:
    facts = await _gather(repo, branches, policy)
    judged = {}
    for branch in branches:
        assert branch.base is not None
        whole = facts.whole(branch)
        files = facts.changes[whole]
        refusals = list(await facts.judge(repo, files, whole[1], policy, facts.names.get(whole[0])))
        flags = _flags(files, protected or default_protected)
        if policy.forgives:
            everything = {file.path for file in files}
            refusals += _secrets(facts, whole, branch.head, everything, policy, scan)
        for sha in () if policy.forgives else branch.commits:
            refusals += await _judge_commit(repo, facts, facts.commits[sha], whole, policy, scan)
        unique = tuple(dict.fromkeys(refusals))[: policy.limits.refusals]
        judged[branch.head] = Judgement(
            base=branch.base,
            head=branch.head,
            commits=branch.commits,
            files=files,
            refusals=unique,
            flags=flags,
        )
    return judged


class _Facts(msgspec.Struct, kw_only=True):
    """Everything that was read for a judgement."""

    commits: dict[Sha, CommitInfo]
    changes: dict[many.Pair, tuple[ChangedFile, ...]]
    added: dict[many.Pair, tuple[AddedText, ...]]
    sizes: dict[Sha, int]
    names: dict[Sha, Names]
    """By tree."""
    empty: Sha

    def whole(self, branch: many.Branch) -> many.Pair:
        assert branch.base is not None
        return self.commits[branch.base].tree, self.commits[branch.head].tree

    def own(self, info: CommitInfo) -> many.Pair:
        """A commit against its first parent, or against nothing."""
        return self.commits[info.parents[0]].tree if info.parents else self.empty, info.tree

    async def judge(
        self, repo: BareRepo, files: Sequence[ChangedFile], tree: Sha, policy: GatePolicy, names: Names | None
    ) -> tuple[Refusal, ...]:
        return await judge_change(
            repo,
            files,
            tree,
            limits=policy.limits,
            allow_submodules=policy.allow_submodules,
            sizes=self.sizes,
            names=names,
        )


async def _gather(repo: BareRepo, branches: Sequence[many.Branch], policy: GatePolicy) -> _Facts:
    ids = {sha for branch in branches for sha in (*branch.commits, branch.base, branch.head) if sha}
    commits = await many.commits(repo, ids)
    parents = {parent for info in commits.values() for parent in info.parents} - commits.keys()
    commits |= await many.commits(repo, parents)
    empty = EMPTY_TREES[repo.object_format]
    if any(not info.parents for info in commits.values()):
        empty = await _empty_tree(repo)
    facts = _Facts(commits=commits, changes={}, added={}, sizes={}, names={}, empty=empty)
    wholes = [facts.whole(branch) for branch in branches]
    owns = [facts.own(commits[sha]) for branch in branches for sha in branch.commits]
    merges = [
        (commits[parent].tree, commits[sha].tree)
        for branch in branches
        for sha in branch.commits
        for parent in commits[sha].parents[1:]
    ]
    facts.changes = await many.changes(repo, [*wholes, *owns, *merges])
    facts.added = await many.added(repo, wholes if policy.forgives else owns, limit_bytes=policy.scan_bytes)
    blobs = {
        file.new_sha
        for files in facts.changes.values()
        for file in files
        if file.status != "deleted" and file.new_mode != GITLINK
    }
    facts.sizes = await repo.sizes(blobs)
    for tree in {pair[0] for pair in wholes}:
        facts.names[tree] = Names(entry.path for entry in await repo.tree_entries(tree, sizes=False))
    return facts


async def _judge_commit(
    repo: BareRepo, facts: _Facts, info: CommitInfo, whole: many.Pair, policy: GatePolicy, scan: Scan
) -> list[Refusal]:
    refusals: list[Refusal] = []
    if policy.commits_land and (keys := reserved_trailers(info.message)):
        detail = f"commit {info.sha[:12]} carries {', '.join(sorted(set(keys)))[:200]}"
        refusals.append(Refusal(code="commit.reserved_trailer", path="", detail=detail))
    pair = facts.own(info)
    files = facts.changes[pair]
    # A merge of the target into the branch brings files that are there already: only what differs from
    # every parent is the merge's own.
    own = {file.path for file in files}
    for other in info.parents[1:]:
        own &= {file.path for file in facts.changes[facts.commits[other].tree, info.tree]}
    # A branch of one commit was judged as a whole.
    if policy.commits_land and pair != whole:
        mine = [file for file in files if file.path in own]
        refusals += await facts.judge(repo, mine, info.tree, policy, facts.names.get(pair[0]))
    refusals += _secrets(facts, pair, info.sha, own, policy, scan)
    return refusals


def _secrets(
    facts: _Facts, pair: many.Pair, sha: Sha, own: set[str], policy: GatePolicy, scan: Scan
) -> list[Refusal]:
    files, sections = facts.changes[pair], facts.added[pair]
    # A change of type is written as a removal and an addition: two sections for one entry.
    named = [file for file in files for _ in range(2 if file.status == "type_changed" else 1)]
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


EMPTY_TREES: dict[str, Sha] = {
    "sha1": Sha("4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
    "sha256": Sha("6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"),
}


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
