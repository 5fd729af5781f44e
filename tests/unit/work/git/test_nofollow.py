import os
import socket
import stat
from pathlib import Path

import pytest

from pushpals.work.git.nofollow import empty, lstat_below, open_below, open_up, prune


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "keep.txt").write_text("mine")
    return folder


def test_a_path_through_a_link_is_not_walked(tmp_path: Path, outside: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "way").symlink_to(outside)
    assert lstat_below(tree, b"way/keep.txt") is None
    info = lstat_below(tree, b"way")
    assert info is not None
    assert stat.S_ISLNK(info.st_mode)
    for path in (b"way", b"../outside", b"."):
        with pytest.raises(OSError), open_below(tree, path):  # noqa: PT011  # ELOOP, ENOTDIR or our own
            pass


def test_what_is_not_kept_goes_and_what_is_kept_becomes_ordinary(tmp_path: Path, outside: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "src/sub").mkdir(parents=True)
    (tree / "src/app.py").write_text("x")
    (tree / "src/app.py").chmod(0o4777)
    (tree / "hard").write_text("x")
    os.link(tree / "hard", tmp_path / "second name")
    (tree / "link").symlink_to("src/app.py")
    (tree / "was-file").symlink_to(outside)
    (tree / "was-folder").symlink_to(outside)
    (tree / "new").mkdir(mode=0o000)
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tree / "s"))
    (tree / "src").chmod(0o000)
    keep = {
        b"src/app.py": "100644",
        b"hard": "100644",
        b"link": "120000",
        b"was-file": "100644",
        b"was-folder/x": "100644",
        b"pipe": "100644",
    }
    prune(tree, keep, tmp_path / "trash")
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == ["link", "src", "src/app.py"]
    assert stat.S_IMODE((tree / "src/app.py").stat().st_mode) == 0o755
    assert empty(tmp_path / "trash") == []
    assert not (tmp_path / "trash").exists()
    assert (outside / "keep.txt").read_text() == "mine"


def test_content_in_the_place_of_a_submodule_goes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "vendor/lib/deep").mkdir(parents=True)
    (tree / "vendor/lib/file").write_text("x")
    prune(tree, {b"vendor/lib": "160000"}, tmp_path / "trash")
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == ["vendor", "vendor/lib"]
    assert empty(tmp_path / "trash") == []


def test_a_tree_deeper_than_any_path_is_deleted(tmp_path: Path) -> None:
    top = tmp_path / "trash"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d" * 100, dir_fd=here)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("leaf", os.O_CREAT, dir_fd=here))
    os.close(here)
    assert empty(top) == []
    assert not top.exists()


def test_folders_without_permissions_and_foreign_links_are_deleted_not_followed(
    tmp_path: Path, outside: Path
) -> None:
    top = tmp_path / "trash"
    (top / "a/b/c").mkdir(parents=True)
    (top / "a/out").symlink_to(outside)
    (top / "d0").write_text("a name that the flattening would use")
    (top / "a/b/c").chmod(0o000)
    (top / "a/b").chmod(0o000)
    (top / "a").chmod(0o500)
    assert empty(top) == []
    assert (outside / "keep.txt").read_text() == "mine"


def test_everything_is_made_readable_and_links_are_left_alone(tmp_path: Path, outside: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_text("x")
    (tree / "link").symlink_to(outside)
    outside.chmod(0o500)
    for path in ("a/b/file", "a/b", "a"):
        (tree / path).chmod(0)
    assert open_up(tree) == []
    assert (tree / "a/b/file").read_text() == "x"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o500


def test_nothing_to_delete_is_fine(tmp_path: Path) -> None:
    assert empty(tmp_path / "none") == []
