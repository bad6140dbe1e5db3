"""Owns what the state database says of itself: who it is, and which bus its jobs are on."""

import sqlite3
from collections.abc import Callable
from enum import StrEnum

import msgspec

from store.queries import Statements

_SQL = Statements("settings")


class Setting(StrEnum):
    """What is kept."""

    ID = "id"  # Of this database, among all that may use a Kafka cluster.
    DATA = "data"  # Which data these are, to consoles; a copy has the same.
    BUS = "bus"  # Where waiting jobs are: `embedded`, or a cluster with its prefix.
    SPLIT = "split"  # The share of the partitions for slow jobs, or `auto`, once it was set.
    # Until which wall time planned runs that were due have been seen to, or schedules were planned.
    SEEN = "seen_ms"
    CLOCK = "clock"  # A `ClockRecord`, once the wall clock was set.


class ClockStep(msgspec.Struct, frozen=True, kw_only=True):
    """The wall clock was set. Both times are those after it."""

    steady_ms: int
    wall_ms: int
    by_ms: int


class ClockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How far the wall clock is ahead of the steady one, which timers go by, and the last steps."""

    ahead_ms: int = 0
    steps: tuple[ClockStep, ...] = ()

    def resumed_ms(self, wall_ms: int) -> int:
        """How far ahead the wall clock is at a start, at this time of its.

        Less where it was put right meanwhile: the steady clock never goes back.
        """
        return min([self.ahead_ms, *(wall_ms - step.steady_ms for step in self.steps[-1:])])


def get(conn: sqlite3.Connection, name: Setting) -> str | None:
    """What is kept under this name."""
    found = conn.execute(_SQL["get"], (name,)).fetchone()
    return found[0] if found else None


def identity(
    conn: sqlite3.Connection, random_bytes: Callable[[int], bytes], name: Setting = Setting.ID
) -> str:
    """An id that is made up when it is asked for the first time."""
    found = get(conn, name)
    if found is None:
        found = random_bytes(8).hex()
        put(conn, name, found)
    return found


def clock(conn: sqlite3.Connection) -> ClockRecord:
    """What was noticed of the wall clock."""
    found = get(conn, Setting.CLOCK)
    return ClockRecord() if found is None else msgspec.json.decode(found, type=ClockRecord)


def put_clock(conn: sqlite3.Connection, record: ClockRecord) -> None:
    """Keep it, inside the transaction."""
    put(conn, Setting.CLOCK, msgspec.json.encode(record).decode())


def seen_ms(conn: sqlite3.Connection) -> int:
    """As `Setting.SEEN` says."""
    return int(get(conn, Setting.SEEN) or 0)


def put_seen(conn: sqlite3.Connection, at_ms: int) -> None:
    """Keep it, inside the transaction."""
    put(conn, Setting.SEEN, str(at_ms))


def raise_seen(conn: sqlite3.Connection, at_ms: int) -> None:
    """Keep it if it is later than before: who sets it back must plan again."""
    conn.execute(_SQL["raise"], (Setting.SEEN, str(at_ms)))


def put(conn: sqlite3.Connection, name: Setting, value: str) -> None:
    """Keep it, inside the transaction."""
    conn.execute(_SQL["put"], (name, value))
