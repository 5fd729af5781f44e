"""How Jupyter is started with a hub, and what its kernels inherit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import psutil

from pushpals.cli.state import State
from pushpals.testing.jupyter import ROOT, Jupyter, surroundings
from pushpals.testing.site import RunningSite


async def test_pushpals_lab_opens_with_the_console_and_knows_the_hub(
    tmp_path: Path, site: RunningSite, state: State
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [
        "-m",
        "pushpals",
        "-C",
        str(tmp_path),
        "--data-dir",
        str(state.root),
        "lab",
        "--no-browser",
        f"--port={port}",
    ]
    env = {**surroundings(tmp_path / "jupyter", installed=True), "PYTHONPATH": str(ROOT)}
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *argv, "--", "--allow-root", "--IdentityProvider.token=t",
            env=env, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(
            base_url=base, headers={"Authorization": "token t"}, trust_env=False, timeout=10
        ) as http:
            async with asyncio.timeout(60):
                while True:
                    assert process.returncode is None, log.read_text()
                    with contextlib.suppress(httpx.HTTPError):
                        if (await http.get("/api")).status_code == 200:
                            break
                    await asyncio.sleep(0.1)
            hub = (await http.get("/pushpals/hub")).json()
            page = (await http.get("/lab")).text
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()
    assert (hub["ok"], hub["url"], hub["session"], hub["role"]) == (True, site.url, "dev", "operator")
    assert '"pushpalsOpen": "true"' in page
    assert "/lab/extensions/pushpals/static/" in page or '"name": "pushpals"' in page
    assert [role for role, secret in site.secrets.items() if secret in log.read_text() + page] == []


async def test_kernels_do_not_inherit_a_token_that_decides(tmp_path: Path, site: RunningSite) -> None:
    given = {"PUSHPALS_URL": site.url, "PUSHPALS_TOKEN": site.secrets["operator"]}
    with Jupyter.running(tmp_path, data_dir=tmp_path / "nothing", app="server", env=given) as jupyter:
        async with jupyter.client() as http:
            assert (await http.get("/pushpals/hub")).json()["role"] == "operator"
            await http.post("/api/kernels", json={"name": "python3"}, timeout=20)
            (kernel,) = psutil.Process(jupyter.process.pid).children()
            inherited = {
                name: value for name, value in kernel.environ().items() if name.startswith("PUSHPALS_")
            }
    assert inherited["PUSHPALS_URL"] == site.url
    assert inherited["PUSHPALS_TOKEN"].startswith("pp_notebook_")
    assert site.secrets["operator"] not in inherited.values()
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        who = await http.get("/login", headers={"Authorization": f"Bearer {inherited['PUSHPALS_TOKEN']}"})
    assert (who.json()["role"], who.json()["label"]) == ("notebook", "kernel")
