"""Named SQL out of ``.sql`` files: ``-- name: what``, a comment that is its sentence, the statement."""

from __future__ import annotations

import re
from importlib import resources
from typing import NamedTuple

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class Query(NamedTuple):
    name: str
    about: str
    sql: str


def parse(text: str) -> dict[str, Query]:
    """The queries of a file by name; raises ``ValueError`` for doubles and for queries without a sentence."""
    found: dict[str, Query] = {}
    _, *parts = _NAME.split(text)
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        lines = body.strip().splitlines()
        about = [line.removeprefix("--").strip() for line in lines if line.startswith("--")]
        sql = "\n".join(line for line in lines if not line.startswith("--")).strip().removesuffix(";")
        if name in found:
            raise ValueError(f"two queries are named {name}")
        if not about or not sql:
            raise ValueError(f"query {name} needs a sentence and a statement")
        found[name] = Query(name, " ".join(about), sql)
    return found


QUERIES = parse(resources.files(__package__).joinpath("queries.sql").read_text("utf-8"))


def sql(name: str) -> str:
    return QUERIES[name].sql
