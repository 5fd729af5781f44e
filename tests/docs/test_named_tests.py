"""A page that names a test as its proof names one that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["docs/explanation/defects.md", "docs/explanation/what-was-proven.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / page).read_text("utf-8"))
    assert named
    missing = []
    for file, test in named:
        written = (ROOT / file).read_text("utf-8") if (ROOT / file).is_file() else None
        if written is None or (test and f"def {test}(" not in written):
            missing.append(f"{file}::{test}")
    assert missing == []


def test_all_sixteen_defects_are_in_the_table_with_a_test_of_their_number() -> None:
    page = (ROOT / PAGES[0]).read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \|.*$", page, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 17)]
    for row in re.findall(r"^\| \d+ \|.*$", page, re.MULTILINE):
        number = int(row.split("|")[1])
        assert f"::test_defect_{number:02}_" in row
