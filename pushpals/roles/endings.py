"""The last word about an attempt: how each way of ending is told to the hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from pushpals.policy.redact import redact_plain
from pushpals.protocol.commands import Complete, Fail
from pushpals.protocol.errors import PushPalsError
from pushpals.protocol.jobs import Job, JobResult
from pushpals.protocol.records import StoredArtifact
from pushpals.work.executors.base import ExecutorUnavailable
from pushpals.work.git.errors import GitError
from pushpals.work.kind import JobFailure


def completed(job: Job, result: JobResult) -> Complete:
    return Complete(attempt=job.attempt, summary=result.summary, artifacts=result.artifacts, result=result)


def cancelled(job: Job, stopped: list[str]) -> Fail:
    """A person wanted it to stop. ``stopped`` is what was running."""
    return Fail(
        message="stopped as asked",
        attempt=job.attempt,
        error_class="cancelled",
        no_retry=True,
        stopped=stopped,
    )


def given_back(job: Job, stopped: list[str]) -> Fail:
    """The worker leaves; another may begin at once. It costs the job no attempt."""
    return Fail(
        message="the worker was stopped",
        attempt=job.attempt,
        error_class="lost",
        retry_after_s=0.0,
        stopped=stopped,
    )


def failed(job: Job, error: BaseException) -> Fail:
    """Why an attempt failed, and whether another one makes sense."""
    match error:
        case JobFailure():
            return Fail(
                message=error.message,
                attempt=job.attempt,
                detail=error.detail,
                error_class=error.error_class,
                no_retry=not error.retry,
            )
        case ExecutorUnavailable():
            return Fail(message=f"no sandbox: {error}", attempt=job.attempt, error_class="environment")
        case GitError():
            return Fail(
                message=str(error)[:2_000],
                attempt=job.attempt,
                error_class="environment",
                no_retry=not error.transient,
            )
        case PushPalsError():
            return Fail(message=error.message, attempt=job.attempt, error_class="environment")
        case OSError():
            return Fail(
                message=f"this machine failed: {error.strerror or error}",
                attempt=job.attempt,
                error_class="environment",
            )
        case _:
            return Fail(
                message=f"an error of Push Pals itself: {type(error).__name__}: {error}"[:2_000],
                attempt=job.attempt,
                no_retry=True,
            )


E = TypeVar("E", Complete, Fail)


def hidden(last: E, hide: Callable[[str], str]) -> E:
    """The last word with every secret taken out of every text of it, names of files and tests included."""
    plain = redact_plain(msgspec.to_builtins(last), hide)
    return msgspec.convert(plain, type(last))


def is_expected(error: BaseException) -> bool:
    """Whether the message says it all; everything else wants a trace in the worker's own log."""
    return isinstance(error, (JobFailure, ExecutorUnavailable, GitError, PushPalsError, OSError))


class ArtifactHub(Protocol):
    """The part of the hub that takes artifacts."""

    async def put_artifact(
        self,
        data: bytes | Path,
        *,
        kind: str,
        media_type: str = ...,
        session_id: str | None = ...,
        job_id: str | None = ...,
    ) -> StoredArtifact: ...


class HubShelf:
    """Artifacts of one job, put on the hub."""

    def __init__(self, hub: ArtifactHub, job: Job) -> None:
        self._hub = hub
        self._job = job

    async def put(self, data: bytes, *, kind: str, media_type: str) -> StoredArtifact:
        return await self._hub.put_artifact(
            data,
            kind=kind,
            media_type=media_type,
            session_id=self._job.session_id,
            job_id=self._job.id,
        )
