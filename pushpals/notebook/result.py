"""The answer to a question in SQL, as people use it: look, iterate, take a column, draw, hand on."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pushpals.notebook.chart import Chart, Kind, draw
from pushpals.notebook.shown import Shown, html_table, text_table
from pushpals.store.asking import Value

Row = tuple[Value, ...]


class Missing(ImportError):
    """What was asked for needs a package that is not installed."""


class Result(Shown, Sequence[Row]):
    """Rows with named columns. ``truncated`` says that the hub had more of them."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Value]], *, truncated: bool = False):
        self.columns = list(columns)
        self.rows: list[Row] = [tuple(row) for row in rows]
        self.truncated = truncated

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        return (self.columns, self.rows, self.truncated) == (other.columns, other.rows, other.truncated)

    __hash__ = None  # type: ignore[assignment]

    def dicts(self) -> list[dict[str, Value]]:
        """Each row as a dict. Of columns with the same name the last one wins."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def column(self, name: str) -> list[Value]:
        """One column's values. Raises ``KeyError`` with the names that there are."""
        if name not in self.columns:
            raise KeyError(f"{name!r} is not among {', '.join(self.columns)}")
        index = self.columns.index(name)
        return [row[index] for row in self.rows]

    def scalar(self) -> Value:
        """The only value of a result with one row and one column."""
        ((value,),) = self.rows
        return value

    def to_csv(self, path: str | Path | None = None) -> str | None:
        """CSV with a head line; written to ``path`` if one is given, else returned."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        if path is None:
            return out.getvalue()
        Path(path).write_text(out.getvalue(), encoding="utf-8")
        return None

    def to_pandas(self) -> Any:
        """A pandas DataFrame, if pandas is installed."""
        return _package("pandas").DataFrame(self.rows, columns=self.columns)

    def to_polars(self) -> Any:
        """A polars DataFrame, if polars is installed."""
        return _package("polars").DataFrame(self.rows, schema=self.columns, orient="row")

    def to_arrow(self) -> Any:
        """An Arrow table, if pyarrow is installed."""
        columns = {name: [row[n] for row in self.rows] for n, name in enumerate(self.columns)}
        return _package("pyarrow").table(columns)

    def chart(
        self, kind: Kind = "bar", *, x: str | None = None, y: str | None = None, color: str | None = None
    ) -> Chart:
        """A ``bar``, ``line`` or ``timeline``; columns are chosen where none is named."""
        return draw(self.columns, self.dicts(), kind, x=x, y=y, color=color)

    def text(self) -> str:
        if not self.columns:
            return self._count()
        return f"{text_table(self.columns, self.rows)}\n({self._count()})"

    def html(self) -> str:
        return html_table(self.columns, self.rows, self._count())

    def _count(self) -> str:
        count = f"{len(self.rows):,} row{'' if len(self.rows) == 1 else 's'}"
        return f"{count}, truncated: there are more, see --limit" if self.truncated else count


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Missing(f"this needs {name}, which is not installed here: pip install {name}") from None
