"""Decides that what an earlier version wrote is read on, and no id of it is given again."""

import sqlite3
from pathlib import Path

import pytest
import sqlite_utils

from control.model.numbers import RunId
from control.model.pipelines import ScheduleSpec
from control.model.state_rows import ClientStanding
from control.model.states import Role
from control.transactions import replace_schedules
from store import catalog, runs, schedules
from store.database.migrations import STATE, migrate
from tests.services.plane import EPOCH_MS, pipeline

_OLD = """
INSERT INTO clients (client_id, role, priority, enabled, secret_hash, created_ms)
VALUES ('ann', 'submitter', 10, 0, 'none', 0);
INSERT INTO revisions (id, pipeline, revision, definition, digest, client_id, created_ms)
VALUES (1, 'p', 1, '{}', x'00', 'ann', 0);
INSERT INTO pipelines VALUES ('p', 1, 'ann', 0, 0);
INSERT INTO schedules (id, pipeline, spec, planned_until_ms, created_ms)
VALUES (3, 'p', '{"cron":"* * * * *"}', 0, 0);
INSERT INTO hooks (id, pipeline, client_id, token_digest, created_ms)
VALUES (5, 'p', 'ann', x'00', 0);
INSERT INTO runs (id, revision_id, pipeline, client_id, trigger, state, reason, priority,
                  created_ms, schedule_id, depth, first_job_id, job_count)
VALUES (9, 1, 'p', 'ann', 'pipeline', 'READY', 'waits', 10, 0, 7, 2, 1, 1);
INSERT INTO jobs (id, run_id, idx, state, reason, priority) VALUES (1, 9, 0, 'READY', 'waits', 10);
"""


def opened(path: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA foreign_keys = ON")
    return conn


def test_a_database_of_before_there_were_families_and_counters(tmp_path: Path) -> None:
    conn = opened(tmp_path / "state.db")
    STATE.apply(sqlite_utils.Database(conn), stop_before="m003_owners")
    conn.executescript(_OLD)
    migrate(conn)
    (run,) = runs.load(conn, [RunId(9)])
    assert (run.depth, run.root_run_id) == (2, 9)  # Its family begins anew.
    spec = ScheduleSpec(cron="0 * * * *")
    catalog.put(conn, pipeline("q", schedules=(spec,)), "ann", now_ms=EPOCH_MS)
    replace_schedules.sync(conn, "q", (spec,), now_ms=EPOCH_MS)
    old, new = schedules.listing(conn, after=0, limit=10)
    assert (old.id, new.id) == (3, 8)  # A run remembers 7.
    assert old.owner == ClientStanding(client_id="ann", role=Role.SUBMITTER, enabled=False)
    assert catalog.add_hook(conn, "q", "ann", token="t", now_ms=EPOCH_MS).id == 6
    conn.close()


def test_in_a_new_database_ids_begin_at_one(tmp_path: Path) -> None:
    conn = opened(tmp_path / "state.db")
    migrate(conn)
    spec = ScheduleSpec(cron="0 * * * *")
    catalog.put(conn, pipeline("q", schedules=(spec,)), "ann", now_ms=EPOCH_MS)
    for _ in range(2):
        replace_schedules.sync(conn, "q", (spec,), now_ms=EPOCH_MS)
    assert [each.id for each in schedules.listing(conn, after=0, limit=10)] == [1]
    replace_schedules.sync(conn, "q", (), now_ms=EPOCH_MS)
    replace_schedules.sync(conn, "q", (spec,), now_ms=EPOCH_MS)
    assert [each.id for each in schedules.listing(conn, after=0, limit=10)] == [2]
    assert catalog.add_hook(conn, "q", "ann", token="t", now_ms=EPOCH_MS).id == 1
    conn.close()


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path) -> None:
    conn = opened(tmp_path / "state.db")
    db = sqlite_utils.Database(conn)
    STATE.apply(db, stop_before="m003_owners")
    conn.execute("CREATE TABLE notices (mine)")  # Which the last migration makes.
    before = conn.execute("SELECT name, sql FROM sqlite_schema").fetchall()
    with pytest.raises(sqlite3.OperationalError, match="notices already exists"):
        migrate(conn)
    assert conn.execute("SELECT name, sql FROM sqlite_schema").fetchall() == before
    assert [each.name for each in STATE.applied(db)] == ["m001_first", "m002_kafka"]
    conn.close()
