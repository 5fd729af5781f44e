"""Every row of the tables of adversarial inputs and every promise has a test that shows it, and the page says which."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pushpals.protocol.events import SandboxProbed
from pushpals.protocol.wire import read_event
from pushpals.testing.town import Town
from pushpals.testing.workshop import Workshop

TESTS = Path(__file__).parents[1]
TABLE = tomllib.loads((Path(__file__).parent / "rows.toml").read_text("utf-8"))
PAGE = TESTS.parent / "docs" / "explanation" / "security.md"

ROWS = """
A42 A50 A54 A56 A58 B01 B03 B05 B07 B09 B11 B13 B15 B17 B19 B21 B23 B25 B27 B29 C01 C03 C05 C07 C09 C11 C13 C15
C17 C19 C21 C23 C25 D01 D03 D05 D07 D09 D11 D13 D15 D17 E02 E04 E06 E08 E10 E12 E14 E16 E18 E20 E22 E24 F02 F04
F06 F08 F10 F12 F14 F16 F18 F20 F22 F24 F26 F28 F30 F32 F34 G02 G04 G06 G08 G10 G12 H02 H04 H06 H08 H10 I02 I04
I06 I08 J02 J04 J06 J08 J10 J12 J14 J16
""".split()
"""The rows apart from table A's others, which are one table in one test."""


@pytest.mark.parametrize("name", [*TABLE["rows"], *TABLE["promises"]])
def test_it_is_shown_by_a_test_that_exists(name: str) -> None:
    where = TABLE["rows"].get(name) or TABLE["promises"][name]
    if where.startswith("none: "):
        return
    path, _, test = where.partition("::")
    source = (TESTS / path).resolve().read_text("utf-8")
    assert re.search(rf"^\s*(?:async )?def {re.escape(test)}\(", source, re.MULTILINE), where


def test_every_row_is_there() -> None:
    assert set(ROWS) <= set(TABLE["rows"])
    table_a = (TESTS / "unit" / "policy" / "test_decide.py").read_text("utf-8")
    numbers = {int(number) for number in re.findall(r'\("A(\d\d)', table_a)}
    assert set(range(1, 50)) - numbers <= {42, 48, 46, 40, 44}, sorted(set(range(1, 50)) - numbers)


def test_the_page_names_every_promise_with_its_test() -> None:
    page = PAGE.read_text("utf-8")
    for promise, where in TABLE["promises"].items():
        assert f"| {promise} |" in page, promise
        assert f"`{where.partition('::')[2]}`" in page, where


async def test_the_probes_are_in_the_history(tmp_path: Path) -> None:
    async with Town.open(tmp_path) as town:
        page = await town.person.history("_hub", types=["sandbox_probed"])
        told = [read_event(bytes(entry.envelope), entry.cursor).payload for entry in page.items]
        assert [one.level for one in told if isinstance(one, SandboxProbed)] == ["full"]
        first = told[0]
        assert isinstance(first, SandboxProbed)
        assert (len(first.held), first.broke) == (10, [])


async def test_the_probes_are_run_again_every_so_many_jobs(tmp_path: Path) -> None:
    async with Workshop(tmp_path, {"README.md": "x\n"}, reprobe_jobs=2) as shop:
        for _ in range(4):
            await shop.do("command", {"argv": ["true"], "keep": False}, checks=[])
        told = [event for event in shop.bench.types("_hub") if event == "sandbox_probed"]
        assert len(told) == 3
