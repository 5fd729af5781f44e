"""Every sentence that a buddy says, in one place: calm, exact, short.

A sentence says what is, then what comes next and who has to do it. It names what it knows (a test, a path,
a count, a commit) and never claims what no receipt shows. No exclamation marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from pushpals.protocol.jobs import Evidence, Job, JobResult
from pushpals.protocol.landings import Landing
from pushpals.roles.intents import REQUESTS
from pushpals.roles.verdicts import Assessment, CheckVerdict

AREAS: dict[str, str] = {
    "tests": "the tests",
    "lint": "the linter",
    "format": "the formatter's check",
    "types": "the type checker",
    "spelling": "the spelling check",
    "all": "all checks",
}
FIXERS = {"ruff": "ruff's safe fixes", "format": "the formatter", "typos": "the spelling corrections"}
MAX_FILES = 5
MAX_NAMES = 5
TAIL_LINES = 12


def short(commit: str | None) -> str:
    """A commit as people read it."""
    return (commit or "")[:12]


def listed(names: Sequence[str], most: int = MAX_NAMES) -> str:
    """``a, b and 3 more``."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# --- saying what will be done -----------------------------------------------------------------------


def on(paths: Sequence[str]) -> str:
    return f" in {listed(paths)}" if paths else ""


def at(base: str | None) -> str:
    return f" on {short(base)}" if base else ""


def will_check(area: str, names: Sequence[str], paths: Sequence[str], base: str | None) -> str:
    what = f"{AREAS[area]} ({listed(names)})" if names and area != "all" else AREAS[area]
    return f"I will run {what}{on(paths)}{at(base)}. Nothing is changed."


def will_fix(fixer: str, paths: Sequence[str], base: str | None) -> str:
    return f"I will apply {FIXERS[fixer]}{on(paths)}{at(base)}, run the checks, and show you the change."


def will_patch(files: Sequence[str], base: str | None) -> str:
    return f"I will apply your patch to {listed(files) or 'the repository'}{at(base)} and run the checks."


def will_run(command: str, base: str | None) -> str:
    return f"I will run `{command}`{at(base)} in a workspace of its own."


def will_look(area: str, paths: Sequence[str], base: str | None) -> str:
    what = "what fails" if area == "tests" else "tests, lint, types and spelling"
    whole = " It looks at the whole repository." if paths else ""
    return f"I will look at {what}{at(base)} and report. Nothing is changed.{whole}"


def will_check_unnamed(area: str, base: str | None) -> str:
    what = "all checks" if area == "all" else f"all checks, {AREAS[area]} among them if there is one,"
    return f"I will run {what}{at(base)}; nobody has told me this repository's checks yet."


def cannot_narrow(area: str, command: str) -> str:
    what = AREAS[area].capitalize()
    return f"{what} of this repository run as `{command}`, which takes no paths. Run all of it?"


def will_ask_agent(brief: str, base: str | None) -> str:
    return f"I will hand this to the coding agent{at(base)}: {_cut(brief, 160)}"


def will_do_all(sentences: Sequence[str]) -> str:
    return " ".join(sentences)


def no_worker() -> str:
    return "No worker is connected, so it waits until one is (`pushpals-worker`)."


# --- answers without work ---------------------------------------------------------------------------


def help_text(agent: bool) -> str:
    rows = "\n".join(f"- `{request.name}`: {request.result}" for request in REQUESTS)
    return f"This is what I understand:\n{rows}\n{_mind(agent)}"


def connect_text(agent: bool) -> str:
    if agent:
        return "A coding agent is configured. Write `agent: <what to do>`; its change waits for your yes."
    return (
        "No coding agent is configured. Name one in `pushpals.toml` as a command:\n"
        '[agents.mine]\ncommand = ["my-agent", "--print"]\n'
        "It gets the brief on standard input, works in a workspace of its own, and only the diff it leaves "
        "is looked at. Then write `agent: <what to do>`. Without one I work with rules: `help` lists them."
    )


