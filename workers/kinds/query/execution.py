"""Owns one statement over one connection: its answer, its seconds, its failure in words."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from control.model.clock import system_clock
from control.model.errors import JobFailed
from workers.kinds.query.output import QueryOutput, read
from workers.kinds.query.session import QuerySession
from workers.kinds.query.statement import Statement


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and the seconds from sending the statement until its last row."""

    answer: QueryOutput
    seconds: float


class Execution:
    """One statement over the connection of this name."""

    def __init__(
        self, connection: str, kind: type[QuerySession], statement: Statement, limit: int
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._statement = statement
        self._limit = limit
        self._sent = False
        self._steady_ms = system_clock().steady_ms

    def use(self, session: QuerySession) -> Answered:
        """Execute it; raises the driver's errors."""
        self._sent = True
        began_ms = self._steady_ms()
        answer = read(session.execute(self._statement), self._limit)
        session.finish(truncated=answer.truncated)
        return Answered(answer=answer, seconds=(self._steady_ms() - began_ms) / 1000)

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Around the connection's life: makes JobFailed of the driver's errors."""
        try:
            yield
        except JobFailed:
            raise
        except Exception as error:
            failure = self._kind.failure(error, self._statement if self._sent else None)
            if failure is None:
                raise
            what = "the statement failed" if self._sent else f"no connection to {self._connection}"
            # The driver's error may have values and passwords in it, so it is no cause.
            raise JobFailed(f"{what}: {failure}", final=failure.final) from None
