"""The same kinds inside the real sandbox: other paths, another user, no host."""

from __future__ import annotations

from pathlib import Path

from pushpals.protocol.events import ToolCall
from pushpals.testing.workshop import Workshop
from pushpals.work.context import AgentCommand, Settings
from pushpals.work.executors.bubblewrap import BubblewrapExecutor

PROJECT = {
    "pyproject.toml": '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n',
    "src/adder/__init__.py": "import os\n\n\ndef add(a, b):\n    return a + b\n",
    "src/adder/more.py": "import sys\n\nTWO = 2\n",
    "tests/test_adder.py": (
        "from adder import add\nfrom adder.more import TWO\n\n\ndef test_it():\n    assert add(1, 1) == TWO\n"
    ),
}


async def test_lint_is_fixed_and_a_src_layout_is_tested_without_being_installed(tmp_path: Path) -> None:
    executor = BubblewrapExecutor()
    async with Workshop(tmp_path, PROJECT, executor=executor) as shop:
        job = await shop.do("fix", {"fixer": "ruff"})
        assert job.result is not None
        assert job.result.summary.endswith("pytest passed (1 passed).")
        assert [change.path for change in job.result.files] == ["src/adder/more.py"]
        (evidence,) = job.result.evidence
        assert (evidence.sandbox, job.sandbox) == ("full", "full")
        assert {call.args["sandbox"] for call in shop.events(ToolCall)} == {"full"}
    await executor.close()


async def test_a_patch_and_a_look_work_inside(tmp_path: Path) -> None:
    executor = BubblewrapExecutor()
    head = "--- a/src/adder/more.py\n+++ b/src/adder/more.py\n"
    diff = f"{head}@@ -1,3 +1,3 @@\n import sys\n \n-TWO = 2\n+TWO = 1 + 1\n"
    async with Workshop(tmp_path, PROJECT, executor=executor) as shop:
        job = await shop.do("patch", {"diff": diff})
        assert job.result is not None
        assert job.result.evidence[0].verdict == "passed"
        job = await shop.do("look", {"about": ["lint", "tests"]})
        assert job.result is not None
        assert job.result.output["lint"]["first"][0].startswith("src/adder/__init__.py:1 F401")
    await executor.close()


async def test_an_agent_gets_its_brief_as_a_file_and_sees_no_host_path(tmp_path: Path) -> None:
    executor = BubblewrapExecutor()
    script = (
        "cat {brief_file}; pwd; echo >> new.txt; ls / | tr '\\n' ' '; test ! -e "
        + f"{tmp_path} && echo hidden"
    )
    agents = {"a": AgentCommand(argv=("sh", "-c", script))}
    async with Workshop(tmp_path, PROJECT, executor=executor, settings=Settings(agents=agents)) as shop:
        job = await shop.do("agent", {"brief": "Write a line."}, checks=[])
        assert job.result is not None
        assert [change.path for change in job.result.files] == ["new.txt"]
        assert shop.lines()[0] == "Write a line."
        assert shop.lines()[1] == "/repo"
        assert "hidden" in shop.lines()[-1]
    await executor.close()
