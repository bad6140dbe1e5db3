"""Owns one statement inside of a child interpreter, which imports this."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from control.model import limits
from control.model.errors import JobFailed
from workers.kinds.query.duckdb_files import DuckDB
from workers.kinds.query.execution import Answered, Execution
from workers.kinds.query.relational import SQLite
from workers.kinds.query.statement import Statement

ENGINES: Final[dict[str, type[SQLite | DuckDB]]] = {"sqlite": SQLite, "duckdb": DuckDB}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What `ask` returns, as JSON: an answer, or an error in words."""

    answered: Answered | None = None
    error: str | None = None
    final: bool = False


def ask(
    *,
    connection: str,
    url: str,
    directory: str,
    sql: str,
    parameters: dict[str, Any],
    limit: int,
) -> str:
    """Execute a statement; `directory`: where the URL's and the statement's paths begin."""
    spill = Path.cwd() / "spill"  # In the call's own directory, which is gone after it.
    with suppress(OSError):  # Then only absolute paths lead anywhere.
        os.chdir(directory)
    try:
        reply = Reply(answered=_ask(connection, url, spill, Statement(sql, parameters), limit))
    except JobFailed as error:
        words = str(error)[: limits.TEXT_CHARS_MAX + 1]  # The worker cuts it, and shows that.
        reply = Reply(error=words, final=error.final)
    return msgspec.json.encode(reply).decode()


def _ask(connection: str, url: str, spill: Path, statement: Statement, limit: int) -> Answered:
    from sqlalchemy import make_url  # noqa: PLC0415 - Loaded when a job needs it.

    goal = make_url(url)
    kind = ENGINES[goal.get_backend_name()]
    execution = Execution(connection, kind, statement, limit)
    with execution.in_words():
        session = DuckDB(goal, spill) if kind is DuckDB else SQLite(goal)
        watched = _progress(session) if isinstance(session, DuckDB) else nullcontext()
        with closing(session), watched:
            return execution.use(session)


@contextmanager
def _progress(session: DuckDB) -> Iterator[None]:
    """Report what the engine says of its progress, by a thread, until the block's end."""
    # The child has made this module.
    from taskplane_job import progress  # type: ignore[import-not-found]  # noqa: PLC0415

    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(limits.SQL_PROGRESS_S):
            if (fraction := session.progress()) is not None:
                progress(fraction)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
