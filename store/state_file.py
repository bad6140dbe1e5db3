"""Owns copies of the state file: how one is made while the file is in use, checked, and read."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from store import epoch
from store.database.connection import failures
from store.database.migrations import migrate, unknown_migrations


def copy(source: Path, target: Path) -> tuple[int, int]:
    """Copy the state at one instant, and check the copy; returns its epoch and newest run's id.

    Raises `StoreFailed`.
    """
    with failures(f"the state in {source} cannot be copied"):
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(target, isolation_level=None)) as made,
        ):
            live.backup(made)
            made.execute("PRAGMA journal_mode = DELETE")
            migrate(made)  # It may be of an earlier version, before its upgrade.
            if problem := _damage(made):
                raise sqlite3.DatabaseError(problem)
            return epoch.position(made).epoch, epoch.last_run_id(made)


def jobs_ended_since(path: Path, since_ms: int) -> set[int]:
    """The ids of the jobs that have ended since this instant; raises `StoreFailed`."""
    with failures(f"the state in {path} cannot be read"), closing(sqlite3.connect(path)) as conn:
        return epoch.jobs_ended(conn, since_ms)


def problem_of(path: Path) -> str | None:
    """Why this version cannot use a copy; None: it can. Raises `StoreFailed`."""
    with failures("the state in it cannot be read"), closing(sqlite3.connect(path)) as conn:
        if damage := _damage(conn):
            return f"the state in it is damaged: {damage}"
        if unknown := unknown_migrations(conn):
            return f"it was made by a newer version, which had {', '.join(unknown)}: upgrade"
    return None


def _damage(conn: sqlite3.Connection) -> str | None:
    result: str = conn.execute("PRAGMA integrity_check").fetchone()[0]
    return None if result == "ok" else result
