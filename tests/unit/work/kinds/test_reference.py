"""The reference of job kinds says what the code says, and every built-in kind is registered."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from pushpals.work.kind import find_kind
from pushpals.work.kinds import BUILT_IN

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/reference/job-kinds.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_kind_is_in_the_reference_with_its_sentence_and_every_parameter(name: str) -> None:
    kind = find_kind(name)
    changes = "yes" if kind.changes else "no"
    assert f"| `{name}` | {kind.description} | {changes} |" in PAGE
    section = PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
    fields = msgspec.structs.fields(kind.Args)
    assert [f"| `{field.encode_name}{'' if field.required else '?'}` |" for field in fields] == [
        line.rpartition(" |")[0].partition(" | ")[0] + " |"
        for line in section.splitlines()
        if line.startswith("| `")
    ]


def test_every_kind_in_the_folder_is_registered_and_nothing_else() -> None:
    folder = {path.stem for path in (ROOT / "pushpals/work/kinds").glob("*.py") if path.stem != "__init__"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(BUILT_IN) == folder
    assert project["entry-points"]["pushpals.kinds"] == BUILT_IN
