"""Owns the directory where one worker keeps its state, and thereby the name it goes by.

The process that holds the lock is the worker of that name; a restarted worker has its results.
"""

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from control.model import limits
from control.model.errors import ConfigError
from control.model.names import RESULTS_FILE
from workers.directories import remove_tree
from workers.isolation.leftovers import end_leftovers

_LOCK: Final = "lock"
_MARK_CHARS: Final = 16


class Home:
    """A locked directory: results in it, and a place for the directories of running jobs.

    `passing`: no setting names it, so it is removed when it holds no results.
    """

    def __init__(self, name: str, directory: Path, lock: int, *, passing: bool) -> None:
        self.name = name
        self.directory = directory
        self.jobs = directory / "jobs"
        self._lock = lock
        self._passing = passing
        # Of the processes of this directory's workers: a job's environment shows nothing else.
        self.mark = hashlib.sha256(os.fsencode(directory)).hexdigest()[:_MARK_CHARS]
        # What runs, and what is in there, belonged to attempts of a worker that is dead.
        if sys.platform == "linux":
            end_leftovers(self.mark)
        remove_tree(self.jobs)
        self.jobs.mkdir(mode=0o700, exist_ok=True)

    def close(self) -> None:
        """Let another worker have it."""
        remove_tree(self.jobs)
        results = self.directory / RESULTS_FILE
        if self._passing and not (results.exists() and results.stat().st_size):
            results.unlink(missing_ok=True)
            (self.directory / _LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # Not empty, or the last of several.
                self.directory.rmdir()
                self.directory.parent.rmdir()
        os.close(self._lock)


def open_home(
    *,
    name: str | None,
    state_dir: Path | None,
    workers_dir: Path,
    default_name: str,
    former_dir: Path | None = None,
) -> Home:
    """Lock the directory of the worker of this name, or of the first name that is free.

    Results that version 0.1 left in `former_dir` are moved along. Raises ConfigError.
    """
    for candidate in [name] if name else _candidates(default_name):
        directory = state_dir or workers_dir / candidate
        lock = _lock(directory)
        if lock is not None:
            if former_dir is not None and state_dir is None:
                take_over(former_dir / candidate, directory)
            return Home(candidate, directory.resolve(), lock, passing=state_dir is None)
        if state_dir:
            break
    where = state_dir or workers_dir / (name or default_name)
    msg = f"another worker uses {where}; give --name or --state-dir"
    raise ConfigError(msg)


def take_over(former: Path, directory: Path) -> None:
    """Move unsent results of a worker from its former directory, unless a worker still uses it."""
    results = former / RESULTS_FILE
    if not results.exists() or former.resolve() == directory.resolve():
        return
    lock = _lock(former)
    if lock is None:
        return
    try:
        # What is read twice after a crash in between counts once.
        with (directory / RESULTS_FILE).open("ab") as file:
            file.write(results.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        results.unlink()
    finally:
        os.close(lock)


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
    if not os.fstat(lock).st_nlink:  # Its last owner took it away meanwhile.
        os.close(lock)
        return _lock(directory)
    return lock
