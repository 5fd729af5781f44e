"""Waiting for the I/O thread from a cell, so that the kernel's interrupt ends what is waited for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pushpals.notebook.relay import io_thread

T = TypeVar("T")


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the I/O thread and wait for it here. An interrupt cancels it, and is raised."""
    future = asyncio.run_coroutine_threadsafe(work, io_thread().loop)
    try:
        return future.result()
    except BaseException:
        if future.cancel():
            # Let it say good-bye: a stream is closed, a question is taken back.
            with contextlib.suppress(concurrent.futures.CancelledError, concurrent.futures.TimeoutError):
                future.result(timeout=2.0)
        raise


async def away(work: Coroutine[Any, Any, T]) -> T:
    """The same for a cell that awaits: run on the I/O thread, wait on the kernel's own loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, io_thread().loop))


def in_thread(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """Run something that blocks beside the cell; an interrupt calls ``stop`` and waits for its end."""
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="pushpals-ask", daemon=True)
    thread.start()
    try:
        return outcome.result()
    except KeyboardInterrupt:
        stop()
        thread.join(timeout=5.0)
        raise
