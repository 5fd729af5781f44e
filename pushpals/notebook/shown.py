"""How things look in a cell: a table or a text, as plain text and as HTML.

Text of agents, commands and repositories is shown as it is and never as markup: escaped in HTML, without
control characters in both. Nothing here says when it was made or where it lives in memory, so the same
facts give the same output, and a runbook can be compared with its last run.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from pushpals.policy.display import plain

T = TypeVar("T")

TEXT_WIDTH = 60
"""A cell of a text table is cut to this; HTML shows all of it."""

TEXT_ROWS = 50
HTML_ROWS = 500

Bundle = dict[str, Any]


class Shown:
    """Something with a text and an HTML form."""

    def text(self) -> str:
        """As plain text."""
        raise AssertionError("every shown thing has a text")

    def html(self) -> str:
        """As HTML; everything that is not ours is escaped."""
        return f"<pre>{escaped(self.text())}</pre>"

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.html()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle:
        return {"text/plain": self.text(), "text/html": self.html()}


class Listing(Shown, Sequence[T], Generic[T]):
    """Records as a table; indexing and iteration give the records themselves."""

    def __init__(self, what: str, heads: Sequence[str], items: Iterable[T], cells: Iterable[Sequence[Any]]):
        self.items = list(items)
        self._what = what
        self._heads = list(heads)
        self._cells = [list(row) for row in cells]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def text(self) -> str:
        if not self.items:
            return f"no {plain(self._what)}"
        return text_table(self._heads, self._cells)

    def html(self) -> str:
        if not self.items:
            return f"<p>no {escaped(self._what)}</p>"
        return html_table(self._heads, self._cells, f"{len(self.items)} {self._what}")


class Told(Shown):
    """Lines of text: a story, a diff, a sentence. ``diff`` marks added and removed lines with colours."""

    def __init__(self, lines: Iterable[str], *, diff: bool = False):
        self.lines = [plain(line) for line in lines]
        self._diff = diff

    def text(self) -> str:
        return "\n".join(self.lines)

    def html(self) -> str:
        if not self._diff:
            return super().html()
        return f"<pre>{''.join(map(_diff_line, self.lines))}</pre>"


def text_table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns as wide as their widest cell, numbers to the right."""
    heads = [text_cell(head) for head in heads]
    shown = [[text_cell(value) for value in row] for row in rows[:TEXT_ROWS]]
    numbers = [all(_is_number(row[n]) for row in rows) and bool(rows) for n in range(len(heads))]
    widths = [max([len(head), *(len(row[n]) for row in shown)]) for n, head in enumerate(heads)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(cells, widths, numbers, strict=True)
        )
        return "  ".join(padded).rstrip()

    lines = [line(heads), "  ".join("-" * width for width in widths), *map(line, shown)]
    if len(rows) > TEXT_ROWS:
        lines.append(f"... {len(rows) - TEXT_ROWS} more")
    return "\n".join(lines)


def html_table(heads: Sequence[str], rows: Sequence[Sequence[Any]], caption: str) -> str:
    """A table that a screen reader can walk: a caption, and a scope for each head."""
    head = "".join(f'<th scope="col">{escaped(one)}</th>' for one in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html_cell(value)}</td>" for value in row) + "</tr>"
        for row in rows[:HTML_ROWS]
    )
    more = f" (the first {HTML_ROWS} are shown)" if len(rows) > HTML_ROWS else ""
    return (
        f"<table><caption>{escaped(caption + more)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def text_cell(value: Any) -> str:
    line = "NULL" if value is None else " ".join(plain(str(value)).split())
    return line if len(line) <= TEXT_WIDTH else line[: TEXT_WIDTH - 1] + "…"


def html_cell(value: Any) -> str:
    return "<em>NULL</em>" if value is None else escaped(str(value))


def escaped(text: str) -> str:
    return html.escape(plain(text), quote=True)


def _diff_line(line: str) -> str:
    if line.startswith("+") and not line.startswith("+++"):
        return f'<span style="color: var(--jp-success-color0, #1b5e20)">{escaped(line)}</span>\n'
    if line.startswith("-") and not line.startswith("---"):
        return f'<span style="color: var(--jp-error-color0, #b71c1c)">{escaped(line)}</span>\n'
    return escaped(line) + "\n"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
