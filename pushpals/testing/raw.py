"""Bytes on a socket, for what a well-behaved client never sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, mark: bytes) -> bytes:
        """Read up to and including ``mark``."""
        async with asyncio.timeout(10):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        """Everything until the other side closes; a reset counts as the end."""
        data = b""
        try:
            async with asyncio.timeout(10):
                while piece := await self.reader.read(65536):
                    data += piece
        except ConnectionResetError:
            pass
        return data


@asynccontextmanager
async def connect(url: str, *, limit: int = 2**20) -> AsyncIterator[Connection]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=limit)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


def request(
    method: str, path: str, *, host: str, token: str | None = None, body: bytes = b"", extra: str = ""
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode() + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
