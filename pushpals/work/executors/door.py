"""Joins one sandboxed command to its proxy: takes the listening socket that the launcher made inside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

from pushpals.work.executors.launcher import PORT
from pushpals.work.executors.network import Proxy

PROXY_ENV = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), f"http://127.0.0.1:{PORT}"),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1"),
}
"""What programs look at to find the way out. A program that does not look has no network."""


class Door:
    """Open for the time of one command. ``inner`` is the descriptor the launcher gets."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._near, self._inner = socket.socketpair()
        self._near.setblocking(False)
        self._task: asyncio.Task[None] | None = None

    @property
    def inner(self) -> int:
        return self._inner.fileno()

    def start(self) -> None:
        self._task = asyncio.create_task(self._take_listener(), name="network door")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._near.close()
        self._inner.close()
        await self._proxy.close()

    async def _take_listener(self) -> None:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._near, lambda: None if readable.done() else readable.set_result(None))
        try:
            await readable
        finally:
            loop.remove_reader(self._near)
        # The launcher is ours, but it shares its environment with the command: believe nothing it sends.
        with contextlib.suppress(OSError):
            _, descriptors, _, _ = socket.recv_fds(self._near, 1, 4)
            for spare in descriptors[1:]:
                os.close(spare)
            if descriptors:
                listener = socket.socket(fileno=descriptors[0])
                if listener.family == socket.AF_INET and listener.getsockopt(
                    socket.SOL_SOCKET, socket.SO_ACCEPTCONN
                ):
                    listener.setblocking(False)
                    await self._proxy.serve(listener)
                    self._near.send(b"+")
                    return
                listener.close()
        # Without the word of this side the launcher gives up.
        self._near.shutdown(socket.SHUT_RDWR)


def launcher_argv(python: str, descriptor: int) -> tuple[str, ...]:
    source = Path(__file__).with_name("launcher.py").read_text()
    return (python, "-I", "-S", "-c", source, str(descriptor))
