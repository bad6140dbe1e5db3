"""Decides how the text of `sql` and its parameters become what a driver is sent, and back.

`:name` in the text is a parameter, `\\:` a colon, `::` a cast: SQLAlchemy's `text()`. Values are
bound by the driver, so that none becomes SQL. Lists and objects are bound as their JSON.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from control.model.errors import JobFailed
from control.model.json_values import Json
from workers.kinds.extras import needs_extra

Bound = str | int | float | bool | None

_NUMBERED: Final = re.compile(r"\$[0-9]+")
_NAMED: Final = re.compile(r":\w+")
_CAST: Final = re.compile(r"(?<![:\w\\])(:\w+)(?=::)")
_READS: Final = re.compile(
    r"(?is)(?:\s|--[^\n]*\n|/\*.*?\*/|\()*+(?:select|with|values|table|from)\b"
)
_WRITES: Final = re.compile(r"(?i)\b(?:insert|update|delete|merge|replace|into|for|call)\b")


class StatementPosition(NamedTuple):
    """A place in `sql`; both count from 1."""

    line: int
    column: int


class Statement:
    """One statement with the values of its parameters."""

    def __init__(self, sql: str, parameters: Mapping[str, Json]) -> None:
        """Raise JobFailed when the names in the text and in `parameters` differ."""
        with needs_extra("query", "the kind Query"):
            from sqlalchemy import text  # noqa: PLC0415 - Loaded when a job needs it.
            from sqlalchemy.engine.default import DefaultDialect  # noqa: PLC0415 - As above.
        self.sql = sql
        # text() does not see the parameter of `:day::date`, but that of `:day ::date`.
        self.text = text(_CAST.sub(r"\1 ", sql))
        compiled = self.text.compile(dialect=DefaultDialect(paramstyle="numeric_dollar"))
        self.numbered = str(compiled)  # With $1, $2, … for its parameters.
        names = list(compiled.positiontup or ())
        _check_names(names, parameters)
        self.values: dict[str, Bound] = {name: _bound(parameters[name]) for name in names}

    @property
    def reads_only(self) -> bool:
        """Whether its text changes nothing; functions that it calls may."""
        return bool(_READS.match(self.sql)) and not _WRITES.search(self.sql)

    def position(self, index: int) -> StatementPosition:
        """Where a character of `numbered` (from 0) stands in `sql`."""
        at = sent = 0
        while sent < index and at < len(self.sql):
            if self.numbered[sent : sent + 1] == self.sql[at]:
                at, sent = at + 1, sent + 1
                continue
            number = _NUMBERED.match(self.numbered, sent)
            name = _NAMED.match(self.sql, at)
            if number and name:
                at, sent = name.end(), number.end()
            elif self.numbered[sent] == " ":
                sent += 1  # That was added before a cast.
            else:
                at += 1  # A backslash that was removed.
        line_start = self.sql.rfind("\n", 0, at) + 1
        return StatementPosition(self.sql.count("\n", 0, at) + 1, at - line_start + 1)


def _check_names(names: list[str], parameters: Mapping[str, Json]) -> None:
    missing = [name for name in names if name not in parameters]
    if missing:
        msg = (
            f"sql names the parameter :{missing[0]}, which `parameters` lacks; "
            f"a colon that begins no parameter is written \\:{missing[0]}"
        )
        raise JobFailed(msg, final=True)
    unused = [name for name in parameters if name not in names]
    if unused:
        msg = f"`parameters` has {unused[0]}, which sql does not name; write :{unused[0]} there"
        raise JobFailed(msg, final=True)


def _bound(value: Json) -> Bound:
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return value
