"""Owns a look into the state database without the control plane; it changes nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

from control.core.offsets import OffsetTracker
from store.doctor import Finding, examine


def examine_file(file: Path) -> list[Finding]:
    """Everything found wrong with a state database."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as conn:
            return examine(conn, lambda progress: OffsetTracker.decode(progress).watermark)
    except (sqlite3.Error, ValueError) as error:
        return [Finding(rule="readable", message=f"{file} cannot be read: {error}")]
