"""``make runbooks``: run every runbook against a fresh desk and keep what it shows.

Nothing of the run itself is kept: no times of execution, no widget state, no names of kernels.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from pushpals.testing.desk import desk

HERE = Path(__file__).parent


def run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="pushpals-desk-") as folder, desk(Path(folder) / "desk") as names:
        os.environ.update(names)
        client = NotebookClient(
            notebook,
            timeout=120,
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": HERE}},
        )
        client.execute()
    notebook.metadata = nbformat.NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    path.write_text(nbformat.writes(notebook, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    wanted = [Path(name) for name in sys.argv[1:]] or sorted(HERE.glob("*.ipynb"))
    for one in wanted:
        print(one.name, flush=True)
        run(one)
