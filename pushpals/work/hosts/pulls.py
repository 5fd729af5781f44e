"""The pull request interface that GitHub, Gitea and Forgejo share.

``url`` is the interface's root, e.g. ``https://api.github.com`` or ``https://git.example.org/api/v1``;
``repository`` is ``owner/name``. Redirects are not followed and proxies of the environment not used: the
token goes to the named host alone.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import httpx

from pushpals.work.hosts import HostTrouble, Proposal, Shown

_TIMEOUT_S = 20.0
_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_.-]+")


class PullRequests:
    """A :class:`~pushpals.work.hosts.Host`."""

    def __init__(
        self,
        url: str,
        repository: str,
        token: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        if _REPOSITORY.fullmatch(repository) is None:
            raise ValueError(f"a repository of a host is owner/name, not {repository[:80]!r}")
        self._owner = repository.partition("/")[0]
        self._path = f"/repos/{repository}/pulls"
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            headers={
                "Accept": "application/json",
                "Authorization": f"Bearer {token}",
                "User-Agent": "pushpals",
            },
            timeout=_TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def propose(self, proposal: Proposal) -> Shown:
        if (found := await self._open(proposal)) is not None:
            shown = _shown(found, reused=True)
            if (found.get("title"), found.get("body") or "") != (proposal.title, proposal.body):
                text = {"title": proposal.title, "body": proposal.body}
                await self._send("PATCH", f"{self._path}/{shown.number}", text)
            return shown
        ask = {
            "head": proposal.branch,
            "base": proposal.target,
            "title": proposal.title,
            "body": proposal.body,
        }
        try:
            return _shown(await self._send("POST", self._path, ask), reused=False)
        except HostTrouble:
            # Somebody may have opened it between the look and the request.
            if (found := await self._open(proposal)) is None:
                raise
            return _shown(found, reused=True)

    async def close(self) -> None:
        await self._http.aclose()

    async def _open(self, proposal: Proposal) -> dict[str, Any] | None:
        head = quote(f"{self._owner}:{proposal.branch}", safe="")
        query = f"?state=open&head={head}&base={quote(proposal.target, safe='')}"
        found = await self._send("GET", self._path + query, None)
        if not isinstance(found, list):
            raise HostTrouble("the host answered something else than a list of pull requests")
        # Not every host filters by head.
        mine = [
            one
            for one in found
            if isinstance(one, dict) and one.get("head", {}).get("ref") == proposal.branch
        ]
        return mine[0] if mine else None

    async def _send(self, method: str, path: str, body: dict[str, str] | None) -> Any:
        try:
            answer = await self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise HostTrouble(f"the host is away: {type(error).__name__}") from None
        if answer.status_code not in (200, 201):
            raise HostTrouble(f"the host answered {answer.status_code} to {method} {self._path}")
        try:
            return answer.json()
        except ValueError:
            raise HostTrouble("the host answered something else than JSON") from None


def _shown(found: Any, *, reused: bool) -> Shown:
    try:
        return Shown(number=int(found["number"]), url=str(found["html_url"]), reused=reused)
    except (KeyError, TypeError, ValueError):
        raise HostTrouble("the host answered something else than a pull request") from None
