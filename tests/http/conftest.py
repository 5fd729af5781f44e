"""A real hub on a free port, its real client, and tokens of every role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from pushpals.client import Backoff, HubClient
from pushpals.hub import tokens
from pushpals.hub.hub import SYSTEM
from pushpals.protocol.commands import NewToken
from pushpals.protocol.records import ROLES, Role
from pushpals.server import Options, Service, start_service
from pushpals.store.memory import open_store

FAST = Backoff(first_s=0.001, most_s=0.01, tries=5)


class Site:
    """One running hub and ways to talk to it."""

    def __init__(self, service: Service, secrets: dict[Role, str], stack: AsyncExitStack) -> None:
        self.service = service
        self.hub = service.hub
        self.url = service.url
        self.secrets = secrets
        self._stack = stack

    async def client(self, role: Role = "operator", **options: Any) -> HubClient:
        return await self._stack.enter_async_context(
            HubClient(self.url, self.secrets[role], backoff=FAST, **options)
        )

    async def token(self, role: Role, **options: Any) -> str:
        made = await self.hub.run(tokens.make, NewToken(role=role, **options), actor=SYSTEM)
        return made.secret

    async def http(self, role: Role | None = "operator", secret: str | None = None) -> httpx.AsyncClient:
        """A bare HTTP client; ``None`` sends no token."""
        headers = {}
        if secret or role:
            headers["Authorization"] = f"Bearer {secret or self.secrets[role or 'operator']}"
        return await self._stack.enter_async_context(
            httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=10)
        )


Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a hub; options of :class:`Options` may be given."""
    async with AsyncExitStack() as stack:

        async def begin(*, store: Any = open_store, path: Path | None = None, **changes: Any) -> Site:
            served = {name: changes.pop(name) for name in list(changes) if name in _SERVICE}

            def configure(options: Options) -> Options:
                return msgspec.structs.replace(options, **changes)

            service = await start_service(
                store, path, data_dir=tmp_path / "data", port=0, configure=configure, **served
            )
            stack.push_async_callback(service.stop)
            secrets: dict[Role, str] = {}
            for role in ROLES:
                made = await service.hub.run(tokens.make, NewToken(role=role, label=role), actor=SYSTEM)
                secrets[role] = made.secret
            return Site(service, secrets, stack)

        yield begin


_SERVICE = {"host", "host_names", "origins", "behind", "certificate", "prefix", "clock", "upkeep"}


@pytest.fixture
async def site(start: Start) -> Site:
    """A hub with the defaults, and the session ``dev``."""
    made: Site = await start()
    client = await made.client()
    await client.create_session("dev")
    return made
