"""The hub as a process that tests may kill, stop, starve and start again on the same port.

::

    async with HubProcess(tmp_path) as hub:
        await hub.start()
        async with hub.client() as client:
            ...
        await hub.kill()
        await hub.start()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from pushpals.client import Backoff, HubClient

PATIENCE_S = 60.0
"""Only a broken test ever waits so long."""

STUBBORN = Backoff(first_s=0.01, most_s=0.1, tries=2_000)
"""A client that outlives any number of restarts."""


class HubProcess:
    """``options`` are those of ``start_service``, of the store (``busy_s``) and fields of ``Options``."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.options = options
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.secret = ""
        self.process: asyncio.subprocess.Process | None = None
        self.starts = 0

    @property
    def database(self) -> Path:
        return self.directory / "hub.db"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        """Returns when it answers; raises ``RuntimeError`` with what it said when it does not start."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pushpals.testing.hubprocess", str(self.directory), str(self.port),
            json.dumps(self.options), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = (await self.process.stdout.readline()).decode().strip()
            if not line:
                _, errors = await self.process.communicate()
                raise RuntimeError(errors.decode())
        self.starts += 1
        self.secret = line if line != "-" else self.secret

    async def kill(self) -> None:
        """SIGKILL. May be called when it is gone already."""
        await self.end(signal.SIGKILL)

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        if self.process is None:
            return 0
        if self.process.returncode is None:
            self.process.send_signal(how)
        async with asyncio.timeout(PATIENCE_S):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode

    def client(self, secret: str | None = None, backoff: Backoff = STUBBORN, **options: Any) -> HubClient:
        return HubClient(self.url, secret or self.secret, backoff=backoff, timeout_s=20.0, **options)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def _main(directory: Path, port: int, options: dict[str, Any]) -> None:
    from pushpals.server import Options, ensure_operator, start_service
    from pushpals.store.sqlite import open_store

    changes = {name: options.pop(name) for name in list(options) if name in Options.__struct_fields__}
    store = {name: options.pop(name) for name in list(options) if name in ("busy_s", "synchronous")}
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    service = await start_service(
        partial(open_store, **store),
        directory / "hub.db",
        data_dir=directory,
        port=port,
        configure=lambda known: replace(known, **changes),
        **options,
    )
    made = await ensure_operator(service.hub)
    print(made.secret if made else "-", flush=True)
    await stop.wait()
    await service.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])))
