"""Owns the epoch of a state database: its row, and the witness beside it."""

import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec

from control.model.life import DatabasePosition, KnownAttempts, Life
from control.model.names import EPOCH_FILE
from control.model.states import State
from store.outbox import SqliteOutboxRows
from store.queries import Statements

_SQL: Final = Statements("epoch")
_OUTBOX_ROWS_EACH: Final = 10**12  # Of an epoch.
_LINE: Final = "{:>10} {:>20}\n"  # Always as long, so that one write replaces it.


class Witness:
    """The file beside a state database that says how far the database had come.

    A backup brings its own row, not this file: so a restore is noticed. It is written after each
    commit and not synced: what the disk has of it is never ahead of the database.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / EPOCH_FILE
        self._file = -1

    def read(self) -> DatabasePosition | None:
        """What it says; None: there is none that can be read."""
        try:
            epoch, commits = self._path.read_text(encoding="ascii").split()
            return DatabasePosition(int(epoch), int(commits))
        except (OSError, ValueError):
            return None

    def write(self, position: DatabasePosition) -> None:
        """Replace what it says. Raises OSError."""
        if self._file < 0:
            flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        os.pwrite(self._file, _LINE.format(position.epoch, position.commits).encode(), 0)

    def sync(self) -> None:
        """Put it on the disk with its name; what is written later is as long. Raises OSError."""
        os.fsync(self._file)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def note(self, conn: sqlite3.Connection) -> Callable[[], None]:
        """Count a commit, inside its transaction; the returned call follows it."""
        position = DatabasePosition(*conn.execute(_SQL["note"]).fetchone())
        return lambda: self.write(position)

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def begin(
    conn: sqlite3.Connection, epoch: int, *, last_id: int, now_ms: int, jobs_to_publish: bool
) -> None:
    """Begin another life, in one transaction: its run and job ids begin after `last_id`.

    `jobs_to_publish`: whether the jobs that are open have to be published again, as their records
    are not in this database.
    """
    values = {"epoch": epoch, "began_ms": now_ms, "jobs_to_publish": jobs_to_publish}
    conn.execute("BEGIN IMMEDIATE")
    conn.execute(_SQL["begin"], values)
    conn.execute(_SQL["forget_sequences"])
    for statement in ("begin_sequences", "move_counters"):
        conn.execute(_SQL[statement], {"last_id": last_id})
    rows = SqliteOutboxRows()
    # What is relayed is known by rows' numbers: those of a lost life must not stand for these.
    rows.move_up(conn, max(epoch * _OUTBOX_ROWS_EACH - rows.last(conn), 0))
    conn.execute(_SQL["note"]).fetchone()
    conn.execute("COMMIT")


def last_id(conn: sqlite3.Connection) -> int:
    """The greatest id that a run or a job has or had; 0: none."""
    found: int = conn.execute(_SQL["last_id"]).fetchone()[0]
    return found


def last_run_id(conn: sqlite3.Connection) -> int:
    """The greatest id that a run has or had; 0: none."""
    found: int = conn.execute(_SQL["last_run_id"]).fetchone()[0]
    return found


def position(conn: sqlite3.Connection) -> DatabasePosition:
    """How far the database has come."""
    return DatabasePosition(*conn.execute(_SQL["position"]).fetchone())


def life(conn: sqlite3.Connection) -> Life:
    """The life that the database is in."""
    epoch, began_ms, last_run_id, last_job_id, to_publish = conn.execute(_SQL["life"]).fetchone()
    return Life(epoch, began_ms, last_run_id, last_job_id, bool(to_publish))


def published(conn: sqlite3.Connection) -> None:
    """The open jobs are published again, in this transaction."""
    conn.execute(_SQL["published"])


def attempts(conn: sqlite3.Connection, jobs: Collection[int]) -> dict[int, KnownAttempts]:
    """What is known of these jobs' attempts; jobs that are not known are missing."""
    ids = msgspec.json.encode(list(jobs)).decode()
    over: defaultdict[int, set[int]] = defaultdict(set)
    for job, attempt in conn.execute(_SQL["attempts_over"], (ids,)):
        over[job].add(attempt)
    return {
        job: KnownAttempts(current, over[job], bool(skipped))
        for job, current, skipped in conn.execute(_SQL["attempts"], (ids,))
    }


def jobs_ended(conn: sqlite3.Connection, since_ms: int) -> set[int]:
    """The jobs whose ends are recorded, and came after that."""
    return {row[0] for row in conn.execute(_SQL["jobs_ended"], (since_ms,))}


class OpenJobs(msgspec.Struct, frozen=True):
    """Jobs that have not ended, as job ids and attempts."""

    waiting: Sequence[tuple[int, int]]
    running: Sequence[tuple[int, int]]


def open_jobs(conn: sqlite3.Connection) -> OpenJobs:
    """All jobs that have not ended."""
    rows = conn.execute(_SQL["open_jobs"]).fetchall()
    return OpenJobs(
        waiting=[(job, attempt) for job, attempt, state in rows if state == State.READY],
        running=[(job, attempt) for job, attempt, state in rows if state != State.READY],
    )


def beyond(
    conn: sqlite3.Connection, attempts: Sequence[tuple[int, int]]
) -> Sequence[tuple[int, int]]:
    """Those of these attempts, job ids with numbers, that their jobs have not come to."""
    text = msgspec.json.encode(attempts).decode()
    return conn.execute(_SQL["beyond"], (text,)).fetchall()


def of_runs(
    conn: sqlite3.Connection, attempts: Sequence[tuple[int, int, int, str, str]]
) -> Sequence[tuple[int, int]]:
    """Those of these attempts, job ids and numbers, that are at jobs of their runs.

    `attempts`: run, job, number, pipeline, and client.
    """
    text = msgspec.json.encode(attempts).decode()
    return conn.execute(_SQL["of_runs"], (text,)).fetchall()


def begun(
    conn: sqlite3.Connection, attempts: Sequence[tuple[int, int]]
) -> Sequence[tuple[int, int]]:
    """Those of these attempts that are their jobs' last ones, and have begun."""
    text = msgspec.json.encode(attempts).decode()
    return conn.execute(_SQL["begun"], (text,)).fetchall()
