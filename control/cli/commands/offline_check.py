"""Owns a look into the state database without the control plane; it changes nothing."""

from pathlib import Path

from control.core.offsets import OffsetTracker
from control.model.errors import StoreFailed
from store.database.connection import failures, open_file
from store.doctor import Finding, examine


def examine_file(file: Path) -> list[Finding]:
    """Everything that is wrong with a state database."""
    try:
        with failures(f"{file} cannot be read"), open_file(file) as conn:
            return examine(conn, lambda progress: OffsetTracker.decode(progress).watermark)
    except StoreFailed as error:
        return [Finding(rule="readable", message=str(error))]
    except ValueError as error:
        return [Finding(rule="readable", message=f"{file} cannot be read: {error}")]
