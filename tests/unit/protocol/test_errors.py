"""Errors travel: what the hub raises is what a client gets."""

import pytest

from pushpals.protocol import errors
from pushpals.protocol.errors import (
    KeyReused,
    LeaseLost,
    PushPalsError,
    UnknownApproval,
    from_problem,
    problem,
)
from pushpals.protocol.wire import decode, encode

KINDS = [
    errors.BadRequest, errors.Unauthenticated, errors.Forbidden, errors.NotFound, errors.Conflict,
    errors.LeaseLost, errors.KeyReused, errors.Gone, errors.TooLarge,
    errors.TooMany, errors.Unavailable, errors.StorageFull,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_goes_round(kind: type[PushPalsError]) -> None:
    raised = kind("what to do next", retry_after=1.5, state="open")
    back = from_problem(kind.status, decode(encode(problem(raised)), errors.Problem))
    assert type(back) is kind
    assert (back.message, back.code, back.retry_after, back.detail, str(back)) == (
        "what to do next", raised.code, 1.5, {"state": "open"}, "what to do next",
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "status"), [(UnknownApproval, 400), (KeyReused, 409), (LeaseLost, 409)])
def test_finer_errors_keep_their_code(kind: type[PushPalsError], status: int) -> None:
    assert (kind.status, from_problem(status, problem(kind("x"))).code) == (status, kind.code)


def test_an_answer_says_that_it_is_an_error() -> None:
    body = decode(encode(problem(errors.NotFound("x"))), dict[str, object])
    assert body.items() >= {"ok": False, "error": "x", "code": "not_found"}.items()
    assert body["errors"] == ["x"]
