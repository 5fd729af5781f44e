"""The same tests as an ordinary user, when the ones around this run as root.

Root and an ordinary user get different sandboxes, so one run must show both. The inner run needs this very
Python and this checkout; where a folder above them is closed to others (``/root`` often is), the inner
run gets a mount namespace in which that folder holds nothing but the paths it needs.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import pushpals

USER = 61_900
"""Nobody's number: not in the account database, and not one that a slot uses."""

HERE = Path(__file__).resolve()
ROOT = Path(pushpals.__file__).resolve().parent.parent
CHECKOUT = HERE.parents[4]
SUITES = (HERE.parent, CHECKOUT / "tests" / "contract" / "test_executors.py")


def closed_folder_above(path: Path) -> Path | None:
    """The highest folder above ``path`` that others may not enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def opened(paths: list[Path], stage: Path) -> str:
    """A script that shows ``paths`` again below closed folders, in a mount namespace of its own."""
    hidden = [path for path in paths if closed_folder_above(path) is not None]
    closed = {folder for path in hidden if (folder := closed_folder_above(path)) is not None}
    lines = []
    for number, path in enumerate(hidden):
        lines += [shlex.join(["mkdir", f"{stage}/{number}"])]
        lines += [shlex.join(["mount", "--bind", str(path), f"{stage}/{number}"])]
    for folder in sorted(closed):
        lines += [shlex.join(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder)])]
    for number, path in enumerate(hidden):
        lines += [shlex.join(["mkdir", "-p", str(path)])]
        lines += [shlex.join(["mount", "--bind", f"{stage}/{number}", str(path)])]
    return "\n".join(lines)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of the ordinary user's, below folders that everybody may enter."""
    made = Path(tempfile.mkdtemp(prefix="pushpals-ordinary-", dir="/var/tmp"))
    os.chown(made, USER, USER)
    yield made
    shutil.rmtree(made)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("sandboxed_machine")
async def test_everything_holds_for_an_ordinary_user_too(request: pytest.FixtureRequest) -> None:
    if os.geteuid() != 0:
        return  # This run is the ordinary one.
    home: Path = request.getfixturevalue("home")
    needed = sorted({Path(sys.prefix), Path(sys.base_prefix), ROOT, CHECKOUT})
    inner = [
        *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"),
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("-c", str(CHECKOUT / "pyproject.toml"), "-o", "asyncio_default_fixture_loop_scope=function"),
        *("--basetemp", f"{home}/pytest"),
        *map(str, SUITES),
    ]
    script = "\n".join(
        ["set -e", opened(needed, home), shlex.join(["cd", str(home)]), f"exec {shlex.join(inner)}"]
    )
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "--propagation", "private", "--fork", "--kill-child", "--"),
        *("sh", "-c", script),
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(home),
            "TMPDIR": str(home),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    text = said.decode(errors="replace")
    assert process.returncode == 0, text
    assert "skipped" not in text.splitlines()[-1], text