def unknown(agent: bool) -> str:
    return (
        "I did not understand that, and I have no model to guess with. I can run the tests, fix the lint, "
        "format, fix typos, apply a patch, run a command and land results; `help` lists it all. "
        f"{_mind(agent)}"
    )


def beyond(goal: str, agent: bool) -> str:
    what = _cut(goal, 160)
    if agent:
        return f"That needs judgement, which my rules do not have: {what}. The coding agent can try."
    return (
        f"That needs judgement, which my rules do not have: {what}. I can show what fails "
        "(`what is failing?`) and apply a patch that you paste. `connect a model` says how to give the work "
        "to a coding agent."
    )


def _mind(agent: bool) -> str:
    if agent:
        return "For anything else write `agent: <what to do>`."
    return "For anything else a coding agent is needed; `connect a model` says how."


def no_agent(brief: str) -> str:
    return (
        f"No worker here has a coding agent, so I cannot hand this on: {_cut(brief, 160)}\n"
        + connect_text(False)
    )


def question(text: str, choices: Sequence[str]) -> str:
    """A question and its choices; answering with the number or the words is the same."""
    if not choices:
        return text
    rows = "\n".join(f"{number}. {choice}" for number, choice in enumerate(choices, start=1))
    return f"{text}\n{rows}"


def refused(reason: str, remedy: str) -> str:
    return f"{reason} {remedy}".strip()


def nothing_to_choose() -> str:
    return "I have no open question. `help` lists what you can ask for."


def no_such_choice(most: int) -> str:
    return f"There is no such choice; there are {most}." if most > 1 else "There is only one choice: 1."


def greeting() -> str:
    return "Hello. Tell me what to do, for example `run the tests` or `fix the lint`; `help` lists the rest."


def welcome() -> str:
    return "You are welcome."


def no_such_check(area: str, names: Sequence[str]) -> str:
    there = f"Its checks are: {listed(names, 10)}." if names else "It has no checks that I know of."
    return (
        f"This repository has no check for that ({AREAS[area]}). {there} "
        "Name one in `pushpals.toml` under `[[checks]]`."
    )


# --- what came of it --------------------------------------------------------------------------------


def reported(job: Job, result: JobResult, assessment: Assessment) -> str:
    """A job that changed nothing and was not meant to: failures first, by name."""
    failing = [check for check in assessment.checks if check.standing in ("red_before", "broken")]
    tail = result.output.get("tail")
    shown = _tail(tail) if isinstance(tail, str) else []
    if job.kind != "check" or not assessment.checks:
        named = [] if job.kind == "command" else [_failing(check) for check in failing]
        return _lines(*named, result.summary or f"{job.title}: done.", *shown)
    passed = [_receipt(check.evidence) for check in assessment.checks if check.standing == "passed"]
    head = "Everything passes." if not assessment.unknown else "What could run passes."
    return _lines(
        *([_failing(check) for check in failing] or [head]),
        *passed,
        *(_not_run(check) for check in assessment.unknown),
    )


def will_land(result: JobResult, assessment: Assessment, target: str) -> str:
    return _lines(
        f"The change is ready: {_size(result)}.",
        *_files(result),
        *_receipts(assessment),
        f"It waits for your yes before it lands on {target}: `pushpals approve`.",
    )


def breaks(result: JobResult, assessment: Assessment) -> str:
    """The named failing test first."""
    return _lines(
        *(_failing(check) for check in assessment.broken),
        f"So I have not asked to land it. The change: {_size(result)}.",
        *_files(result),
        *(_receipt(check.evidence) for check in assessment.checks if check.standing == "passed"),
        "Say `land it` to ask for a landing anyway; the checks before the push still decide.",
    )


def job_failed(title: str, message: str, error_class: str | None) -> str:
    return _lines(f"{title} failed: {_sentence(message)}", _next_step(error_class))


