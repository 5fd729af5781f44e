from __future__ import annotations

import os
from pathlib import Path

import pytest

from pushpals.work.executors.ownership import Owner

UID = 61_950


@pytest.fixture
def owner() -> Owner:
    """As root another uid, as an ordinary user one's own, which changes nothing."""
    return Owner(UID, UID) if os.geteuid() == 0 else Owner(os.getuid(), os.getgid())


def owners(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.lstat().st_uid for path in [root, *root.rglob("*")]}


def test_a_tree_is_taken_and_what_appears_later_too(owner: Owner, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "f").write_text("1")
    owner.take(tree)
    assert set(owners(tree).values()) == {owner.uid}

    (tree / "a" / "b" / "g").write_text("2")
    (tree / "new").mkdir()
    (tree / "new" / "h").write_text("3")
    owner.take(tree)
    assert set(owners(tree).values()) == {owner.uid}

    # A rename over a file changes the folder and nothing else.
    (tree / "a" / "b" / "i").write_text("4")
    (tree / "a" / "b" / "i").rename(tree / "a" / "b" / "f")
    owner.take(tree)
    assert set(owners(tree).values()) == {owner.uid}


def test_what_appears_in_the_very_tick_of_a_look_is_seen_by_the_next(owner: Owner, tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"f{number}").write_text("x")
        owner.take(tmp_path)
        assert (tmp_path / f"f{number}").stat().st_uid == owner.uid


def test_links_are_not_followed_and_files_with_two_names_are_left(owner: Owner, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("host")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "folder").symlink_to(outside)
    (tree / "file").symlink_to(outside / "f")
    os.link(outside / "f", tree / "second")
    owner.take(tree)
    assert set(owners(outside).values()) == {os.geteuid()}
    assert (tree / "folder").lstat().st_uid == owner.uid


def test_a_single_file_is_taken_unless_it_has_a_second_name(owner: Owner, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    os.link(tmp_path / "two", tmp_path / "again")
    owner.take(tmp_path / "one")
    owner.take(tmp_path / "two")
    assert ((tmp_path / "one").stat().st_uid, (tmp_path / "two").stat().st_uid) == (owner.uid, os.geteuid())


def test_a_tree_that_is_a_link_is_refused(owner: Owner, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(OSError, match="link"):
        owner.take(tmp_path / "link")


def test_a_very_deep_tree_ends_the_walk_and_not_the_program(owner: Owner, tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    before = len(os.listdir("/proc/self/fd"))
    owner.take(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
