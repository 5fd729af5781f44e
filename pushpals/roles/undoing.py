"""Undo a landing: from a person's words to a ``revert`` job.

``undo landing-…``, ``revert the last landing``. The change that takes it back is made by a worker, shown,
checked, and lands like any other: with a person's yes.
"""

from __future__ import annotations

import re

from pushpals.protocol import events as e
from pushpals.protocol.commands import Enqueue, Snapshot
from pushpals.protocol.errors import NotFound
from pushpals.protocol.ids import is_commit
from pushpals.protocol.landings import Landing
from pushpals.protocol.views import SessionView
from pushpals.roles.desk import NAME, Desk, say
from pushpals.roles.writes import AnyWrite, EnqueueJob, Post, derived_id

_ASKED = re.compile(
    r"(?:please\s+)?(?:undo|revert|roll\s?back|take\s+back)(?:\s+the)?(?:\s+(?:last|latest|newest))?"
    r"(?:\s+(?:landing|landed\s+change|change))?(?:\s+(?P<id>landing-[0-9a-z-]+))?[.!]?",
    re.IGNORECASE,
)


def undo_asked(text: str) -> str | None:
    """The landing that a message wants undone; ``""`` for the newest, None if it wants something else."""
    match = _ASKED.fullmatch(" ".join(text.split()))
    if match is None or (match["id"] is None and "land" not in text.lower()):
        return None
    return (match["id"] or "").lower()


async def undo(
    desk: Desk, view: SessionView, event: e.Event, landing_id: str, snapshot: Snapshot
) -> list[AnyWrite]:
    """The job that takes the landing back, or why there is none."""
    landing = await _find(desk, view, landing_id)
    if isinstance(landing, str):
        return [say(landing)]
    commit = own_commit(landing)
    repository = desk.repository_of(snapshot)
    if landing.state != "landed" or commit is None or repository is None:
        return [say(f"{landing.title} has not landed (it is {landing.state}), so there is nothing to undo.")]
    title = f"Revert “{landing.title}”"[:120]
    task_id = derived_id("task", event.id)
    ask = Enqueue(
        task_id=task_id,
        kind="revert",
        session_id=desk.session_id,
        params={"landing": landing.id, "commit": commit, "title": landing.title},
        title=title,
        priority="interactive",
        base=repository.head if is_commit(repository.head or "") else None,
        target=landing.target,
        message_id=event.id,
    )
    planned = e.PlanMade(
        plan_id=derived_id("plan", event.id),
        message_id=event.id,
        understanding=f"Take back what landed as {commit[:12]}",
        steps=[e.PlanStep(kind="revert", title=title, params=ask.params)],
        planner="rules",
    )
    created = e.TaskCreated(task_id=task_id, title=title, description=planned.understanding, created_by=NAME)
    said = (
        f"I take back {landing.title} ({commit[:12]}): a worker makes the reverse change and runs the checks "
        "on it. It waits for your yes like any other change."
    )
    return [
        say(said, task_id=task_id),
        Post(slot="plan", task_id=task_id, payload=planned),
        Post(slot="task", task_id=task_id, payload=created),
        EnqueueJob(slot="job-0", task_id=task_id, ask=ask),
        Post(slot="started", task_id=task_id, payload=e.TaskStarted(task_id=task_id)),
    ]


def own_commit(landing: Landing) -> str | None:
    """The commit that brought this landing's change, which in a batch is not where main was moved to."""
    own = landing.facts.get("commit")
    if isinstance(own, str) and is_commit(own):
        return own
    return landing.intent.commit if landing.intent else landing.landed_commit


async def _find(desk: Desk, view: SessionView, landing_id: str) -> Landing | str:
    if not landing_id:
        landed = [one for one in view.landings.values() if one.state == "landed"]
        if not landed:
            return "Nothing has landed in this session yet."
        landing_id = max(landed, key=lambda one: one.seen).id
    try:
        return (await desk.hub.landing(landing_id)).landing
    except NotFound:
        return f"There is no landing {landing_id}; `pushpals landing list` shows them."
