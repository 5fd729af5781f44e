"""Overlap radar: which changes that are under way touch the same lines, seen before either of them lands.

Paths are compared first, which costs nothing; only pairs that share one are compared by lines, and only
those are merged for a try, all in one git call. A pair is looked at once for each pair of heads.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence

from pushpals.protocol.commands import Overlap
from pushpals.protocol.landings import Landing
from pushpals.work.git.changes import DIFF_OPTIONS
from pushpals.work.git.names import Sha, as_sha, decode_path, show_path
from pushpals.work.git.repo import BareRepo

MAX_PAIRS = 400
"""Pairs looked at in one go, newest landings first."""
NEAR = 3
"""Lines apart that still count as the same place: git's own context."""

Lines = dict[str, list[tuple[int, int]]]
"""By path as shown: ranges of lines of the base."""


class Radar:
    """Remembers what it has looked at."""

    def __init__(self, repo: BareRepo):
        self._repo = repo
        self._lines: dict[tuple[str, str], Lines] = {}
        self._pairs: dict[tuple[str, str], tuple[tuple[str, ...], bool]] = {}

    async def look(self, landings: Sequence[Landing]) -> dict[str, list[Overlap]]:
        """Overlaps by landing id, each of a pair told of the other. Objects of all must be here."""
        found: dict[str, list[Overlap]] = defaultdict(list)
        touched = {one.id: await self._touched(one) for one in landings}
        pairs = [
            (a, b)
            for a, b in itertools.combinations(reversed(landings), 2)
            if a.head != b.head and touched[a.id].keys() & touched[b.id].keys()
        ][:MAX_PAIRS]
        new = [(a, b) for a, b in pairs if (a.head, b.head) not in self._pairs]
        conflicts = await self._merge([(as_sha(a.head), as_sha(b.head)) for a, b in new])
        for (a, b), conflict in zip(new, conflicts, strict=True):
            same = tuple(sorted(_same_lines(touched[a.id], touched[b.id])))
            self._pairs[a.head, b.head] = (same, conflict)
        for a, b in pairs:
            paths, conflict = self._pairs[a.head, b.head]
            if paths or conflict:
                shown = list(paths or sorted(touched[a.id].keys() & touched[b.id].keys()))[:200]
                found[a.id].append(Overlap(other=b.id, paths=shown, conflict=conflict))
                found[b.id].append(Overlap(other=a.id, paths=shown, conflict=conflict))
        self._forget(landings)
        return dict(found)

    def _forget(self, landings: Sequence[Landing]) -> None:
        heads = {one.head for one in landings}
        self._lines = {key: lines for key, lines in self._lines.items() if key[1] in heads}
        self._pairs = {key: seen for key, seen in self._pairs.items() if heads.issuperset(key)}

    async def _touched(self, landing: Landing) -> Lines:
        key = (landing.base, landing.head)
        if key not in self._lines:
            patch = await self._repo.run(
                [
                    "diff-tree", "-p", *DIFF_OPTIONS, "--unified=0", "--no-color", "--src-prefix=a/",
                    "--dst-prefix=b/", as_sha(landing.base), as_sha(landing.head),
                ],
                read_only=True,
                output_bytes=8 * 1024 * 1024,
                prefix=True,
            )  # fmt: skip
            self._lines[key] = _ranges(patch.stdout)
        return self._lines[key]

    async def _merge(self, pairs: Sequence[tuple[Sha, Sha]]) -> list[bool]:
        """Whether each pair conflicts, in one call."""
        if not pairs:
            return []
        lines = "".join(f"{a} {b}\n" for a, b in pairs)
        result = await self._repo.run(
            ["merge-tree", "--write-tree", "--stdin", "--no-messages"],
            stdin=lines.encode("ascii"),
            ok=(0, 1),
            timeout_s=300.0,
        )
        # For each pair: 1 or 0, the tree, for a conflict its files, an empty field.
        verdicts = re.findall(rb"(?:\A|\0)([01])\0[0-9a-f]{40,64}\0", result.stdout)
        if len(verdicts) != len(pairs):
            return [False] * len(pairs)
        return [verdict == b"0" for verdict in verdicts]


_FILE = re.compile(rb"^(?:---|\+\+\+) (?:[ab]/(.*?)|\"[ab]/(.*)\"|/dev/null)\t?$")
_HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")


def _ranges(patch: bytes) -> Lines:
    """Old line ranges of each hunk. Counts lines of hunks, so that content is never taken for a header."""
    found: Lines = defaultdict(list)
    paths: list[str] = []
    left = 0
    for line in patch.split(b"\n"):
        if line.startswith(b"\\"):
            continue
        if left > 0:
            left -= 1
        elif line.startswith(b"diff --git "):
            paths = []
        elif match := _FILE.match(line):
            if name := match[1] or match[2]:
                paths.append(show_path(decode_path(name)))
        elif match := _HUNK.match(line):
            old, new = int(match[2] or 1), int(match[3] or 1)
            left = old + new
            for path in set(paths):
                found[path].append((int(match[1]), int(match[1]) + max(old, 1)))
    return dict(found)


def _same_lines(one: Lines, other: Lines) -> set[str]:
    return {
        path
        for path in one.keys() & other.keys()
        for (a, b), (c, d) in itertools.product(one[path][:500], other[path][:500])
        if a < d + NEAR and c < b + NEAR
    }
