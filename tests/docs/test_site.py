"""The site builds offline, without a warning, with the runbooks in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert not (ROOT / "docs" / "runbooks").exists()

    book = (tmp_path / "runbooks" / "05-incident-a-red-landing.html").read_text("utf-8")
    assert "landing-6" in book
    pages = {page.relative_to(tmp_path): page.read_text("utf-8") for page in tmp_path.rglob("*.html")}
    loading = [
        name
        for name, text in pages.items()
        for tag in ('<script src="http', '<link rel="stylesheet" href="http', '<img src="http')
        if tag in text
    ]
    assert loading == []
