"""The same questions about many objects, in one git call each.

A process costs a few milliseconds, and a merge queue asks the same of every branch: which commits it has,
what they change, whether an object is here. Each function here answers for all of them together.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from pushpals.work.git.changes import DIFF_OPTIONS, ChangedFile, parse_changes
from pushpals.work.git.commits import CommitInfo, parse_commit
from pushpals.work.git.errors import GitError
from pushpals.work.git.hunks import AddedText, headed_sections
from pushpals.work.git.names import Sha, as_ref, as_sha
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Identity

Pair = tuple[Sha, Sha]
"""Two trees, the older first."""

_HEADER = re.compile(rb"([0-9a-f]{40}(?:[0-9a-f]{24})?) ([0-9a-f]{40}(?:[0-9a-f]{24})?)")


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A head as seen from a target. ``base`` is their best common ancestor, None for unrelated histories.

    ``commits`` are those that the target does not have, oldest first.
    """

    head: Sha
    base: Sha | None
    commits: tuple[Sha, ...]


async def missing(repo: BareRepo, shas: Iterable[str]) -> set[Sha]:
    """Those of the commits that are not here."""
    wanted = tuple(dict.fromkeys(as_sha(sha) for sha in shas))
    if not wanted:
        return set()
    result = await repo.run(
        ["cat-file", "--batch-check=%(objectname) %(objecttype)"], stdin=_lines(wanted), read_only=True
    )
    rows = (line.split() for line in result.stdout.decode("ascii").splitlines())
    return set(wanted) - {Sha(sha) for sha, kind in rows if kind == "commit"}


async def commits(repo: BareRepo, shas: Iterable[str]) -> dict[Sha, CommitInfo]:
    """Commits as written. Raises :class:`GitError` if one is not here."""
    found = await repo.blobs(shas)
    return {sha: parse_commit(sha, raw) for sha, raw in found.items()}


async def branches(repo: BareRepo, target: str, heads: Iterable[str]) -> dict[Sha, Branch]:
    """How each head stands to the target, from one walk over what the target does not have."""
    wanted = tuple(dict.fromkeys(as_sha(head) for head in heads))
    if not wanted:
        return {}
    result = await repo.run(
        ["rev-list", "--topo-order", "--parents", "--stdin"],
        stdin=_lines([*wanted, f"^{as_sha(target)}"]),
        read_only=True,
    )
    rows = [line.split() for line in result.stdout.decode("ascii").splitlines()]
    order = {Sha(row[0]): at for at, row in enumerate(rows)}
    parents = {Sha(row[0]): tuple(Sha(sha) for sha in row[1:]) for row in rows}
    found: dict[Sha, Branch] = {}
    for head in wanted:
        inside, borders = _reach(head, parents)
        roots = any(not parents[sha] for sha in inside)
        if len(borders) == 1 and not roots:
            base: Sha | None = next(iter(borders))
        else:
            base = await repo.merge_base(target, head)
        own = sorted(inside, key=order.__getitem__, reverse=True)
        found[head] = Branch(head=head, base=base, commits=tuple(own))
    return found


def _reach(head: Sha, parents: Mapping[Sha, tuple[Sha, ...]]) -> tuple[set[Sha], set[Sha]]:
    """Commits of the walk below ``head``, and where they meet the target's history."""
    inside: set[Sha] = set()
    borders: set[Sha] = set()
    stack = [head]
    while stack:
        sha = stack.pop()
        if sha in inside:
            continue
        if sha not in parents:
            borders.add(sha)
            continue
        inside.add(sha)
        stack.extend(parents[sha])
    return inside, borders


async def changes(repo: BareRepo, pairs: Iterable[Pair]) -> dict[Pair, tuple[ChangedFile, ...]]:
    """What differs between the trees of each pair, with renames found."""
    wanted = tuple(dict.fromkeys(pairs))
    if not wanted:
        return {}
    result = await repo.run(
        ["diff-tree", *DIFF_OPTIONS, "--raw", "--numstat", "-z", "--no-abbrev", "--stdin"],
        stdin=_pair_lines(wanted),
        read_only=True,
    )
    found: dict[Pair, tuple[ChangedFile, ...]] = dict.fromkeys(wanted, ())
    for pair, raw in _sections(result.stdout):
        found[pair] = parse_changes(raw)
    return found


