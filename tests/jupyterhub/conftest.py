"""A real JupyterHub with the configuration of the how-to, and its real proxy."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs" / "howto" / "jupyterhub.md"
ADMIN = "0123456789abcdef" * 4

SERVER = """
import asyncio, json, os, sys
from urllib.parse import urlsplit
from tornado.web import Application, RequestHandler

def probe():
    from pushpals import Session
    from pushpals.protocol.commands import Decide
    told = {"url": os.environ.get("PUSHPALS_JUPYTERHUB_URL")}
    session = Session("dev")
    try:
        session.say("hello from a kernel")
        told["jobs"] = repr(session.jobs())
        told["asked"] = session.sql("SELECT count(*) FROM v_messages").scalar()
        told["shown"] = repr(session) + repr(session.status())
        async def decide():
            async with session._inner.hub() as hub:
                await hub.decide("call", Decide(decision="deny"))
        from pushpals.notebook.waiting import wait
        wait(decide())
        told["decided"] = True
    except Exception as error:
        told["error"] = f"{type(error).__name__}: {error}"
    with open(sys.argv[1] + "/" + os.environ["JUPYTERHUB_USER"] + ".json", "w") as out:
        json.dump(told, out)

class Hello(RequestHandler):
    def get(self):
        self.finish("hello; cookies: " + ",".join(self.request.cookies))

async def main():
    address = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    Application([(".*", Hello)]).listen(address.port, address.hostname)
    await asyncio.to_thread(probe)
    await asyncio.Event().wait()

asyncio.run(main())
"""

DIE_WITH_US = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15);"
    " os.execv(sys.executable, [sys.executable, '-m', 'jupyterhub', *sys.argv[1:]])"
)
"""A test run that is killed cannot stop its JupyterHub; the kernel does it, by PR_SET_PDEATHSIG."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def proxy_command(tmp_path_factory: pytest.TempPathFactory) -> str:
    """configurable-http-proxy: the one on the PATH, else installed for this run."""
    found = shutil.which("configurable-http-proxy")
    if found:
        return found
    folder = tmp_path_factory.mktemp("proxy")
    argv = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), "configurable-http-proxy@5"]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    return str(folder / "node_modules" / ".bin" / "configurable-http-proxy")


class RunningJupyterHub:
    def __init__(self, url: str, data: Path, told: Path):
        self.url, self.data, self.told = url, data, told
        self.admin = httpx.Client(
            base_url=f"{url}/hub/api",
            headers={"Authorization": f"token {ADMIN}"},
            trust_env=False,
            timeout=30,
        )

    def token(self, name: str, *scopes: str) -> str:
        """A token of a person with these scopes."""
        answer = self.admin.post(f"/users/{name}/tokens", json={"scopes": list(scopes)})
        answer.raise_for_status()
        return str(answer.json()["token"])

    def join(self, name: str, group: str) -> None:
        self.admin.post(f"/users/{name}")
        self.admin.post(f"/groups/{group}")
        self.admin.post(f"/groups/{group}/users", json={"users": [name]}).raise_for_status()

    def leave(self, name: str, group: str) -> None:
        self.admin.request("DELETE", f"/groups/{group}/users", json={"users": [name]}).raise_for_status()

    def from_kernel(self, name: str) -> dict[str, Any]:
        """What a kernel of this person's server met."""
        self.admin.post(f"/users/{name}/server").raise_for_status()
        file = self.told / f"{name}.json"
        return json.loads(eventually(lambda: file.read_text() if file.exists() else None))  # type: ignore[no-any-return]


def eventually(look: Any, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")


@pytest.fixture(scope="session")
def jupyterhub(tmp_path_factory: pytest.TempPathFactory, proxy_command: str) -> Iterator[RunningJupyterHub]:
    folder = tmp_path_factory.mktemp("jupyterhub")
    data, told = folder / "data", folder / "told"
    told.mkdir()
    port, api, hub_port, service = (free_port() for _ in range(4))
    (folder / "server.py").write_text(SERVER)
    blocks = re.findall(r"^```python\n(.*?)^```", HOWTO.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    config = next(block for block in blocks if "c.JupyterHub.services" in block)
    config = config.replace("http://127.0.0.1:10101", f"http://127.0.0.1:{service}").replace(
        "/srv/pushpals", str(data)
    )
    config = config.replace('"PUSHPALS_VIEWERS": "*"', '"PUSHPALS_VIEWERS": "readers"')
    config += textwrap.dedent(
        f"""
        c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
        c.JupyterHub.hub_port = {hub_port}
        c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
        c.ConfigurableHTTPProxy.command = [{proxy_command!r}]
        c.JupyterHub.authenticator_class = "dummy"
        c.DummyAuthenticator.password = "sesame"
        c.Authenticator.allow_all = True
        c.JupyterHub.spawner_class = "simple"
        c.Spawner.cmd = [{sys.executable!r}, {str(folder / "server.py")!r}, {str(told)!r}]
        c.Spawner.args = []
        c.Spawner.environment = c.Spawner.environment | {{"PYTHONPATH": {str(ROOT)!r}}}
        c.JupyterHub.services[0]["environment"]["PYTHONPATH"] = {str(ROOT)!r}
        c.JupyterHub.services.append({{"name": "test", "api_token": {ADMIN!r}}})
        c.JupyterHub.load_roles.append(
            {{"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:groups", "servers", "tokens"]}}
        )
        c.JupyterHub.db_url = "sqlite:///{folder}/jupyterhub.sqlite"
        c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
        """
    )
    (folder / "jupyterhub_config.py").write_text(config)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PUSHPALS_", "JUPYTER"))
    }
    log = folder / "jupyterhub.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", DIE_WITH_US, "-f", str(folder / "jupyterhub_config.py")],
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:

        def ready() -> bool:
            if process.poll() is not None:
                raise AssertionError(log.read_text()[-4000:])
            try:
                return httpx.get(f"{url}/services/pushpals/healthz", trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        try:
            eventually(ready)
        except AssertionError:
            raise AssertionError(log.read_text()[-6000:]) from None
        running = RunningJupyterHub(url, data, told)
        yield running
        running.admin.close()
    finally:
        process.terminate()
        process.wait(timeout=60)
