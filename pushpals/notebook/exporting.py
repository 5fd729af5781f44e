"""A run as a notebook: what happened, said in words, each with the question that backs it.

Outputs are made here, by the same code that the cells call, so no kernel is needed to write a notebook and
running it gives the same outputs. The facts travel in the notebook (:mod:`.run`); the hub is not needed.
"""

from __future__ import annotations

import json
from typing import Any

from pushpals.notebook.run import Facts, Run, pack
from pushpals.notebook.shown import Shown
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing

Cell = dict[str, Any]

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook(facts: Facts, *, replay: bool = False) -> str:
    """The notebook's JSON. ``replay`` adds the console at any cursor. Raises ``TooLong``."""
    packed = pack(facts)
    run = Run.decode(packed)
    book = _Book(run)
    book.words(
        f"# {_title(facts)}\n\n"
        "What happened, told from the record. The facts are in this notebook; it needs no hub. "
        "Every statement is followed by the question that backs it, and the last section looks whether the "
        "pieces still belong together."
    )
    book.code(
        f"cursor = {run.events[-1].cursor if run.events else 0}  # how far to look", tags=["parameters"]
    )
    book.code(
        f'%load_ext pushpals\nfrom pushpals.notebook import Run\n\nrun = Run.decode(\n    """\n{packed}\n"""\n)\nrun',
        run,
    )
    book.words("## What happened")
    book.code("run.timeline()", run.timeline())
    for job in run.jobs:
        _tell_job(book, job, [one for one in run.landings if one.job_id == job.id])
    if run.approvals:
        book.words("## Who decided\n\n" + _decided(run))
        book.ask(
            "SELECT id, state, summary, decided_by, decided_at, reason FROM v_approvals ORDER BY created_at"
        )
    book.words(
        "## Look again\n\nThe hashes are computed anew, and each landing is held against its receipts and its yes."
    )
    book.code("run.verify()", run.verify())
    if replay:
        book.words(
            "## Replay\n\nThe console at any cursor: change `cursor` at the top, or ask for another one here."
        )
        for cursor in _turns(run):
            book.code(f"run.at({cursor})", run.at(cursor))
        book.code("run.at(cursor)", run.at(run.events[-1].cursor if run.events else 0))
    return book.json()


class _Book:
    """Cells in order, with what each of them shows."""

    def __init__(self, run: Run):
        self._run = run
        self._cells: list[Cell] = []
        self._count = 0

    def words(self, text: str) -> None:
        self._cells.append(
            {"cell_type": "markdown", "id": self._id(), "metadata": {}, "source": _lines(text)}
        )

    def code(self, source: str, shown: Shown | None = None, *, tags: list[str] | None = None) -> None:
        self._count += 1
        outputs = []
        if shown is not None:
            data = {mime: _lines(text) for mime, text in shown._repr_mimebundle_().items()}
            outputs.append(
                {
                    "output_type": "execute_result",
                    "execution_count": self._count,
                    "metadata": {},
                    "data": data,
                }
            )
        self._cells.append(
            {
                "cell_type": "code",
                "id": self._id(),
                "metadata": {"tags": tags} if tags else {},
                "execution_count": self._count,
                "source": _lines(source),
                "outputs": outputs,
            }
        )

    def ask(self, sql: str) -> None:
        self.code(f"%%ppsql --file {{run}}\n{sql}", self._run.sql(sql))

    def json(self) -> str:
        book = {"cells": self._cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}
        return json.dumps(book, indent=1, ensure_ascii=False) + "\n"

    def _id(self) -> str:
        return f"run-{len(self._cells) + 1:03}"


def _tell_job(book: _Book, job: Job, landings: list[Landing]) -> None:
    ended = f"It ended **{job.state}**" + (f": {_plain(job.result.summary)}" if job.result else ".")
    book.words(
        f"## {_plain(job.title or job.kind)}\n\nJob `{job.id}`, asked for by {_plain(job.requested_by)}. {ended}"
    )
    book.ask(
        f"SELECT kind, state, attempt, worker_id, waited_s, worked_s, summary, error FROM v_jobs WHERE id = '{job.id}'"
    )
    book.words("What was run for it:")
    book.ask(
        "SELECT argv, ok, exit_code, sandbox FROM v_commands"
        f" WHERE task_id = (SELECT task_id FROM v_jobs WHERE id = '{job.id}') ORDER BY cursor"
    )
    if job.result is not None and job.result.head is not None:
        book.words("The change:")
        book.code(f"run.diff({job.id!r})", book._run.diff(job.id))
    book.words("The receipts, for the job and for what landed of it:")
    book.ask(
        "SELECT name, verdict, passed, failed, substr(commit_id, 1, 12) AS on_commit, landing_id, run_by"
        f" FROM v_checks WHERE job_id = '{job.id}' ORDER BY cursor"
    )
    for landing in landings:
        where = f" as `{landing.landed_commit[:12]}`" if landing.landed_commit else ""
        book.words(f"Landing `{landing.id}` is **{landing.state}**{where}.")
        book.ask(
            "SELECT state, cause, approved_by, substr(head, 1, 12) AS head,"
            f" substr(landed_commit, 1, 12) AS landed, seconds FROM v_landings WHERE id = '{landing.id}'"
        )


def _title(facts: Facts) -> str:
    if facts.job_id is None:
        return f"Session {facts.session.id}"
    job = next(job for job in facts.jobs if job.id == facts.job_id)
    return _plain(job.title or job.id)


def _decided(run: Run) -> str:
    return "\n".join(
        f"- `{one.id}`: {_plain(one.summary)}: **{one.state}**"
        + (f" by {_plain(one.decided_by)}" if one.decided_by else "")
        for one in run.approvals
    )


def _turns(run: Run) -> list[int]:
    """Cursors at which something stood still for a person to see, at most five."""
    marks = [
        e.cursor
        for e in run.events
        if e.type in ("job_enqueued", "job_completed", "approval_required", "approved")
    ]
    return marks[:5]


def _plain(text: str) -> str:
    """Foreign words in Markdown: no markup, no links, one line."""
    kept = " ".join(text.split())[:300]
    return "".join(f"\\{char}" if char in "\\`*_{}[]()<>#+!|~$&:" else char for char in kept)


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
