"""Which hub a kernel speaks to, and with which rights: see :mod:`pushpals.client.discovery`.

The token is a notebook's: it reads, posts messages, cancels and retries, and decides nothing. A token that
is given, by argument or by ``PUSHPALS_TOKEN``, is used as it is.
"""

from __future__ import annotations

import os
from pathlib import Path

from pushpals.client.discovery import Found, NothingFound, find

__all__ = ["Found", "NothingFound", "find_hub"]


def find_hub(url: str | None = None, token: str | None = None, session: str | None = None) -> Found:
    """The hub for this kernel. Raises :class:`NothingFound` with what to do."""
    return find("notebook", env=os.environ, start=Path.cwd(), url=url, token=token, session_id=session)
