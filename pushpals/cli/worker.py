"""The console script ``pushpals-worker``: the same as ``pushpals worker``."""

from __future__ import annotations

from pushpals.cli import parts
from pushpals.cli.alone import Alone

program = Alone("pushpals-worker", parts.worker)


def main() -> None:
    program.main(prog_name="pushpals-worker")
