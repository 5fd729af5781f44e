"""A small repository and the real stack on it, as processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from pushpals.testing.repos import make_cloned
from pushpals.testing.stack import Stack, fingerprint

CHECKS = """\
[[checks]]
name = "tests"
command = "python check.py"
"""
CHECK = """\
import pathlib, time

time.sleep(0.5)  # long enough to be killed in
print("looked at", len(list(pathlib.Path("notes").glob("*.txt"))), "notes")
"""

Start = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Bring up a stack; at the end its checkout is byte for byte what it was and no process is left."""

    @asynccontextmanager
    async def begin(*, workers: int = 2) -> AsyncIterator[Stack]:
        files = {"README.md": "# notes\n", "pushpals.toml": CHECKS, "check.py": CHECK, "notes/0.txt": "0\n"}
        made = make_cloned(tmp_path / "repository", files)
        before = fingerprint(made.checkout.path)
        async with Stack.running(
            made.checkout.path, made.upstream.path, tmp_path / "data", workers=workers
        ) as stack:
            yield stack
            assert fingerprint(made.checkout.path) == before
        await stack.gone(within_s=5.0)

    return begin
