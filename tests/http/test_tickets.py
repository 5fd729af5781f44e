"""A ticket opens one stream, once, soon, for whoever asked, and is in no log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pushpals.protocol.errors import Unauthenticated
from pushpals.server.tickets import LIFE_S, Tickets
from pushpals.testing.clock import ManualClock
from pushpals.testing.site import RunningSite


async def opens(site: RunningSite, path: str) -> int:
    http = await site.http(role=None)
    async with http.stream("GET", path) as answer:
        return answer.status_code


async def test_a_ticket_opens_one_stream_and_is_in_no_log(
    site: RunningSite, caplog: pytest.LogCaptureFixture
) -> None:
    client = await site.client("viewer")
    with caplog.at_level(logging.DEBUG):
        ticket = (await client.ticket("dev")).ticket
        first = await opens(site, f"/sessions/dev/events?ticket={ticket}")
        second = await opens(site, f"/sessions/dev/events?ticket={ticket}")
    assert (first, second) == (200, 401)
    ours = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith(("push", "torn"))
    )
    assert ticket not in ours


async def test_a_ticket_is_for_its_session_and_for_streams_only(site: RunningSite) -> None:
    client = await site.client()
    await client.create_session("other")
    for path in ("/sessions/other/events", "/sessions/dev/history", "/sessions/dev"):
        ticket = (await client.ticket("dev")).ticket
        assert await opens(site, f"{path}?ticket={ticket}") == 401


async def test_a_ticket_of_a_revoked_token_opens_nothing(site: RunningSite) -> None:
    operator = await site.client()
    secret = await site.token("viewer", label="guest")
    guest = await site.client(secret=secret)
    ticket = (await guest.ticket("dev")).ticket
    await operator.revoke_token(secret.split("_")[2])
    assert await opens(site, f"/sessions/dev/events?ticket={ticket}") == 401


@pytest.mark.parametrize(
    ("use", "waits_s"),
    [
        ({"session_id": "other"}, 0.0),
        ({"address": "10.0.0.2"}, 0.0),
        ({}, LIFE_S),
        ({"secret": "guessed"}, 0.0),
    ],
)
def test_a_ticket_in_the_wrong_hands_is_refused(use: dict[str, Any], waits_s: float) -> None:
    clock = ManualClock()
    tickets = Tickets(clock.monotonic)
    secret = tickets.new("dev", "token", "10.0.0.1")
    clock.advance(waits_s)
    with pytest.raises(Unauthenticated):
        tickets.use(**{"secret": secret, "session_id": "dev", "address": "10.0.0.1"} | use)
