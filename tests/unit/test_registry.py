import importlib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import pushpals
from pushpals import registry

PACKAGE = Path(pushpals.__file__).parent

LOOKS_LIKE = {
    registry.KINDS: {"name", "description", "changes", "Args", "run"},
    registry.EXECUTORS: {"name", "level", "probe", "run", "close"},
}


def parts_in(folder: str, attributes: set[str]) -> set[str]:
    """Modules of a folder with a class that has what a part has, and is no Protocol."""
    found = set()
    for path in (PACKAGE / folder).glob("[!_]*.py"):
        module = importlib.import_module(f"pushpals.{folder.replace('/', '.')}.{path.stem}")
        for thing in vars(module).values():
            own = isinstance(thing, type) and thing.__module__ == module.__name__
            if own and not getattr(thing, "_is_protocol", False) and attributes <= set(dir(thing)):
                found.add(path.stem)
    return found


@pytest.mark.parametrize(
    ("group", "folder"), [(registry.KINDS, "work/kinds"), (registry.EXECUTORS, "work/executors")]
)
def test_every_part_in_the_folder_is_registered(group: str, folder: str) -> None:
    registered = {entry.module.rpartition(".")[2] for entry in entry_points(group=group)}
    assert parts_in(folder, LOOKS_LIKE[group]) == registered != set()


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_registered_part_loads(group: str) -> None:
    assert set(registry.load_all(group)) == set(registry.names(group)) != set()


def test_an_unknown_name_is_answered_with_what_exists_and_what_is_close() -> None:
    with pytest.raises(registry.UnknownPart) as caught:
        registry.load(registry.STORES, "sqllite")
    assert str(caught.value) == (
        "there is no store 'sqllite'. Did you mean 'sqlite'? Registered under pushpals.stores: memory, sqlite"
    )
