"""Events as lines for a terminal: who, what, in the fewest words that are still true.

One :class:`Lines` per stream: it remembers titles, so that later lines can name a job by what it does.
Every event type has its words here (a test asks); text of others is cleaned before it is shown.
"""

from __future__ import annotations

from datetime import datetime

import click

from pushpals.cli.app import safe, safe_line, short
from pushpals.protocol import events as ev
from pushpals.protocol.jobs import Evidence
from pushpals.protocol.times import parse_stamp

VERDICTS = {"passed": "green", "failed": "red", "timed_out": "red", "could_not_run": "yellow"}
LANDING_STATES = {
    "landed": "green", "noop": "green", "green": "green", "conflict": "red", "rejected": "red",
    "failed": "red",
    "stale": "yellow", "held": "yellow", "needs_approval": "yellow", "cancelled": "yellow",
}  # fmt: skip


class Lines:
    """Turns events into lines. ``quiet`` leaves out command output and the workers' comings and goings."""

    def __init__(self, *, quiet: bool = False, local_time: bool = True):
        self.quiet = quiet
        self._local_time = local_time
        self._titles: dict[str, str] = {}
        self._jobs_of_landings: dict[str, str] = {}

    def line(self, event: ev.Event) -> str | None:
        """The line of an event, or None where it says nothing that a person needs."""
        said = self._say(event)
        if said is None:
            return None
        who, what, color = said
        when = click.style(self._clock(event.ts), dim=True)
        if who == "│":
            return f"{when}  {' ' * 9}{click.style('│', dim=True)} {what}"
        head = click.style(f"{who:<9}", fg=color, bold=color is not None)
        first, *rest = what.split("\n")
        return "\n".join([f"{when}  {head} {first}", *(f"{' ' * 20}{more}" for more in rest)])

    def _clock(self, ts: str) -> str:
        return clock(ts, local=self._local_time)

    def _job(self, job_id: str | None) -> str:
        if job_id is None:
            return ""
        title = self._titles.get(job_id)
        return f"{short(job_id)} {title}" if title else short(job_id)

    def _block(self, text: str) -> str:
        most = 12 if self.quiet else 60
        lines = safe(text).strip("\n").split("\n")
        return "\n".join(
            lines if len(lines) <= most else [*lines[:most], f"… {len(lines) - most} more lines"]
        )

    def _say(self, event: ev.Event) -> tuple[str, str, str | None] | None:
        match event.payload:
            case ev.Message(text=text):
                return _who(event.from_) or "you", self._block(text), "cyan"
            case ev.AssistantMessage(text=text):
                return _who(event.from_) or "buddy", self._block(text), "magenta"
            case ev.Log(level=level, message=message):
                if level == "debug":
                    return None
                return _who(event.from_) or "log", safe_line(message), "yellow" if level == "warn" else None
            case ev.Error(message=message, detail=detail):
                return "error", safe_line(f"{message} {detail or ''}"), "red"
            case ev.Done(ok=ok):
                return None if ok else ("done", "the turn ended without its goal", "yellow")
            case ev.TaskCreated() as task:
                self._titles[task.task_id] = safe_line(task.title, 48)
                return "task", f"{short(task.task_id)} {safe_line(task.title, 120)}", None
            case ev.TaskStarted():
                return None
            case ev.TaskProgress() as progress:
                percent = f" {progress.percent:g}%" if progress.percent is not None else ""
                return "task", f"{self._job(progress.task_id)}: {safe_line(progress.message)}{percent}", None
            case ev.TaskCompleted() as done:
                what = self._titles.get(done.task_id) or safe_line(done.summary)
                return "task", f"{click.style('done', fg='green')}  {what}", None
            case ev.TaskFailed() as failed:
                return "task", f"{click.style('failed', fg='red')}  {safe_line(failed.message)}", None
            case ev.ToolCall(args=args, tool=tool):
                argv = args.get("argv")
                words = " ".join(map(str, argv)) if isinstance(argv, list) else tool
                return "│", click.style("$ " + safe_line(words, 110), bold=True), None
            case ev.ToolResult() as result:
                if result.ok:
                    return None
                ended = "did not run" if result.exit_code is None else f"exit code {result.exit_code}"
                return "│", click.style(ended, fg="red"), None
            case ev.JobEnqueued() as job:
                if job.task_id in self._titles:
                    self._titles[job.job_id] = self._titles[job.task_id]
                return "job", f"{self._job(job.job_id)} waits for a worker", None
            case ev.JobClaimed() as claimed:
                return "job", f"{self._job(claimed.job_id)} on {safe_line(claimed.worker_id, 48)}", None
            case ev.JobCompleted() as completed:
                return (
                    "job",
                    f"{self._job(completed.job_id)} {_ok('done')}  {safe_line(completed.summary or '')}",
                    None,
                )
            case ev.JobFailed() as failed:
                return (
                    "job",
                    f"{self._job(failed.job_id)} {_bad('failed')}  {safe_line(failed.message)}",
                    None,
                )
            case ev.JobLog(line=line):
                return None if self.quiet else ("│", safe(line).replace("\n", " "), None)
            case ev.ApprovalRequired() as asked:
                how = f"pushpals approve {short(asked.approval_id)}"
                return "approval", f"{safe_line(asked.summary)}\n{click.style(how, bold=True)}", "yellow"
            case ev.Approved() as yes:
                return "approval", f"{short(yes.approval_id)} {_ok('approved')}", None
            case ev.Denied() as no:
                return "approval", f"{short(no.approval_id)} {_bad('denied')}", None
            case ev.ApprovalDecided() as decided:
                why = f": {safe_line(decided.reason)}" if decided.reason else ""
                return "approval", f"{decided.decision} by {safe_line(decided.by, 60)}{why}", None
            case ev.ApprovalExpired() as expired:
                return "approval", f"{short(expired.approval_id)} expired: no answer means no", "yellow"
            case ev.ApprovalVoid() as void:
                return "approval", f"{short(void.approval_id)} void: {safe_line(void.reason)}", "yellow"
            case ev.AgentStatus() as agent:
                if agent.status != "error" and (self.quiet or not agent.message):
                    return None
                return (
                    safe_line(agent.agent_id, 9),
                    f"{agent.status} {safe_line(agent.message or '')}".rstrip(),
                    None,
                )
            case ev.Status() as status:
                if status.state not in ("error", "shutting_down"):
                    return None
                return (
                    "status",
                    f"{safe_line(status.agent_id, 48)} {status.state} {safe_line(status.detail or '')}",
                    None,
                )
            case ev.ScanResult(summary=summary):
                return "scan", safe_line(summary), None
            case ev.Suggestions(items=items):
                return (
                    "ideas",
                    "\n".join(f"[{item.effort}] {safe_line(item.title)}" for item in items) or "none",
                    None,
                )
            case ev.DiffReady() as diff:
                return "diff", f"{_stat(diff.diff_stat)} on {safe_line(diff.branch, 80)}", None
            case ev.Committed() as commit:
                return (
                    "commit",
                    f"{commit.commit_hash[:10]} on {safe_line(commit.branch)}  {_subject(commit.message)}",
                    None,
                )
            case ev.DelegateRequest() as request:
                return "delegate", f"to {safe_line(request.to_agent_id, 48)}", None
            case ev.DelegateResponse() as response:
                return (
                    "delegate",
                    "answered" if response.ok else f"refused: {safe_line(response.error or '')}",
                    None,
                )
            case ev.PlanMade() as plan:
                understood = safe_line(plan.understanding, 160)
                steps = ", then ".join(safe_line(step.title, 80) for step in plan.steps) or "nothing to run"
                return "plan", understood if steps == understood else f"{understood}: {steps}", None
            case ev.JobRequeued() as again:
                return (
                    "job",
                    f"{self._job(again.job_id)} goes back to the queue: {safe_line(again.reason)}",
                    "yellow",
                )
            case ev.JobLeaseLost() as lost:
                return (
                    "job",
                    f"{self._job(lost.job_id)} lost: {safe_line(lost.worker_id, 48)} went silent",
                    "yellow",
                )
            case ev.JobCancelRequested() as cancel:
                return (
                    "job",
                    f"{self._job(cancel.job_id)} is asked to stop by {safe_line(cancel.by, 60)}",
                    "yellow",
                )
            case ev.JobCancelled() as cancelled:
                return (
                    "job",
                    f"{self._job(cancelled.job_id)} cancelled by {safe_line(cancelled.by, 60)}",
                    "yellow",
                )
            case ev.JobDeferred() as deferred:
                until = deferred.run_at or ", ".join(map(short, deferred.depends_on or []))
                return "job", f"{self._job(deferred.job_id)} waits for {safe_line(until, 200)}", None
            case ev.JobBased() as based:
                where = f", sandbox {based.sandbox}" if based.sandbox else ""
                return "job", f"{self._job(based.job_id)} works on {based.base[:10]}{where}", None
            case ev.CheckFinished(evidence=evidence):
                return "check", receipt(evidence), None
            case ev.ArtifactStored():
                return None
            case ev.LandingMoved() as moved:
                state = click.style(moved.state, fg=LANDING_STATES.get(moved.state))
                cause = f": {safe_line(moved.cause, 400)}" if moved.cause else ""
                return "landing", f"{short(moved.landing_id)} {state}{cause}", None
            case ev.OverlapFound() as overlap:
                paths = ", ".join(safe_line(path, 80) for path in overlap.paths[:3])
                words = "does not merge with" if overlap.conflict else "touches the same lines as"
                return (
                    "landing",
                    f"{short(overlap.landing_id)} {words} {short(overlap.other_id)}: {paths}",
                    "yellow" if overlap.conflict else None,
                )
            case ev.LaneChanged() as lane:
                cause = f": {safe_line(lane.cause)}" if lane.cause else ""
                head = f" at {lane.head[:10]}" if lane.head else ""
                return (
                    None
                    if self.quiet
                    else ("queue", f"{safe_line(lane.lane, 80)} {lane.mode}{head}{cause}", None)
                )
            case ev.WorkerChanged() as worker:
                if self.quiet:
                    return None
                box = f", sandbox {worker.sandbox}" if worker.sandbox else ""
                return "worker", f"{safe_line(worker.worker_id, 48)} {worker.state}{box}", None
            case ev.TokenChanged() as token:
                return "token", f"{token.role} {safe_line(token.label or '', 60)} {token.change}", None
            case ev.ApprovalConsumed() as used:
                if self.quiet:
                    return None
                basis = f", by {short(used.basis)}" if used.basis else ""
                return "approval", f"{short(used.approval_id)} used{basis}", None
            case ev.RuleChanged() as rule:
                label = safe_line(rule.label or "", 100)
                return "rule", f"{short(rule.rule_id)} {rule.change}: always {rule.verdict} {label}", None
            case ev.SandboxProbed() as probed:
                if self.quiet and probed.level == "full":
                    return None
                broke = f", broken: {safe_line(', '.join(probed.broke), 200)}" if probed.broke else ""
                return (
                    "sandbox",
                    f"{safe_line(probed.worker_id, 48)} tried its sandbox: {probed.level}{broke}",
                    "red" if probed.broke else None,
                )
            case ev.NetworkUsed() as net:
                if self.quiet and net.decision != "refused":
                    return None
                where = f"{safe_line(net.host, 100)}:{net.port}"
                why = f", {safe_line(net.code, 60)}" if net.code else ""
                return (
                    "network",
                    f"{net.decision} {where}{why}, {net.bytes_up} bytes up, {net.bytes_down} down",
                    "yellow" if net.decision == "refused" else None,
                )
            case ev.DataQueried() as asked:
                rows = f", {asked.rows} rows" if asked.rows is not None else ""
                return "query", f"{safe_line(asked.by, 60)}: {safe_line(asked.statement)}{rows}", None
            case other:
                return other.TYPE, "", None


