"""A real hub on a free port, its real client, and a token of every role."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import httpx

from pushpals.client import Backoff, HubClient
from pushpals.hub import tokens
from pushpals.hub.hub import SYSTEM
from pushpals.protocol.commands import NewToken
from pushpals.protocol.records import ROLES, Role
from pushpals.server import Service

FAST = Backoff(first_s=0.001, most_s=0.01, tries=5)
"""Tests do not wait for a crowd to spread."""


class RunningSite:
    """One running hub and ways to talk to it. Everything made here ends with ``close``."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.hub = service.hub
        self.url = service.url
        self.secrets: dict[Role, str] = {}
        self._stack = AsyncExitStack()

    async def make_tokens(self) -> None:
        for role in ROLES:
            self.secrets[role] = await self.token(role, label=role)

    async def token(self, role: Role, **options: Any) -> str:
        """The secret of a fresh token."""
        made = await self.hub.run(tokens.make, NewToken(role=role, **options), actor=SYSTEM)
        return made.secret

    async def client(self, role: Role = "operator", **options: Any) -> HubClient:
        secret = options.pop("secret", None) or self.secrets[role]
        return await self._stack.enter_async_context(
            HubClient(self.url, secret, **{"backoff": FAST, **options})
        )

    async def http(self, role: Role | None = "operator", secret: str | None = None) -> httpx.AsyncClient:
        """A bare HTTP client; ``None`` sends no token."""
        headers = {}
        if secret is not None:
            headers["Authorization"] = f"Bearer {secret}"
        elif role is not None:
            headers["Authorization"] = f"Bearer {self.secrets[role]}"
        return await self._stack.enter_async_context(
            httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=10)
        )

    async def close(self) -> None:
        await self._stack.aclose()
        await self.service.stop()
