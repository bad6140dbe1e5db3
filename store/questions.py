"""Decides which questions of a user the facts answer, and how the values found are given."""

from decimal import Decimal
from typing import Final

import duckdb
import msgspec

from control.model.errors import Rejected
from control.model.reports import Cell, QueryResult
from store.queries import Statements

_SQL: Final = Statements("facts")


def answer(cursor: duckdb.DuckDBPyConnection, sql: str, limit: int) -> QueryResult:
    """What one SELECT gives; raises `Rejected` for anything else, and DuckDB's own errors."""
    statements = cursor.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        message = "exactly one SELECT statement is allowed"
        raise Rejected(message)
    cursor.execute(_SQL["read_only"])
    relation = cursor.sql(sql.rstrip().rstrip(";"))  # Lazy: more than the limit is never made.
    rows = relation.limit(limit + 1).fetchall()
    return QueryResult(
        columns=tuple(relation.columns),
        rows=tuple(tuple(_cell(value) for value in row) for row in rows[:limit]),
        truncated=len(rows) > limit,
    )


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list | dict):
        return msgspec.json.encode(value, enc_hook=str).decode()
    return str(value)