def job_cancelled(title: str, by: str, reason: str | None, stopped: Sequence[str]) -> str:
    who = "" if by.startswith("agent:") else f" by {_person(by)}"
    told = f"{title} was stopped{who}" + (f": {reason}" if reason else "")
    return _sentence(told) + (f" It was running {listed(stopped)}." if stopped else "")


def again_later(attempt: int, reason: str) -> str:
    return f"Attempt {attempt} ended: {_sentence(reason)} It is tried again."


def job_refused(title: str, message: str) -> str:
    return f"The hub did not take this job ({title}): {_sentence(message)}"


def _next_step(error_class: str | None) -> str:
    match error_class:
        case "environment":
            return "That is about the machine, not your code; `pushpals doctor` looks at it, then `retry`."
        case "lost":
            return "The worker went silent. `retry` runs it again."
        case "quota":
            return "A limit was reached. `retry` runs it again."
        case "policy":
            return "A rule refused it, and a second try would end the same."
        case "conflict":
            return "It does not fit where it starts from. Make it anew on the present main, and ask again."
        case _:
            return "`retry` runs it again; `pushpals log --job` shows everything it did."


# --- landings ---------------------------------------------------------------------------------------


def landed(landing: Landing) -> str:
    receipts = [evidence for evidence in landing.evidence if evidence.verdict == "passed"]
    green = f" Checks on that commit: {listed([one.check for one in receipts])}." if receipts else ""
    who = f", approved by {_person(landing.approved_by)}" if landing.approved_by else ""
    return f"Landed on {landing.target} as {short(landing.landed_commit)}{who}.{green}"


def noop(landing: Landing) -> str:
    return f"{landing.target} holds this change already; there was nothing to land."


def conflict(landing: Landing) -> str:
    paths = listed(landing.conflict_paths) or "the same lines"
    return (
        f"{landing.title} does not merge with {landing.target} any more: both changed {paths}. Nothing "
        "moved. `retry` makes the change again on the present main."
    )


def rejected(landing: Landing) -> str:
    """Denied, or red before the push."""
    failing = [evidence for evidence in landing.evidence if evidence.verdict in ("failed", "timed_out")]
    if failing:
        worst = failing[-1]
        name = f": {worst.failures[0]}" if worst.failures else ""
        return (
            f"{worst.check} fails on the merged commit{name}. {landing.title} did not land, and "
            f"{landing.target} is as it was."
        )
    return f"{landing.title} did not land: {_cause(landing, 'it was rejected')} Nothing moved."


def not_landed(landing: Landing) -> str:
    """Stale, cancelled, failed."""
    why = _cause(landing, f"it is {landing.state}")
    match landing.state:
        case "stale":
            return f"{landing.title} will not land: {why} `land it` asks once more."
        case "cancelled":
            return f"{landing.title} is out of the queue: {why}"
        case _:
            return f"{landing.title} could not be landed: {why} `land it` asks once more."


def held(landing: Landing) -> str:
    return f"{landing.title} is held: {_cause(landing, 'no reason given')} It goes on by itself."


def nothing_to_land() -> str:
    return "There is no change to land. `fix the lint` or a pasted patch would make one."


def cannot_land(job_id: str, why: str) -> str:
    return f"{job_id} cannot land: {_sentence(why)}"


def on_its_way(landing: Landing) -> str:
    if landing.state in ("submitted", "needs_approval"):
        return f"{landing.title} waits for your yes: `pushpals approve`."
    return f"{landing.title} is on its way to {landing.target} ({landing.state})."


def landing_refused(message: str) -> str:
    return f"The hub did not take the landing: {_sentence(message)}"


def asked_anyway(result: JobResult, target: str) -> str:
    return (
        f"I asked to land it on {target} although a check fails ({_size(result)}). It waits for your yes: "
        "`pushpals approve`. The checks before the push still decide."
    )


# --- approvals --------------------------------------------------------------------------------------


