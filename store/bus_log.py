"""Owns the embedded bus's tables (the port `control.bus.embedded.log.LogRows`)."""

import sqlite3
from collections.abc import Sequence

from store.queries import Statements

_SQL = Statements("bus")


class SqliteLogRows:
    """`LogRows` in the state database."""

    def append(
        self, conn: sqlite3.Connection, lane: tuple[str, int], first: int, count: int, body: bytes
    ) -> None:
        """Add one batch."""
        conn.execute(_SQL["append"], (*lane, first, count, body))

    def batches(self, conn: sqlite3.Connection, lane: tuple[str, int]) -> Sequence[tuple[int, int]]:
        """First offset and count of every batch kept, in order."""
        return conn.execute(_SQL["batches"], lane).fetchall()

    def bodies(
        self, conn: sqlite3.Connection, lane: tuple[str, int], offset: int
    ) -> Sequence[tuple[int, bytes]]:
        """A few batches that hold `offset` or later ones."""
        return conn.execute(_SQL["bodies"], (*lane, offset)).fetchall()

    def drop(self, conn: sqlite3.Connection, lane: tuple[str, int], below: int) -> None:
        """Delete the batches whose first offset is below `below`."""
        conn.execute(_SQL["drop"], (*lane, below))

    def save(
        self, conn: sqlite3.Connection, group: str, lane: tuple[str, int], progress: bytes
    ) -> None:
        """Keep a group's progress."""
        conn.execute(_SQL["save"], (group, *lane, progress))

    def groups(self, conn: sqlite3.Connection) -> Sequence[tuple[str, str, int, bytes]]:
        """Every group's progress."""
        return conn.execute(_SQL["groups"]).fetchall()

    def lanes(self, conn: sqlite3.Connection) -> Sequence[tuple[str, int]]:
        """Every topic and partition that has batches."""
        return conn.execute(_SQL["lanes"]).fetchall()
