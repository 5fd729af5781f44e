"""What the team works on."""

from __future__ import annotations

from pushpals.hub import repositories
from pushpals.hub.of import Of
from pushpals.protocol.commands import Repositories
from pushpals.protocol.errors import NotFound
from pushpals.protocol.records import Repository
from pushpals.server.base import Handler, needs


class RepositoryList(Handler):
    """``/repositories``"""

    @needs("repository.read")
    async def get(self) -> None:
        self.reply(Repositories(items=await self.hub.store.reader.find(Repository)))


class OneRepository(Handler):
    """``/repositories/:id``"""

    @needs("repository.read")
    async def get(self, repository_id: str) -> None:
        repository = await self.hub.store.reader.get(Repository, repository_id)
        if repository is None:
            raise NotFound(f"there is no repository {repository_id!r}", code="repository.unknown")
        self.reply(repository)

    @needs("repository.report")
    async def put(self, repository_id: str) -> None:
        ask = Of(id=repository_id, body=self.body(Repository))
        self.reply(
            await self.hub.run(repositories.report, ask, actor=self.actor, key=self.key, reply=Repository)
        )
