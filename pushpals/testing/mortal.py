"""A process that dies at a chosen moment, as far as everything outside of it can tell.

``Mortal(thing, life)`` passes calls on to ``thing`` and counts them in ``life``; the call at which the life
ends raises :class:`Died` either before it is made or after it was made and before its answer arrived. Both
matter: in the second case the world has changed and nobody has heard of it. A story is told once for each
moment, with a new process taking over, until no moment is left.

``Died`` is no ``Exception``: nothing that handles errors can go on after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any


class Died(BaseException):
    """The process was killed here."""


class Life:
    """Ends at call number ``at`` (from 1), ``after`` it was made or before. Shared by several mortals."""

    def __init__(self, at: int, *, after: bool):
        self.at = at
        self.after = after
        self.calls = 0
        self.log: list[str] = []

    @property
    def over(self) -> bool:
        return self.calls >= self.at

    async def live(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if self.over:
            raise Died(name)
        self.calls += 1
        self.log.append(name)
        if self.over and not self.after:
            raise Died(name)
        answer = await call()
        if self.over:
            raise Died(name)
        return answer


class Mortal:
    """Everything that ``thing`` can do, until its ``life`` is over. ``names`` limits what counts."""

    def __init__(self, thing: Any, life: Life, names: frozenset[str] | None = None):
        self._thing = thing
        self._life = life
        self._names = names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if (
            not callable(found)
            or name.startswith("_")
            or (self._names is not None and name not in self._names)
        ):
            return found

        async def call(*args: Any, **options: Any) -> Any:
            return await self._life.live(name, lambda: found(*args, **options))

        return call
