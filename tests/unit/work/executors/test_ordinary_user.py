"""The same tests as an ordinary user, when the ones around this run as root.

Root and an ordinary user get different sandboxes, so one run must show both. The inner run needs this very
Python and this checkout; where a folder above them is closed to others (``/root`` often is), the inner
run gets a mount namespace in which that folder holds nothing but the paths it needs.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path

import pytest

import pushpals

USER = 61_900
"""Nobody's number: not in the account database, and not one that a slot uses."""

HERE = Path(__file__).resolve()
ROOT = Path(pushpals.__file__).resolve().parent.parent
SUITES = (
    HERE.parent,
    HERE.parents[3] / "contract" / "test_executors.py",
)


def closed_folder_above(path: Path) -> Path | None:
    """The highest folder above ``path`` that others may not enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def opened(paths: list[Path]) -> str:
    """A script that shows ``paths`` below closed folders and a private ``/tmp``, in a mount namespace."""
    private = Path("/tmp")
    hidden = [path for path in paths if closed_folder_above(path) is not None or path.is_relative_to(private)]
    closed = {folder for path in paths if (folder := closed_folder_above(path)) is not None}
    lines = ["set -e", "mount -t tmpfs tmpfs /mnt"]
    for number, path in enumerate(hidden):
        lines += [f"mkdir /mnt/{number}", f"mount --bind {shlex.quote(str(path))} /mnt/{number}"]
    lines += [f"mount -t tmpfs -o mode=1777 tmpfs {private}"]
    lines += [
        f"mkdir -p {shlex.quote(str(folder))}; mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(folder))}"
        for folder in sorted(closed)
    ]
    for number, path in enumerate(hidden):
        lines += [
            f"mkdir -p {shlex.quote(str(path))}",
            f"mount --bind /mnt/{number} {shlex.quote(str(path))}",
        ]
    return "\n".join(lines)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("sandboxed_machine")
async def test_everything_holds_for_an_ordinary_user_too() -> None:
    if os.geteuid() != 0:
        return  # This run is the ordinary one.
    needed = sorted({Path(sys.prefix), Path(sys.base_prefix), ROOT, HERE.parents[4]})
    inner = [
        *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"),
        *(
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            str(HERE.parents[4] / "pyproject.toml"),
        ),
        *("-o", "asyncio_default_fixture_loop_scope=function", "--basetemp", "/tmp/pytest"),
        *map(str, SUITES),
    ]
    # The private /tmp is a file system in memory of the inner run alone.
    script = "\n".join(
        [
            opened(needed),
            "mkdir -m 777 /tmp/person && cd /tmp/person",
            f"exec {shlex.join(inner)}",
        ]
    )
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONPATH": str(ROOT),
        "HOME": "/tmp/person",
    }
    process = await asyncio.create_subprocess_exec(
        *(
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--kill-child",
            "--fork",
            "--",
            "sh",
            "-c",
            script,
        ),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    text = said.decode(errors="replace")
    assert process.returncode == 0, text
    assert "skipped" not in text.splitlines()[-1], text
