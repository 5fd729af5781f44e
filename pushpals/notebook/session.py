"""``Session`` and ``Hub``: the team from a cell.

::

    from pushpals import Session

    s = Session()
    s.ask("run the tests")        # says it and shows what happens until the team waits or is done
    s.jobs()                      # a table; s.jobs()[0] is the record
    await s.aio.jobs()            # the same, for cells that await

Everything runs on the kernel's I/O thread, so nothing here needs or disturbs the kernel's own event loop,
and an interrupt of the kernel ends what is waited for. The token is the notebook's: it talks, asks, cancels
and retries. There is no ``approve`` here on purpose: whatever runs in a cell holds the kernel's token, and
the cell may have been written by the agent whose change waits. Decide in the panel, on the hub's page, or
with ``pushpals approve``.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from pushpals.client import HubClient
from pushpals.client.discovery import Found
from pushpals.notebook import asking
from pushpals.notebook.discovery import find_hub
from pushpals.notebook.result import Result
from pushpals.notebook.shown import Listing, Shown, Told, html_table, text_table
from pushpals.notebook.telling import Ended, history, line, turn
from pushpals.notebook.waiting import away, wait
from pushpals.policy.display import plain
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import Posted, SystemStatus
from pushpals.protocol.errors import NotFound
from pushpals.protocol.jobs import Job
from pushpals.protocol.landings import Landing
from pushpals.protocol.records import Worker
from pushpals.protocol.story import story

T = TypeVar("T")

TAIL = 20
MOST = 1_000


class NoSuch(LookupError):
    """Nothing here begins with that."""


class Conversation(Told):
    """What was said and done after a message, and how it ended: ``done``, ``failed`` or ``approval``."""

    def __init__(self, lines: list[str], ended: Ended | None):
        super().__init__(lines)
        self.ended = ended

    @property
    def closing(self) -> str:
        """What is left to say where the team goes no further by itself; empty when it is done."""
        return {
            "done": "", "failed": "the team did not reach the goal", None: "still going on",
            "approval": "the team waits for your word: in the panel, or with pushpals approve",
        }[self.ended]  # fmt: skip

    def text(self) -> str:
        return "\n".join([*self.lines, *([f"({self.closing})"] if self.closing else [])])


class Status(Shown):
    """The team in figures. ``data`` is the hub's own answer."""

    def __init__(self, data: SystemStatus):
        self.data = data

    def _rows(self) -> list[list[Any]]:
        data = self.data
        unfinished = {name: n for name, n in sorted(data.jobs.items()) if n}
        return [
            ["hub", f"{data.version}, protocol {data.protocol_version}"],
            ["workers", ", ".join(f"{one.id} {one.state}" for one in data.workers) or "none"],
            ["jobs", ", ".join(f"{n} {name}" for name, n in unfinished.items()) or "none"],
            ["waiting for you", str(data.approvals_open)],
            ["queues", ", ".join(f"{lane.id} {lane.mode}" for lane in data.lanes) or "none"],
        ]

    def text(self) -> str:
        return text_table(["what", "now"], self._rows())

    def html(self) -> str:
        return html_table(["what", "now"], self._rows(), "the team now")


