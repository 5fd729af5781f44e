"""In a real kernel: a question can be interrupted, and the kernel goes on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager

ROOT = Path(__file__).parents[2]
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[tuple[AsyncKernelManager, AsyncKernelClient]]:
    manager = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(tmp_path / "k"))
    await manager.start_kernel(
        cwd=str(tmp_path), env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    )
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    yield manager, client
    client.stop_channels()
    await manager.shutdown_kernel(now=True)


async def run(client: AsyncKernelClient, code: str) -> dict[str, Any]:
    reply = await client.execute_interactive(code, timeout=60, output_hook=lambda message: None)
    return reply["content"]  # type: ignore[no-any-return]


async def test_an_interrupt_ends_the_question_and_leaves_the_kernel(
    kernel: tuple[AsyncKernelManager, AsyncKernelClient], day: Path
) -> None:
    manager, client = kernel
    assert (await run(client, "%load_ext pushpals"))["status"] == "ok"
    # The word tells that the cell runs: an interrupt between two cells is nobody's.
    message_id = client.execute(f"print('asking', flush=True)\n%ppsql --file {day} --timeout 30 {ENDLESS}")
    while (await client.get_iopub_msg(timeout=60))["msg_type"] != "stream":
        continue
    await manager.interrupt_kernel()
    ended = await client.get_shell_msg(timeout=60)
    assert ended["parent_header"]["msg_id"] == message_id
    assert (ended["content"]["status"], ended["content"]["ename"]) == ("error", "KeyboardInterrupt")
    assert (await run(client, f"one = %ppsql --file {day} SELECT 1"))["status"] == "ok"
    assert (await run(client, "assert one.scalar() == 1"))["status"] == "ok"
