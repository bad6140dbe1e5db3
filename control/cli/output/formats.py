"""Decides how data is written: tables for people, JSON, JSON lines, YAML, and names for programs.

Data goes to stdout, talk to stderr. Nothing from a server is read as markup.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, TextIO

import msgspec

from control.model import display_text
from control.model.json_values import Json
from control.model.times import from_rfc3339

if TYPE_CHECKING:  # Rich and yaml take 50 ms each, which `-o json` need not wait for.
    from rich.console import Console

_WHOLE_LINE: Final = 100_000  # Widths are ours to decide; Rich shall not cut anything itself.
_GAP: Final = 2
_TEXT_LEAST: Final = 12  # Texts are not cut below this, however narrow the terminal is.
_DASH: Final = "–"
SIGNS: Final = {
    "READY": ("○", "yellow"),
    "IN_PROGRESS": ("●", "cyan"),
    "DONE": ("✓", "green"),
    "ERROR": ("✗", "bold red"),
    "CANCELLED": ("⊘", "magenta"),
}


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    NAME = "name"


class Look(StrEnum):
    """How a value is shown in a table."""

    TEXT = "text"
    ID = "id"  # Never cut.
    STATE = "state"
    NUMBER = "number"
    SECONDS = "seconds"
    AGE = "age"
    BYTES = "bytes"
    PERCENT = "percent"
    TOOK = "took"  # From started_at to finished_at, or until now.
    COUNT = "count"  # How many a list has.
    KEYS = "keys"


LEFT: Final = frozenset({Look.TEXT, Look.ID, Look.STATE, Look.KEYS})
Row = Mapping[str, Json]


class OutputColumn(msgspec.Struct, frozen=True):
    """A column of a table: its title, where its value is (`wait.p95`), how it looks."""

    title: str
    path: str
    look: Look = Look.TEXT


class Output:
    """Where everything is written. `now_ms` is asked for ages."""

    def __init__(self, wanted: Format | None, now_ms: Callable[[], int], *, colour: bool) -> None:
        self.wanted = wanted
        self.format = wanted or Format.TABLE
        self._now_ms = now_ms
        self._colour = colour

    @property
    def is_table(self) -> bool:
        """Whether a person reads it."""
        return self.format == Format.TABLE

    def colours(self, stream: TextIO) -> bool:
        """Whether colours may go there."""
        return self._colour and stream.isatty()

    def say(self, sentence: str) -> None:
        """Talk: a line on stderr."""
        print(display_text.clean(sentence), file=sys.stderr, flush=True)  # noqa: T201 - its purpose.

    def write(self, line: str) -> None:
        """A line of data that is safe already."""
        print(line, flush=True)  # noqa: T201 - its purpose.

    def write_safely(self, line: str) -> None:
        """A line of data that has words from outside in it."""
        self.write(display_text.clean(line))

    def marked(self, mark: str, style: str, sentence: str) -> None:
        """A line of data after a coloured mark."""
        from rich.text import Text  # noqa: PLC0415 - see above.

        line = Text.assemble((mark, style), " ", display_text.clean(sentence))
        self.console(sys.stdout).print(line, soft_wrap=True)

    def console(self, stream: TextIO, *, width: int | None = None) -> "Console":
        """Rich, with nothing read as markup and no colours where they do not belong."""
        from rich.console import Console  # noqa: PLC0415 - see above.

        return Console(
            file=stream,
            force_terminal=stream.isatty(),
            no_color=not self.colours(stream),
            width=width,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def list(
        self, rows: Iterable[Row], columns: Sequence[OutputColumn], name: str, empty: str = ""
    ) -> None:
        """Many things. `name`: what `-o name` prints, a field or several with `/` between them;
        `empty`: what to say if none.
        """
        if self.format == Format.NAME:
            for row in rows:
                parts = [plain(field(row, part)) for part in name.split("/")]
                self.write(display_text.clean("/".join(parts)))
        elif self.format == Format.JSONL:
            for row in rows:
                self._json(row)
        elif self.format == Format.TABLE:
            listed = list(rows)
            if listed or not empty:
                self._table(listed, columns)
            else:
                # Rows may know better why there are none.
                self.say(getattr(rows, "empty", empty))
        else:
            items = list(rows)
            self._document({"items": items, "next_cursor": getattr(rows, "next_cursor", None)})

    def one(self, row: Row, columns: Sequence[OutputColumn], name: str) -> None:
        """One thing, as a row of the table of its kind."""
        if self.format in {Format.TABLE, Format.NAME, Format.JSONL}:
            self.list([row], columns, name)
        else:
            self._document(row)

    def details(self, row: Row, columns: Sequence[OutputColumn], name: str) -> None:
        """One thing, field by field."""
        if self.format != Format.TABLE:
            self.one(row, columns, name)
            return
        width = max(len(column.title) for column in columns)
        for column in columns:
            value = self.value(row, column)
            if value in (None, "") and column.look != Look.STATE:
                continue
            if column.look == Look.AGE and isinstance(value, str):
                shown = f"{display_text.clean(value)} ({display_text.since(value, self._now_ms())})"
            else:
                shown = self.cell(value, column.look)
            self.write(f"{column.title.lower():<{width}}  {shown}")

    def document(self, value: Json) -> None:
        """A value as JSON or YAML; in a table's place, YAML."""
        if self.format in {Format.JSON, Format.JSONL}:
            self._json(value, indent=self.format == Format.JSON)
        else:
            self.yaml(value)

    def value(self, row: Row, column: OutputColumn) -> Json:
        """What a column is about: a field, or what follows from some."""
        value = field(row, column.path)
        if column.look == Look.TOOK:
            return self._took(row)
        if column.look == Look.COUNT:
            return len(value) if isinstance(value, list) else value
        if column.look == Look.KEYS:
            return ", ".join(value) if isinstance(value, dict) else value
        return value

    def _took(self, row: Row) -> float | None:
        started, finished = field(row, "started_at"), field(row, "finished_at")
        if not isinstance(started, str):
            return None
        end_ms = from_rfc3339(finished) if isinstance(finished, str) else self._now_ms()
        return max(end_ms - from_rfc3339(started), 0) / 1000

    def age_s(self, value: Json) -> float | None:
        """How long ago a time was, in seconds; None: it is none."""
        if not isinstance(value, str):
            return None
        return (self._now_ms() - from_rfc3339(value)) / 1000

    def cell(self, value: Json, look: Look) -> str:
        """A value as it stands in a table."""
        if value is None or value == "":
            return _DASH
        if look == Look.STATE:
            word = plain(value)
            return display_text.clean(f"{SIGNS.get(word, ('·', ''))[0]} {word}")
        if look == Look.AGE and isinstance(value, str):
            return display_text.relative(value, self._now_ms())
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _number(value, look)
        return display_text.clean(plain(value))

    def _table(self, rows: Sequence[Row], columns: Sequence[OutputColumn]) -> None:
        from rich.table import Table  # noqa: PLC0415 - as for the console.
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
        for column, width in zip(columns, self._widths(rows, columns), strict=True):
            justify: Literal["left", "right"] = "left" if column.look in LEFT else "right"
            table.add_column(
                column.title, justify=justify, width=width, no_wrap=True, overflow="ellipsis"
            )
        for row in rows:
            table.add_row(
                *(
                    Text(self.cell(value, column.look), style=_style(value, column.look))
                    for column in columns
                    for value in [self.value(row, column)]
                )
            )
        console = self.console(sys.stdout, width=_WHOLE_LINE)
        with console.capture() as captured:
            console.print(table)
        for line in captured.get().splitlines():
            self.write(line.rstrip())

    def _widths(self, rows: Sequence[Row], columns: Sequence[OutputColumn]) -> Sequence[int]:
        """Each column's width. Only on a terminal, only texts are cut, the widest first."""
        from rich.cells import cell_len  # noqa: PLC0415 - as for the console.

        widths = [
            max(
                cell_len(column.title),
                *(cell_len(self.cell(self.value(row, column), column.look)) for row in rows),
                0,
            )
            for column in columns
        ]
        if not sys.stdout.isatty():
            return widths
        too_much = sum(widths) + _GAP * (len(widths) - 1) - self.console(sys.stdout).width
        texts = [at for at, column in enumerate(columns) if column.look == Look.TEXT]
        while too_much > 0 and texts:
            widest = max(texts, key=lambda at: widths[at])
            if widths[widest] <= _TEXT_LEAST:
                break
            widths[widest] -= 1
            too_much -= 1
        return widths

    def _document(self, value: object) -> None:
        plain = msgspec.to_builtins(value)
        if self.format == Format.YAML:
            self.yaml(plain)
        else:
            self._json(plain, indent=True)

    def _json(self, value: object, *, indent: bool = False) -> None:
        body = msgspec.json.encode(value)
        if indent:
            body = msgspec.json.format(body, indent=2)
        self.write(display_text.clean_json(body.decode()))

    def yaml(self, value: object) -> None:
        """A value as YAML, whatever was asked for."""
        import yaml  # noqa: PLC0415 - see above.

        shown: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
        self.write(shown.rstrip("\n"))


def field(row: Row, path: str) -> Json:
    """The value at `wait.p95`; None where there is none."""
    value: Json = dict(row)
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def plain(value: Json) -> str:
    """A value as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ", ".join(map(plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return msgspec.json.encode(value).decode()


def _number(value: float, look: Look) -> str:
    if look in {Look.SECONDS, Look.TOOK}:
        return display_text.seconds(value)
    if look == Look.BYTES:
        return display_text.size(int(value))
    if look == Look.PERCENT:
        return f"{value:.0%}"
    return display_text.number(value)


def _style(value: Json, look: Look) -> str:
    if look == Look.STATE and isinstance(value, str):
        return SIGNS.get(value, ("", ""))[1]
    return ""
