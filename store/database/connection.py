"""Owns the type of a connection and the errors of the engine: no other package names SQLite."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from control.model.errors import StoreFailed

Connection: TypeAlias = sqlite3.Connection
"""What the functions of `store` run their statements on; others only pass it on."""


@contextmanager
def failures(what: str) -> Iterator[None]:
    """Raise `StoreFailed`, "WHAT: …", where the database, or a file beside it, fails."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        message = f"{what}: {error}"
        raise StoreFailed(message) from error


@contextmanager
def open_file(path: Path) -> Iterator[Connection]:
    """A connection to a database file that must exist, and that it does not change."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as conn:
        yield conn


@contextmanager
def snapshot(conn: Connection) -> Iterator[None]:
    """All that is read within it is of one instant."""
    conn.execute("BEGIN")
    try:
        yield
    finally:
        conn.execute("ROLLBACK")


def interrupt(conn: Connection) -> None:
    """End what a connection executes now, from another thread; it may be closed already."""
    with suppress(sqlite3.ProgrammingError):
        conn.interrupt()
