"""Push Pals: a self-hosted coding team that lives beside a repository.

``from pushpals import Session`` talks to it from a notebook, ``Console`` shows it there, and ``%load_ext
pushpals`` adds the magics. Importing this module imports nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushpals.notebook import Console as Console
    from pushpals.notebook import Hub as Hub
    from pushpals.notebook import Session as Session

__version__ = "0.1.0"

_NOTEBOOK = frozenset({"Console", "Hub", "Session"})


def __getattr__(name: str) -> Any:
    if name not in _NOTEBOOK:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("pushpals.notebook"), name)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where JupyterLab finds the panel in a checkout; from a wheel it is in ``share/jupyter``."""
    return [{"src": "labextensions/pushpals", "dest": "pushpals"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """How a Jupyter server finds the proxy to the hub."""
    module = importlib.import_module("pushpals.server.jupyter")
    return [{"module": module.__name__, "app": module.PushPals}]


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext pushpals``"""
    importlib.import_module("pushpals.notebook.magics").load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext pushpals``"""
    importlib.import_module("pushpals.notebook.magics").unload(shell)
