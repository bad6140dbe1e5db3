"""Owns how the file of facts is opened: with little memory, and closed off from all other files."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

import duckdb
import structlog

from control.model import limits
from store.queries import Statements

LOG = structlog.get_logger("store")
_SQL: Final = Statements("facts")
_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    # One thread and little memory: statistics never starve what runs the jobs.
    "threads": 1,
    "memory_limit": f"{limits.FACTS_MEMORY_BYTES_MAX}B",
    "max_temp_directory_size": f"{limits.FACTS_SPILL_BYTES_MAX}B",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,  # SQL would see the variables of this process.
}


def open_facts(path: Path, exports: Path) -> duckdb.DuckDBPyConnection:
    """Open or make it, 0600; SQL reaches the directory `exports` besides, which is made.

    Raises `duckdb.Error` and OSError.
    """
    exports.mkdir(mode=0o700, exist_ok=True)
    conn = duckdb.connect(str(path), config=_CONFIG)
    try:
        os.chmod(path, 0o600)
        for name in ("tables", "macros"):
            conn.execute(_SQL[name])
        conn.execute(_SQL["confine"], {"directory": str(exports.resolve())})
        conn.execute(_SQL["close_off"])
    except duckdb.Error:
        conn.close()
        raise
    LOG.info("facts.opened", path=str(path))
    return conn


def require_file(path: Path, inode: int) -> None:
    """Raise OSError where the file of this name is another one: writes would go nowhere."""
    if not path.exists() or path.stat().st_ino != inode:
        message = "it was removed, or replaced, while it was in use"
        raise OSError(message)


def exported_jobs(parquet: Path, jobs: Collection[int]) -> set[int]:
    """Which of these jobs have a final fact in an export. Raises OSError."""
    try:
        with duckdb.connect(config=_CONFIG) as conn:
            values = {"path": str(parquet), "jobs": list(jobs)}
            return {row[0] for row in conn.execute(_SQL["exported_jobs"], values).fetchall()}
    except duckdb.Error as error:
        message = f"{parquet}: {error}"
        raise OSError(message) from error
