"""Owns a connection to PostgreSQL: described before it is sent, read in pieces, cancelled there.

A statement is its own transaction. Rows are never all in memory: psycopg streams them.
"""

from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from control.model import limits
from control.model.bus.details import Column
from workers.kinds.extras import needs_extra
from workers.kinds.query.session import (
    Changed,
    Failure,
    ResultRows,
    shut_down,
)
from workers.kinds.query.statement import Statement
from workers.kinds.query.values import timestamp_form

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL

# Classes of SQLSTATE (its first two characters) that the same statement meets again: wrong values,
# broken constraints, credentials, names, syntax, rights.
_FINAL_CLASSES: Final = frozenset(
    ("0A", "21", "22", "23", "26", "28", "2B", "34", "3D", "3F", "42", "44")
)
# A refused connection has no SQLSTATE in libpq, only these words.
_FINAL_WORDS: Final = ("authentication failed", "no password supplied", "no pg_hba.conf entry")
_TYPED: Final = frozenset(
    ("bool", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "bytea")
)
_JSON: Final = frozenset(("json", "jsonb"))
_TIMES: Final = frozenset(("timestamp", "timestamptz"))
_CHECK_SINCE: Final = 140_000
_CHANGED: Final = "SELECT backend_xid IS NOT NULL FROM pg_stat_activity WHERE pid = %s"
_TYPES: Final = (
    "SELECT format_type(oid, mod) FROM unnest($1::oid[], $2::int[]) "
    "WITH ORDINALITY AS each (oid, mod, at) ORDER BY at"
)


