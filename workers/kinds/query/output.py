"""Decides what of a result is in a job's output: rows up to a number, and up to a size."""

from typing import Final

import msgspec
from msgspec import Raw

from control.model import limits
from control.model.bus.details import Column, QueryDetails
from control.model.errors import JobFailed
from workers.kinds.query.session import Changed, ResultRows
from workers.kinds.query.values import json_form

_FRAME_BYTES: Final = 128  # Of the output, around its columns and rows.


class QueryOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a job of this kind."""

    columns: list[Column] = []
    rows: list[Raw] = []
    row_count: int | None  # Of `rows`; of a statement without columns, how many it changed.
    truncated: bool = False


def read(result: ResultRows | Changed, limit: int) -> QueryOutput:
    """Read rows until there are enough; raises JobFailed when not even one fits into an output."""
    if isinstance(result, Changed):
        return QueryOutput(row_count=result.count)
    rows: list[Raw] = []
    size = _FRAME_BYTES + len(msgspec.json.encode(result.columns))
    truncated = False
    for row in result.rows:
        if len(rows) == limit:
            truncated = True
            break
        encoded = msgspec.json.encode([json_form(value) for value in row])
        size += len(encoded) + 1
        if size > limits.OUTPUT_BYTES_MAX:
            if not rows:
                msg = (
                    f"the first row has {len(encoded)} bytes, and an output "
                    f"{limits.OUTPUT_BYTES_MAX} at most; select fewer columns"
                )
                raise JobFailed(msg, final=True)
            truncated = True
            break
        rows.append(Raw(encoded))
    return QueryOutput(columns=result.columns, rows=rows, row_count=len(rows), truncated=truncated)


def details(connection: str, statement: str, answer: QueryOutput, seconds: float) -> QueryDetails:
    """The additional information about an answer."""
    first: list[Raw] = []
    size = 0
    for row in answer.rows[: limits.DETAIL_ROWS_MAX]:
        size += len(bytes(row))
        if size > limits.DETAIL_BYTES_MAX:
            break
        first.append(row)
    return QueryDetails(
        connection=connection,
        statement=statement[: limits.TEXT_CHARS_MAX],
        columns=answer.columns,
        row_count=answer.row_count,
        rows=first,
        truncated=answer.truncated,
        seconds=seconds,
    )
