"""The story of one job, told from the events of its session: ``pushpals log --job ID``.

``story(events, job_id)`` gives structured entries in the order in which things happened: the message, the
plan, the job's stations, each command with its output and exit code, the diff, every check with its
counts, the approval with who gave it, the landing. Rendering is the reader's business. An entry's ``text``
is one line for people; ``data`` holds the rest under the names of the protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, assert_never

import msgspec

from pushpals.protocol import events as e
from pushpals.protocol.fold import EMPTY, apply, job_of
from pushpals.protocol.jobs import Evidence
from pushpals.protocol.views import SessionView, View

Step = Literal[
    "message", "said", "plan", "job", "command", "log", "diff", "commit", "check", "artifact", "approval",
    "landing",
]  # fmt: skip

MAX_OUTPUT_LINES = 2_000
"""Output lines kept for one command: the first and the last half of it. The whole is an artifact."""


class Entry(View, frozen=True, kw_only=True):
    """One thing that happened. ``who`` did it; empty where nobody in particular did."""

    cursor: int
    ts: str
    step: Step
    who: str
    text: str
    data: dict[str, Any] = {}


def story(events: Iterable[e.Event], job_id: str) -> list[Entry]:
    """All entries of ``job_id``; empty when the events do not know it."""
    history = list(events)
    about = _about(history, job_id)
    if about is None:
        return []
    teller = _Teller(job_id, about)
    view = EMPTY
    for event in history:
        view = apply(view, event)
        teller.hear(view, event)
    return teller.entries


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """Which ids belong to the job."""

    task_id: str
    message_id: str | None
    landings: frozenset[str]
    approvals: frozenset[str]


def _about(history: Sequence[e.Event], job_id: str) -> _About | None:
    enqueued = next(
        (h.payload for h in history if isinstance(h.payload, e.JobEnqueued) and h.payload.job_id == job_id),
        None,
    )
    if enqueued is None:
        return None
    message_id: str | None = None
    landings: set[str] = set()
    approvals: set[str] = set()
    for event in history:
        match event.payload:
            case e.TaskCreated(task_id=enqueued.task_id):
                message_id = event.turn_id
            case e.LandingMoved(job_id=owner, landing_id=landing) if owner == job_id:
                landings.add(landing)
            case e.ApprovalRequired(approval_id=approval, details=details):
                named = details.get("action")
                action = named if isinstance(named, dict) else details
                if job_id in (details.get("jobId"), action.get("jobId")):
                    approvals.add(approval)
            case _:
                pass
    return _About(
        task_id=enqueued.task_id,
        message_id=message_id,
        landings=frozenset(landings),
        approvals=frozenset(approvals),
    )


class _Teller:
    def __init__(self, job_id: str, about: _About) -> None:
        self.job_id = job_id
        self.about = about
        self.entries: list[Entry] = []
        self._running: dict[str, _Running] = {}
        self._landed = 0
        """Where it landed. The hub tells the commit on main in the same transaction, right after."""

    def hear(self, view: SessionView, event: e.Event) -> None:
        if self._of_task(event) or self._of_job(view, event):
            return
        self._of_landing(event)

    def _add(self, event: e.Event, step: Step, text: str, who: str | None = None, **data: Any) -> None:
        self.entries.append(
            Entry(
                cursor=event.cursor,
                ts=event.ts,
                step=step,
                who=(event.from_ or "") if who is None else who,
                text=text,
                data={key: value for key, value in data.items() if value is not None},
            )
        )

    def _of_task(self, event: e.Event) -> bool:
        about = self.about
        match event.payload:
            case e.Message(text=text) if event.id == about.message_id:
                self._add(event, "message", text, event.from_ or "client")
            case e.AssistantMessage(text=text) if about.task_id == event.correlation_id:
                self._add(event, "said", text)
            case e.PlanMade() as plan if plan.message_id == about.message_id:
                steps = [msgspec.to_builtins(step) for step in plan.steps]
                self._add(event, "plan", plan.understanding, steps=steps, planner=plan.planner)
            case e.TaskCompleted(task_id=about.task_id, summary=summary):
                self._add(event, "job", f"task completed: {summary}")
            case e.TaskFailed(task_id=about.task_id, message=message, detail=detail):
                self._add(event, "job", f"task failed: {message}", detail=detail)
            case _:
                return False
        return True

    def _of_job(self, view: SessionView, event: e.Event) -> bool:
        payload = event.payload
        if isinstance(payload, e.ToolResult):
            return self._ran(event, payload)
        if isinstance(payload, _LANDING) or job_of(view, event) != self.job_id:
            return False
        match payload:
            case e.JobEnqueued(kind=kind, params=params):
                self._add(event, "job", f"enqueued: {kind}", kind=kind, params=params)
            case e.JobClaimed(worker_id=worker):
                self._add(event, "job", f"claimed by {worker}", worker)
            case e.JobBased(base=base, sandbox=sandbox, attempt=attempt):
                text = f"works on {base[:12]}, attempt {attempt}"
                self._add(event, "job", text, base=base, sandbox=sandbox, attempt=attempt)
            case e.JobRequeued(reason=reason, attempt=attempt, retry_at=at):
                self._add(event, "job", f"attempt {attempt} ended: {reason}", retryAt=at)
            case e.JobLeaseLost(worker_id=worker, attempt=attempt):
                self._add(event, "job", f"{worker} went silent in attempt {attempt}", worker)
            case e.JobCancelRequested(by=by, reason=reason):
                self._add(event, "job", _because("asked to stop", reason), by)
            case e.JobCancelled(by=by, reason=reason, stopped=stopped):
                self._add(event, "job", _because("cancelled", reason), by, stopped=stopped)
            case e.JobCompleted(summary=summary):
                self._add(event, "job", f"completed: {summary}" if summary else "completed")
            case e.JobFailed(message=message, detail=detail):
                self._add(event, "job", f"failed: {message}", detail=detail)
            case e.ToolCall() as call:
                self._running[call.tool_call_id] = _Running(len(self.entries))
                self._add(event, "command", _command(call), args=call.args, tool=call.tool)
            case e.JobLog(line=line):
                self._printed(event, line)
            case e.Log(level=level, message=message):
                self._add(event, "log", message, level=level)
            case e.TaskProgress(message=message, percent=percent):
                self._add(event, "log", message, percent=percent)
            case e.Error(message=message, detail=detail):
                self._add(event, "log", message, level="error", detail=detail)
            case e.DiffReady() as diff:
                text = diff.diff_stat.strip().rpartition("\n")[2].strip() or "a change"
                self._add(event, "diff", text, diff=diff.unified_diff, branch=diff.branch)
            case e.Committed(commit_hash=commit, message=message, branch=branch):
                self._add(event, "commit", message, commit=commit, branch=branch)
            case e.CheckFinished(evidence=evidence):
                self._check(event, evidence)
            case e.ArtifactStored(sha256=sha256, size=size, kind=kind):
                self._add(event, "artifact", f"{kind}, {size} bytes", sha256=sha256, size=size, kind=kind)
            case _:
                return False
        return True

    def _of_landing(self, event: e.Event) -> None:
        about = self.about
        match event.payload:
            case e.ApprovalRequired(approval_id=id) as asked if id in about.approvals:
                self._add(event, "approval", asked.summary, approvalId=id, details=asked.details)
            case e.ApprovalDecided(approval_id=id) as decided if id in about.approvals:
                yes = "approved" if decided.decision == "approve" else "denied"
                self._add(
                    event, "approval", _because(yes, decided.reason), decided.by, approvalId=id,
                    device=decided.device, actionHash=decided.action_hash,
                )  # fmt: skip
            case e.ApprovalExpired(approval_id=id) if id in about.approvals:
                self._add(event, "approval", "nobody answered in time, which means no", approvalId=id)
            case e.ApprovalVoid(approval_id=id, reason=reason) if id in about.approvals:
                self._add(event, "approval", f"void: {reason}", approvalId=id)
            case e.LandingMoved(landing_id=id) as moved if id in about.landings:
                if moved.state == "landed":
                    self._landed = event.cursor
                self._add(
                    event, "landing", _because(moved.state, moved.cause), landingId=id, head=moved.head,
                    facts=moved.facts,
                )  # fmt: skip
            case e.CheckFinished(landing_id=id, evidence=evidence) if id in about.landings:
                self._check(event, evidence)
            case e.Committed(commit_hash=commit) as landed if event.cursor == self._landed + 1:
                self._add(event, "commit", landed.message, commit=commit, branch=landed.branch)
            case _:
                pass

    def _check(self, event: e.Event, evidence: Evidence) -> None:
        self._add(event, "check", check_line(evidence), evidence=msgspec.to_builtins(evidence))

    def _printed(self, event: e.Event, line: str) -> None:
        """Output belongs to the command that started last and has not ended."""
        if not self._running:
            self._add(event, "log", line, level="info")
            return
        next(reversed(self._running.values())).keep(line)

    def _ran(self, event: e.Event, result: e.ToolResult) -> bool:
        running = self._running.pop(result.tool_call_id, None)
        if running is None:
            return False
        entry = self.entries[running.entry]
        data = {
            **entry.data,
            "ok": result.ok,
            "exitCode": result.exit_code,
            "output": running.lines() or _lines(result.stdout) + _lines(result.stderr),
        }
        ended = {key: value for key, value in data.items() if value is not None}
        self.entries[running.entry] = msgspec.structs.replace(entry, data=ended)
        return True


_LANDING = (e.ApprovalRequired, e.ApprovalDecided, e.ApprovalExpired, e.ApprovalVoid, e.LandingMoved)


class _Running:
    """The output of one command: the first and the last lines of it, and how many fell between."""

    def __init__(self, entry: int) -> None:
        self.entry = entry
        self._head: list[str] = []
        self._tail: list[str] = []
        self._dropped = 0

    def keep(self, line: str) -> None:
        half = MAX_OUTPUT_LINES // 2
        if len(self._head) < half:
            self._head.append(line)
            return
        self._tail.append(line)
        if len(self._tail) > 2 * half:
            self._dropped += half
            del self._tail[:half]

    def lines(self) -> list[str]:
        half = MAX_OUTPUT_LINES // 2
        tail = self._tail[-half:]
        dropped = self._dropped + len(self._tail) - len(tail)
        return [*self._head, *([f"… {dropped} lines …"] if dropped else []), *tail]


def check_line(evidence: Evidence) -> str:
    """``pytest failed: 3 passed, 1 failed (2.1 s) on 1a2b3c4d5e6f``."""
    match evidence.verdict:
        case "passed":
            verdict = "passed"
        case "failed":
            verdict = "failed"
        case "timed_out":
            verdict = "ran out of time"
        case "could_not_run":
            verdict = "could not run"
        case _:
            assert_never(evidence.verdict)
    counts = evidence.counts
    numbers = (
        []
        if counts is None
        else [
            f"{number} {name}"
            for number, name in (
                (counts.passed, "passed"),
                (counts.failed, "failed"),
                (counts.errors, "errors"),
                (counts.skipped, "skipped"),
            )
            if number
        ]
    )
    told = ": " + ", ".join(numbers) if numbers else ""
    return f"{evidence.check} {verdict}{told} ({evidence.seconds:.1f} s) on {evidence.commit[:12]}"


def _because(what: str, why: str | None) -> str:
    return f"{what}: {why}" if why else what


def _command(call: e.ToolCall) -> str:
    argv = call.args.get("argv")
    if isinstance(argv, list) and all(isinstance(word, str) for word in argv):
        return " ".join(argv)
    return call.tool


def _lines(text: str | None) -> list[str]:
    return text.splitlines() if text else []
