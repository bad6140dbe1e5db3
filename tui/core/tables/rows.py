"""Decides which rows of a table are shown, in which order: filter, sort, and what stays put.

A table's columns say everything about it: what is drawn, sorted, filtered, and saved comes from
the same list.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from control.model.filters import Filter, Kind, parse
from tui.core.formatting import took
from tui.core.spans import Align, Line, Span, fit, fit_line, line

Row = TypeVar("Row")
Key = int | str
Value = str | int | float | None
_FLEXIBLE_MIN: Final = 12
_LAST: Final = (1, "")  # What has no value comes last, whichever way a table is sorted.


class TableColumn(Generic[Row]):
    """One column: its title, width in cells (0: all that is left), and what its cells say.

    `cell` draws; `value` is what it is sorted and filtered by. `wide` ones are only drawn on
    demand. `kind` tells how a filter's term is read.
    """

    def __init__(
        self,
        title: str,
        width: int,
        cell: Callable[[Row], str | Span | Line],
        *,
        field: str = "",
        value: Callable[[Row], Value] | None = None,
        align: Align = "left",
        kind: Kind = "text",
        wide: bool = False,
    ) -> None:
        self.title = title
        self.width = width
        self.cell = cell
        self.field = field or title.lower()
        self.align: Align = align
        self.kind: Kind = kind
        self.wide = wide
        self._value = value

    def value(self, row: Row) -> Value:
        """What it is sorted and filtered by."""
        if self._value is not None:
            return self._value(row)
        return "".join(text for text, _ in spans_of(self.cell(row)))


def figure(
    title: str,
    width: int,
    value: Callable[[Row], Value],
    words: Callable[[Row], str | Span] | None = None,
    *,
    field: str = "",
    align: Align = "right",
    wide: bool = False,
) -> TableColumn[Row]:
    """A column of numbers; `words` draws them where digits alone do not do."""
    cell = words or (lambda row: "" if (found := value(row)) is None else str(found))
    return TableColumn(
        title, width, cell, field=field, value=value, align=align, kind="number", wide=wide
    )


def length(
    title: str,
    width: int,
    value: Callable[[Row], float | None],
    words: Callable[[Row], str | Span] | None = None,
    *,
    field: str = "",
    wide: bool = False,
) -> TableColumn[Row]:
    """A column of lengths of time, in seconds."""
    cell = words or (lambda row: took(value(row)))
    return TableColumn(
        title, width, cell, field=field, value=value, align="right", kind="seconds", wide=wide
    )


class TableRows(Generic[Row]):
    """The rows of one table; `arrange` decides which are shown, in which order."""

    def __init__(
        self,
        columns: Sequence[TableColumn[Row]],
        *,
        faulty: Callable[[Row], bool] | None = None,
        sort: str = "",
        descending: bool = False,
    ) -> None:
        self.columns = columns
        self.sort = sort
        self.descending = descending
        self.only_faults = False
        self.filter = self.read("")
        self.order: list[Key] = []
        self.by_key: Mapping[Any, Row] = {}
        self._left_out: set[Key] = set()
        self._faulty = faulty

    @property
    def fields(self) -> dict[str, Kind]:
        """What a filter may name."""
        return {column.field: column.kind for column in self.columns}

    @property
    def tells_faults(self) -> bool:
        """Whether some rows can be wrong, and others not."""
        return self._faulty is not None

    @property
    def hidden(self) -> int:
        """Rows that the filter leaves out; those that wait for the next order are not."""
        return len(self._left_out)

    def read(self, text: str) -> Filter:
        """A filter as it was typed; raises `FilterInvalid`."""
        return parse(text, self.fields)

    def arrange(self, rows: Mapping[Any, Row]) -> None:
        """Take the rows as they are now, and order them."""
        self.by_key = rows
        keys = [key for key, row in rows.items() if self._is_shown(row)]
        self._left_out = rows.keys() - keys if len(keys) < len(rows) else set()
        column = next((each for each in self.columns if each.field == self.sort), None)
        if column is not None:
            keys.sort(key=lambda key: _rank(column.value(rows[key])))
            if self.descending:
                keys.reverse()  # Equals as well, so that turning the order round is seen.
                # What has no value stays at the end.
                keys.sort(key=lambda key: column.value(rows[key]) is None)
        self.order = keys

    def refreshed(self, rows: Mapping[Any, Row]) -> None:
        """Take new values, and leave the order; what is gone goes, what is new waits."""
        self.by_key = rows
        self.order = [key for key in self.order if key in rows]
        self._left_out &= rows.keys()

    def sort_by(self, field: str) -> None:
        """Sort by this column; the same once more turns the order round."""
        self.descending = not self.descending if field == self.sort else False
        self.sort = field

    def described(self, row: Row) -> list[tuple[str, Value]]:
        """Every column's title and value: the whole row in words."""
        return [(column.title, column.value(row)) for column in self.columns]

    def _is_shown(self, row: Row) -> bool:
        if self.only_faults and self._faulty is not None and not self._faulty(row):
            return False
        if not self.filter:
            return True
        values = {column.field: column.value(row) for column in self.columns}
        texts = [str(value) for value in values.values() if isinstance(value, str)]
        return self.filter.matches(values.get, texts)


