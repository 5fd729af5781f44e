"""An attempt's clock, which stands still while a person is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from pushpals.work.tools import Tools


class Patience:
    """Made before the attempt's limit exists; ``limit`` and ``tools`` are given as soon as they do."""

    def __init__(self) -> None:
        self.limit: asyncio.Timeout | None = None
        self.tools: Tools | None = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        now = asyncio.get_running_loop().time
        began, limit = now(), self.limit
        until = limit.when() if limit is not None else None
        if limit is not None and not limit.expired():
            limit.reschedule(None)
        try:
            yield
        finally:
            waited = now() - began
            if self.tools is not None:
                self.tools.waited_s += waited
            if limit is not None and until is not None and not limit.expired():
                limit.reschedule(until + waited)
