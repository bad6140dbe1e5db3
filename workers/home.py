"""Owns the directory where one worker keeps its state, and thereby the name it goes by.

Whoever holds the lock is the worker of that name; a restarted worker finds its results again.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from control.model import limits
from control.model.errors import ConfigError

_LOCK: Final = "lock"


class Home:
    """A locked directory: results in it, and a place for the directories of running jobs."""

    def __init__(self, name: str, directory: Path, lock: int) -> None:
        self.name = name
        self.directory = directory
        self.jobs = directory / "jobs"
        self._lock = lock
        # What is in there belonged to attempts of a worker that is dead.
        shutil.rmtree(self.jobs, ignore_errors=True)
        self.jobs.mkdir(mode=0o700, exist_ok=True)

    def close(self) -> None:
        """Let another worker have it."""
        shutil.rmtree(self.jobs, ignore_errors=True)
        os.close(self._lock)


def open_home(
    *, name: str | None, state_dir: Path | None, workers_dir: Path, default_name: str
) -> Home:
    """Lock the directory of the worker of this name, or of the first name that is free."""
    for candidate in [name] if name else _candidates(default_name):
        directory = state_dir or workers_dir / candidate
        lock = _lock(directory)
        if lock is not None:
            return Home(candidate, directory.resolve(), lock)
        if state_dir:
            break
    where = state_dir or workers_dir / (name or default_name)
    msg = f"another worker uses {where}; give --name or --state-dir"
    raise ConfigError(msg)


def _candidates(name: str) -> Iterator[str]:
    yield name
    for number in range(2, limits.WORKER_NAMES_MAX + 1):
        yield f"{name}-{number}"


def _lock(directory: Path) -> int | None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"cannot use the state directory {directory}: {error}"
        raise ConfigError(msg) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
