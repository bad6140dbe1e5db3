"""Owns the outbox's table (the port `control.bus.kafka.outbox_relay.OutboxRows`)."""

import sqlite3
from collections.abc import Sequence

from store.queries import Statements

_SQL = Statements("outbox")


class SqliteOutboxRows:
    """`OutboxRows` in the state database."""

    def append(self, conn: sqlite3.Connection, row: int, body: bytes) -> None:
        """Add one row."""
        conn.execute(_SQL["append"], (row, body))

    def last(self, conn: sqlite3.Connection) -> int:
        """The newest number that a row has or had; 0: none."""
        found = conn.execute(_SQL["last"]).fetchone()
        return found[0] if found else 0

    def move_up(self, conn: sqlite3.Connection, by: int) -> None:
        """Give all rows, and all to come, higher numbers."""
        last = self.last(conn)
        conn.execute(_SQL["renumber"], (by,))
        conn.execute(_SQL["renumbered"])
        conn.execute(_SQL["begin_at"], (last + by + 1,))
        conn.execute(_SQL["drop_one"], (last + by + 1,))

    def after(self, conn: sqlite3.Connection, row: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """The oldest rows after this one, with their numbers."""
        return conn.execute(_SQL["after"], (row, limit)).fetchall()

    def drop(self, conn: sqlite3.Connection, row: int) -> None:
        """Delete all up to this one."""
        conn.execute(_SQL["drop"], (row,))
