"""Owns how runs leave the database: one by order, or many when they have grown old."""

import sqlite3

import msgspec

from control.model.errors import Conflict, NotFound
from control.model.numbers import RunId
from control.model.states import FINAL
from store.queries import Statements
from store.views import first_run_since

_SQL = Statements("views")


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is gone, and the ids its jobs had: their logs are elsewhere."""

    run_id: RunId
    first_job_id: int
    job_count: int


def delete_run(conn: sqlite3.Connection, run_id: RunId) -> Removed:
    """Remove a run that has ended, with everything of it; raises `NotFound` or `Conflict`."""
    row = conn.execute(_SQL["job_range"], (run_id,)).fetchone()
    if row is None:
        message = f"there is no run {run_id}"
        raise NotFound(message)
    first, count, state = row
    if state not in FINAL:
        message = f"run {run_id} is {state}; only a run that has ended is deleted, so cancel it"
        raise Conflict(message)
    return _remove(conn, run_id, first, count)


def prune(conn: sqlite3.Connection, before_ms: int, limit: int) -> list[Removed]:
    """Remove up to `limit` of the oldest runs that ended before; call again until it is less."""
    # A run that ended before was created before, so newer ids need not be looked at.
    bound = first_run_since(conn, before_ms)
    past = [row[0] for row in conn.execute(_SQL["past"], (bound, before_ms, limit))]
    removed = []
    for run_id in past:
        first, count, _ = conn.execute(_SQL["job_range"], (run_id,)).fetchone()
        removed.append(_remove(conn, run_id, first, count))
    return removed


def _remove(conn: sqlite3.Connection, run_id: RunId, first: int, count: int) -> Removed:
    jobs = (first, first + count - 1)
    revision, root = conn.execute(_SQL["revision_of"], (run_id,)).fetchone()
    for statement in ("delete_outputs", "delete_attempts", "delete_jobs"):
        conn.execute(_SQL[statement], jobs)
    conn.execute(_SQL["delete_run"], (run_id,))
    conn.execute(_SQL["delete_family"], (root,))
    conn.execute(_SQL["delete_unused_unnamed"], (revision,))
    return Removed(run_id=run_id, first_job_id=first, job_count=count)