def approve_yourself(open_summaries: Sequence[str]) -> str:
    if not open_summaries:
        return "Nothing waits for your answer at the moment."
    rows = "\n".join(f"- {summary}" for summary in open_summaries[:MAX_FILES])
    return f"A yes or no counts only on the approval, with the diff before you: `pushpals approve`.\n{rows}"


def denied(summary: str, by: str | None, reason: str | None) -> str:
    because = f": {reason}" if reason else ""
    return _sentence(f"{_person(by) if by else 'Somebody'} said no to: {summary}{because}") + " Nothing ran."


def expired(summary: str) -> str:
    return f"Nobody answered in time, which means no: {_sentence(summary)}"


# --- stop, retry, status ----------------------------------------------------------------------------


def stopping(titles: Sequence[str], landings: Sequence[str]) -> str:
    parts = [*titles, *(f"the landing of {title}" for title in landings)]
    return f"Stopping {listed(parts)}."


def nothing_to_stop() -> str:
    return "Nothing is running or waiting."


def retrying(title: str) -> str:
    return f"Trying again: {title}."


def nothing_to_retry() -> str:
    return "Nothing has failed that I could try again."


def no_such_job(job_id: str) -> str:
    return f"I know no job {job_id} in this session; `status` lists what there is."


def retry_fresh(title: str, base: str | None) -> str:
    return f"Trying again from the present main{at(base)}: {title}."


def status(
    running: Sequence[str],
    waiting: Sequence[str],
    approvals: Sequence[str],
    landings: Sequence[str],
    hub: str,
) -> str:
    rows = [
        *(f"- running: {line}" for line in running[:10]),
        *(f"- waiting: {line}" for line in waiting[:10]),
        *(f"- needs your yes: {line}" for line in approvals[:10]),
        *(f"- landing: {line}" for line in landings[:10]),
    ]
    head = "Nothing is running, waiting or landing." if not rows else "This is where things are:"
    return _lines(head, *rows, hub)


def status_of_hub(idle: int, busy: int, gone: int, lanes: Sequence[str]) -> str:
    workers = f"Workers: {idle} idle, {busy} busy" + (f", {gone} gone" if gone else "") + "."
    if idle + busy == 0:
        workers = "No worker is connected."
    return " ".join([workers, *lanes])


def lane_closed(branch: str, mode: str, cause: str | None) -> str:
    return _sentence(f"The queue of {branch} is {mode}" + (f": {cause}" if cause else ""))


def job_line(title: str, state: str, job_id: str, why: str | None) -> str:
    return f"{title} ({job_id}) is {state}" + (f": {why}" if why else "")


def trouble(what: str) -> str:
    return f"I could not deal with this: {_sentence(what)}"


# --- local buddy ------------------------------------------------------------------------------------


def local_help() -> str:
    return (
        "I look at your own checkout and change nothing in it: `status`, `diff`, `diff <path>`, `log`, "
        "`branches`, `files`, `files <folder>`, `search <text>`. Work is the team's: "
        "`ask the team: <request>` passes it on."
    )


def local_refused() -> str:
    return f"That is nothing I can see in a checkout, and I never change one. {local_help()}"


def local_failed(why: str) -> str:
    return f"I could not look: {_sentence(why)}"


def local_status(branch: str, ahead: int, behind: int, changed: int, staged: int, untracked: int) -> str:
    apart = [f"{ahead} ahead" if ahead else "", f"{behind} behind" if behind else ""]
    told = ", ".join(part for part in apart if part)
    where = f"On {branch}" + (f", {told} of its upstream" if told else "")
    kinds = [
        f"{staged} staged" if staged else "",
        f"{changed} changed" if changed else "",
        f"{untracked} untracked" if untracked else "",
    ]
    what = ", ".join(kind for kind in kinds if kind)
    return f"{where}. {what}." if what else f"{where}. Nothing is changed."


def local_diff(files: int, added: int, deleted: int, path: str | None) -> str:
    where = f" in {path}" if path else ""
    if not files:
        return f"Nothing is changed{where} against the last commit."
    return f"{counted(files, 'file')} changed{where} against the last commit: +{added} −{deleted}."


