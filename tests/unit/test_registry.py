from importlib.metadata import entry_points
from pathlib import Path

import pytest

import pushpals
from pushpals import registry

PACKAGE = Path(pushpals.__file__).parent

NOT_PARTS = {
    registry.EXECUTORS: {
        "base", "capture", "choose", "escape", "ownership", "probe", "process", "proctree", "profile", "records",
        "running", "seccomp", "tools",
    },
    registry.KINDS: set(),
}  # fmt: skip
"""Modules beside the parts that are no parts themselves."""


@pytest.mark.parametrize(
    ("group", "folder"), [(registry.KINDS, "work/kinds"), (registry.EXECUTORS, "work/executors")]
)
def test_every_part_in_the_folder_is_registered(group: str, folder: str) -> None:
    files = {path.stem for path in (PACKAGE / folder).glob("*.py") if not path.stem.startswith("_")}
    registered = {entry.module.rpartition(".")[2] for entry in entry_points(group=group)}
    assert files - NOT_PARTS[group] == registered


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_registered_part_loads(group: str) -> None:
    assert set(registry.load_all(group)) == set(registry.names(group)) != set()


def test_an_unknown_name_is_answered_with_what_exists_and_what_is_close() -> None:
    with pytest.raises(registry.UnknownPart) as caught:
        registry.load(registry.STORES, "sqllite")
    assert str(caught.value) == (
        "there is no store 'sqllite'. Did you mean 'sqlite'? Registered under pushpals.stores: memory, sqlite"
    )
