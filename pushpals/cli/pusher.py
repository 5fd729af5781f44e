"""The console script ``serial-pusher``: the same as ``pushpals pusher``."""

from __future__ import annotations

from pushpals.cli import parts
from pushpals.cli.alone import Alone

program = Alone("serial-pusher", parts.pusher)


def main() -> None:
    program.main(prog_name="serial-pusher")