async def added(
    repo: BareRepo, pairs: Iterable[Pair], *, limit_bytes: int
) -> dict[Pair, tuple[AddedText, ...]]:
    """The added lines of each file of each pair, in the order of :func:`changes`.

    Raises :class:`GitError` (``too_large``, or ``other`` for a diff that cannot be read).
    """
    wanted = tuple(dict.fromkeys(pairs))
    if not wanted:
        return {}
    # --text: a NUL byte in a file must not keep its lines from being scanned.
    result = await repo.run(
        [
            "diff-tree", "-p", *DIFF_OPTIONS, "--text", "--unified=0", "--no-color", "--submodule=short",
            "--stdin",
        ],
        stdin=_pair_lines(wanted),
        read_only=True,
        output_bytes=limit_bytes,
    )  # fmt: skip
    found: dict[Pair, list[AddedText]] = {pair: [] for pair in wanted}
    try:
        for header, section in headed_sections(result.stdout, headers=_HEADER):
            if header is None:
                raise ValueError("a file section of no pair")
            found[Sha(header[1].decode("ascii")), Sha(header[2].decode("ascii"))].append(section)
    except (ValueError, KeyError) as error:
        raise GitError("other", f"a diff could not be read: {error}") from error
    return {pair: tuple(sections) for pair, sections in found.items()}


async def set_refs(repo: BareRepo, refs: Mapping[str, str]) -> None:
    """Point refs somewhere, whatever they were, all or none. For pins that one owner alone writes."""
    if refs:
        lines = "".join(f"update {as_ref(ref)} {as_sha(sha)}\n" for ref, sha in refs.items())
        await repo.run(["update-ref", "--stdin"], stdin=lines.encode("ascii"))


async def delete_refs(repo: BareRepo, refs: Iterable[str]) -> None:
    """Drop pins, whatever they were at."""
    if wanted := list(refs):
        lines = "".join(f"delete {as_ref(ref)}\n" for ref in wanted)
        await repo.run(["update-ref", "--stdin"], stdin=lines.encode("ascii"))


def commit_text(
    tree: str, parents: Sequence[str], message: str, *, author: Identity, committer: Identity
) -> bytes:
    """A commit object's content, as git writes it. The same arguments give the same bytes."""
    lines = [f"tree {as_sha(tree)}", *(f"parent {as_sha(parent)}" for parent in parents)]
    for role, who in (("author", author), ("committer", committer)):
        name, email = who.words
        lines.append(f"{role} {name} <{email}> {who.date.removeprefix('@')}")
    body = message.replace("\0", "") or "\n"
    return ("\n".join(lines) + "\n\n" + body).encode("utf-8", "replace")


def write_commit(repo: BareRepo, text: bytes) -> Sha:
    """Put a commit object into the repository and return its id. No ref moves, no process is started.

    A loose object: written aside, then renamed into place, so that nobody ever reads half of one.
    """
    whole = b"commit %d\0" % len(text) + text
    sha = as_sha(hashlib.new(repo.object_format, whole).hexdigest())
    target = repo.objects / sha[:2] / sha[2:]
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        aside = target.with_name(f"tmp_obj_{os.getpid()}_{sha[2:10]}")
        aside.write_bytes(zlib.compress(whole, 1))
        aside.chmod(0o444)
        aside.replace(target)
    return sha


def _lines(words: Iterable[str]) -> bytes:
    return "".join(f"{word}\n" for word in words).encode("ascii")


def _pair_lines(pairs: Iterable[Pair]) -> bytes:
    return _lines(f"{as_sha(old)} {as_sha(new)}" for old, new in pairs)


def _sections(raw: bytes) -> Iterable[tuple[Pair, bytes]]:
    """Cut ``diff-tree --stdin --raw --numstat -z`` at its headers. A name may hold anything but NUL, so
    fields are walked in the order in which git writes them, and only where a head belongs is one read."""
    fields = raw.split(b"\0")
    pair: Pair | None = None
    kept: list[bytes] = []
    at = 0
    while at < len(fields):
        field = fields[at]
        while match := _HEADER.match(field):
            if field[match.end() : match.end() + 1] != b"\n":
                raise GitError("other", "a diff could not be read")
            if pair is not None:
                yield pair, b"\0".join([*kept, b""]) if kept else b""
            pair, kept = (Sha(match[1].decode("ascii")), Sha(match[2].decode("ascii"))), []
            field = field[match.end() + 1 :]
        if not field:
            at += 1
            continue
        if field.startswith(b":"):
            names = 2 if field.rsplit(b" ", 1)[1][:1] in (b"R", b"C") else 1
        else:
            names = 0 if field.split(b"\t", 2)[2] else 2
        kept += [field, *fields[at + 1 : at + 1 + names]]
        at += 1 + names
    if pair is not None:
        yield pair, b"\0".join([*kept, b""]) if kept else b""
