"""Decides that examining the stored data costs what there is, and no more, however much waits."""

import sqlite3
from pathlib import Path

from store import doctor
from store.database.state import open_state

_RUNS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO runs (id, revision_id, pipeline, client_id, trigger, state, reason, priority,
                  created_ms, first_job_id, job_count)
SELECT i, 1, 'p', 'ann', 'api', 'READY', 'waits', 10, 0, i, 1 FROM n
"""
_JOBS = """
INSERT INTO jobs (id, run_id, idx, state, reason, priority)
SELECT id, id, 0, 'READY', 'waits', 10 FROM runs
"""


def steps(path: Path, waiting: int) -> int:
    """How many thousand steps of SQLite's machine it takes."""
    conn = open_state(path)
    conn.execute(
        "INSERT INTO clients (client_id, role, priority, enabled, secret_hash, waiting, created_ms)"
        " VALUES ('ann', 'submitter', 10, 1, 'none', ?, 0)",
        (waiting,),
    )
    conn.execute(
        "INSERT INTO revisions (id, pipeline, definition, digest, client_id, created_ms)"
        " VALUES (1, 'p', '{}', x'00', 'ann', 0)"
    )
    conn.execute(_RUNS, (waiting,))
    conn.execute(_JOBS)
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    conn.set_progress_handler(step, 1_000)
    assert doctor.examine(conn, lambda _: 0) == []
    conn.close()
    return count


def test_what_it_costs_grows_as_what_waits(tmp_path: Path) -> None:
    few, many = steps(tmp_path / "few.db", 2_000), steps(tmp_path / "many.db", 20_000)
    assert many < 15 * few


def test_a_wrong_count_is_said(tmp_path: Path) -> None:
    conn: sqlite3.Connection = open_state(tmp_path / "state.db")
    conn.execute(
        "INSERT INTO clients (client_id, role, priority, enabled, secret_hash, waiting, created_ms)"
        " VALUES ('ann', 'submitter', 10, 1, 'none', 7, 0)"
    )
    (finding,) = doctor.examine(conn, lambda _: 0)
    assert finding.message == "ann is said to have 7 waiting jobs, and has 0"
    conn.close()
