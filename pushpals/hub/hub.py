"""The one verb: run a command.

A command is a synchronous function ``(tx, command, now) -> reply``. It checks a state machine, writes
records and appends events in one transaction; nothing awaits inside, so nothing interleaves. The store
publishes its events after the commit and before ``run`` returns.

With an idempotency key, the first answer is remembered in the same transaction: repeating the request
returns that answer, also after a restart, also when two race. The same key with another body is refused.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from pushpals.hub.figures import Figures
from pushpals.hub.leases import Leases
from pushpals.protocol.errors import KeyReused, StorageFull, Unavailable
from pushpals.protocol.ids import SYSTEM_SESSION
from pushpals.protocol.jobs import Job, Wire
from pushpals.protocol.landings import Lane
from pushpals.protocol.records import Actor, Session
from pushpals.protocol.times import Clock, stamp, utc_now
from pushpals.store.base import Remembered, Store, StoreBusy, StoreClosed, StoreFull, Tx

C = TypeVar("C", bound=Wire)
T = TypeVar("T")
Command = Callable[[Tx, C, datetime], T]

SYSTEM = Actor(role="operator", token_id="hub", label="hub")
"""The hub itself, when upkeep acts."""

KEY_LENGTH = 200

RUN_GRACE_S = 30.0
"""How much longer than its budget an attempt may last, in seconds: its worker ends it first, and says how."""


class Hub:
    """The brain, without HTTP. Owns the store and the leases; knows no transport."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        version: str = "",
    ):
        self.store = store
        self.clock = clock
        self.monotonic = monotonic
        self.version = version
        self.started_at = stamp(clock())
        self.job_leases = Leases(monotonic)
        self.lane_leases = Leases(monotonic)
        self.run_limits = Leases(monotonic)
        """When running attempts are over their budget."""
        self.figures = Figures(store.reader, monotonic)

    async def start(self) -> None:
        """Make the system session and give every running job and held lane one fresh lease.

        A hub that was down for an hour must not hand out every running job a second time.
        """
        await self.store.write(_make_system_session, actor=SYSTEM, now=self.clock())
        for job in await self.store.reader.find(Job, state="claimed"):
            self.job_leases.renew(job.id, job.attempt, job.lease_s)
            self.run_limits.renew(job.id, job.attempt, run_limit_s(job))
        for lane in await self.store.reader.find(Lane):
            if lane.holder is not None:
                self.lane_leases.renew(lane.id, lane.fence, 30.0)

    async def run(
        self,
        command: Command[C, T],
        body: C,
        *,
        actor: Actor,
        key: str | None = None,
        reply: Any = None,
    ) -> T:
        """Run ``command`` and return its reply once it is durable. ``reply`` is its type, for replays."""
        work: Callable[[Tx], T]
        if key is None or reply is None:

            def work(tx: Tx) -> T:
                return command(tx, body, tx.now)
        else:
            scope = _scope(command, actor, key)
            print_ = hashlib.sha256(msgspec.json.encode(body)).hexdigest()

            def work(tx: Tx) -> T:
                known = tx.recall(scope)
                if known is not None:
                    if known.fingerprint != print_:
                        raise KeyReused("this idempotency key was used for another request; take a new one")
                    return msgspec.json.decode(known.answer, type=reply)  # type: ignore[no-any-return]
                result = command(tx, body, tx.now)
                if result is not None:
                    tx.remember(scope, Remembered(fingerprint=print_, answer=msgspec.json.encode(result)))
                return result

        try:
            return await self.store.write(work, actor=actor, now=self.clock())
        except StoreBusy as error:
            raise Unavailable(f"{error}", code="hub.busy", retry_after=1.0) from None
        except StoreClosed:
            raise Unavailable("the hub is stopping; come back in a moment", retry_after=2.0) from None
        except StoreFull as error:
            raise StorageFull(f"{error}") from None


def run_limit_s(job: Job) -> float:
    """How long an attempt may be claimed at most, in seconds."""
    return job.budget.run_s + job.budget.final_s + RUN_GRACE_S


def _scope(command: Callable[..., Any], actor: Actor, key: str) -> str:
    name = f"{actor.token_id}\0{command.__module__}.{command.__qualname__}\0{key[:KEY_LENGTH]}"
    return hashlib.sha256(name.encode()).hexdigest()


def _make_system_session(tx: Tx) -> None:
    if tx.get(Session, SYSTEM_SESSION) is None:
        tx.put(
            Session(
                id=SYSTEM_SESSION,
                created_at=stamp(tx.now),
                label="The hub's own history",
                epoch=tx.new_id("epoch"),
            )
        )
