"""Tab completion in SQL cells: views, their columns, functions, words of SQL, and variables after a colon."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from pushpals.store.sqlite.guard import FUNCTIONS
from pushpals.store.sqlite.views import VIEWS

if TYPE_CHECKING:
    from IPython.core.completer import SimpleMatcherResult

_WORDS = re.findall(
    r"\S+",
    """
    SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET JOIN LEFT ON AND OR NOT NULL IS IN LIKE BETWEEN
    EXISTS CASE WHEN THEN ELSE END AS DISTINCT WITH RECURSIVE UNION ALL EXCEPT INTERSECT OVER PARTITION DESC
    ASC VALUES
    """,
)
_CALL = re.compile(r"^\s*(?:\w+\s*=\s*)?%{1,2}ppsql\b")
_TOKEN = re.compile(r"[:\w.]*$")
_ALIAS = re.compile(r"\b(v_[a-z]+)(?:\s+(?:AS\s+)?([A-Za-z_]\w*))?", re.IGNORECASE)


@context_matcher()  # type: ignore[untyped-decorator]
def complete_sql(context: CompletionContext) -> SimpleMatcherResult:
    """For IPython: what fits at the cursor of an SQL cell, and nothing elsewhere."""
    lines = context.full_text.split("\n")
    is_cell = lines[0].lstrip().startswith("%%")
    here = lines[0] if is_cell else lines[min(context.cursor_line, len(lines) - 1)]
    if not _CALL.match(here):
        return {"completions": []}
    before = context.line_with_cursor[: context.cursor_position]
    token_match = _TOKEN.search(before)
    token = token_match.group(0) if token_match else ""
    found = sorted(set(suggestions(token, context.full_text, _variables())))
    # IPython replaces its own idea of the token, which ends at the last of its delimiters.
    cut = len(token) - len(context.token) if token.endswith(context.token) else 0
    completions = [SimpleCompletion(text=one[max(0, cut) :], type=kind) for one, kind in found]
    return {"completions": completions, "suppress": True}


def suggestions(token: str, sql: str, variables: Iterable[str] = ()) -> list[tuple[str, str]]:
    """``(text, kind)`` of everything that ``token`` may become in this statement."""
    if token.startswith(":"):
        return [(f":{name}", "variable") for name in variables if name.startswith(token[1:])]
    named = {(alias or view).lower(): view.lower() for view, alias in _ALIAS.findall(sql)}
    named |= {view: view for view in VIEWS}
    owner, dot, start = token.rpartition(".")
    if dot:
        view = VIEWS.get(named.get(owner.lower(), ""))
        return [
            (f"{owner}.{column}", "column")
            for column in (view.columns if view else ())
            if column.startswith(start)
        ]
    used = {view for _, view in named.items() if re.search(rf"\b{view}\b", sql)} or set(VIEWS)
    found = [(name, "view") for name in VIEWS]
    found += [(column, "column") for name in sorted(used) if name in VIEWS for column in VIEWS[name].columns]
    found += [(name, "function") for name in FUNCTIONS if name.isidentifier()]
    lower = token.lower()
    words = [(word if not token.islower() else word.lower(), "keyword") for word in _WORDS]
    return [(text, kind) for text, kind in [*found, *words] if text.lower().startswith(lower)]


def _variables() -> list[str]:
    from IPython import get_ipython

    shell: Any = get_ipython()
    names = shell.user_ns if shell is not None else {}
    return sorted(name for name, value in names.items() if not name.startswith("_") and _binds(value))


def _binds(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list | tuple)
