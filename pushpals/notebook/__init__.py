"""Push Pals inside of a notebook. Everything is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushpals.notebook.result import Result as Result
    from pushpals.notebook.run import Run as Run
    from pushpals.notebook.session import Hub as Hub
    from pushpals.notebook.session import Session as Session
    from pushpals.notebook.widget import Console as Console

_FROM = {"Console": "widget", "Hub": "session", "Result": "result", "Run": "run", "Session": "session"}

__all__ = ["Console", "Hub", "Result", "Run", "Session"]


def __getattr__(name: str) -> Any:
    module = _FROM.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
