"""Decides which rows of a list `--filter` keeps, and what it may ask about each kind of row."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Final

import msgspec
import typer
from msgspec import inspect

from control.cli.output.formats import LEFT, Look, Output, OutputColumn, Row, field, plain
from control.model import limits
from control.model.filters import Filter, Kind, parse

Wanted = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="TEXT",
        help="Only rows with all of this: word, !not, ~fuzzy, field:word, field:>10s.",
    ),
]
WantedRuns = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="TEXT",
        help="Of the runs that the other options list, only those with all of this: word, !not, "
        f"~fuzzy, field:word, field:>10s. Looks at {limits.FILTERED_ROWS_MAX:,} runs at most, "
        "with --all at every one.",
    ),
]
_TOOK: Final = "took"
_AGE: Final = "age"
_UNIT: Final = "unit"


class FilteredRows:
    """The rows that a filter keeps, while they are gone through."""

    def __init__(
        self,
        rows: Iterable[Row],
        matches: Callable[[Row], bool],
        say: Callable[[str], None],
        *,
        limit: int | None,
        looked_at_max: int | None,
    ) -> None:
        self._rows = rows
        self._matches = matches
        self._say = say
        self._left = limit
        self._most = looked_at_max
        self._seen = 0

    @property
    def empty(self) -> str:
        """The note for a list that the filter left empty."""
        return f"none of {self._seen} matches the filter"

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self._seen += 1
            if self._matches(row):
                yield row
                self._left = None if self._left is None else self._left - 1
            if self._left == 0 or self._seen == self._most:
                # Whether it was the last one shall not cost another call.
                self._say(f"looked at {self._seen} rows and stopped; more may match")
                return


def filtered(
    out: Output,
    rows: Iterable[Row],
    columns: Sequence[OutputColumn],
    shape: type[msgspec.Struct],
    text: str | None,
    *,
    limit: int | None = None,
    looked_at_max: int | None = None,
) -> Iterable[Row]:
    """The rows that match; all without a filter. Raises `FilterInvalid` before any is asked for.

    `shape`: what the rows are, as the API says.
    """
    if text is None:
        return rows
    wanted = parse(text, fields(columns, shape))
    shown = _Shown(out, columns)
    return FilteredRows(
        rows,
        lambda row: shown.matches(wanted, row),
        out.say,
        limit=limit,
        looked_at_max=looked_at_max,
    )


def fields(columns: Sequence[OutputColumn], shape: type[msgspec.Struct]) -> dict[str, Kind]:
    """What can be asked about a row: its own fields, and what its columns make of them."""
    fields = dict(_fields("", inspect.type_info(shape)))
    for name, column in _made(columns).items():
        fields[name] = "number" if column.look == Look.COUNT else "seconds"
    return fields


def _made(columns: Sequence[OutputColumn]) -> dict[str, OutputColumn]:
    """Columns that show something else than the field: how long, how old, how many."""
    made: dict[str, OutputColumn] = {}
    for column in columns:
        if column.look == Look.TOOK:
            made[_TOOK] = column
        elif column.title == _AGE.upper():
            made[_AGE] = column
        elif column.look == Look.COUNT:
            made[column.path] = column
    return made


def _fields(path: str, info: inspect.Type, *, seconds: bool = False) -> Iterator[tuple[str, Kind]]:
    match info:
        case inspect.Metadata():
            seconds = seconds or (info.extra or {}).get(_UNIT) == "seconds"
            yield from _fields(path, info.type, seconds=seconds)
        case inspect.UnionType():
            one = next(each for each in info.types if not isinstance(each, inspect.NoneType))
            yield from _fields(path, one, seconds=seconds)
        case inspect.StructType():
            for each in info.fields:
                step = f"{path}.{each.encode_name}" if path else each.encode_name
                yield from _fields(step, each.type, seconds="seconds" in each.encode_name)
        case inspect.IntType() | inspect.FloatType():
            yield path, "seconds" if seconds else "number"
        case _:
            yield path, "text"


class _Shown:
    """What a filter sees of a row: the words that a table of it shows, and its fields."""

    def __init__(self, out: Output, columns: Sequence[OutputColumn]) -> None:
        self._out = out
        self._words = [column for column in columns if column.look in LEFT]
        self._made = _made(columns)

    def matches(self, wanted: Filter, row: Row) -> bool:
        def get(name: str) -> str | float | None:
            column = self._made.get(name)
            if name == _AGE and column is not None:
                return self._out.age_s(field(row, column.path))
            value = field(row, name) if column is None else self._out.value(row, column)
            if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
                return value
            return plain(value)

        values = (self._out.value(row, column) for column in self._words)
        return wanted.matches(get, [plain(value) for value in values if value is not None])
