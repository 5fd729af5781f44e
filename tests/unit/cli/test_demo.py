"""The demo, as ``make demo YES=1`` runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil


def test_the_demo_lands_by_itself_says_so_last_and_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path), "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "pushpals", "demo", "--yes"]
    done = subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, timeout=115, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"landed: [0-9a-f]{40}", done.stdout.splitlines()[-1])
    told = ["what is failing?", "tests failed", "tests passed", "approved by", "Job-Id:", "not touched"]
    assert [part for part in told if part not in done.stdout] == []
    assert [path.name for path in tmp_path.glob("pushpals-*")] == []
    here = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]
    assert here == []


def test_without_anybody_to_ask_the_demo_does_not_begin(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pushpals", "demo"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "YES=1" in done.stderr, list(tmp_path.iterdir())) == (2, True, [])
