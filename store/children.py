"""Owns which runs are jobs of other runs (*child runs*), and which attempts wait for their ends."""

import sqlite3
from typing import NamedTuple

from control.model.states import State
from store.queries import Statements

_SQL = Statements("children")


class ChildLink(NamedTuple):
    """A child run, and the attempt at a job that waits for its end, since `started_ms`."""

    run_id: int
    job_id: int
    attempt: int
    started_ms: int


class Child(NamedTuple):
    """The last run of a job. `attempt`: for which it was, or is. `input`: JSON.

    `ending`: it was cancelled or timed out, and its clean-up jobs run.
    """

    run_id: int
    attempt: int
    state: State
    ending: bool
    revision_id: int
    input: str


def insert(
    conn: sqlite3.Connection, link: ChildLink, *, waits: bool, deadline_ms: int | None
) -> None:
    """Store whose job a new run is. `waits`: the job ends as it ends, or at the deadline."""
    conn.execute(_SQL["insert"], (*link, waits, deadline_ms))


def of_job(conn: sqlite3.Connection, job_id: int) -> Child | None:
    """The last run that was started for a job, unless it was deleted."""
    row = conn.execute(_SQL["of_job"], (job_id,)).fetchone()
    return None if row is None else Child(row[0], row[1], State(row[2]), bool(row[3]), *row[4:])


def waited_for(conn: sqlite3.Connection, job_id: int, attempt: int) -> list[ChildLink]:
    """The runs whose end attempts at a job wait for, up to this attempt."""
    return [ChildLink(*row) for row in conn.execute(_SQL["waited_for"], (job_id, attempt))]


def parent(conn: sqlite3.Connection, run_id: int) -> tuple[ChildLink, bool] | None:
    """Which attempt waits for the end of this run; True: its job's next one waits, to retry it."""
    row = conn.execute(_SQL["parent"], (run_id,)).fetchone()
    return None if row is None else (ChildLink(*row[:4]), bool(row[4]))


def retry_later(conn: sqlite3.Connection, run_id: int) -> None:
    """The next attempt at a run's job waits until it has ended."""
    conn.execute(_SQL["retry_later"], (run_id,))


def take(
    conn: sqlite3.Connection, link: ChildLink, *, waits: bool, deadline_ms: int | None
) -> None:
    """From now on a run is another attempt's; `waits`, `deadline_ms`: as for `insert`."""
    values = (link.attempt, link.started_ms, waits, deadline_ms, link.run_id)
    conn.execute(_SQL["take"], values)


def answered(conn: sqlite3.Connection, run_id: int) -> None:
    """The end of its attempt is published: nothing waits for the end of this run any more."""
    conn.execute(_SQL["answered"], (run_id,))


def forget_deadline(conn: sqlite3.Connection, run_id: int) -> None:
    """Its attempt has a successor, which has a time-out of its own."""
    conn.execute(_SQL["forget_deadline"], (run_id,))


def due(conn: sqlite3.Connection, now_ms: int, limit: int) -> list[ChildLink]:
    """Attempts whose time-out has come."""
    return [ChildLink(*row) for row in conn.execute(_SQL["due"], (now_ms, limit))]


def unstopped(conn: sqlite3.Connection, limit: int) -> list[ChildLink]:
    """Runs that are still waited for by jobs that have ended."""
    return [ChildLink(*row) for row in conn.execute(_SQL["unstopped"], (limit,))]


def names(conn: sqlite3.Connection, run_id: int) -> list[str]:
    """The pipelines whose runs are jobs of each other, from the first one down to this run's."""
    return [row[0] for row in conn.execute(_SQL["names"], (run_id,))]
