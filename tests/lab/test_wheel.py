"""The wheel: everything is in it, and Jupyter finds it. `make wheel-check` does the same from a clean tree."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from pushpals.testing.jupyter import ROOT, surroundings

LAB = "pushpals-0.1.0.data/data/share/jupyter/labextensions/pushpals"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this tree, whose front end is built already: `make ui`."""
    into = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    return next(into.glob("*.whl"))


def test_it_holds_the_page_the_widget_the_panel_and_the_servers_configuration(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read(f"{LAB}/package.json"))
        config = json.loads(
            archive.read("pushpals-0.1.0.data/data/etc/jupyter/jupyter_server_config.d/pushpals.json")
        )
    expected = {
        "pushpals/notebook/static/widget.js", "pushpals/notebook/static/licences.txt",
        "pushpals/server/static/app/index.html", "pushpals/server/static/app/app.js",
        f"{LAB}/install.json", f"{LAB}/schemas/pushpals/plugin.json", f"{LAB}/static/licences.txt",
        f"{LAB}/{manifest['jupyterlab']['_build']['load']}",
    }  # fmt: skip
    assert expected - names == set()
    assert [
        name for name in names if "node_modules" in name or name.startswith("pushpals/labextensions")
    ] == []
    assert config == {"ServerApp": {"jpserver_extensions": {"pushpals": True}}}


def test_jupyter_finds_the_panel_and_the_proxy_where_the_wheel_is_installed(
    wheel: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    bin_ = tmp_path / "venv" / "bin"
    argv = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(bin_ / "python"),
        "install",
        "-q",
        "--no-deps",
        str(wheel),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    # The dependencies of this environment, after the wheel's own files.
    inside = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (inside / "others.pth").write_text("\n".join(site.getsitepackages()))
    env = {**surroundings(tmp_path, installed=True), "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}

    def says(*words: str) -> str:
        argv = [str(bin_ / "python"), "-m", "jupyter", *words]
        done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    lab = [line for line in says("labextension", "list").splitlines() if "pushpals" in line]
    server = says("server", "extension", "list")
    assert [("enabled" in line, "OK" in line) for line in lab] == [(True, True)]
    assert "pushpals" in server
    assert "pushpals 0.1.0" in server
    assert "X is" not in server


def test_no_lock_file_names_the_place_that_packages_came_from() -> None:
    locks = [
        ROOT / "extension" / "package-lock.json",
        ROOT / "extension" / "packages" / "lab" / "package-lock.json",
    ]
    assert [lock for lock in locks if '"resolved": "http' in lock.read_text("utf-8")] == []
