"""Owns the process of one user's query: it has a copy of the facts, little memory, and no more.

An expression can ask for any amount of memory in one step, which the engine's own limit does not
see: only a process of its own bounds it. Standard input has the request, standard output gets the
answer, either a `QueryResult` in JSON behind `OK`, or words for the caller behind `REFUSED`.
"""

import os
import re
import resource
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import duckdb
import msgspec

from control.model import limits
from control.model.api.reports import Cell
from control.model.errors import Rejected
from store.queries import Statements

OK: Final = b"+"
REFUSED: Final = b"-"
_SQL: Final = Statements("facts")
_PORTION_ROWS: Final = 64
_DATA: Final = re.compile(r"^VmData:\s+(\d+) kB$", re.MULTILINE)
_ENCODER: Final = msgspec.json.Encoder()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a query process is asked. `parts`: Parquet files in `directory`, oldest first."""

    sql: str
    limit: int
    directory: str
    parts: Sequence[str]


def main() -> None:
    """Answer the request on standard input, in this process."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    try:
        conn = _open(request)
        _bound_memory()
        answer = OK + _answer(conn, request.sql, request.limit)
    except Rejected as error:
        answer = REFUSED + str(error).encode()
    except (duckdb.OutOfMemoryException, MemoryError):
        megabytes = limits.QUERY_MEMORY_BYTES_MAX // limits.MIB
        text = f"the query needs more than {megabytes} MiB of memory; select or sort less at once"
        answer = REFUSED + text.encode()
    except duckdb.Error as error:
        answer = REFUSED + str(error).encode(errors="backslashreplace")
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    os._exit(0)  # Nothing is to be cleaned up, and there may be no memory left to do it with.


def _open(request: Request) -> duckdb.DuckDBPyConnection:
    directory = Path(request.directory)
    conn = duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "memory_limit": f"{limits.QUERY_ENGINE_BYTES_MAX}B",
            "temp_directory": str(directory / "spill"),
            "max_temp_directory_size": f"{limits.FACTS_SPILL_BYTES_MAX}B",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
        },
    )
    if request.parts:
        files = [str(directory / name) for name in request.parts]
        conn.execute("SET VARIABLE parts = $files", {"files": files})
        conn.execute(_SQL["copied_facts"])
        conn.execute(_SQL["confine"], {"directory": str(directory)})
    else:
        conn.execute(_SQL["tables"])
    conn.execute(_SQL["close_off"])
    return conn


def _bound_memory() -> None:
    """From here on this process gets so much memory and CPU, whatever it executes."""
    seconds = int(limits.QUERY_S) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        os.nice(limits.QUERY_NICENESS)
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
        match = _DATA.search(Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:  # Another system than Linux: the engine's own limit has to do.
        return
    if match is not None:
        most = int(match[1]) * limits.KIB + limits.QUERY_MEMORY_BYTES_MAX
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _answer(conn: duckdb.DuckDBPyConnection, sql: str, limit: int) -> bytes:
    """What one SELECT gives; raises `Rejected` for anything else, and DuckDB's own errors."""
    statements = conn.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        message = "exactly one SELECT statement is allowed"
        raise Rejected(message)
    conn.execute(_SQL["read_only"])
    conn.execute(statements[0])  # Streams: what is not fetched is not made.
    columns = [column[0] for column in conn.description or ()]
    rows: list[bytes] = []
    size, truncated = 0, False
    while not truncated and (portion := conn.fetchmany(_PORTION_ROWS)):
        for row in portion:
            encoded = _row(columns, row)
            size += len(encoded)
            truncated = len(rows) == limit or (size > limits.QUERY_BYTES_MAX and bool(rows))
            if truncated:
                break
            rows.append(encoded)
    head = _ENCODER.encode(columns)
    cut = b"true" if truncated else b"false"
    return b'{"columns":%b,"rows":[%b],"truncated":%b}' % (head, b",".join(rows), cut)


def _row(columns: Sequence[str], row: Sequence[object]) -> bytes:
    cells: list[bytes] = []
    for name, value in zip(columns, row, strict=True):
        cell = _ENCODER.encode(_cell(value))
        if len(cell) > limits.QUERY_CELL_BYTES_MAX:
            message = (
                f"a value of the column {name[: limits.NAME_CHARS_MAX]!r} has {len(cell)} bytes, "
                f"at most {limits.QUERY_CELL_BYTES_MAX} are given; select a part of it"
            )
            raise Rejected(message)
        cells.append(cell)
    return b"[" + b",".join(cells) + b"]"


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list | dict):
        return msgspec.json.encode(value, enc_hook=str).decode()
    return str(value)


if __name__ == "__main__":
    main()