def local_list(what: str, rows: Sequence[str], total: int) -> str:
    if not rows:
        return f"No {what}."
    more = f"\n… and {total - len(rows)} more" if total > len(rows) else ""
    return f"{total} {what}:\n" + "\n".join(rows) + more


def local_found(text: str, rows: Sequence[str], total: int) -> str:
    if not rows:
        return f"`{text}` is nowhere in the tracked files."
    more = f"\n… and {total - len(rows)} more" if total > len(rows) else ""
    return f"`{text}` is in {counted(total, 'line')}:\n" + "\n".join(rows) + more


def delegated(text: str) -> str:
    return f"That is work for the team; I passed it on: {_cut(text, 160)}"


def delegation_refused(why: str) -> str:
    return f"The team did not take it: {_sentence(why)}"


# --- pieces -----------------------------------------------------------------------------------------


def receipt(evidence: Evidence) -> str:
    """One line for one command: ``pytest passed: 12 passed, 1 skipped (2.1 s) on 1a2b3c4d5e6f``."""
    counts = evidence.counts
    numbers: list[str] = []
    if counts is not None:
        named = (
            (counts.failed, "failed"),
            (counts.errors, "errors"),
            (counts.passed, "passed"),
            (counts.skipped, "skipped"),
        )
        numbers = [f"{number} {name}" for number, name in named if number]
    told = f": {', '.join(numbers)}" if numbers else ""
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
    return f"{evidence.check} {verdict}{told} ({evidence.seconds:.1f} s) on {short(evidence.commit)}"


def _receipt(evidence: Evidence) -> str:
    return f"- {receipt(evidence)}"


def _receipts(assessment: Assessment) -> list[str]:
    if not assessment.checks:
        return ["- no check was run, so nothing is known about it"]
    lines: list[str] = []
    for check in assessment.checks:
        if check.standing == "unknown":
            lines.append(_not_run(check))
        elif check.standing == "red_before":
            fixed = f", {counted(len(check.fixed), 'test')} fixed" if check.fixed else ""
            lines.append(f"{_receipt(check.evidence)}; it failed before the change too{fixed}")
        else:
            lines.append(_receipt(check.evidence))
    return lines


def _failing(check: CheckVerdict) -> str:
    names = [*check.broken, *(f"{name} (vanished)" for name in check.vanished)] or check.evidence.failures
    first = f"{names[0]} fails" if names else f"{check.evidence.check} fails"
    more = f", and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{first}{more}: {receipt(check.evidence)}."


def _not_run(check: CheckVerdict) -> str:
    why = f": {check.evidence.detail}" if check.evidence.detail else ""
    return f"- {check.evidence.check} could not run{why}; that is neither a pass nor a fail"


def _files(result: JobResult) -> list[str]:
    rows = [f"- {file.path} (+{file.added} −{file.deleted})" for file in result.files[:MAX_FILES]]
    if len(result.files) > MAX_FILES:
        rows.append(f"- and {len(result.files) - MAX_FILES} more files")
    return rows


def _size(result: JobResult) -> str:
    stat = result.diff_stat.strip().rpartition("\n")[2].strip()
    return stat or counted(len(result.files), "file") + " changed"


def _tail(output: str) -> list[str]:
    lines = output.rstrip().splitlines()[-TAIL_LINES:]
    fence = "```" if not any("```" in line for line in lines) else "~~~~"
    return [fence, *(line[:200] for line in lines), fence] if lines else []


def _lines(*lines: str) -> str:
    return "\n".join(line for line in lines if line)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "?", "…")) else text + "."


def _cut(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _cause(landing: Landing, otherwise: str) -> str:
    """The hub's reason, with a person's name instead of the token's."""
    return _sentence((landing.cause or otherwise).replace("by client:", "by "))


def _person(by: str | None) -> str:
    if by is None or by == "client":
        return "you"
    return by.removeprefix("client:")
