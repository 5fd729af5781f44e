"""Every built-in kind keeps every promise of the port, and so does a stranger's."""

from __future__ import annotations

import sys
from typing import Any

from pushpals.protocol.jobs import JobResult
from pushpals.testing.contracts.kind import KindContract
from pushpals.work.context import AgentCommand, JobContext, Settings
from pushpals.work.kind import Args, JobFailure, JobKind, find_kind

FILES = {
    "pyproject.toml": '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n',
    "adder.py": "import os\n\n\ndef add(a, b):\n    return a + b\n",
    "tests/test_adder.py": "from adder import add\n\n\ndef test_adding():\n    assert add(1, 2) == 3\n",
}


class TestCheck(KindContract):
    kind = find_kind("check")
    files = FILES
    params = {"names": ["pytest"]}
    wrong_params = {"names": "pytest"}


class TestCommand(KindContract):
    kind = find_kind("command")
    files = FILES
    params = {"argv": [sys.executable, "-c", "open('new.txt', 'w').write('x')"]}
    wrong_params = {"argv": []}


class TestPatch(KindContract):
    kind = find_kind("patch")
    files = FILES
    params = {"diff": "--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+new\n"}
    wrong_params = {"diff": 1}


class TestFixLint(KindContract):
    kind = find_kind("fix")
    files = FILES
    params = {"fixer": "ruff"}
    wrong_params = {"fixer": "sed"}


class TestFixFormat(KindContract):
    kind = find_kind("fix")
    files = {**FILES, "adder.py": "def add( a,b ):\n  return a+b\n"}
    params = {"fixer": "format", "force": True}
    wrong_params = {"force": "yes"}


class TestFixTypos(KindContract):
    kind = find_kind("fix")
    files = {**FILES, "README.md": "Teh readme.\n"}
    params = {"fixer": "typos"}
    wrong_params = {"fixer": None}


class TestLook(KindContract):
    kind = find_kind("look")
    files = FILES
    params = {"about": ["lint", "tests"]}
    wrong_params = {"about": ["gossip"]}


class TestAgent(KindContract):
    kind = find_kind("agent")
    files = FILES
    settings = Settings(agents={"echo": AgentCommand(argv=("sh", "-c", "cat > notes.txt; echo done"))})
    params = {"brief": "Write it down."}
    wrong_params = {"brief": ""}


class CountArgs(Args, frozen=True, kw_only=True):
    path: str


class Count:
    name = "count"
    description = "Count the words of a file."
    changes = False
    Args: type[Args] = CountArgs

    async def run(self, ctx: JobContext, args: Any) -> JobResult:
        ran = await ctx.run(["wc", "-w", "--", args.path])
        if not ran.ok:
            raise JobFailure(f"{args.path} cannot be read: {ran.why}")
        words = int(ran.outcome.stdout.split()[0])
        return JobResult(summary=f"{args.path} has {words} words.", base=ctx.base, output={"words": words})


COUNT: JobKind = Count()


class TestAStrangersKind(KindContract):
    kind = COUNT
    files = {"a.txt": "one two three\n"}
    params = {"path": "a.txt"}
    wrong_params = {"path": 3}
