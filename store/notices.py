"""Owns which notices of ended runs are still to be sent."""

import sqlite3
from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from control.model.numbers import RunId
from store.queries import Statements

_SQL = Statements("notices")


class Pending(NamedTuple):
    """A run that has ended, an entry of its pipeline's `notify`, by index, and when it ended."""

    run_id: RunId
    entry: int
    ended_ms: int


def insert(conn: sqlite3.Connection, pending: Iterable[Pending]) -> None:
    """Have these sent."""
    for each in pending:
        conn.execute(_SQL["insert"], each)


def after(
    conn: sqlite3.Connection, last: Pending, without: Collection[str], limit: int
) -> list[Pending]:
    """The next ones after that, oldest runs first, but for those of some clients."""
    clients = msgspec.json.encode(sorted(without)).decode()
    return [Pending(*row) for row in conn.execute(_SQL["after"], (*last, clients, limit))]


def delete(conn: sqlite3.Connection, pending: Pending) -> None:
    """It is sent, or cannot be."""
    conn.execute(_SQL["delete"], pending)
