"""One attempt's line to the hub: events, output and heartbeat in one stream of requests.

A request goes out when something waits (gathered for :data:`GATHER_S`), and at least every third of the
lease whether or not anything does. Its answer may ask to cancel; a refusal that names the lease ends the
attempt. A hub that is away is waited for: the batch is kept and sent again, and the lease of a job that
was running when a hub restarted starts anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Literal, Protocol

from pushpals.client import Backoff
from pushpals.protocol.commands import EventIn, Heartbeat, Progress, ProgressReply
from pushpals.protocol.errors import LeaseLost, NotFound, PushPalsError, StorageFull
from pushpals.protocol.events import Log
from pushpals.protocol.jobs import Job
from pushpals.work.outbox import Batch, Outbox

GATHER_S = 0.075
"""How long the first waiting line waits for others: below what a person notices."""

Verdict = Literal["cancel", "lost"]
_log = logging.getLogger(__name__)


class ProgressHub(Protocol):
    """The part of the hub that this needs."""

    async def progress(self, job_id: str, progress: Progress) -> ProgressReply: ...

    async def heartbeat(self, job_id: str, heartbeat: Heartbeat) -> ProgressReply: ...


class Reporting:
    """Sends what is in an outbox. ``run`` returns only when cancelled; ``verdict`` is what the hub wants."""

    def __init__(self, hub: ProgressHub, job: Job, outbox: Outbox, *, sandbox: str) -> None:
        self._hub = hub
        self._job = job
        self._outbox = outbox
        self._sandbox: str | None = sandbox
        self._base: str | None = None
        self._lease_s = job.lease_s
        self._backoff = Backoff(first_s=0.2, most_s=5.0)
        self._sending = asyncio.Lock()
        self._kept: Batch | None = None
        self.verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

    def based(self, commit: str) -> None:
        """The job works on this commit; told with the next request."""
        self._base = commit

    async def run(self) -> None:
        """Send for ever."""
        await self._send_next()
        listening = asyncio.create_task(self._listen(), name=f"{self._job.id}-listen")
        try:
            while not self._decided("lost"):
                await self._outbox.wait(self._lease_s / 3, GATHER_S)
                await self._send_next()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self) -> None:
        """Hear of a cancel when it is asked for: a request is held at the hub, which answers at once then.

        It is no report: whatever goes wrong here is left to those, which come every third of the lease.
        """
        failures = 0
        while not self.verdict.done():
            wait_s = min(30.0, self._lease_s / 3)
            ask = Heartbeat(attempt=self._job.attempt, wait_s=wait_s)
            until = asyncio.get_running_loop().time() + wait_s
            try:
                reply = await self._hub.heartbeat(self._job.id, ask)
            except (LeaseLost, NotFound):
                return
            except PushPalsError as error:
                failures += 1
                await asyncio.sleep(self._backoff.wait_s(failures, error.retry_after))
                continue
            failures = 0
            if reply.cancel:
                self._decide("cancel")
            else:
                # A hub that does not hold requests is asked no more often than one that does.
                await asyncio.sleep(max(0.0, until - asyncio.get_running_loop().time()))

    async def flush(self) -> None:
        """Send everything that waits now. Returns early when the lease is lost."""
        while (self._kept or len(self._outbox)) and not self._decided("lost"):
            await self._send_next()

    async def _send_next(self) -> None:
        failures = 0
        async with self._sending:
            while not self._decided("lost"):
                self._kept = self._kept or self._outbox.take()
                base, sandbox = self._base, self._sandbox
                try:
                    reply = await self._hub.progress(
                        self._job.id,
                        Progress(
                            attempt=self._job.attempt,
                            events=self._kept.events,
                            log=self._kept.lines,
                            base=base,
                            sandbox=sandbox,
                        ),
                    )
                except (LeaseLost, NotFound) as error:
                    _log.warning("%s: %s", self._job.id, error.message)
                    self._decide("lost")
                    return
                except PushPalsError as error:
                    if not error.retryable and not isinstance(error, StorageFull):
                        # Sending the same again would be refused again; what was lost is said instead.
                        self._kept = self._refused(self._kept, error)
                        failures += 1
                        if failures > 3:
                            self._kept = None
                            return
                        continue
                    failures += 1
                    await asyncio.sleep(self._backoff.wait_s(failures, error.retry_after))
                    continue
                self._kept = None
                self._lease_s = max(1.0, reply.lease_s)
                if base == self._base:
                    self._base = None
                self._sandbox = None
                if reply.cancel:
                    self._decide("cancel")
                return

    def _refused(self, batch: Batch, error: PushPalsError) -> Batch:
        _log.error("%s: the hub refused a report: %s", self._job.id, error.message)
        if self._base is not None and error.code in ("job.base_fixed", "job.bad_base"):
            self._base = None
            return batch
        lost = f"{len(batch.events)} events and {len(batch.lines)} lines were refused by the hub"
        note = Log(level="error", message=f"{lost}: {error.message}")
        return Batch(events=[EventIn(type=note.TYPE, payload={"level": note.level, "message": note.message})])

    def _decide(self, verdict: Verdict) -> None:
        with contextlib.suppress(asyncio.InvalidStateError):
            self.verdict.set_result(verdict)
        if verdict == "lost" and self.verdict.result() == "cancel":
            # Cancelled first and expired meanwhile: there is nobody to report to any more.
            self.verdict = asyncio.get_running_loop().create_future()
            self.verdict.set_result("lost")

    def _decided(self, verdict: Verdict) -> bool:
        return self.verdict.done() and self.verdict.result() == verdict
