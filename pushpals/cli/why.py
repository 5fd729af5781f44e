"""``pushpals why``: from a line of main to the commit, the job, the words and the yes that brought it.

The line is looked up in git; who asked, what was understood, who approved and which checks ran is asked of
the hub by the trailers of the landing commit. What the hub no longer knows is left out, never guessed.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from pushpals.cli.app import App, command, json_option, print_json, safe_line, short
from pushpals.cli.errors import NEGATIVE, USAGE, Failed
from pushpals.cli.find import find_lane
from pushpals.cli.render import receipt
from pushpals.client import HubClient
from pushpals.protocol.errors import NotFound
from pushpals.protocol.events import Message, PlanMade
from pushpals.protocol.jobs import Evidence
from pushpals.protocol.landings import Landing
from pushpals.protocol.wire import read_event
from pushpals.work.git.errors import GitError
from pushpals.work.git.runner import Git
from pushpals.work.landing.message import trailer


class Why(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Where a line comes from. Without ``landing`` it came to main by hand."""

    path: str
    line: int
    text: str
    commit: str
    """The commit that wrote the line."""
    author: str
    subject: str
    date: str
    landed_as: str | None = None
    """The commit of main's own line that brought it."""
    trailers: dict[str, str] = {}
    landing: str | None = None
    job: str | None = None
    kind: str | None = None
    message: str | None = None
    asked_by: str | None = None
    understanding: str | None = None
    approved_by: str | None = None
    approved_at: str | None = None
    device: str | None = None
    reverts: str | None = None
    evidence: list[Evidence] = []


@click.command()
@click.argument("where", metavar="PATH:LINE")
@click.option("--lane", metavar="QUEUE", help="Whose main: needed only where there are several queues.")
@json_option
@command
async def why(hub: HubClient, app: App, where: str, lane: str | None, as_json: bool) -> None:
    """Tell where a line of main comes from: commit, job, message, plan, approval, receipts.

    \b
    Example:
      pushpals why src/parcels/labels.py:12
    """
    path, _, number = where.rpartition(":")
    if not path or not number.isdigit() or not int(number):
        raise Failed("name a path and a line, for example src/app.py:12", USAGE, "usage")
    git_dir, head = await _place(hub, app, lane)
    found = await _ask_hub(hub, await _blame(git_dir, head, _from_top(app, path), int(number)))
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(_told(found)))


def _from_top(app: App, path: str) -> str:
    """A path as git names it, from the top of the repository."""
    top = app.repository_if_any
    if top is None:
        return path
    whole = (app.start / path).absolute()
    return str(whole.relative_to(top)) if whole.is_relative_to(top) else path


async def _place(hub: HubClient, app: App, lane: str | None) -> tuple[Path, str]:
    """Where main's history can be read, and main."""
    head = (await find_lane(hub, lane)).head
    own = app.state.pusher / "pusher.git"
    if head is None:
        raise Failed("the pusher has not seen main yet", NEGATIVE, "no_main")
    for place in (own, app.repository_if_any):
        if place is None or not place.exists():
            continue
        git_dir = place if place == own else place / ".git"
        try:
            await (await Git.find()).run(["cat-file", "-e", f"{head}^{{commit}}"], git_dir=git_dir)
        except GitError:
            continue
        return git_dir, head
    raise Failed(f"main ({head[:12]}) is not here; fetch it into this checkout first", NEGATIVE, "no_main")


async def _blame(git_dir: Path, head: str, path: str, line: int) -> Why:
    git = await Git.find()
    try:
        result = await git.run(
            ["blame", "--porcelain", "-L", f"{line},{line}", head, "--", path],
            git_dir=git_dir,
            read_only=True,
        )
    except GitError as error:
        raise Failed(f"{path}:{line} is not on main: {error}", NEGATIVE, "no_line") from None
    lines = result.stdout.decode("utf-8", "replace").split("\n")
    commit = lines[0].split(" ")[0]
    facts = dict(row.split(" ", 1) for row in lines[1:] if " " in row and not row.startswith("\t"))
    text = next((row[1:] for row in lines if row.startswith("\t")), "")
    shown = await git.run(["show", "-s", "--format=%cI", commit], git_dir=git_dir, read_only=True)
    landed_as = await _landing_commit(git, git_dir, commit, head)
    message = await git.run(["cat-file", "commit", landed_as], git_dir=git_dir, read_only=True)
    body = message.stdout.partition(b"\n\n")[2].decode("utf-8", "replace")
    keys = ("Job-Id", "Session-Id", "Agent", "Approved-by", "Approved-Head", "Checks", "Reverts-Job")
    return Why(
        path=path,
        line=line,
        text=text,
        commit=commit,
        author=facts.get("author", ""),
        subject=facts.get("summary", ""),
        date=shown.line,
        landed_as=landed_as,
        trailers={key: value for key in keys if (value := trailer(body, key))},
    )


