"""Owns how SQL gets from `store/sql/*.sql` into a connection: named statements, bulk ones.

A file holds `-- name: something` blocks. A block with `/* rows */ (?, …)` is for many rows: it is
run as few statements of many rows each, because in Python each statement step gives the
interpreter lock away, and taking it back from a busy event loop costs far more than the row.
"""

import re
import sqlite3
from collections.abc import Collection, Sequence
from importlib.resources import files
from itertools import chain
from typing import Final

Value = str | int | float | bytes | None

_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_ROWS: Final = re.compile(r"/\* rows \*/ (\([?, ]+\))")
_CHUNKS: Final = (256, 64, 16, 4, 1)


class Statements:
    """The named statements of one `.sql` file; `one["name"]` gives the text."""

    def __init__(self, file: str) -> None:
        text = (files("store") / "sql" / f"{file}.sql").read_text(encoding="utf-8")
        parts = _NAME.split(text)[1:]
        self._texts = {
            name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)
        }

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def bulk(self, name: str) -> "Bulk":
        """The statement as one that takes many rows."""
        return Bulk(self._texts[name])


class Bulk:
    """A statement with one `/* rows */` place that takes any number of rows."""

    def __init__(self, sql: str) -> None:
        match = _ROWS.search(sql)
        assert match, sql
        row = match.group(1)
        self._texts = {
            n: sql[: match.start()] + ", ".join([row] * n) + sql[match.end() :] for n in _CHUNKS
        }

    def run(self, conn: sqlite3.Connection, rows: Sequence[Sequence[Value]]) -> int:
        """Run it for all rows; returns how many rows of the table changed."""
        changed, at = 0, 0
        for size in _CHUNKS:
            while len(rows) - at >= size:
                values = tuple(chain.from_iterable(rows[at : at + size]))
                changed += conn.execute(self._texts[size], values).rowcount
                at += size
        return changed


def columns_of(rows: Collection[tuple[int, ...]], *names: str) -> dict[str, list[int]]:
    """Rows of numbers as the lists that SQL takes them in, by these names of their columns."""
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}
