"""How long to wait before the next try: exponential, with full jitter, bounded.

Full jitter spreads a crowd that lost the same hub over the whole interval, so that its return is not
another storm (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). Call sites do
not decide about retries: :class:`pushpals.client.hub.HubClient` does, with the one rule below.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

RETRYABLE: frozenset[int] = frozenset({429, 502, 503, 504})
"""Answers that say "later" and promise that nothing was done, or that a key makes a repeat harmless.

507 is not among them: a full disk does not empty within a back-off.
"""


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule of waits, in seconds. ``tries`` counts the first one; streams ignore it."""

    first_s: float = 0.1
    most_s: float = 5.0
    tries: int = 8
    jitter: Callable[[], float] = random.random
    """Gives numbers from 0 to 1."""

    def wait_s(self, failures: int, asked_s: float | None = None) -> float:
        """The wait after so many failures in a row. ``asked_s`` is the server's ``Retry-After``: at least
        that long, but never longer than ``most_s`` twice over."""
        ceiling = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
        wait = ceiling * self.jitter()
        if asked_s is not None:
            wait = min(max(wait, asked_s), 2 * self.most_s)
        return wait