class AsyncSession:
    """One session, for code that awaits. :class:`Session` is the same without."""

    def __init__(self, session: str | None, *, find: Callable[[], Found]):
        self._named = session
        self._find = find

    @property
    def id(self) -> str:
        return self._named or self._find().session_id

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[HubClient]:
        """A connection. It belongs to the loop that it is made on, so each call makes its own."""
        found = self._find()
        async with HubClient(found.url, found.token, backoff=asking.PATIENCE) as hub:
            yield hub

    async def say(self, text: str, *, to: str | None = None) -> Posted:
        """Say something; it is durable when this returns."""
        async with self.hub() as hub:
            return await self._say(hub, text, to)

    async def ask(
        self, text: str, *, to: str | None = None, on_line: Callable[[str], None] | None = None
    ) -> Conversation:
        """Say something and follow it until the team is done, or waits for a person."""
        lines: list[str] = []
        async with self.hub() as hub:
            posted = await self._say(hub, text, to)
            async with aclosing(turn(hub, self.id, posted)) as events:
                async for event in events:
                    if isinstance(event, str):
                        return Conversation(lines, event)
                    if (said := line(event)) is not None:
                        lines.append(said)
                        if on_line is not None:
                            on_line(said)
        return Conversation(lines, None)

    async def watch(self, *, on_line: Callable[[str], None], after: int | None = None) -> None:
        """Hand every further line to ``on_line``. Ends only by being cancelled."""
        async with self.hub() as hub:
            start = after if after is not None else (await hub.snapshot(self.id)).cursor
            async with aclosing(hub.follow(self.id, after=start)) as events:
                async for event in events:
                    if (said := line(event)) is not None:
                        on_line(said)

    async def tail(self, n: int = TAIL) -> Told:
        """The last lines of the session."""
        lines: deque[str] = deque(maxlen=n)
        async with self.hub() as hub:
            async for event in history(hub, self.id):
                if (said := line(event)) is not None:
                    lines.append(said)
        return Told(lines)

    async def jobs(self, state: str | None = None, *, limit: int = 50) -> Listing[Job]:
        """The session's jobs, newest first."""
        async with self.hub() as hub:
            jobs = (await hub.jobs(session_id=self.id, state=state, limit=limit)).items
        heads = ["id", "state", "kind", "title", "worker"]
        return Listing(
            "jobs", heads, jobs, ([j.id, j.state, j.kind, j.title, j.worker_id or ""] for j in jobs)
        )

    async def job(self, job_id: str) -> Told:
        """The story of one job. Any beginning of its id will do."""
        async with self.hub() as hub:
            job = await self._job(hub, job_id)
            events = [event async for event in history(hub, job.session_id)]
        head = f"{job.id}  {job.state}  {job.title}"
        return Told([head, *(f"{entry.step:<9} {entry.text}" for entry in story(events, job.id))])

    async def diff(self, job_id: str) -> Told:
        """The change that a job made, as a unified diff."""
        async with self.hub() as hub:
            job = await self._job(hub, job_id)
            if job.result is None or job.result.patch is None:
                return Told([f"{job.id} ({job.state}) changed nothing"])
            patch = (await hub.get_artifact(job.result.patch)).decode("utf-8", "replace")
        return Told(patch.splitlines(), diff=True)

    async def cancel(self, job_id: str, reason: str | None = None) -> Told:
        """Stop a job, whatever it is doing."""
        async with self.hub() as hub:
            job = (await hub.cancel_job((await self._job(hub, job_id)).id, reason)).job
        return Told([f"{job.id} {job.state if job.ended else 'is asked to stop'}"])

    async def retry(self, job_id: str, note: str | None = None) -> Told:
        """Run a failed or cancelled job again."""
        async with self.hub() as hub:
            job = (await hub.retry_job((await self._job(hub, job_id)).id, note)).job
        return Told([f"{job.id} {job.state}"])

    async def approvals(self, state: str = "open") -> Listing[Approval]:
        """What waits for a word; see the head of this module for where to give it."""
        async with self.hub() as hub:
            found = (await hub.approvals(session_id=self.id, state=state)).items
        cells = ([a.id, a.state, a.summary, a.requested_by, a.decided_by or ""] for a in found)
        return Listing(f"{state} approvals", ["id", "state", "what", "asked by", "decided by"], found, cells)

    async def landings(self, state: str | None = None) -> Listing[Landing]:
        """What was asked to land, newest first."""
        async with self.hub() as hub:
            found = (await hub.landings(session_id=self.id, state=state)).items
        cells = (
            [one.id, one.state, one.title, (one.landed_commit or "")[:10], one.cause or ""] for one in found
        )
        return Listing("landings", ["id", "state", "title", "commit", "why"], found, cells)

    async def workers(self) -> Listing[Worker]:
        """Who works here."""
        async with self.hub() as hub:
            found = (await hub.workers()).items
        cells = ([one.id, one.state, ", ".join(one.kinds), one.sandbox, ", ".join(one.jobs)] for one in found)
        return Listing("workers", ["id", "state", "kinds", "sandbox", "jobs"], found, cells)

    async def status(self) -> Status:
        """The whole team in figures."""
        async with self.hub() as hub:
            return Status(await hub.status())

    async def _say(self, hub: HubClient, text: str, to: str | None) -> Posted:
        try:
            return await hub.say(self.id, text, to=to)
        except NotFound:
            await hub.create_session(self.id)
            return await hub.say(self.id, text, to=to)

    async def _job(self, hub: HubClient, job_id: str) -> Job:
        known = {job.id: job for job in (await hub.jobs(session_id=self.id, limit=MOST)).items}
        if job_id in known:
            return known[job_id]
        found = sorted(
            one for one in known if one.startswith(job_id) or one.partition("-")[2].startswith(job_id)
        )
        if len(found) != 1:
            which = f"more than one job: {', '.join(found[:5])}" if found else "no job of this session"
            raise NoSuch(f"{job_id!r} begins {which}")
        return known[found[0]]


