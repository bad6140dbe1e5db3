"""Owns DuckDB inside of this process: a database file, or none, and the directories of its files.

DuckDB reads and writes what this process may, so its SQL reaches only the directories that the
connection's URL names, and cannot change that.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from control.model import limits
from control.model.bus.details import Column
from workers.kinds.query.session import Changed, Failure, ResultRows
from workers.kinds.query.statement import Statement
from workers.kinds.query.values import timestamp_form

if TYPE_CHECKING:
    import duckdb
    from sqlalchemy import URL

DIRECTORY: Final = "directory"  # The URL's parameter; DuckDB's own settings may stand beside it.
_MEMORY: Final = "512MB"
_TIMES: Final = re.compile(r"INTERVAL|TIMESTAMP|DATE|TIME")
_NESTED: Final = re.compile(r"STRUCT|MAP|UNION|\[")
# Another program, or a full disk, is to blame: the same statement may succeed later.
_AGAIN: Final = frozenset(
    (
        *("IOException", "TransactionException", "OutOfMemoryException", "ConnectionException"),
        *("InternalException", "InterruptException", "HTTPException", "FatalException"),
    )
)


class DuckDB:
    """One connection."""

    def __init__(self, url: "URL", spill: Path) -> None:
        """Open the file of the URL, or a database in memory, which may write to `spill`."""
        import duckdb  # noqa: PLC0415 - Loaded when a job needs it.

        settings: dict[str, str | tuple[str, ...]] = {**url.query}
        directories = settings.pop(DIRECTORY, ())
        if isinstance(directories, str):
            directories = (directories,)
        config: dict[str, Any] = {"memory_limit": _MEMORY, **settings}
        if not url.database:
            config.setdefault("temp_directory", str(spill))
        self._connection = duckdb.connect(url.database or ":memory:", config=config)
        try:
            self._close_off([str(Path(each).resolve()) for each in directories])
        except BaseException:
            self._connection.close()
            raise

    def _close_off(self, directories: Sequence[str]) -> None:
        # The bar is what measures progress; it is not to be seen.
        self._connection.execute("SET enable_progress_bar = true")
        self._connection.execute("SET enable_progress_bar_print = false")
        self._connection.execute("SET allowed_directories = $1", [list(directories)])
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    @staticmethod
    def failure(error: Exception, statement: Statement | None) -> Failure | None:  # noqa: ARG004 - The interface of all sessions.
        """What DuckDB says; its words show the place."""
        import duckdb  # noqa: PLC0415 - Loaded when a job needs it.

        if not isinstance(error, duckdb.Error):
            return None
        name = type(error).__name__
        return Failure(str(error), code=name, final=name not in _AGAIN)

    def execute(self, statement: Statement) -> ResultRows | Changed:
        """Execute it; rows stay with DuckDB until they are read."""
        import duckdb  # noqa: PLC0415 - Loaded when a job needs it.

        parsed = duckdb.extract_statements(statement.numbered)
        if len(parsed) != 1:
            msg = f"sql has {len(parsed)} statements; a job executes one"
            raise duckdb.InvalidInputException(msg)
        self._connection.begin()
        values = list(statement.values.values())
        if parsed[0].type == duckdb.StatementType.SELECT and (columns := self._probe(statement)):
            sql = _losslessly(statement.numbered, columns)
            result = self._connection.execute(sql, values)
            return ResultRows(columns, _rows(result, columns))
        result = self._connection.execute(statement.numbered, values)
        columns = [Column(str(each[0]), str(each[1])) for each in result.description or ()]
        answers = parsed[0].expected_result_type
        if duckdb.ExpectedResultType.QUERY_RESULT not in answers:
            return Changed(None)
        if duckdb.ExpectedResultType.CHANGED_ROWS in answers and _is_count(columns, statement.sql):
            row = result.fetchone()
            return Changed(int(row[0]) if row else None)
        return ResultRows(columns, _rows(result, columns))

    def _probe(self, statement: Statement) -> list[Column] | None:
        """The columns of a query; None: it cannot be part of another one, or is wrong."""
        import duckdb  # noqa: PLC0415 - Loaded when a job needs it.

        # As a part of FROM it would have columns of one name renamed.
        sql = f"(\n{_unended(statement.numbered)}\n) LIMIT 0"
        try:
            described = self._connection.execute(sql, list(statement.values.values())).description
        except duckdb.Error:
            self._connection.rollback()
            self._connection.begin()
            return None
        return [Column(str(each[0]), str(each[1])) for each in described or ()]

    def finish(self, *, truncated: bool) -> None:  # noqa: ARG002 - The interface of all sessions.
        """Commit: what changes something was executed before its first row was there."""
        self._connection.commit()

    def progress(self) -> float | None:
        """How much of the statement is done, from 0 to 1, as DuckDB estimates it."""
        done = self._connection.query_progress()
        return done / 100 if 0 <= done <= 100 else None  # noqa: PLR2004 - Percent.

    def close(self) -> None:
        """What is not committed is rolled back."""
        self._connection.close()


def _losslessly(sql: str, columns: Sequence[Column]) -> str:
    """The query with what Python's types cannot hold (infinity, BC, months, ns) as text."""
    if not any(_TIMES.search(each.type) for each in columns):
        return sql
    chosen = ", ".join(_chosen(at, each.type) for at, each in enumerate(columns, 1))
    return f"SELECT {chosen} FROM (\n{_unended(sql)}\n)"


def _unended(sql: str) -> str:
    """A statement without semicolons and comments at its end, to be part of another one."""
    import duckdb  # noqa: PLC0415 - Loaded when a job needs it.

    text, end = sql.encode(), None
    for start, kind in reversed(duckdb.tokenize(sql)):
        if kind != duckdb.token_type.comment and text[start : start + 1] != b";":
            break
        end = start
    return text[:end].decode()


def _chosen(at: int, kind: str) -> str:
    if not _TIMES.search(kind):
        return f"#{at}"
    return f"to_json(#{at})" if _NESTED.search(kind) else f"CAST(#{at} AS VARCHAR)"


def _rows(
    result: "duckdb.DuckDBPyConnection", columns: Sequence[Column]
) -> Iterator[Sequence[object]]:
    forms = [_form(each.type) for each in columns]
    while rows := result.fetchmany(limits.SQL_ROWS_AT_ONCE):
        for row in rows:
            yield [
                form(value) if form is not None and isinstance(value, str) else value
                for form, value in zip(forms, row, strict=True)
            ]


def _form(kind: str) -> Any:  # noqa: ANN401 - A function from text, or None.
    if kind == "JSON" or (_TIMES.search(kind) and _NESTED.search(kind)):
        return lambda text: msgspec.Raw(text.encode())
    return timestamp_form if kind.startswith("TIMESTAMP") else None


def _is_count(columns: Sequence[Column], sql: str) -> bool:
    """Whether a result is the number of changed rows, instead of rows."""
    return [each.name for each in columns] == ["Count"] and "returning" not in sql.lower()
