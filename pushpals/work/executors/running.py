"""The commands an executor has running, so that closing it ends them and waits until they are gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from pushpals.work.executors.base import ExecutorUnavailable


class Running:
    """A set of interrupts, one per command. Each command ends when its interrupt is set."""

    def __init__(self) -> None:
        self._interrupts: set[asyncio.Future[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.closed = False

    @contextlib.contextmanager
    def one(self) -> Iterator[asyncio.Future[None]]:
        """An interrupt for a command that runs as long as the context. Refused after :meth:`close`."""
        if self.closed:
            raise ExecutorUnavailable("this executor is closed; make a new one")
        interrupt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._interrupts.add(interrupt)
        self._idle.clear()
        try:
            yield interrupt
        finally:
            self._interrupts.discard(interrupt)
            if not self._interrupts:
                self._idle.set()

    async def close(self) -> None:
        self.closed = True
        for interrupt in self._interrupts:
            if not interrupt.done():
                interrupt.set_result(None)
        await self._idle.wait()