class Away:
    """The methods of an :class:`AsyncSession`, run on the I/O thread and awaited here."""

    def __init__(self, inner: AsyncSession):
        self._inner = inner

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._inner, name)
        if name.startswith("_") or not inspect.iscoroutinefunction(method):
            raise AttributeError(name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await away(method(*args, **kwargs))

        return call


class Session:
    """One session of a hub.

    ``session``, ``url`` and ``token`` are found when they are not given: from the environment, the settings,
    the ``pushpals up`` of the repository around the notebook, or JupyterHub.
    """

    def __init__(self, session: str | None = None, *, url: str | None = None, token: str | None = None):
        self._where = asking.Where(url=url, token=token, session=session)
        self._inner = AsyncSession(session, find=lambda: find_hub(url, token, session))
        self.aio = Away(self._inner)

    @property
    def id(self) -> str:
        return self._inner.id

    def say(self, text: str, *, to: str | None = None) -> Told:
        """Say something; it is durable when this returns."""
        posted = wait(self._inner.say(text, to=to))
        return Told([f"said, at {posted.cursor}"])

    def ask(
        self, text: str, *, to: str | None = None, on_line: Callable[[str], None] | None = None
    ) -> Conversation:
        """Say something and wait until the team is done, or waits for a person."""
        return wait(self._inner.ask(text, to=to, on_line=on_line))

    def watch(self, *, on_line: Callable[[str], None] = print, after: int | None = None) -> None:
        """Print what happens until the kernel is interrupted."""
        try:
            wait(self._inner.watch(on_line=lambda line: on_line(plain(line)), after=after))
        except KeyboardInterrupt:
            return

    def tail(self, n: int = TAIL) -> Told:
        """The last lines of the session."""
        return wait(self._inner.tail(n))

    def jobs(self, state: str | None = None, *, limit: int = 50) -> Listing[Job]:
        """The session's jobs, newest first."""
        return wait(self._inner.jobs(state, limit=limit))

    def job(self, job_id: str) -> Told:
        """The story of one job."""
        return wait(self._inner.job(job_id))

    def diff(self, job_id: str) -> Told:
        """The change that a job made, as a unified diff."""
        return wait(self._inner.diff(job_id))

    def cancel(self, job_id: str, reason: str | None = None) -> Told:
        """Stop a job, whatever it is doing."""
        return wait(self._inner.cancel(job_id, reason))

    def retry(self, job_id: str, note: str | None = None) -> Told:
        """Run a failed or cancelled job again."""
        return wait(self._inner.retry(job_id, note))

    def approvals(self, state: str = "open") -> Listing[Approval]:
        """What waits for a word; see the head of this module for where to give it."""
        return wait(self._inner.approvals(state))

    def landings(self, state: str | None = None) -> Listing[Landing]:
        """What was asked to land, newest first."""
        return wait(self._inner.landings(state))

    def workers(self) -> Listing[Worker]:
        """Who works here."""
        return wait(self._inner.workers())

    def status(self) -> Status:
        """The whole team in figures."""
        return wait(self._inner.status())

    def sql(self, statement: str, *, limit: int = 1_000, timeout_s: float = 5.0, **values: Any) -> Result:
        """Ask this session's history in SQL; ``:name`` is bound from the keywords."""
        where = asking.Where(url=self._where.url, token=self._where.token, session=self.id)
        return asking.ask(statement, values, where=where, limit=limit, timeout_s=timeout_s)

    def __repr__(self) -> str:
        return f"Session({self._where.session!r})" if self._where.session else "Session()"

    def _repr_html_(self) -> str:
        return f"<code>{self.__repr__()}</code>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


class Hub:
    """A hub: its sessions, and questions over all of them."""

    def __init__(self, url: str | None = None, *, token: str | None = None):
        self._url, self._token = url, token
        self._any = AsyncSession(None, find=lambda: find_hub(url, token))

    def session(self, session: str | None = None) -> Session:
        """One of its sessions."""
        return Session(session, url=self._url, token=self._token)

    def sessions(self) -> Listing[Any]:
        """The sessions that the token may see."""

        async def work() -> Listing[Any]:
            async with self._any.hub() as hub:
                found = (await hub.sessions()).items
            return Listing(
                "sessions", ["id", "events", "label"], found, ([s.id, s.last, s.label] for s in found)
            )

        return wait(work())

    def status(self) -> Status:
        return wait(self._any.status())

    def workers(self) -> Listing[Worker]:
        return wait(self._any.workers())

    def sql(self, statement: str, *, limit: int = 1_000, timeout_s: float = 5.0, **values: Any) -> Result:
        """Ask the history of all sessions that the token may see."""
        where = asking.Where(url=self._url, token=self._token)
        return asking.ask(statement, values, where=where, limit=limit, timeout_s=timeout_s)

    def __repr__(self) -> str:
        return "Hub()"