def receipt(evidence: Evidence) -> str:
    """One check's evidence on one line: verdict, counts, seconds, and the commit it ran on."""
    verdict = click.style(evidence.verdict.replace("_", " "), fg=VERDICTS[evidence.verdict])
    counts = ""
    if evidence.counts is not None:
        parts = [
            (evidence.counts.passed, "passed"),
            (evidence.counts.failed, "failed"),
            (evidence.counts.errors, "errors"),
        ]
        counts = "  " + ", ".join(f"{number} {word}" for number, word in parts if number)
    first = f"  {safe_line(evidence.failures[0], 120)}" if evidence.failures else ""
    why = f"  {safe_line(evidence.detail, 160)}" if evidence.detail and evidence.verdict != "passed" else ""
    on = f"  on {evidence.commit[:10]}" if evidence.commit else ""
    return f"{safe_line(evidence.check, 40)} {verdict}{counts}  {evidence.seconds:.1f} s{on}{first or why}"


def diff(text: str) -> str:
    """A unified diff, cleaned, with the colours people know."""
    out = []
    for line in safe(text).split("\n"):
        if line.startswith(
            ("+++", "---", "diff ", "index ", "new ", "deleted ", "rename ", "similarity ", "old ")
        ):
            out.append(click.style(line, bold=True))
        elif line.startswith("@@"):
            out.append(click.style(line, fg="cyan"))
        elif line.startswith("+"):
            out.append(click.style(line, fg="green"))
        elif line.startswith("-"):
            out.append(click.style(line, fg="red"))
        else:
            out.append(line)
    return "\n".join(out)


def clock(ts: str, *, local: bool = True) -> str:
    """``HH:MM:SS`` of an instant, in the terminal's own time zone."""
    moment: datetime = parse_stamp(ts)
    return f"{moment.astimezone() if local else moment:%H:%M:%S}"


def _who(sender: str | None) -> str:
    """``agent:buddy`` and ``worker:w1`` as the name alone; a token's ``role:label`` likewise."""
    role, _, name = (sender or "client").partition(":")
    if role == "client":
        return ""
    return safe_line(name if role in ("agent", "worker") and name else role, 9)


def _stat(stat: str) -> str:
    lines = [line for line in stat.strip().splitlines() if line.strip()]
    return safe_line(lines[-1]) if lines else "no change"


def _subject(message: str) -> str:
    return safe_line(message.split("\n", 1)[0], 80)


def _ok(word: str) -> str:
    return click.style(word, fg="green")


def _bad(word: str) -> str:
    return click.style(word, fg="red")
