"""A Python project that is not installed, made to look installed enough to be tested.

A source tree on ``PYTHONPATH`` can be imported, but ``importlib.metadata`` does not know it, and many test
suites ask for their own version. What an editable install would have written is put beside the tree: name,
version and entry points, read from ``PKG-INFO`` and ``pyproject.toml``. Nothing is built or executed, and
nothing is put into the tree.

The other half of the same problem: where pytest is only there because Push Pals brought it, so are its
plug-ins, and a suite that turns warnings into errors can fail because of one that it never asked for. Those
that the repository does not mention are switched off. In the person's own environment nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pushpals.work.checks import Files


def standin_files(files: Files) -> dict[str, str]:
    """Relative path → text of a ``dist-info`` folder; empty when the tree names no project."""
    named = _name_and_version(files)
    if named is None:
        return {}
    name, version = named
    folder = f"{re.sub(r'[-_.]+', '_', name)}-{version}.dist-info"
    return {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{folder}/INSTALLER": "pushpals\n",
        f"{folder}/entry_points.txt": _entry_points(files),
    }


def write_standin(root: Path, files: Files) -> Path | None:
    """The same on disk, below ``root``. Returns the folder for ``PYTHONPATH``, None if there is none."""
    wanted = standin_files(files)
    if not wanted:
        return None
    for name, text in wanted.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    # A sandbox reads it as another user.
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return root


def unwanted_plugins(plugins: Mapping[str, str], files: Files) -> list[str]:
    """Entry names of pytest plug-ins that the repository's configuration does not mention.

    ``plugins`` maps a plug-in's name to its distribution.
    """
    text = "\n".join(files.texts.values()).lower().replace("_", "-")
    project = (_name_and_version(files) or ("", ""))[0].lower().replace("_", "-")
    return sorted(
        name
        for name, dist in plugins.items()
        if (plain := dist.lower().replace("_", "-")) not in text
        and not re.search(rf"\b{re.escape(name.lower().replace('_', '-'))}-mode\b", text)
        and plain != project
    )


def pytest_plugins(folder: Path) -> dict[str, str]:
    """The plug-ins installed beside a pytest: name → distribution. Nothing is imported for it."""
    found: dict[str, str] = {}
    for path in folder.parent.glob("lib/python*/site-packages/*.dist-info/entry_points.txt"):
        section = ""
        for line in path.read_text("utf-8", "replace").splitlines():
            if line.startswith("["):
                section = line.strip()
            elif section == "[pytest11]" and "=" in line:
                found[line.partition("=")[0].strip()] = path.parent.name.rpartition("-")[0]
    return found


def _name_and_version(files: Files) -> tuple[str, str] | None:
    info = files.texts.get("PKG-INFO", "").split("\n\n", 1)[0]
    fields = {key: value.strip() for key, value in re.findall(r"^(Name|Version): *(.+)$", info, re.M)}
    project = files.toml("pyproject.toml").get("project", {})
    project = project if isinstance(project, dict) else {}
    ini = files.ini("setup.cfg")
    name = fields.get("Name") or project.get("name") or ini.get("metadata", "name", fallback="")
    version = fields.get("Version") or project.get("version") or ini.get("metadata", "version", fallback="")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        return None
    # A version that only a build would compute: a suite that asks for one gets the lowest there is.
    if not isinstance(version, str) or not re.fullmatch(r"[0-9][A-Za-z0-9.+!_-]*", version):
        version = "0.0.0"
    return name, version


def _entry_points(files: Files) -> str:
    project = files.toml("pyproject.toml").get("project", {})
    project = project if isinstance(project, dict) else {}
    groups: dict[str, object] = {
        "console_scripts": project.get("scripts"),
        "gui_scripts": project.get("gui-scripts"),
    }
    further = project.get("entry-points")
    if isinstance(further, dict):
        groups |= further
    lines: list[str] = []
    for group, entries in groups.items():
        if isinstance(entries, dict) and entries:
            lines.append(f"[{group}]")
            lines += [f"{name} = {value}" for name, value in entries.items() if isinstance(value, str)]
    return "\n".join(lines) + "\n" if lines else ""
