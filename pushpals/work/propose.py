"""The common end of every changing job: from a tree to a commit, with its evidence.

::

    host snapshot ─▶ nothing changed: say so
                 └▶ refused by rule, out of scope, a secret: fail, nothing leaves
                 └▶ commit on agent/<worker>/<job> ─▶ patch and bundle ─▶ diff_ready, committed
                       ─▶ the base's checks on a fresh checkout of exactly that commit
                       ─▶ what is not green is run on the base too: red before, or broken by this?

The agent's tree is only ever read by the host's git (see :mod:`pushpals.work.workspace`). The checks run
after the commit exists, so a check cannot change what it judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pushpals.policy.secrets_scan import Finding, scan
from pushpals.protocol.events import CheckFinished, Committed, DiffReady
from pushpals.protocol.jobs import CheckSpec, Evidence, FileChange, JobResult
from pushpals.work.git.changes import ChangedFile
from pushpals.work.git.judge import ChangeLimits
from pushpals.work.git.names import Sha, show_path
from pushpals.work.git.tree_rules import Refusal
from pushpals.work.kind import JobFailure
from pushpals.work.landing.message import strip_reserved
from pushpals.work.reports import Comparison, compare
from pushpals.work.run_check import Checked, describe
from pushpals.work.scope import outside
from pushpals.work.workspace import SnapshotRefused

if TYPE_CHECKING:
    from pushpals.work.context import JobContext

DIFF_SHOWN = 256 * 1024
"""Bytes of the diff in ``diff_ready``; the whole is the patch artifact."""
PATCH_BYTES = 64 * 1024 * 1024
FILES_LISTED = 1_000

_STATUS = {
    "added": "A",
    "modified": "M",
    "deleted": "D",
    "renamed": "R",
    "copied": "C",
    "type_changed": "T",
}


async def propose(
    ctx: JobContext, *, title: str, summary: str, body: str, output: dict[str, Any]
) -> JobResult:
    """Commit the workspace as it is and find out what the change is worth. Raises :class:`JobFailure`."""
    job = ctx.job
    snapshot = await ctx.workspace.snapshot(
        message=message_of(ctx, title, body),
        author=ctx.author(),
        limits=ChangeLimits(files=job.budget.changed_files, total_bytes=job.budget.changed_bytes),
    )
    if isinstance(snapshot, SnapshotRefused):
        raise refused(snapshot.refusals)
    if snapshot.commit is None:
        return JobResult(summary=f"{summary} Nothing to change.", base=ctx.base, output=output)
    return await offer(
        ctx,
        snapshot.commit,
        snapshot.tree,
        snapshot.files,
        title=title,
        summary=summary,
        output=output,
    )


async def offer(
    ctx: JobContext,
    head: Sha,
    tree: Sha,
    files: Sequence[ChangedFile],
    *,
    title: str,
    summary: str,
    output: dict[str, Any],
) -> JobResult:
    """A commit on the base that exists, as a job's result: judged, shown, checked."""
    job = ctx.job
    stray = outside((path for file in files for path in file.paths), job.paths)
    if stray:
        named = ", ".join(show_path(path) for path in stray[:5])
        raise JobFailure(
            f"the change leaves its scope ({', '.join(job.paths)}): {named}"
            + (f" and {len(stray) - 5} more" if len(stray) > 5 else ""),
            error_class="policy",
            detail="\n".join(map(show_path, stray[:200])),
        )
    whole = await ctx.repo.diff_text(ctx.base, head, limit_bytes=PATCH_BYTES)
    if whole.truncated:
        raise JobFailure(f"the diff is larger than {PATCH_BYTES} bytes", error_class="policy")
    findings = await _secrets(ctx, files, whole.text)
    if findings:
        raise _secret_found(findings)

    branch = await ctx.workspace.branch(head, worker=ctx.worker_id, job=job.id, replace=True)
    if branch is None:
        raise JobFailure(f"the branch of {job.id} is held by another commit", error_class="conflict")
    bundle = await ctx.repo.bundle_create(head, ctx.base, ref=branch.ref)
    stat = diff_stat(files)
    patch_sha = await ctx.store(whole.text, kind="patch", media_type="text/x-diff; charset=utf-8")
    bundle_sha = await ctx.store(bundle, kind="bundle", media_type="application/x-git-bundle")
    ctx.tell(DiffReady(unified_diff=_shown(ctx, whole.text), diff_stat=stat, branch=branch.short))
    ctx.tell(Committed(branch=branch.short, commit_hash=head, message=title))

    evidence, baselines = await _judge(ctx, head, tree)
    told = [describe(one) for one in evidence] or ["no checks were run"]
    return JobResult(
        summary=f"{summary} {stat}; {'; '.join(told)}.",
        base=ctx.base,
        head=head,
        tree=tree,
        branch=branch.short,
        bundle=bundle_sha,
        patch=patch_sha,
        diff_stat=stat,
        files=[file_change(file) for file in files[:FILES_LISTED]],
        evidence=evidence,
        artifacts=[
            {"kind": "patch", "uri": f"artifact:{patch_sha}"},
            {"kind": "bundle", "uri": f"artifact:{bundle_sha}"},
        ],
        output=output | ({"baseline": baselines} if baselines else {}),
    )


async def _judge(ctx: JobContext, head: str, tree: str) -> tuple[list[Evidence], dict[str, Any]]:
    evidence: list[Evidence] = []
    baselines: dict[str, Any] = {}
    for spec in await ctx.checks():
        checked = await ctx.check(spec, commit=head, tree=tree, tell=False)
        if checked.evidence.verdict != "passed":
            before = await ctx.baseline(spec)
            if before is not None:
                checked, baselines[spec.name] = _beside(spec, checked, before)
        evidence.append(checked.evidence)
        ctx.tell(CheckFinished(evidence=checked.evidence, job_id=ctx.job.id))
    return evidence, baselines


