"""Owns the connections that read: a few, which can never write and never wait for the writer."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import outcome
import trio

from control.model import limits
from control.model.errors import StoreFailed
from store.database.writer import Offload

T = TypeVar("T")


class Reader:
    """Runs functions on read-only connections, each in one snapshot of the database."""

    def __init__(self, path: Path, offload: Offload) -> None:
        self._path = path
        self._offload = offload
        self._idle: list[sqlite3.Connection] = []
        self._room = trio.CapacityLimiter(limits.READERS_MAX)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Give back what `work` found; raises `StoreFailed` when the database cannot be read."""
        async with self._room:
            # A connection is used by one task at a time, so there are never more than READERS_MAX.
            idle = self._idle.pop() if self._idle else None
            conn, result = await self._offload(lambda: self._snapshot(idle, work))
            if conn is not None:
                self._idle.append(conn)
        return result.unwrap()

    def close(self) -> None:
        """Close what is idle; called when nothing reads any more."""
        while self._idle:
            self._idle.pop().close()

    def _snapshot(
        self, conn: sqlite3.Connection | None, work: Callable[[sqlite3.Connection], T]
    ) -> tuple[sqlite3.Connection | None, outcome.Outcome[T]]:
        try:
            conn = conn or open_reader(self._path)
            conn.execute("BEGIN")
        except sqlite3.Error as error:
            return None, outcome.Error(_failure(error))
        result = outcome.capture(work, conn)
        conn.execute("ROLLBACK")
        if isinstance(result, outcome.Error) and isinstance(result.error, sqlite3.Error):
            conn.close()  # What is wrong may be the connection.
            return None, outcome.Error(_failure(result.error))
        return conn, result


def _failure(error: sqlite3.Error) -> StoreFailed:
    failure = StoreFailed(f"the state database could not be read: {error}")
    failure.__cause__ = error
    return failure


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, for any thread, one at a time; raises `sqlite3.Error`."""
    # Not `mode=ro`: a reader of a database in WAL mode may have to make its shared memory.
    conn = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,  # One task at a time, but any thread of the pool.
    )
    conn.execute("PRAGMA query_only = ON")
    conn.execute("PRAGMA busy_timeout = 5000")
    return conn
