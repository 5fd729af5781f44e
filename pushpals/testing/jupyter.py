"""A real Jupyter server as a process, with folders of its own, and Chromium to look at it.

Nothing of the person's own Jupyter is read or written. The extension is taken from this checkout, or from
the environment of ``python`` where a wheel is installed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec

ROOT = Path(__file__).parents[2]
START_S = 60.0

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Jupyter:
    """A running server. Made by :meth:`running`."""

    def __init__(
        self, url: str, token: str, folder: Path, process: subprocess.Popen[bytes], log: Path
    ) -> None:
        self.url = url
        self.token = token
        self.folder = folder
        self.process = process
        self.log = log

    @classmethod
    @contextlib.contextmanager
    def running(
        cls,
        root: Path,
        *,
        data_dir: Path,
        app: Literal["lab", "notebook", "server"] = "lab",
        python: str = sys.executable,
        installed: bool = False,
        options: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> Iterator[Jupyter]:
        """Start one and wait until it answers. ``data_dir`` is where it finds the hub (``run.json``)."""
        folder = root / "notebooks"
        folder.mkdir(parents=True, exist_ok=True)
        environment = {
            **surroundings(root, installed=installed),
            "PUSHPALS_DATA_DIR": str(data_dir),
            **(env or {}),
        }
        token, port, log = secrets.token_hex(12), _free_port(), root / "jupyter.log"
        argv = [
            python, "-m", "jupyter", app, "--no-browser", "--allow-root", f"--port={port}",
            "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
            f"--ServerApp.root_dir={folder}", *options,
        ]  # fmt: skip
        if app == "lab":
            argv += ["--LabApp.expose_app_in_browser=True", "--LabApp.news_url="]
            argv += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
        elif app == "notebook":
            argv += ["--JupyterNotebookApp.expose_app_in_browser=True"]
        with log.open("wb") as out:
            process = subprocess.Popen(
                argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        server = cls(f"http://127.0.0.1:{port}", token, folder, process, log)
        try:
            server.wait()
            yield server
        finally:
            server.close()

    def wait(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/api", timeout=2, trust_env=False).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"Jupyter did not start: {self.log.read_text('utf-8', 'replace')[-3000:]}")

    def close(self) -> None:
        """Ask it to end, with its kernels; then end the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def client(self, **headers: str) -> httpx.AsyncClient:
        """HTTP as its user, from a program."""
        return httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"token {self.token}", **headers}, trust_env=False
        )

    def notebook(self, name: str, cells: list[str]) -> str:
        """Write a notebook into its folder; returns the name."""
        document = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "cells": [
                {
                    "id": f"cell-{number}",
                    "cell_type": "code",
                    "metadata": {},
                    "source": source,
                    "outputs": [],
                    "execution_count": None,
                }
                for number, source in enumerate(cells)
            ],
        }
        (self.folder / name).write_bytes(msgspec.json.encode(document))
        return name


def surroundings(root: Path, *, installed: bool = False) -> dict[str, str]:
    """An environment in which Jupyter's folders all lie below ``root``."""
    config, share = root / "config", root / "share"
    for folder in (root / "home", config, share / "labextensions", root / "runtime", root / "data"):
        folder.mkdir(parents=True, exist_ok=True)
    found = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(root / "home"),
        "LANG": "C.UTF-8",
        "IPYTHONDIR": str(root / "home" / "ipython"),
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_DATA_DIR": str(root / "data"),
        "JUPYTER_RUNTIME_DIR": str(root / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(config / "lab" / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(config / "lab" / "workspaces"),
    }
    quiet = config / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True, exist_ok=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    if not installed:
        with contextlib.suppress(FileExistsError):
            (share / "labextensions" / "pushpals").symlink_to(
                ROOT / "pushpals" / "labextensions" / "pushpals"
            )
        enable: dict[str, Any] = {"ServerApp": {"jpserver_extensions": {"pushpals": True}}}
        (config / "jupyter_server_config.json").write_bytes(msgspec.json.encode(enable))
        found |= {"PYTHONPATH": str(ROOT), "JUPYTER_PATH": str(share)}
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
