"""Runbooks say what happens: they are run against a live team, and their outputs are compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from pushpals.policy.redact import redact_text

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
BOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 50 * 1024


def check(*names: Path, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    """The command of ``make runbooks-test``."""
    argv = [
        sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "60",
        "--nbval-sanitize-with", str(FOLDER / "sanitize.cfg"), "-p", "no:cacheprovider", "-q",
        "--color=no", "--rootdir", str(folder), "-c", os.devnull, *map(str, names),
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=400, check=False)


@pytest.mark.timeout(420)
def test_every_runbook_does_what_it_shows() -> None:
    done = check(*BOOKS)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]


@pytest.mark.timeout(200)
def test_a_planted_wrong_output_fails(tmp_path: Path) -> None:
    book = shutil.copy(FOLDER / "06-add-a-job-kind.ipynb", tmp_path)
    shutil.copy(FOLDER / "conftest.py", tmp_path)
    text = Path(book).read_text("utf-8")
    wrong = re.sub(r"completed( +)2\b", r"completed\g<1>3", text)
    assert wrong != text
    Path(book).write_text(wrong, "utf-8")
    done = check(Path(book), folder=tmp_path)
    assert done.returncode == 1
    assert "Cell outputs differ" in done.stdout


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_runbook_is_small_and_holds_no_secret_and_nothing_of_its_run(path: Path) -> None:
    raw = path.read_text("utf-8")
    assert len(raw.encode()) < MOST_BYTES
    assert redact_text(raw) == raw
    assert not re.search(r"pp_[a-z]+_[a-z0-9]+_|/tmp/|/root/|/home/|0x[0-9a-f]{6,}", raw)
    book: Any = nbformat.reads(raw, as_version=4)
    nbformat.validate(book)
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert "widget-view" not in raw
    tags = [tag for cell in book.cells for tag in cell.metadata.get("tags", [])]
    assert tags.count("parameters") == 1
    assert set(tags) <= {"parameters", "raises-exception"}
    assert all("execution" not in cell.metadata for cell in book.cells)
    assert len({cell.id for cell in book.cells}) == len(book.cells)
    assert book.cells[0].cell_type == "markdown"
    assert book.cells[0].source.startswith("# ")
    for cell in book.cells:
        if cell.cell_type == "code":
            assert cell.execution_count is not None, "make runbooks"


def test_sanitizers_are_few_and_named() -> None:
    names = re.findall(r"^\[(\w+)\]$", (FOLDER / "sanitize.cfg").read_text("utf-8"), re.MULTILINE)
    assert names == ["times", "clock", "commits", "workers", "durations"]
