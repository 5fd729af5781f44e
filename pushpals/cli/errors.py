"""How a command ends: one exit code for each kind of end, and one sentence that says what to do next.

====  ===================================================================
code  meaning
====  ===================================================================
0     done
1     done, and the answer is no: a check failed, a landing was rejected
2     the command line or a setting is wrong
3     no hub runs here, or it cannot be reached
4     refused: no or wrong token, not allowed, denied by a person
78    no sandbox works here, and running without one was not allowed
130   interrupted
====  ===================================================================
"""

from __future__ import annotations

from typing import Any, Final

import click
import msgspec

from pushpals.cli.checkout import CheckoutError
from pushpals.cli.state import AlreadyRuns
from pushpals.config import ConfigError
from pushpals.protocol.errors import Forbidden, PushPalsError, Unauthenticated, Unavailable
from pushpals.registry import AmbiguousPart, BrokenPart, UnknownPart

OK: Final = 0
NEGATIVE: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3
REFUSED: Final = 4
NO_SANDBOX: Final = 78
INTERRUPTED: Final = 130


class Failed(click.ClickException):
    """A command that ends with ``exit_code`` and a sentence. ``code`` is stable and meant for programs."""

    def __init__(self, message: str, exit_code: int = NEGATIVE, code: str = "failed"):
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance
        self.code = code
        self.as_json = False

    def show(self, file: Any = None) -> None:
        if self.as_json:
            body = {"ok": False, "error": self.message, "code": self.code}
            click.echo(msgspec.json.encode(body).decode(), err=True)
        else:
            click.echo(f"{click.style('pushpals:', fg='red')} {self.message}", err=True)


class NotRunning(Failed):
    def __init__(self, message: str):
        super().__init__(message, NOT_RUNNING, "not_running")


def as_failure(error: Exception) -> Failed | None:
    """The end of a command for an error that means something to a person; None for a defect of ours."""
    match error:
        case Failed():
            return error
        case Unauthenticated():
            return Failed(
                f"{error.message}. Is PUSHPALS_TOKEN right? `pushpals token list` shows what exists",
                REFUSED,
                error.code,
            )
        case Forbidden():
            return Failed(error.message, REFUSED, error.code)
        case Unavailable():
            return Failed(f"{error.message}. Is it running? `pushpals doctor` looks", NOT_RUNNING, error.code)
        case PushPalsError():
            return Failed(error.message, NEGATIVE, error.code)
        case ConfigError() | CheckoutError() | UnknownPart() | AmbiguousPart():
            return Failed(str(error), USAGE, "usage")
        case BrokenPart():
            return Failed(str(error), USAGE, "broken_part")
        case TimeoutError():
            return Failed("it took too long; see the logs in the data directory", NEGATIVE, "timeout")
        case AlreadyRuns():
            return Failed(f"another `pushpals up` holds {error}", NEGATIVE, "already_runs")
        case _:
            return None
