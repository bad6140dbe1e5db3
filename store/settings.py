"""Owns what the state database says of itself: who it is, and which bus its jobs are on."""

import sqlite3
from collections.abc import Callable
from enum import StrEnum

from store.queries import Statements

_SQL = Statements("settings")


class Setting(StrEnum):
    """What is kept."""

    ID = "id"  # Of this database, among all that may use a Kafka cluster.
    BUS = "bus"  # Where waiting jobs are: `embedded`, or a cluster with its prefix.
    SPLIT = "split"  # The share of the partitions for slow jobs, or `auto`, once it was set.


def get(conn: sqlite3.Connection, name: Setting) -> str | None:
    """What is kept under this name."""
    found = conn.execute(_SQL["get"], (name,)).fetchone()
    return found[0] if found else None


def identity(conn: sqlite3.Connection, random_bytes: Callable[[int], bytes]) -> str:
    """Who this database is: made up when it is asked for the first time."""
    found = get(conn, Setting.ID)
    if found is None:
        found = random_bytes(8).hex()
        put(conn, Setting.ID, found)
    return found


def put(conn: sqlite3.Connection, name: Setting, value: str) -> None:
    """Keep it, inside the transaction."""
    conn.execute(_SQL["put"], (name, value))
