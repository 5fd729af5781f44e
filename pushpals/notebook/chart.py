"""Small charts as Vega-Lite 5, which JupyterLab draws by itself, offline.

Altair would be the usual way; its output loads scripts from another host, or is a version that Lab does
not know. Three shapes cover what the history asks for, and the specification is there to be changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pushpals.notebook.shown import Bundle, escaped

Kind = Literal["bar", "line", "timeline"]

MIME = "application/vnd.vegalite.v5+json"
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
MOST_ROWS = 5_000

_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d|$)")

Rows = Sequence[Mapping[str, Any]]


class Chart:
    """A Vega-Lite specification (``spec``) with a text for where it cannot be drawn."""

    def __init__(self, spec: dict[str, Any], about: str):
        self.spec = spec
        self._about = about

    def __repr__(self) -> str:
        return self._about

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle:
        return {MIME: self.spec, "text/html": f"<p>{escaped(self._about)}</p>", "text/plain": self._about}


def draw(
    columns: Sequence[str],
    rows: Rows,
    kind: Kind,
    *,
    x: str | None = None,
    y: str | None = None,
    color: str | None = None,
) -> Chart:
    """A chart of rows. Raises ``ValueError`` when no column fits."""
    rows = rows[:MOST_ROWS]
    for name in (x, y, color):
        if name is not None and name not in columns:
            raise ValueError(f"{name!r} is not among {', '.join(columns)}")
    match kind:
        case "bar":
            x = x or _first(columns, rows, ("nominal", "temporal"), "a column of words for x")
            y = y or _first(columns, rows, ("quantitative",), "a column of numbers for y", but=x)
            encoding = {"x": _field(rows, x, sort=None), "y": _field(rows, y)}
            mark: dict[str, Any] = {"type": "bar"}
            about = f"{y} by {x}"
        case "line":
            x = x or _first(columns, rows, ("temporal", "quantitative"), "a column of times or numbers for x")
            y = y or _first(columns, rows, ("quantitative",), "a column of numbers for y", but=x)
            encoding = {"x": _field(rows, x), "y": _field(rows, y)}
            mark = {"type": "line", "point": True}
            about = f"{y} over {x}"
        case "timeline":
            times = [name for name in columns if _type(rows, name) == "temporal"]
            x = x or (times[0] if times else None)
            end = next((name for name in times if name != x), None)
            if x is None or end is None:
                raise ValueError("a timeline needs two columns of times: when it began and when it ended")
            y = y or _first(columns, rows, ("nominal",), "a column of words for y")
            encoding = {"x": _field(rows, x), "x2": {"field": _name(end)}, "y": _field(rows, y, sort=None)}
            mark = {"type": "bar", "height": {"band": 0.6}}
            about = f"{y} from {x} to {end}"
    if color is not None:
        encoding["color"] = _field(rows, color)
    spec = {
        "$schema": SCHEMA,
        "description": f"{kind} chart: {about}",
        "width": 480,
        "data": {"values": [dict(row) for row in rows]},
        "mark": {**mark, "tooltip": True},
        "encoding": encoding,
    }
    return Chart(spec, f"{kind} chart: {about} ({len(rows)} rows)")


def _first(columns: Sequence[str], rows: Rows, kinds: tuple[str, ...], what: str, *, but: str = "") -> str:
    for kind in kinds:
        for name in columns:
            if name != but and _type(rows, name) == kind:
                return name
    raise ValueError(f"there is no {what} among {', '.join(columns)}; name one")


def _field(rows: Rows, name: str, **more: Any) -> dict[str, Any]:
    return {"field": _name(name), "type": _type(rows, name), "title": name, **more}


def _name(column: str) -> str:
    """A field as Vega reads it: dots and brackets would lead into the value."""
    return re.sub(r"([.\[\]\\'\"])", r"\\\1", column)


def _type(rows: Rows, name: str) -> str:
    values = [row[name] for row in rows if row[name] is not None]
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "quantitative"
    if values and all(isinstance(value, str) and _TIME.match(value) for value in values):
        return "temporal"
    return "nominal"
