"""Owns connections to MySQL and SQLite through SQLAlchemy's engines, read row by row.

Each job has a connection of its own, which is closed with it, and one transaction.
"""

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from control.model import limits
from control.model.bus.details import Column
from workers.kinds.extras import needs_extra
from workers.kinds.keepalive import KEEPALIVE
from workers.kinds.query.session import Changed, Failure, ResultRows, shut_down
from workers.kinds.query.statement import Statement

if TYPE_CHECKING:
    from sqlalchemy import URL, CursorResult, Engine

_MYSQL_JSON: Final = 245
# Access, unknown databases, tables, and columns come as OperationalError, as lost connections do.
_MYSQL_FINAL: Final = frozenset((1044, 1045, 1049, 1054, 1142, 1143, 1146, 1227, 1305, 1370))
# Another program uses the file, or the disk is full; any other error comes again.
_SQLITE_AGAIN: Final = (
    *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_NOMEM"),
    *("SQLITE_CANTOPEN", "SQLITE_INTERRUPT", "SQLITE_PROTOCOL"),
)
_ACKNOWLEDGED_MS: Final = 30_000  # What was sent is, within this.
# What describes, checks, or changes this file only. Some others are of the whole process, or write
# elsewhere.
_PRAGMAS: Final = frozenset(
    (
        *("application_id", "user_version", "schema_version", "data_version", "encoding"),
        *("table_info", "table_xinfo", "table_list", "index_info", "index_list", "index_xinfo"),
        *("foreign_key_list", "foreign_key_check", "foreign_keys", "defer_foreign_keys"),
        *("integrity_check", "quick_check", "optimize", "analysis_limit", "wal_checkpoint"),
        *("page_count", "page_size", "freelist_count", "auto_vacuum", "incremental_vacuum"),
        *("journal_mode", "synchronous", "busy_timeout", "cache_size", "query_only"),
        *("collation_list", "function_list", "module_list", "pragma_list", "compile_options"),
    )
)
_STORAGE: Final = {int: "integer", float: "real", str: "text", bytes: "blob"}


class _Engine:
    """What both have in common."""

    def __init__(self, url: "URL", options: dict[str, Any]) -> None:
        self._engine = _engine(url, options)
        self._connection = self._engine.connect()
        self._result: CursorResult[Any] | None = None
        self._reads_only = False

    @property
    def driver(self) -> Any:  # noqa: ANN401 - The driver's own connection.
        """The driver's connection."""
        return self._connection.connection.driver_connection

    def execute(self, statement: Statement) -> ResultRows | Changed:
        """Execute it; rows stay with the server until they are read."""
        self._reads_only = statement.reads_only
        streaming = self._connection.execution_options(stream_results=True)
        result = self._result = streaming.execute(statement.text, statement.values)
        if not result.returns_rows:
            return Changed(result.rowcount if result.rowcount >= 0 else None)
        assert result.cursor is not None
        return self._rows(result, result.cursor.description)

    def _rows(self, result: "CursorResult[Any]", description: Sequence[Any]) -> ResultRows:
        raise NotImplementedError

    def finish(self, *, truncated: bool) -> None:
        """Commit; what only reads is stopped first if there is more of it."""
        if truncated and self._result is not None:
            if self._reads_only:
                self.stop()
                return
            for _ in _each(self._result):
                pass
        self._connection.commit()

    def stop(self) -> None:
        """End a result that is not read to its end."""
        self._connection.invalidate()

    def close(self) -> None:
        """What is not committed is rolled back."""
        self._connection.close()
        self._engine.dispose()


class MySQL(_Engine):
    """MySQL, or MariaDB."""

    def __init__(self, url: "URL", label: str) -> None:
        """Connect; `label` is what the server's operator sees among a connection's attributes."""
        with needs_extra("mysql", "a connection to MySQL"):
            import pymysql  # noqa: F401, PLC0415 - Loaded when a job needs it.
        url = url.set(drivername="mysql+pymysql")
        options = {"connect_timeout": round(limits.SQL_CONNECT_S), "program_name": label}
        super().__init__(url, options)
        _keep_alive(self._socket)
        # Who cancels does not wait for a server that hangs.
        self._second = _engine(url, options | {"read_timeout": round(limits.SQL_CANCEL_S)})

    @property
    def _socket(self) -> socket.socket:
        connection: socket.socket = self.driver._sock  # noqa: SLF001 - PyMySQL offers no other way.
        return connection

    def _rows(self, result: "CursorResult[Any]", description: Sequence[Any]) -> ResultRows:
        columns = [Column(str(each[0]), _mysql_type(each[1])) for each in description]
        json = [at for at, each in enumerate(description) if each[1] == _MYSQL_JSON]
        return ResultRows(columns, _with_json(_each(result), json) if json else _each(result))

    @staticmethod
    def failure(error: Exception, statement: Statement | None) -> Failure | None:  # noqa: ARG004 - The interface of all sessions.
        """What the server says: its number, and words that have the line."""
        import pymysql  # noqa: PLC0415 - Loaded when a job needs it.

        error = _original(error)
        if not isinstance(error, pymysql.MySQLError):
            return None
        number, words = (*error.args, None, None)[:2]
        wrong = (pymysql.ProgrammingError, pymysql.IntegrityError, pymysql.DataError)
        final = isinstance(error, (*wrong, pymysql.NotSupportedError)) or number in _MYSQL_FINAL
        return Failure(str(words or error), code=f"error {number}" if number else None, final=final)

    def cancel(self) -> None:
        """By a second connection."""
        from sqlalchemy import text  # noqa: PLC0415 - Loaded when a job needs it.

        number = int(self.driver.thread_id())
        with self._second.connect() as other:
            other.execute(text(f"KILL QUERY {number}"))

    def sever(self) -> None:
        """Both directions end for the thread that waits for the socket."""
        shut_down(self._socket.fileno())

    def stop(self) -> None:
        """The driver reads a result to its end before it closes it, so that has to come soon."""
        import pymysql  # noqa: PLC0415 - Loaded when a job needs it.

        self.cancel()
        if self._result is not None and self._result.cursor is not None:
            with contextlib.suppress(pymysql.MySQLError):  # That it was cancelled.
                self._result.cursor.close()
        super().stop()


