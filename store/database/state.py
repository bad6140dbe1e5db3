"""Owns how the state database is opened: one file, 0600, WAL, every commit on the disk."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from control.model.errors import StoreFailed
from store.database.migrations import migrate

_CACHED_STATEMENTS: Final = 512  # Bulk statements have one text for each chunk size.
_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -32768",  # KiB.
    "PRAGMA journal_size_limit = 67108864",
)


def open_state(path: Path) -> sqlite3.Connection:
    """The one write connection, its schema up to date; raises `StoreFailed`."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        conn = sqlite3.connect(
            path,
            isolation_level=None,
            check_same_thread=False,  # The writer's threads use it one after the other.
            cached_statements=_CACHED_STATEMENTS,
        )
        for pragma in _PRAGMAS:
            conn.execute(pragma)
        migrate(conn)
    except (OSError, sqlite3.Error) as error:
        message = f"the state database {path} cannot be opened: {error}"
        raise StoreFailed(message) from error
    return conn
