"""A yes to a host opens exactly that way out of the sandbox, and taking it back closes it (D11, D13, D15)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pushpals.hub import decisions, grants
from pushpals.hub.of import Of
from pushpals.protocol.approvals import Approval
from pushpals.protocol.commands import Decide, RevokeApproval
from pushpals.protocol.events import ApprovalRequired, JobLog, NetworkUsed
from pushpals.testing.bench import OPERATOR
from pushpals.testing.repos import Program
from pushpals.testing.workshop import Workshop
from pushpals.work.executors.base import Command
from pushpals.work.executors.bubblewrap import BubblewrapExecutor
from pushpals.work.executors.network import NetworkEvent, Outside

CURL = """#!/usr/bin/python3
import os, socket, sys
from urllib.parse import urlsplit
proxy = os.environ.get("http_proxy")
if not proxy:
    print("no way out", flush=True); sys.exit(3)
parts = urlsplit(proxy)
with socket.create_connection((parts.hostname, parts.port)) as way:
    way.sendall(f"GET {sys.argv[1]} HTTP/1.1\\r\\nHost: {urlsplit(sys.argv[1]).hostname}\\r\\n\\r\\n".encode())
    print("sent", flush=True)
    said = b""
    while chunk := way.recv(4096):
        said += chunk
        if b"drop" in said:
            print("flowing", flush=True)
            said = b""
    print("cut", said[:40], flush=True)
"""
PUBLIC = "93.184.216.34"


@contextlib.asynccontextmanager
async def endless() -> AsyncIterator[Outside]:
    """A host that never stops talking, which is the whole world."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"drop\n")
                await writer.drain()
                await asyncio.sleep(0.02)

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def resolve(host: str, port: int) -> list[str]:
        return [PUBLIC]

    async def dial(address: str, _: int) -> Any:
        assert address == PUBLIC
        return await asyncio.open_connection("127.0.0.1", port)

    try:
        yield Outside(resolve=resolve, dial=dial, is_own=lambda address: False)
    finally:
        server.close()


@contextlib.asynccontextmanager
async def connected(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with endless() as outside:
        shops: list[Workshop] = []

        def heard(command: Command, event: NetworkEvent) -> None:
            shops[0].worker._on_network(command, event)

        executor = BubblewrapExecutor(outside=outside, on_network=heard)
        files = {"curl": Program(CURL)}
        async with Workshop(tmp_path, files, executor=executor) as shop:
            shops.append(shop)
            yield shop
        await executor.close()


async def decide(shop: Workshop, decision: Any, **fields: Any) -> Approval:
    required = await shop.until(ApprovalRequired)
    approval: Approval = await shop.bench.get(Approval, required.approval_id)
    body = Decide(decision=decision, action_hash=approval.action_hash, **fields)
    await shop.bench.run(decisions.decide, Of(id=approval.id, body=body), actor=OPERATOR)
    return approval


@pytest.mark.parametrize("scope", ["once", "session"])
async def test_d13_a_host_taken_back_is_gone_within_seconds(tmp_path: Path, scope: str) -> None:
    async with connected(tmp_path) as shop:
        job_id = await shop.ask("command", {"argv": ["./curl", "http://a.test/"], "keep": False}, checks=[])
        working = asyncio.create_task(shop.worker.step())
        approval = await decide(shop, "approve", scope=scope)
        assert approval.kind == "net"
        assert "net:a.test:80" in approval.capabilities
        async with asyncio.timeout(20):
            await shop.until(JobLog, lambda line: line.line == "flowing")
        await shop.bench.run(grants.revoke, Of(id=approval.id, body=RevokeApproval()))
        async with asyncio.timeout(5):
            await shop.until(JobLog, lambda line: line.line.startswith("cut"))
        await working
        job = await shop.job(job_id)
        assert job.state == "completed", job.error
        told = [(used.decision, used.host, used.port, used.code) for used in shop.events(NetworkUsed)]
        assert ("opened", "a.test", 80, None) in told
        assert ("closed", "a.test", 80, "net.revoked") in told
        assert max(used.bytes_down for used in shop.events(NetworkUsed)) > 0


async def test_d01_without_a_yes_there_is_no_way_out_at_all(tmp_path: Path) -> None:
    async with connected(tmp_path) as shop:
        job_id = await shop.ask("command", {"argv": ["./curl", "http://a.test/"]}, checks=[])
        working = asyncio.create_task(shop.worker.step())
        await decide(shop, "deny")
        await working
        assert (await shop.job(job_id)).state == "failed"
        plain = await shop.do("command", {"argv": ["sh", "./curl"], "keep": False}, checks=[])
        assert plain.result is not None or plain.error is not None
        assert shop.events(NetworkUsed) == []
