"""The port of job kinds: what a job can be, and how a stranger's package adds one.

A kind is an object with a name, a sentence, an ``Args`` struct and ``run``. It is found by name under the
entry point ``pushpals.kinds``; the built-in ones are found the same way. A kind promises:

- it reads its arguments from ``Args`` only, which decodes a job's ``params`` strictly, before anything runs;
- it works through its :class:`~pushpals.work.context.JobContext`: commands with ``ctx.run``, checks with
  ``ctx.check``; it touches no file, process or network by itself;
- if it changes the tree it ends with ``return await ctx.propose(...)``, the one way to a commit;
- it raises :class:`JobFailure` when the job cannot reach its goal, and lets cancellation pass.

The context promises that commands end with the job, that output is redacted, and that what was reported stays
reported when the job fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from pushpals import registry
from pushpals.protocol.jobs import ErrorClass, Job, JobResult
from pushpals.work.kinds import BUILT_IN

if TYPE_CHECKING:
    from pushpals.work.context import JobContext


class Args(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The base of all kinds' arguments: unknown names are refused."""


@runtime_checkable
class JobKind(Protocol):
    """One kind of job. ``changes`` says that it may end in a commit."""

    name: str
    description: str
    changes: bool
    Args: type[Args]

    async def run(self, ctx: JobContext, args: Any) -> JobResult:
        """Do the job. Raises :class:`JobFailure`."""
        ...


class JobFailure(Exception):
    """The job cannot reach its goal. The message is for people and says what to do next.

    ``retry`` allows another attempt; the hub decides by ``error_class`` whether one makes sense.
    """

    def __init__(
        self,
        message: str,
        *,
        error_class: ErrorClass = "code",
        detail: str | None = None,
        retry: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_class: ErrorClass = error_class
        self.detail = detail
        self.retry = retry


def kind_names() -> tuple[str, ...]:
    """Every kind that exists here, sorted."""
    return tuple(sorted({*BUILT_IN, *registry.names(registry.KINDS)}))


def find_kind(name: str) -> JobKind:
    """The kind of this name. Raises :class:`JobFailure` that lists what exists."""
    try:
        kind = _built_in(name) if name in BUILT_IN else registry.load(registry.KINDS, name)
    except registry.UnknownPart:
        known = kind_names()
        guess = registry.closest(name, list(known))
        hint = f" Did you mean {guess!r}?" if guess else ""
        raise JobFailure(
            f"there is no job kind {name!r}.{hint} This worker knows {', '.join(known)}",
            error_class="environment",
        ) from None
    except (registry.AmbiguousPart, registry.BrokenPart) as error:
        raise JobFailure(str(error), error_class="environment") from error
    if not isinstance(kind, JobKind) or kind.name != name:
        raise JobFailure(
            f"what is registered as {name!r} is no job kind of that name", error_class="environment"
        )
    return kind


def decode_args(kind: JobKind, params: Mapping[str, Any]) -> Args:
    """A job's ``params`` as the kind's arguments. Raises :class:`JobFailure` that names what is wrong."""
    try:
        return msgspec.convert(dict(params), kind.Args, strict=True)
    except msgspec.ValidationError as error:
        wanted = ", ".join(_field_words(kind.Args)) or "none"
        raise JobFailure(f"the parameters of {kind.name!r} are wrong: {error}; it takes {wanted}") from None


def check_params(job: Job, added: Mapping[str, JobKind] | None = None) -> tuple[JobKind, Args]:
    """The kind and the arguments of a job, before anything is prepared for it. ``added`` comes first."""
    kind = (added or {}).get(job.kind) or find_kind(job.kind)
    return kind, decode_args(kind, job.params)


def _field_words(args: type[Args]) -> list[str]:
    return [f"{field.encode_name}{'' if field.required else '?'}" for field in msgspec.structs.fields(args)]


def _built_in(name: str) -> object:
    return EntryPoint(name=name, value=BUILT_IN[name], group=registry.KINDS).load()
