"""What can go wrong, as one tree.

::

    PushPalsError
    ├── BadRequest            400  the request does not mean anything
    │   └── UnknownApproval   400  (the wire has always answered 400 here, not 404)
    ├── Unauthenticated       401
    ├── Forbidden             403
    ├── NotFound              404
    ├── Conflict              409  the request is clear, but not in this state
    │   ├── LeaseLost         409  somebody else owns the job or the lane now
    │   └── KeyReused         409  the idempotency key belongs to another request
    ├── Gone                  410  the history before this cursor was pruned
    ├── TooLarge              413
    ├── TooMany               429  a bound is reached; ``retry_after`` says when to come back
    ├── Unavailable           503  the hub is overloaded or stopping
    └── StorageFull           507

``code`` is stable and meant for programs; the message is a sentence for people and says what to do next.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class PushPalsError(Exception):
    status: ClassVar[int] = 500
    code: str = "internal"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, code: str | None = None, retry_after: float | None = None, **detail: Any
    ):
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.retry_after = retry_after
        self.detail = detail


class BadRequest(PushPalsError):
    status, code = 400, "bad_request"


class UnknownApproval(BadRequest):
    code = "approval.unknown"


class Unauthenticated(PushPalsError):
    status, code = 401, "unauthenticated"


class Forbidden(PushPalsError):
    status, code = 403, "forbidden"


class NotFound(PushPalsError):
    status, code = 404, "not_found"


class Conflict(PushPalsError):
    status, code = 409, "conflict"


class LeaseLost(Conflict):
    code = "lease_lost"


class KeyReused(Conflict):
    code = "key_reused"


class Gone(PushPalsError):
    status, code = 410, "gone"


class TooLarge(PushPalsError):
    status, code = 413, "too_large"


class TooMany(PushPalsError):
    status, code, retryable = 429, "too_many", True


class Unavailable(PushPalsError):
    status, code, retryable = 503, "unavailable", True


class StorageFull(PushPalsError):
    status, code, retryable = 507, "storage_full", True


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of every error answer. ``ok`` is always false, as on the original wire."""

    error: str
    code: str
    ok: bool = False
    errors: list[str] = []
    detail: dict[str, Any] = {}
    retry_after: float | None = None


def problem(error: PushPalsError) -> Problem:
    return Problem(
        error=error.message,
        code=error.code,
        errors=[error.message],
        detail=error.detail,
        retry_after=error.retry_after,
    )


_BY_STATUS: dict[int, type[PushPalsError]] = {
    400: BadRequest, 401: Unauthenticated, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone,
    413: TooLarge, 429: TooMany, 503: Unavailable, 507: StorageFull,
}  # fmt: skip
_BY_CODE: dict[str, type[PushPalsError]] = {kind.code: kind for kind in (LeaseLost, KeyReused)}


def from_problem(status: int, body: Problem) -> PushPalsError:
    """The exception a client raises for an error answer: the same one that the hub raised."""
    kind = _BY_STATUS.get(status, PushPalsError)
    if kind is Conflict:
        kind = _BY_CODE.get(body.code, kind)
    return kind(body.error, code=body.code, retry_after=body.retry_after, **body.detail)
