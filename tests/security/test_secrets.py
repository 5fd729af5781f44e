"""A secret that a job is given is found nowhere afterwards (G02 to G12), and nobody else on the machine sees it."""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from pushpals.cli.audit import write_export
from pushpals.policy.redact import Secret
from pushpals.protocol.commands import Enqueue
from pushpals.protocol.events import Committed, DiffReady
from pushpals.store.sqlite.auditing import open_auditor
from pushpals.testing.town import Town
from pushpals.testing.workshop import Workshop
from pushpals.work.context import AgentCommand, Settings
from pushpals.work.executors.base import Command, Limits, Place
from pushpals.work.executors.bubblewrap import BubblewrapExecutor

CANARY = "canary-Zq7RwT2mXk9vLp4s-canary"

AGENT = """
import base64, os, sys
key = os.environ["MODEL_KEY"]
print("plain", key)
print("b64", base64.b64encode(("x" + key).encode()).decode())
print("hex", key.encode().hex())
sys.stderr.write("half " + key[:11]); sys.stderr.flush()
sys.stderr.write(key[11:] + "\\n")
print("\\x1b[31m" + key[:5] + "\\x1b[0m" + key[5:])
open("notes.txt", "w").write("all is well\\n")
if "leak" in sys.argv:
    open("config.py", "w").write("KEY = %r\\n" % key)
if "fail" in sys.argv:
    raise SystemExit("it broke with " + key)
"""


def encodings(value: str) -> list[bytes]:
    raw = value.encode()
    return [raw, raw.hex().encode(), *(base64.b64encode(b"x" * n + raw)[4:-4] for n in range(3))]


def traces(folder: Path) -> list[str]:
    """Files below a folder that hold the canary in any form that can be found by looking."""
    wanted = encodings(CANARY)
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and any(one in path.read_bytes() for one in wanted)
    ]


@pytest.mark.parametrize("word", ["quiet", "leak", "fail"])
async def test_g12_a_planted_key_is_nowhere_afterwards(tmp_path: Path, word: str) -> None:
    agent = AgentCommand(argv=(sys.executable, "-c", AGENT, word), env={"MODEL_KEY": CANARY})
    async with Workshop(tmp_path, {"README.md": "x\n"}, settings=Settings(agents={"it": agent})) as shop:
        job = await shop.do(
            "agent", {"brief": f"do it with {CANARY} in mind", "title": f"use {CANARY}"}, checks=[]
        )
        told = b"".join(event.data for event in shop.published if event.type != "job_enqueued")
        assert all(one not in told for one in encodings(CANARY))
        assert not any(one in blob for blob in shop.blobs.values() for one in encodings(CANARY))
        assert any("[REDACTED:MODEL_KEY:" in line for line in shop.lines())
        if word == "leak":
            assert job.error is not None
            assert "seems to hold a secret" in job.error.message
            assert shop.events(DiffReady) == shop.events(Committed) == []
        else:
            assert job.state == "completed", job.error
        assert CANARY not in str(job.result)
        assert CANARY not in str(job.error)
    # What the test itself asked for stands in the request; the worker's own folder keeps nothing readable.
    assert traces(tmp_path / "state") == []


async def test_g12_over_the_whole_team_nothing_on_disk_holds_it(tmp_path: Path) -> None:
    settings = Settings(
        agents={"it": AgentCommand(argv=("python3", "-c", AGENT, "quiet"), env={"MODEL_KEY": CANARY})}
    )
    async with Town.open(tmp_path) as town:
        # What the command line does for the agents that the operator configured.
        town.worker.options = replace(town.worker.options, settings=settings)
        town.worker._secrets = (Secret(name="MODEL_KEY", value=CANARY),)
        await town.person.enqueue(
            Enqueue(task_id="t", kind="agent", session_id="dev", params={"brief": "tidy up"}, checks=[])
        )
        (job,) = await town.work()
        assert job.state == "completed", job.error
        page = await town.person.history("dev")
        assert all(CANARY.encode() not in bytes(entry.envelope) for entry in page.items)
        assert traces(tmp_path) == []
        with open_auditor(tmp_path / "hub" / "hub.db") as auditor, (tmp_path / "export").open("wb") as file:
            write_export(auditor, tmp_path / "hub" / "audit", file)
        assert traces(tmp_path) == []
    assert traces(tmp_path) == []


async def test_t7_a_secret_of_a_command_stands_in_no_process_list(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    await asyncio.to_thread(tree.mkdir)
    executor = BubblewrapExecutor()
    seen: list[str] = []

    def look(stream: str, chunk: bytes) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if CANARY.encode() in path.read_bytes():
                    seen.append(str(path))
            except OSError:
                continue

    command = Command(
        argv=("sh", "-c", 'echo started; [ "$MODEL_KEY" = "$(cat)" ] && echo same; sleep 0.1'),
        env={"PATH": "/usr/bin:/bin"},
        secret_env={"MODEL_KEY": CANARY},
        stdin=CANARY.encode(),
        limits=Limits(wall_s=20),
    )
    outcome = await executor.run(Place(tree=tree), command, look)
    await executor.close()
    assert outcome.stdout.split() == [b"started", b"same"], outcome
    assert seen == []


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "BASH_ENV"])
async def test_a_secret_cannot_be_a_variable_that_changes_what_runs(tmp_path: Path, name: str) -> None:
    executor = BubblewrapExecutor()
    outcome = await executor.run(Place(tree=tmp_path), Command(argv=("true",), secret_env={name: "x" * 12}))
    await executor.close()
    assert outcome.error is not None
    assert "changes which code runs" in outcome.error


@pytest.mark.parametrize(
    "name", [".env", "deploy/id_rsa", "keys/server.p12", ".aws/credentials", "credentials.json"]
)
async def test_g08_key_files_are_refused_by_name_before_anything_leaves(tmp_path: Path, name: str) -> None:
    script = f"mkdir -p \"$(dirname '{name}')\"; echo harmless > '{name}'"
    async with Workshop(tmp_path, {"README.md": "x\n"}) as shop:
        job = await shop.do("command", {"script": script}, checks=[])
        assert job.error is not None
        assert "key-file" in job.error.message
        assert shop.events(DiffReady) == []
