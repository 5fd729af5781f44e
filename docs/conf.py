"""The site: these pages and the runbooks, built offline by ``make site``. Warnings are errors.

Pages are written for whoever reads them in the repository; what only the site needs (tables of contents,
copies of the runbooks) is added here, when it is built.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pushpals import __version__

HERE = Path(__file__).parent
RUNBOOKS = HERE / "runbooks"

project = "Push Pals"
author = copyright = "The Push Pals contributors"
version = release = __version__

extensions = ["myst_nb"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Push Pals"
html_copy_source = False
html_show_sphinx = False

nb_execution_mode = "off"  # what runbooks show was checked already; a page must not depend on a live team
nb_render_markdown_format = "myst"
myst_heading_anchors = 6
myst_enable_extensions = ["colon_fence"]
suppress_warnings = [
    "mystnb.unknown_mime_type",  # charts: the site has no Vega; their text stands in
    "misc.highlighting_failure",  # fences that show what a terminal shows
]

_CONTENTS = {
    "index": """
```{toctree}
:hidden:
:caption: Tutorial
:glob:

tutorial/*
```
```{toctree}
:hidden:
:caption: Runbooks
:glob:

runbooks/*
```
```{toctree}
:hidden:
:caption: How-to
:glob:

howto/*
```
```{toctree}
:hidden:
:caption: Reference
:glob:

reference/*
```
```{toctree}
:hidden:
:caption: Explanation
:glob:

explanation/*
explanation/decisions/index
```
""",
    "explanation/decisions/index": """
```{toctree}
:hidden:
:glob:

0*
```
""",
}


def _copy_runbooks(app: Any) -> None:
    shutil.rmtree(RUNBOOKS, ignore_errors=True)
    RUNBOOKS.mkdir()
    for book in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        text = book.read_text("utf-8").replace("](../docs/", "](../")
        (RUNBOOKS / book.name).write_text(text, "utf-8")


def _add_contents(app: Any, name: str, source: list[str]) -> None:
    source[0] += _CONTENTS.get(name, "")
    source[0] = (
        source[0].replace("](../notebooks/", "](runbooks/").replace("](../../notebooks/", "](../runbooks/")
    )


def _remove_runbooks(app: Any, error: Exception | None) -> None:
    shutil.rmtree(RUNBOOKS, ignore_errors=True)


def setup(app: Any) -> None:
    app.connect("config-inited", lambda app, config: _copy_runbooks(app))
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _remove_runbooks)
