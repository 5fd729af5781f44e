"""What every member of the team is: a loop of steps against the hub, started, drained and ended alike.

A role promises:

- it never dies because the hub restarts: it says once that the hub is away, waits with growing jittered
  pauses, and says once that the hub is back;
- ``stop`` asks it to finish what it does and return; it interrupts no step by itself (a step that can wait
  long watches ``stopping``);
- ``start`` and ``close`` run once each, ``close`` also after a failed start, and nothing is left behind;
- whatever loops beside the steps is owned by ``run`` and ends with it.

``step`` is the unit that tests drive: no sleep, no clock of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable

from pushpals.client import Backoff
from pushpals.protocol.errors import Forbidden, PushPalsError, Unauthenticated

MAX_ODD_FAILURES = 10
"""So many unexpected errors in a row end a role: the process is broken, and its supervisor starts another."""


class RoleEnded(Exception):
    """The role cannot go on, and waiting does not help. ``exit_code`` is for the process."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Role(ABC):
    """One member of the team."""

    name: str = "role"

    def __init__(self, *, backoff: Backoff | None = None) -> None:
        self.stopping = asyncio.Event()
        self.log = logging.getLogger(f"pushpals.{self.name}")
        self._backoff = backoff or Backoff(first_s=0.2, most_s=10.0)
        self._failures = 0

    async def start(self) -> None:  # noqa: B027 - nothing to prepare is an answer
        """Prepare, once. May raise :class:`RoleEnded`."""

    @abstractmethod
    async def step(self) -> None:
        """One unit of work, or one wait for it."""

    async def close(self) -> None:  # noqa: B027 - nothing to give back is an answer
        """Give everything back. Called once, also after a failed start."""

    def beside(self) -> list[Callable[[], Awaitable[None]]]:
        """What is to run beside the steps, each for ever; cancelled when the steps end."""
        return []

    def stop(self) -> None:
        """Finish and return. May be called from a signal handler, and again."""
        self.stopping.set()

    async def run(self) -> None:
        """Work until stopped. Raises :class:`RoleEnded` when that is impossible."""
        try:
            if await self._until_it_works(self.start):
                async with self._owned(self.beside()):
                    while not self.stopping.is_set():
                        await self._until_it_works(self.step)
        finally:
            await asyncio.shield(self.close())

    async def pause(self, seconds: float) -> bool:
        """Wait, but not longer than until :meth:`stop`. True if the role is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        return self.stopping.is_set()

    async def _until_it_works(self, action: Callable[[], Awaitable[None]]) -> bool:
        """Do it, waiting out an absent hub. False if the role was stopped before it was done."""
        odd = 0
        while True:
            asked: float | None = None
            try:
                await action()
            except (Unauthenticated, Forbidden) as error:
                raise RoleEnded(f"the hub does not accept this token: {error.message}") from error
            except PushPalsError as error:
                if not error.retryable:
                    odd += 1
                    self.log.error("%s: %s", self.name, error.message)
                elif self._failures == 0:
                    self.log.warning("the hub is away, trying again until it is back: %s", error.message)
                asked = error.retry_after
                if odd >= MAX_ODD_FAILURES:
                    raise
            except (RoleEnded, asyncio.CancelledError):
                raise
            except Exception:
                odd += 1
                self.log.exception("%s: an unexpected error", self.name)
                if odd >= MAX_ODD_FAILURES:
                    raise
            else:
                if self._failures and not odd:
                    self.log.warning("the hub is back")
                self._failures = 0
                return True
            self._failures += 1
            if await self.pause(self._backoff.wait_s(self._failures, asked)):
                return False

    @contextlib.asynccontextmanager
    async def _owned(self, loops: list[Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self._for_ever(loop), name=f"{self.name}-{loop.__name__}") for loop in loops
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _for_ever(self, loop: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                await loop()
                failures = 0
            except PushPalsError as error:
                failures += 1
                self.log.debug("%s: %s", loop.__name__, error.message)
                await asyncio.sleep(self._backoff.wait_s(failures, error.retry_after))
