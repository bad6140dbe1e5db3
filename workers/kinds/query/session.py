"""Owns what every database offers to the kind `Query`, and how its errors are worded."""

import os
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from control.model.bus.details import Column
from workers.kinds.query.statement import Statement, StatementPosition


class ResultRows(NamedTuple):
    """A result that is being read."""

    columns: list[Column]  # Where only values have types, complete when all are read.
    rows: Iterator[Sequence[object]]  # Values that `json_form` knows.


class Changed(msgspec.Struct, frozen=True):
    """A statement without rows has ended; `count` None: the database does not say."""

    count: int | None


class QuerySession(Protocol):
    """One connection of one job. It raises the driver's errors; `failure` makes ours of them."""

    @staticmethod
    def failure(error: Exception, statement: Statement | None) -> "Failure | None":
        """What an error of the driver says; None: it is no such error.

        `statement` None: none was sent.
        """

    def execute(self, statement: Statement) -> ResultRows | Changed:
        """Execute one statement; its rows are read afterwards, some at once."""

    def finish(self, *, truncated: bool) -> None:
        """Make it lasting, once the rows are read. `truncated`: there are more, which are not read.

        A statement that may change something is executed to its end first.
        """

    def close(self) -> None:
        """Undo what is not lasting, and release everything."""


class ServerSession(QuerySession, Protocol):
    """A connection to a server, used in a thread; `cancel` and `sever` are called in another."""

    def cancel(self) -> None:
        """Ask the server to cancel what it executes; does nothing between statements."""

    def sever(self) -> None:
        """Break the connection under a thread that waits for an answer; the last resort."""


def shut_down(descriptor: int) -> None:
    """End both directions of a connection, for a thread that waits for its socket."""
    with socket.socket(fileno=os.dup(descriptor)) as twin:
        twin.shutdown(socket.SHUT_RDWR)


class Failure(NamedTuple):
    """What a database answered instead of a result."""

    message: str
    sqlstate: str | None = None
    code: str | None = None  # The database's own, where it has no SQLSTATE.
    position: StatementPosition | None = None
    detail: str | None = None
    hint: str | None = None
    final: bool = False  # Trying again cannot help.

    def __str__(self) -> str:
        """All of it, in words."""
        codes = [f"SQLSTATE {self.sqlstate}"] if self.sqlstate else []
        codes += [self.code] if self.code else []
        words = self.message.strip()
        if codes:
            words += f" ({', '.join(codes)})"
        if self.position is not None:
            words += f", at line {self.position.line}, column {self.position.column} of sql"
        for label, text in (("detail", self.detail), ("hint", self.hint)):
            if text:
                words += f"; {label}: {text}"
        return words
