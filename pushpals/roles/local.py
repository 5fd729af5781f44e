"""The Local Buddy: looks at the person's own checkout, answers, and changes nothing.

It answers messages ``to: local`` and delegations to it. A question about the checkout gets a
``scan_result`` with the facts and an ``assistant_message`` with the words. Work is not done here: it goes
to the Remote Buddy as a ``delegate_request`` in the wire's own fields, and whatever comes of it is the
team's to tell. It never emits an event of a job, so there is no job that only looks as if it existed.

It keeps nothing: the mark and the idempotency keys are those of every follower.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from pushpals.client import HubClient
from pushpals.protocol import events as e
from pushpals.protocol.errors import KeyReused
from pushpals.protocol.events import Event
from pushpals.roles import words
from pushpals.roles.follower import Follower, FollowerRole, run_roles
from pushpals.roles.intents import (
    ApplyPatch,
    AskAgent,
    Beyond,
    Fix,
    Land,
    Look,
    Retry,
    RunChecks,
    RunCommand,
    Stop,
)
from pushpals.roles.looking import CannotLook, Checkout, Seen
from pushpals.roles.parsing import parse
from pushpals.roles.writes import MAX_SAID, derived_id, key_of
from pushpals.work.git.runner import Git

NAME = "agent:local"
ADDRESSES = frozenset({"local", NAME})
READER = "local"
HEARD = ("message", "delegate_request", "delegate_response")

_POLITE = re.compile(
    r"^(?:please|could you|can you|hey|hi|hello|show me|show|tell me)\b[\s,]*", re.IGNORECASE
)
_Look = Callable[[Checkout, "re.Match[str]"], Awaitable[Seen]]
_PATH = r"(?: (?:(?:of|in|for|under|below|--) )?[`'\"]?(?P<path>[^\s`'\"]+)[`'\"]?)?"


def _question(look: _Look, *phrases: str) -> tuple[re.Pattern[str], _Look]:
    return re.compile("|".join(phrases), re.IGNORECASE), look


QUESTIONS: tuple[tuple[re.Pattern[str], _Look], ...] = (
    _question(
        lambda checkout, found: checkout.status(),
        r"(?:git )?status|state|what (?:is|has) changed|what did i change|what is (?:new|different)",
        r"(?:what|which) branch(?: am i on| is this)?|where am i",
    ),
    _question(
        lambda checkout, found: checkout.diff(found["path"]),
        rf"(?:(?:git )?diff|(?:my )?changes){_PATH}",
    ),
    _question(
        lambda checkout, found: checkout.log(int(found["count"] or 10)),
        r"(?:(?:git )?log|history|(?:recent |last )?commits)(?: (?:-n ?|-)?(?P<count>\d{1,3}))?",
    ),
    _question(lambda checkout, found: checkout.branches(), r"(?:git |list |my )?branch(?:es)?"),
    _question(
        lambda checkout, found: checkout.files(found["path"]),
        rf"(?:(?:list )?files|(?:git )?ls-files|ls){_PATH}",
    ),
    _question(
        lambda checkout, found: checkout.search(found["text"]),
        r"(?:search(?: for)?|(?:git )?grep|find|where is|look for) [`\"']?(?P<text>.+?)[`\"']?",
    ),
)
"""Questions about the checkout; each must match a request whole."""

_TO_TEAM = re.compile(
    r"^(?:please )?"
    r"(?:(?:ask|tell) the (?:team|remote|remote buddy|buddy)(?: to)?\s*:?|team\s*:|remote\s*:)\s*(.+)$",
    re.IGNORECASE | re.DOTALL,
)
_WORK = (RunChecks, Fix, ApplyPatch, RunCommand, Look, AskAgent, Land, Stop, Retry, Beyond)
_HELP = re.compile(r"help|\?|what can you do", re.IGNORECASE)


class LocalBuddy(Follower):
    """The Local Buddy of one session and one checkout."""

    def __init__(self, hub: HubClient, session_id: str, checkout: Checkout) -> None:
        super().__init__(hub, session_id, reader=READER, types=HEARD)
        self._checkout = checkout

    async def answer(self, event: Event) -> bool:
        match event.payload:
            case e.Message(text=text) if event.to in ADDRESSES:
                await self._message(event, text)
            case e.DelegateRequest() as asked if asked.to_agent_id in ADDRESSES:
                await self._asked(event, asked)
            case e.DelegateResponse(ok=False, error=error) if event.to == NAME:
                await self._say(event, words.delegation_refused(error or "no reason given"))
            case _:
                return False
        return True

    async def _message(self, event: Event, text: str) -> None:
        seen = await self.look(text)
        if seen is not None:
            await self._tell(event, seen)
            return
        request = _for_the_team(text)
        if request is None:
            await self._say(event, words.local_help() if _is_help(text) else words.local_refused())
            return
        asked = e.DelegateRequest(
            request_id=derived_id("request", event.id), to_agent_id="remote", input={"text": request}
        )
        await self._post(event, "request", asked, to="agent:remote")
        await self._say(event, words.delegated(request))

    async def _asked(self, event: Event, asked: e.DelegateRequest) -> None:
        """Another agent wants to know something about the checkout."""
        text = asked.input.get("text") if isinstance(asked.input, dict) else asked.input
        seen = await self.look(text) if isinstance(text, str) else None
        if seen is None:
            answer = e.DelegateResponse(request_id=asked.request_id, ok=False, error=words.local_refused())
        else:
            output = {"text": seen.text, "status": seen.status, "diff": seen.diff, "files": list(seen.files)}
            answer = e.DelegateResponse(request_id=asked.request_id, ok=True, output=output)
        await self._post(event, "answer", answer, to=event.from_)

    async def look(self, text: str) -> Seen | None:
        """The answer to a question about the checkout; ``None`` if it is no such question."""
        line = " ".join(text.split())
        for _ in range(3):
            line = _POLITE.sub("", line)
        line = line.rstrip(" .?!")
        for pattern, look in QUESTIONS:
            found = pattern.fullmatch(line)
            if found is not None:
                try:
                    return await look(self._checkout, found)
                except CannotLook as error:
                    return Seen(text=words.local_failed(str(error)))
        return None

    async def _tell(self, event: Event, seen: Seen) -> None:
        scanned = e.ScanResult(
            summary=seen.text.partition("\n")[0],
            files_read=list(seen.files),
            git_status_porcelain=seen.status,
            git_diff=seen.diff,
        )
        await self._post(event, "scan", scanned)
        await self._say(event, seen.text)

    async def _say(self, event: Event, text: str) -> None:
        await self._post(event, "say", e.AssistantMessage(text=text[:MAX_SAID]))

    async def _post(self, event: Event, slot: str, payload: e.Payload, to: str | None = None) -> None:
        try:
            await self._hub.post(
                self.session_id,
                payload,
                from_=NAME,
                to=to,
                turn_id=event.turn_id or event.id,
                parent_id=event.id,
                trace_id=event.trace_id or event.id,
                key=key_of(READER, event.id, slot),
            )
        except KeyReused:
            # Said before the last crash; the checkout has changed since, the answer stays the first.
            return


async def run_local(hub: HubClient, sessions: Sequence[str], path: Path, stop: asyncio.Event) -> None:
    """Serve sessions from the checkout at ``path`` until ``stop``.

    Raises :class:`CannotLook` when there is no checkout, and ``RoleEnded`` for what no waiting cures.
    """
    checkout = await Checkout.at(await Git.find(), path)
    await run_roles([FollowerRole("local", LocalBuddy(hub, session, checkout)) for session in sessions], stop)


def _for_the_team(text: str) -> str | None:
    """What is meant for the Remote Buddy: said so, or a request that its rules understand."""
    named = _TO_TEAM.match(text.strip())
    if named is not None:
        return named[1].strip()
    if _is_help(text):
        return None
    return text.strip() if any(isinstance(one, _WORK) for one in parse(text)) else None


def _is_help(text: str) -> bool:
    return _HELP.fullmatch(text.strip().rstrip(".!")) is not None