class PostgreSQL:
    """One connection."""

    def __init__(self, url: "URL", label: str) -> None:
        """Connect; `label` is what the server's operator sees in pg_stat_activity."""
        with needs_extra("query", "a connection to PostgreSQL"):
            import psycopg  # noqa: PLC0415 - Loaded when a job needs it.
        arguments, options = url.get_dialect()().create_connect_args(url)
        options = {
            "application_name": label,
            "connect_timeout": round(limits.SQL_CONNECT_S),
            "keepalives_idle": 30,
            "tcp_user_timeout": 30_000,
            **options,
        }
        self._connect = partial(psycopg.connect, *arguments, autocommit=True, **options)
        self._connection = self._connect()
        self._stream: Generator[Sequence[object], None, None] | None = None
        self._reads_only = False
        try:
            self._prepare_session()
        except BaseException:
            self._connection.close()
            raise

    def _prepare_session(self) -> None:
        import psycopg  # noqa: PLC0415 - As above.

        _load_losslessly(self._connection)
        if self._connection.info.server_version >= _CHECK_SINCE:
            try:
                self._connection.execute(
                    f"SET client_connection_check_interval = {limits.SQL_CLIENT_GONE_MS}"
                )
            except psycopg.errors.InvalidParameterValue:
                return  # The server's system cannot look; a lost client costs it the statement.

    @staticmethod
    def failure(error: Exception, statement: Statement | None) -> Failure | None:
        """What the server, or the way to it, says."""
        from psycopg import (  # noqa: PLC0415 - Loaded when a job needs it.
            DataError,
            Error,
            NotSupportedError,
            ProgrammingError,
        )

        if not isinstance(error, Error):
            return None
        diagnosis, words, state = error.diag, str(error), error.sqlstate
        at = diagnosis.statement_position
        if state:
            final = state[:2] in _FINAL_CLASSES
        else:  # From the driver: what it cannot send, or the way to the server.
            final = isinstance(error, DataError | ProgrammingError | NotSupportedError)
            final = final or any(each in words for each in _FINAL_WORDS)
        return Failure(
            message=diagnosis.message_primary or words,
            sqlstate=state,
            position=statement.position(int(at) - 1) if statement and at else None,
            detail=diagnosis.message_detail,
            hint=diagnosis.message_hint,
            final=final,
        )

    def execute(self, statement: Statement) -> ResultRows | Changed:
        """Describe it, which also refuses several statements at once, then send it."""
        from psycopg import RawCursor  # noqa: PLC0415 - As above.

        values = list(statement.values.values())
        cursor = RawCursor(self._connection)
        names, types = self._describe(statement.numbered, values)
        if not names:
            cursor.execute(statement.numbered.encode(), values)
            return Changed(cursor.rowcount if cursor.rowcount >= 0 else None)
        self._reads_only = statement.reads_only
        columns = [Column(*each) for each in zip(names, self._named(types), strict=True)]
        # The generator sends the statement when its first row is asked for.
        stream = cursor.stream(statement.numbered.encode(), values, size=_chunk())
        assert isinstance(stream, Generator)  # Closing it cancels the statement.
        self._stream = stream
        return ResultRows(columns, stream)

    def _describe(
        self, sql: str, values: Sequence[object]
    ) -> tuple[list[str], list[tuple[int, int]]]:
        from psycopg.adapt import PyFormat, Transformer  # noqa: PLC0415 - As above.
        from psycopg.errors import error_from_result  # noqa: PLC0415 - As above.
        from psycopg.pq import ExecStatus  # noqa: PLC0415 - As above.

        pg, encoding = self._connection.pgconn, self._connection.info.encoding
        dumped = Transformer.from_context(self._connection)
        dumped.dump_sequence(values, [PyFormat.AUTO] * len(values))
        result = pg.prepare(b"", sql.encode(encoding), dumped.types or ())
        if result.status == ExecStatus.COMMAND_OK:
            result = pg.describe_prepared(b"")
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result, encoding)
        fields = range(result.nfields)
        names = [(result.fname(at) or b"").decode(encoding) for at in fields]
        return names, [(result.ftype(at), result.fmod(at)) for at in fields]

    def _named(self, types: list[tuple[int, int]]) -> list[str]:
        from psycopg import RawCursor  # noqa: PLC0415 - As above.

        oids, modifiers = [list(each) for each in zip(*types, strict=True)]
        named = RawCursor(self._connection).execute(_TYPES, [oids, modifiers]).fetchall()
        return [str(name) for (name,) in named]

    def finish(self, *, truncated: bool) -> None:
        """What only reads is cancelled; anything else goes on to its end."""
        if self._stream is None:
            return
        if truncated and (not self._reads_only or self._has_changed()):
            for _ in self._stream:
                pass
        self._stream.close()

    def _has_changed(self) -> bool:
        """Whether the statement has changed something so far, by a function in it, say.

        Seen from a connection of its own: only then has its transaction a number.
        """
        with self._connect() as second:
            pid = self._connection.info.backend_pid
            row = second.execute(_CHANGED, [pid]).fetchone()
        return row is None or bool(row[0])  # None: a pooler has another connection.

    def cancel(self) -> None:
        """By a connection of its own, as PostgreSQL wants it."""
        self._connection.cancel_safe(timeout=limits.SQL_CANCEL_S)

    def sever(self) -> None:
        """Both directions end for the thread that waits for the socket."""
        shut_down(self._connection.fileno())

    def close(self) -> None:
        """What is not committed is rolled back."""
        self._connection.close()


def _chunk() -> int:
    from psycopg import capabilities  # noqa: PLC0415 - Loaded when a job needs it.

    return limits.SQL_ROWS_AT_ONCE if capabilities.has_stream_chunked() else 1


def _load_losslessly(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """What Python's types cannot hold (infinity, BC, months) is read as the server writes it."""
    from psycopg.adapt import Loader  # noqa: PLC0415 - As above.
    from psycopg.types.string import TextLoader  # noqa: PLC0415 - As above.

    class JsonLoader(Loader):
        def load(self, data: object) -> msgspec.Raw:
            return msgspec.Raw(bytes(data))  # type: ignore[call-overload]

    class TimestampLoader(Loader):
        def load(self, data: object) -> str:
            return timestamp_form(bytes(data).decode())  # type: ignore[call-overload]

    for known in connection.adapters.types:
        if known.name in _TYPED:
            continue
        loader: type[Loader] = TextLoader
        if known.name in _JSON:
            loader = JsonLoader
        elif known.name in _TIMES:
            loader = TimestampLoader
        connection.adapters.register_loader(known.oid, loader)