def _beside(spec: CheckSpec, checked: Checked, before: Checked) -> tuple[Checked, dict[str, Any]]:
    """The receipt with a word about the base, and the comparison as data."""
    was, now = before.evidence, checked.evidence
    change = compare(before.report, checked.report) if before.report and checked.report else None
    facts: dict[str, Any] = {"verdict": was.verdict, "commit": was.commit}
    if change is not None:
        facts |= {name: getattr(change, name)[:50] for name in ("broken", "vanished", "fixed", "still")} | {
            "harmless": change.harmless
        }
    note = _compared(was, now, change)
    detail = "; ".join(part for part in (now.detail, note) if part)
    failures = now.failures
    if change is not None and change.broken:
        # The test that this change broke comes first: it is what a reader needs to see.
        broken = set(change.broken)
        failures = sorted(now.failures, key=lambda name: name.split(": ")[0] not in broken)
    return replace(checked, evidence=replace(now, detail=detail, failures=failures)), facts


def _compared(was: Evidence, now: Evidence, change: Comparison | None) -> str:
    if was.verdict == "passed":
        return "it passed on the base"
    if change is not None:
        if not change.harmless:
            lost = len(change.broken) + len(change.vanished)
            return f"{lost} of them passed on the base"
        return "the same fail on the base" + (f", {len(change.fixed)} are fixed" if change.fixed else "")
    words = {"failed": "it fails on the base too", "timed_out": "it runs out of time on the base too"}
    return words.get(was.verdict, "it cannot run on the base either")


def diff_stat(files: Sequence[ChangedFile]) -> str:
    """``3 files changed, 5 insertions(+), 2 deletions(-)``, in git's words."""
    added = sum(file.added or 0 for file in files)
    deleted = sum(file.deleted or 0 for file in files)
    parts = [f"{len(files)} file{'s' if len(files) != 1 else ''} changed"]
    if added:
        parts.append(f"{added} insertion{'s' if added != 1 else ''}(+)")
    if deleted:
        parts.append(f"{deleted} deletion{'s' if deleted != 1 else ''}(-)")
    return ", ".join(parts)


def file_change(file: ChangedFile) -> FileChange:
    """A changed path as it goes over the wire: names escaped where they could deceive."""
    return FileChange(
        path=show_path(file.path),
        status=_STATUS[file.status],
        old_path=show_path(file.old_path) if file.old_path is not None else None,
        added=file.added or 0,
        deleted=file.deleted or 0,
        binary=file.binary,
        old_mode=file.old_mode if file.old_mode != file.new_mode else None,
        new_mode=file.new_mode if file.old_mode != file.new_mode else None,
    )


def added_text(diff: bytes) -> dict[str, bytes]:
    """The added lines of a unified diff by the number of their file, for the secret scan."""
    found: dict[str, list[bytes]] = {}
    number = -1
    in_hunk = False
    for line in diff.split(b"\n"):
        if line.startswith(b"diff --git "):
            number += 1
            in_hunk = False
        elif line.startswith(b"@@ "):
            in_hunk = True
        elif in_hunk and line.startswith(b"+"):
            found.setdefault(str(number), []).append(line[1:])
    return {key: b"\n".join(lines) for key, lines in found.items()}


async def _secrets(ctx: JobContext, files: Sequence[ChangedFile], diff: bytes) -> list[Finding]:
    added = added_text(diff)
    findings: list[Finding] = []
    for number, file in enumerate(files):
        if file.status == "deleted":
            continue
        text = added.get(str(number), b"")
        if file.binary:
            text = await ctx.repo.blob(file.new_sha, limit_bytes=10 * 1024 * 1024)
        findings += scan(
            show_path(file.path),
            text,
            secrets=ctx.tools.secrets,
            accepted=ctx.tools.guard.policy.accepted_findings,
        )
    return findings


def _secret_found(findings: Sequence[Finding]) -> JobFailure:
    first = findings[0]
    return JobFailure(
        f"the change seems to hold a secret ({first.rule} in {first.path}); nothing was committed or sent",
        error_class="policy",
        detail="\n".join(
            f"{one.path}:{one.line}: {one.rule}, fingerprint {one.fingerprint}" for one in findings[:50]
        ),
    )


def refused(refusals: Sequence[Refusal]) -> JobFailure:
    first = refusals[0]
    where = f"{first.path}: " if first.path else ""
    return JobFailure(
        f"the change is not accepted: {where}{first.detail}",
        error_class="policy",
        detail="\n".join(f"{one.code} {one.path}: {one.detail}" for one in refusals[:100]),
    )


def _shown(ctx: JobContext, diff: bytes) -> str:
    text = diff[:DIFF_SHOWN].decode("utf-8", "replace")
    if len(diff) > DIFF_SHOWN:
        text = text[: text.rfind("\n") + 1] + f"[{len(diff) - DIFF_SHOWN} more bytes: see the patch]\n"
    return ctx.tools.hide(text)


def message_of(ctx: JobContext, title: str, body: str) -> str:
    lines = [" ".join(ctx.tools.redact(title).split())[:120], ""]
    # The gates refuse a branch whose commits carry trailers that only a landing may write.
    if words := strip_reserved(ctx.tools.redact(body)):
        lines += [words, ""]
    lines += [f"Push-Pals-Job: {ctx.job.id}", f"Push-Pals-Kind: {ctx.job.kind}"]
    return "\n".join(lines) + "\n"