async def _landing_commit(git: Git, git_dir: Path, commit: str, head: str) -> str:
    """The first commit of main's own line that holds ``commit``."""
    result = await git.run(["rev-list", "--first-parent", head], git_dir=git_dir, read_only=True)
    line = result.stdout.decode("ascii").split()
    if commit in line:
        return commit
    result = await git.run(
        ["rev-list", "--ancestry-path", head, f"^{commit}"], git_dir=git_dir, read_only=True
    )
    holding = set(result.stdout.decode("ascii").split())
    return next((sha for sha in reversed(line) if sha in holding), commit)


async def _ask_hub(hub: HubClient, found: Why) -> Why:
    job_id = found.trailers.get("Job-Id")
    landing = await _landing(hub, job_id) if job_id else None
    if landing is None:
        return found
    reply = await hub.landing(landing.id)
    approval = reply.approval
    found = msgspec.structs.replace(
        found,
        landing=landing.id,
        approved_by=landing.approved_by,
        approved_at=approval.decided_at if approval else None,
        device=approval.device if approval else None,
        reverts=landing.reverts,
        evidence=landing.evidence,
        job=landing.job_id,
    )
    if landing.job_id is None:
        return found
    try:
        job = (await hub.job(landing.job_id)).job
    except NotFound:
        return found
    found = msgspec.structs.replace(found, kind=job.kind)
    return await _said(hub, found, job.session_id, job.message_id) if job.message_id else found


async def _landing(hub: HubClient, job_id: str) -> Landing | None:
    landed = [x for x in (await hub.landings(job_id=job_id)).items if x.state == "landed"]
    if landed:
        return landed[0]
    try:
        return (await hub.landing(job_id)).landing
    except NotFound:
        return None


async def _said(hub: HubClient, found: Why, session_id: str, message_id: str) -> Why:
    """The person's words and what was understood, from the session's history."""
    after: int | None = 0
    while after is not None:
        page = await hub.history(session_id, after=after, types=["message", "plan_made"])
        for entry in page.items:
            event = read_event(bytes(entry.envelope), entry.cursor)
            match event.payload:
                case Message(text=text) if event.id == message_id:
                    found = msgspec.structs.replace(found, message=text, asked_by=event.from_)
                case PlanMade(message_id=of, understanding=understanding) if of == message_id:
                    return msgspec.structs.replace(found, understanding=understanding)
                case _:
                    pass
        after = page.next
    return found


def _told(found: Why) -> list[str]:
    told = [f"{safe_line(found.path, 200)}:{found.line}  {safe_line(found.text, 120)}", ""]
    rows = [
        ("written", f"{found.commit[:12]} by {safe_line(found.author, 60)}, {found.date}: "
                    f"{safe_line(found.subject, 80)}"),
        ("landed as", found.landed_as[:12] if found.landed_as and found.landed_as != found.commit else ""),
        ("asked by", safe_line(found.asked_by or "", 60)),
        ("said", safe_line((found.message or "").strip(), 200)),
        ("plan", safe_line(found.understanding or "", 200)),
        ("job", f"{short(found.job)} ({safe_line(found.kind or '?', 30)})" if found.job else ""),
        ("landing", short(found.landing) if found.landing else ""),
        ("takes back", short(found.reverts) if found.reverts else ""),
        ("approved", _yes(found)),
    ]  # fmt: skip
    told += [f"  {name:<10} {value}" for name, value in rows if value]
    told += [f"  {'check':<10} {receipt(evidence)}" for evidence in found.evidence]
    if found.landing is None:
        words = "; ".join(f"{key}: {value}" for key, value in found.trailers.items())
        told.append(f"  it came to main by hand{f' ({safe_line(words, 200)})' if words else ''}")
    return told


def _yes(found: Why) -> str:
    if not found.approved_by:
        return ""
    head = found.trailers.get("Approved-Head", "")
    where = f" on {safe_line(found.device, 40)}" if found.device else ""
    when = f", {found.approved_at}" if found.approved_at else ""
    saw = f", who saw {safe_line(head, 12)}" if head else ""
    return f"by {safe_line(found.approved_by, 60)}{where}{when}{saw}"