def _rank(value: Value) -> tuple[int, float | str]:
    if value is None:
        return _LAST
    return (0, value) if isinstance(value, str) else (-1, float(value))


def header(
    columns: Sequence[TableColumn[Row]], widths: Sequence[int], sort: str, down: bool
) -> Line:
    """The titles, with the arrow at the one that the table is sorted by."""
    made: list[Span] = []
    for column, width in zip(columns, widths, strict=True):
        title = column.title
        if column.field == sort:
            title += "↓" if down else "↑"
        made += [(fit(title, width, column.align), "title"), (" ", "")]
    return tuple(made)


def fitting(columns: Sequence[TableColumn[Row]], width: int) -> Sequence[TableColumn[Row]]:
    """The columns that fit: whole ones are left out, from the right end."""
    kept = list(columns)

    def taken() -> int:
        return sum((column.width or _FLEXIBLE_MIN) + 1 for column in kept)

    while taken() > width:
        spare = [each for each in kept[2:] if each.width]
        if not spare:
            break
        # Wide ones were asked for: they leave last.
        kept.remove(next((each for each in reversed(spare) if not each.wide), spare[-1]))
    return kept


def widths_of(columns: Sequence[TableColumn[Row]], width: int) -> list[int]:
    """Cells for each column; those of width 0 share what is left, 8 at least."""
    fixed = sum(column.width for column in columns) + len(columns)
    flexible = [column for column in columns if not column.width]
    room = max(width - fixed, 8 * len(flexible))
    shares = [room // len(flexible) + (at < room % len(flexible)) for at in range(len(flexible))]
    taken = iter(shares)
    return [column.width or next(taken) for column in columns]


def drawn(columns: Sequence[TableColumn[Row]], widths: Sequence[int], row: Row) -> Line:
    """One row's cells."""
    made: list[Span] = []
    for column, width in zip(columns, widths, strict=True):
        spans = spans_of(column.cell(row))
        if len(spans) == 1:
            text, look = spans[0]
            made += [(fit(text, width, column.align), look), (" ", "")]
        else:
            made += [*fit_line(line(*spans), width), (" ", "")]
    return tuple(made)


def csv_of(columns: Sequence[TableColumn[Row]], rows: Sequence[Row]) -> str:
    """Rows as CSV: the fields, then their values."""
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow([column.field for column in columns])
    table.writerows([[column.value(row) for column in columns] for row in rows])
    return written.getvalue()


def spans_of(found: str | Span | Line) -> Line:
    """A cell as pieces."""
    if isinstance(found, str):
        return ((found, ""),)
    if found and isinstance(found[0], str):
        return (found,)
    return found