class SQLite(_Engine):
    """A file of SQLite, and no other file."""

    def __init__(self, url: "URL") -> None:
        """Open the file."""
        super().__init__(url.set(drivername="sqlite"), {})
        self.driver.text_factory = _text_or_bytes
        self.driver.set_authorizer(_permission)

    @staticmethod
    def failure(error: Exception, statement: Statement | None) -> Failure | None:  # noqa: ARG004 - The interface of all sessions.
        """What SQLite says, with its code."""
        import sqlite3  # noqa: PLC0415 - Beside its use.

        error = _original(error)
        if isinstance(error, OverflowError):
            return Failure(f"a parameter does not fit: {error}", final=True)
        if not isinstance(error, sqlite3.Error):
            return None
        code: str | None = getattr(error, "sqlite_errorname", None)
        return Failure(str(error), code=code, final=not (code or "").startswith(_SQLITE_AGAIN))

    def _rows(self, result: "CursorResult[Any]", description: Sequence[Any]) -> ResultRows:
        columns = [Column(str(each[0]), "") for each in description]
        return ResultRows(columns, _observed(_each(result), columns))


def _engine(url: "URL", options: dict[str, Any]) -> "Engine":
    from sqlalchemy import create_engine  # noqa: PLC0415 - Loaded when a job needs it.
    from sqlalchemy.pool import NullPool  # noqa: PLC0415 - As above.

    return create_engine(url, poolclass=NullPool, connect_args=options)


def _keep_alive(connection: socket.socket) -> None:
    """A server that vanished is noticed in about a minute; PyMySQL asks for that, without times."""
    if connection.family == socket.AF_UNIX:
        return
    for option in KEEPALIVE:
        connection.setsockopt(*option)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Not every system has it.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _ACKNOWLEDGED_MS)


def _each(result: "CursorResult[Any]") -> Iterator[Sequence[object]]:
    while rows := result.fetchmany(limits.SQL_ROWS_AT_ONCE):
        yield from rows


def _observed(
    rows: Iterator[Sequence[object]], columns: list[Column]
) -> Iterator[Sequence[object]]:
    """SQLite's columns have no types, only its values have: all that a column has are its type."""
    types: list[list[str]] = [[] for _ in columns]
    for row in rows:
        for at, value in enumerate(row):
            kind = _STORAGE.get(type(value), "")
            if kind and kind not in types[at]:
                types[at].append(kind)
                columns[at] = Column(columns[at].name, " or ".join(types[at]))
        yield row


def _original(error: Exception) -> Exception:
    """The driver's error, which SQLAlchemy wraps."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, Exception) else error


def _with_json(rows: Iterator[Sequence[object]], at: Sequence[int]) -> Iterator[Sequence[object]]:
    for row in rows:
        values = list(row)
        for index in at:
            if isinstance(text := values[index], str):
                values[index] = msgspec.Raw(text.encode())
        yield values


def _mysql_type(code: int) -> str:
    """A type's name, as `CREATE TABLE` has it."""
    from pymysql.constants import FIELD_TYPE  # noqa: PLC0415 - Loaded when a job needs it.

    usual = {
        FIELD_TYPE.TINY: "tinyint",
        FIELD_TYPE.SHORT: "smallint",
        FIELD_TYPE.INT24: "mediumint",
        FIELD_TYPE.LONG: "int",
        FIELD_TYPE.LONGLONG: "bigint",
        FIELD_TYPE.NEWDECIMAL: "decimal",
        FIELD_TYPE.VAR_STRING: "varchar",
        FIELD_TYPE.STRING: "char",
        FIELD_TYPE.BLOB: "blob",  # Also of its texts: the protocol has one code for both.
    }
    own = {number: name.lower() for name, number in vars(FIELD_TYPE).items() if name.isupper()}
    return usual.get(code) or own.get(code, str(code))


def _text_or_bytes(value: bytes) -> str | bytes:
    """A text of SQLite may be none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _permission(action: int, name: str | None, *_: object) -> int:
    import sqlite3  # noqa: PLC0415 - Beside its use.

    # VACUUM attaches a file without a name.
    refused = action == sqlite3.SQLITE_ATTACH and name != ""
    if action == sqlite3.SQLITE_PRAGMA:
        refused = (name or "").lower() not in _PRAGMAS
    return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK
