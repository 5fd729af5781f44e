"""The tool-call path: cleaned and redacted before anything is told."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from pushpals.policy.redact import Secret
from pushpals.policy.rules import load_policy
from pushpals.protocol.records import StoredArtifact
from pushpals.testing.clock import CountedIds
from pushpals.work.environment import BadEnvironment, build_environment
from pushpals.work.executors.base import Command, Executor, ExecutorUnavailable, Limits, Outcome, Place
from pushpals.work.executors.local import LocalExecutor
from pushpals.work.guard import Guard
from pushpals.work.outbox import Outbox
from pushpals.work.tools import SHOWN_BYTES, Call, Tools


class Shelf:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def put(self, data: bytes, *, kind: str, media_type: str) -> StoredArtifact:
        sha256 = hashlib.sha256(data).hexdigest()
        self.kept[sha256] = data
        return StoredArtifact(sha256=sha256, size=len(data), kind=kind, media_type=media_type, created_at="")


class Desk:
    """Tools with everything they told."""

    def __init__(self, tmp_path: Path, *secrets: Secret, executor: Executor | None = None) -> None:
        self.outbox = Outbox()
        self.shelf = Shelf()
        self.tree = tmp_path / "repo"
        self.tree.mkdir()
        self.tools = Tools(
            executor=executor or LocalExecutor(),
            guard=Guard(load_policy(), level="none", trusts_machine=True),
            environment=build_environment(),
            outbox=self.outbox,
            shelf=self.shelf,
            home=tmp_path,
            new_id=CountedIds(),
            task_id="task-1",
            secrets=secrets,
        )

    async def run(self, script: str, **fields: object) -> Outcome:
        call = Call(argv=("sh", "-c", script), **fields)  # type: ignore[arg-type]
        return (await self.tools.run(Place(tree=self.tree), call)).outcome

    def told(self) -> tuple[list[dict[str, object]], list[str]]:
        events: list[dict[str, object]] = []
        lines: list[str] = []
        while batch := self.outbox.take():
            events += [{"type": event.type, **event.payload} for event in batch.events]
            lines += [line.line for line in batch.lines]
        return events, lines


async def test_a_call_and_its_result_frame_the_output(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.run("echo out; echo err >&2; exit 3", tool="look", cwd=".")
    events, lines = desk.told()
    assert sorted(lines) == ["err", "out"]
    assert events == [
        {
            "type": "tool_call",
            "toolCallId": "call-1",
            "tool": "look",
            "args": {
                "argv": ["sh", "-c", "echo out; echo err >&2; exit 3"],
                "cwd": ".",
                "sandbox": "none",
                "decision": "allow",
                "policy": load_policy().version[:16],
            },
            "taskId": "task-1",
        },
        {
            "type": "tool_result",
            "toolCallId": "call-1",
            "ok": False,
            "taskId": "task-1",
            "stdout": "out\n",
            "stderr": "err\n",
            "exitCode": 3,
        },
    ]


async def test_a_secret_is_hidden_in_output_arguments_and_artifacts(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Secret(name="KEY", value="hunter2-hunter2"))
    await desk.run(
        "printf 'a hunter2-'; sleep 0.1; printf 'hunter2 b\\n'; yes hunter2-hunter2 | head -c 40000"
    )
    events, lines = desk.told()
    shown = repr((events, lines, desk.shelf.kept))
    assert "hunter2-hunter2" not in shown
    assert lines[0].startswith("a [REDACTED:KEY:")


async def test_control_sequences_cannot_hide_a_secret_or_forge_a_screen(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Secret(name="KEY", value="hunter2-hunter2"))
    await desk.run("printf 'hunter2\\033[0m-hunter2\\n\\033[2Jgone\\rshown\\n\\033]0;title\\007x\\n'")
    _, lines = desk.told()
    assert lines[0].startswith("[REDACTED:KEY:")
    assert lines[1:] == ["gone", "shown", "x"]


async def test_bytes_that_are_no_text_arrive_as_text(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.run(
        "printf 'caf\\303\\251 \\377\\n'; printf '\\303'; sleep 0.1; printf '\\251\\n'; printf 'no end'"
    )
    assert desk.told()[1] == ["café \ufffd", "é", "no end"]


async def test_long_output_is_an_artifact_and_the_event_has_head_and_tail(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.run("seq 20000")
    events, _ = desk.told()
    shown = str(events[1]["stdout"])
    assert len(shown) <= SHOWN_BYTES
    assert shown.startswith("1\n2\n")
    assert shown.endswith("20000\n")
    assert "bytes not kept" in shown
    (whole,) = desk.shelf.kept.values()
    assert whole == b"".join(b"%d\n" % number for number in range(1, 20_001))


async def test_quiet_output_is_in_the_result_and_not_in_the_lines(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.run("echo data", quiet=True)
    events, lines = desk.told()
    assert (lines, events[1]["stdout"]) == ([], "data\n")


async def test_a_cancelled_call_ends_and_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    running = asyncio.create_task(desk.run("echo ready; sleep 600"))
    while not (batch := desk.outbox.take()).lines:
        await desk.outbox.wait(10.0, 0.0)
        assert not batch.lines
    assert desk.tools.running == ("sh -c 'echo ready; sleep 600'",)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    events, _ = desk.told()
    assert events[-1]["type"] == "tool_result"
    assert events[-1]["stderr"] == "[stopped]"
    assert desk.tools.running == ()


async def test_a_time_out_is_said_in_words(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    outcome = await desk.run("sleep 600", limits=Limits(wall_s=0.1, grace_s=0.1))
    assert outcome.timed_out
    assert "the time was up" in str(desk.told()[0][1]["stderr"])


class NoSandbox(LocalExecutor):
    async def run(self, place: Place, command: Command, on_output: object = None) -> Outcome:
        raise ExecutorUnavailable("the sandbox is gone")


async def test_a_sandbox_that_breaks_is_told_and_raised(tmp_path: Path) -> None:
    desk = Desk(tmp_path, executor=NoSandbox())
    with pytest.raises(ExecutorUnavailable):
        await desk.run("true")
    events, _ = desk.told()
    assert [event["type"] for event in events] == ["tool_call", "tool_result"]
    assert events[1]["stderr"] == "[the sandbox is gone]"


async def test_the_environment_is_built_and_nothing_is_inherited(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (desk.tree / "src").mkdir()
    await desk.run("env | cut -d= -f1 | sort")
    assert set(desk.told()[1]) <= {
        *("CI", "GIT_CEILING_DIRECTORIES", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_TERMINAL_PROMPT"),
        *("HOME", "HYPOTHESIS_STORAGE_DIRECTORY", "LANG", "LC_ALL", "NO_COLOR", "PATH", "TERM", "TMPDIR"),
        *("PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_INPUT", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED"),
        *("PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONUNBUFFERED", "TZ", "USER", "PWD", "SHLVL", "_", "OLDPWD"),
    }


def test_path_goes_from_the_operator_s_folders_to_the_checkout_to_ours_to_the_system(tmp_path: Path) -> None:
    tools, checkout, ours = tmp_path / "tools", tmp_path / "checkout", tmp_path / "ours"
    for folder in (tools / "bin", checkout / ".venv" / "bin", ours / "bin"):
        folder.mkdir(parents=True)
    (checkout / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    made = build_environment(configured=[tools], checkout=checkout, running=ours)
    assert made.folders == (tools / "bin", checkout / ".venv/bin", ours / "bin")
    assert made.toolchain == (tools, checkout / ".venv", ours)
    seen = made.variables(["pytest"], level="full", tree=Path("/x"), home=Path("/y"), src=True)
    assert seen["PATH"].startswith(f"{tools}/bin:{checkout}/.venv/bin:{ours}/bin:/usr/local/sbin")
    assert (seen["PYTHONPATH"], seen["HOME"]) == ("/repo/src:/repo", "/home/pal")
    local = made.variables(["pytest"], level="none", tree=Path("/x"), home=Path("/y"), src=False)
    assert (local["PYTHONPATH"], local["HOME"]) == ("/x", "/y")


def test_a_linter_does_not_import_from_the_tree() -> None:
    made = build_environment()
    for argv in (["mypy", "."], ["ruff", "check"], ["python", "-m", "mypy"]):
        seen = made.variables(argv, level="none", tree=Path("/x"), home=Path("/y"), src=True)
        assert "PYTHONPATH" not in seen


@pytest.mark.parametrize("path", [Path("relative"), Path("/no/such/folder")])
def test_a_configured_folder_must_be_one(path: Path) -> None:
    with pytest.raises(BadEnvironment):
        build_environment(configured=[path])


def test_the_digest_changes_with_what_is_installed(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    (tmp_path / "bin").mkdir()
    site.mkdir(parents=True)
    before = build_environment(running=tmp_path)
    (site / "ruff-0.17.dist-info").mkdir()
    assert build_environment(running=tmp_path).digest != before.digest
    assert build_environment(running=tmp_path).digest == build_environment(running=tmp_path).digest
