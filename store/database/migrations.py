"""Owns the state database's schema: migrations are frozen text, never built from today's code."""

import sqlite3
from typing import Final

import sqlite_utils
from sqlite_utils.migrations import Migrations

STATE: Final = Migrations("taskplane.state")

_FIRST = """
CREATE TABLE clients (
    client_id TEXT PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'submitter', 'viewer', 'worker')),
    priority INTEGER NOT NULL,
    max_queued INTEGER,
    max_running INTEGER,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    secret_hash TEXT NOT NULL,
    waiting INTEGER NOT NULL DEFAULT 0 CHECK (waiting >= 0),
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: services keep revisions decoded by id, so an id must never mean another one.
CREATE TABLE revisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline TEXT NOT NULL,
    revision INTEGER,
    definition TEXT NOT NULL,
    digest BLOB NOT NULL,
    client_id TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX revisions_by_number ON revisions (pipeline, revision)
    WHERE revision IS NOT NULL;
CREATE UNIQUE INDEX revisions_unnamed ON revisions (digest) WHERE revision IS NULL;

CREATE TABLE pipelines (
    name TEXT PRIMARY KEY,
    revision_id INTEGER NOT NULL REFERENCES revisions (id),
    client_id TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE schedules (
    id INTEGER PRIMARY KEY,
    pipeline TEXT NOT NULL REFERENCES pipelines (name) ON DELETE CASCADE,
    spec TEXT NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    planned_until_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX schedules_by_pipeline ON schedules (pipeline);

CREATE TABLE scheduled_runs (
    schedule_id INTEGER NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
    nominal_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    waiting INTEGER NOT NULL DEFAULT 0 CHECK (waiting IN (0, 1)),
    backfill INTEGER NOT NULL DEFAULT 0 CHECK (backfill IN (0, 1)),
    PRIMARY KEY (schedule_id, nominal_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX scheduled_runs_due ON scheduled_runs (due_ms);

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    revision_id INTEGER NOT NULL REFERENCES revisions (id),
    pipeline TEXT NOT NULL,
    client_id TEXT NOT NULL,
    trigger TEXT NOT NULL CHECK (trigger IN ('manual', 'api', 'schedule', 'hook', 'pipeline')),
    state TEXT NOT NULL
        CHECK (state IN ('READY', 'IN_PROGRESS', 'DONE', 'CANCELLED', 'ERROR')),
    reason TEXT NOT NULL,
    priority INTEGER NOT NULL,
    input TEXT,
    allowed_failures INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER,
    finished_ms INTEGER,
    deadline_ms INTEGER,
    schedule_id INTEGER,
    scheduled_for_ms INTEGER,
    depth INTEGER NOT NULL DEFAULT 0,
    first_job_id INTEGER NOT NULL,
    job_count INTEGER NOT NULL
) STRICT;
CREATE INDEX runs_by_pipeline ON runs (pipeline, id);
CREATE INDEX runs_by_client ON runs (client_id, id);
CREATE INDEX runs_by_revision ON runs (revision_id);
-- Few runs are open or failed at any time: these stay small however long the history is.
CREATE INDEX runs_open ON runs (id) WHERE state IN ('READY', 'IN_PROGRESS');
CREATE INDEX runs_failed ON runs (state, id) WHERE state IN ('ERROR', 'CANCELLED');
CREATE INDEX runs_deadline ON runs (deadline_ms)
    WHERE deadline_ms IS NOT NULL AND state IN ('READY', 'IN_PROGRESS');
CREATE UNIQUE INDEX runs_once ON runs (schedule_id, scheduled_for_ms)
    WHERE scheduled_for_ms IS NOT NULL;
CREATE INDEX runs_of_schedule ON runs (schedule_id)
    WHERE schedule_id IS NOT NULL AND state IN ('READY', 'IN_PROGRESS');

-- A run's jobs have the ids first_job_id … first_job_id + job_count - 1, so no index is needed.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('READY', 'IN_PROGRESS', 'DONE', 'CANCELLED', 'ERROR')),
    reason TEXT NOT NULL,
    priority INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 1,
    failures INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    partition INTEGER,
    progress REAL,
    error TEXT,
    exit_code INTEGER,
    log_bytes INTEGER NOT NULL DEFAULT 0,
    ready_ms INTEGER,
    delayed INTEGER NOT NULL DEFAULT 0 CHECK (delayed IN (0, 1)),
    started_ms INTEGER,
    finished_ms INTEGER
) STRICT;
-- Retries that are not due yet: the trigger's alarm clock, together with the runs' deadlines.
CREATE INDEX jobs_delayed ON jobs (ready_ms) WHERE delayed = 1;

-- Attempts that another one followed; the newest is in `jobs`.
CREATE TABLE attempts (
    job_id INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    worker TEXT,
    partition INTEGER,
    error TEXT,
    exit_code INTEGER,
    log_bytes INTEGER NOT NULL DEFAULT 0,
    started_ms INTEGER,
    finished_ms INTEGER NOT NULL,
    PRIMARY KEY (job_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE outputs (job_id INTEGER PRIMARY KEY, output TEXT NOT NULL) STRICT;

CREATE TABLE hooks (
    id INTEGER PRIMARY KEY,
    pipeline TEXT NOT NULL REFERENCES pipelines (name) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    token_digest BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency (
    client_id TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    run_id INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (client_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_ms);

-- The embedded bus: one row a batch, deleted when every group is past it.
CREATE TABLE bus_log (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    count INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX bus_log_by_offset ON bus_log (topic, partition, first_offset);

CREATE TABLE bus_groups (
    name TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    progress BLOB NOT NULL,
    PRIMARY KEY (name, topic, partition)
) STRICT, WITHOUT ROWID;
"""


@STATE()
def m001_first(db: sqlite_utils.Database) -> None:
    """Everything of the first release."""
    for statement in _split(_FIRST):
        db.execute(statement)


_SECOND = """
-- What waits to be published on Kafka: one row a commit. Numbers are never used twice, because
-- Kafka keeps the last one that was published.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A database that was in use before this was kept.
INSERT INTO settings (name, value)
SELECT 'bus', 'embedded' WHERE EXISTS (SELECT 1 FROM bus_groups);

-- Dispatchers only listen to commands now: what this group lacks would be kept for ever.
DELETE FROM bus_groups WHERE name = 'dispatcher' AND topic = 'task_commands';
"""


@STATE()
def m002_kafka(db: sqlite_utils.Database) -> None:
    """What a control plane on Apache Kafka keeps besides."""
    for statement in _split(_SECOND):
        db.execute(statement)


_THIRD = """
-- The run whose triggers led to this one, over all steps between; NULL: nobody triggered it.
ALTER TABLE runs ADD COLUMN root_run_id INTEGER;
CREATE INDEX runs_of_family ON runs (root_run_id) WHERE root_run_id IS NOT NULL;

-- How many runs a run has started through all triggers: counted once, never again.
CREATE TABLE families (
    root_run_id INTEGER PRIMARY KEY,
    runs INTEGER NOT NULL
) STRICT;

-- The last id that was used where a table's own numbers would be used again after a deletion:
-- a run remembers its schedule, and must not be taken for a run of another client's.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, last)
SELECT 'schedules', max(
    coalesce((SELECT max(id) FROM schedules), 0),
    coalesce((SELECT max(schedule_id) FROM runs), 0));
INSERT INTO counters (name, last) SELECT 'hooks', coalesce(max(id), 0) FROM hooks;
"""


@STATE()
def m003_owners(db: sqlite_utils.Database) -> None:
    """Families of runs, and ids of schedules and hooks that are never used twice."""
    for statement in _split(_THIRD):
        db.execute(statement)


_FOURTH = """
-- Which life of the data this is (core/epochs.py): one row.
CREATE TABLE data_epoch (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    commits INTEGER NOT NULL,
    began_ms INTEGER,
    last_run_id INTEGER NOT NULL DEFAULT 0,
    last_job_id INTEGER NOT NULL DEFAULT 0,
    jobs_to_publish INTEGER NOT NULL DEFAULT 0 CHECK (jobs_to_publish IN (0, 1))
) STRICT;
INSERT INTO data_epoch (id, epoch, commits) VALUES (1, 1, 0);
"""


@STATE()
def m004_epochs(db: sqlite_utils.Database) -> None:
    """Restores are noticed, and each has ids of its own."""
    for statement in _split(_FOURTH):
        db.execute(statement)


_FIFTH = """
-- Whose plan ends first is planned first.
CREATE INDEX schedules_by_plan ON schedules (planned_until_ms, id) WHERE paused = 0;

-- What waits for a run to end is looked at when one has ended.
CREATE INDEX scheduled_runs_waiting ON scheduled_runs (schedule_id) WHERE waiting = 1;

-- Runs that a person asked for later: they and planned ones do nothing to each other.
CREATE TABLE backfill_runs (
    run_id INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE
) STRICT;
"""


@STATE()
def m005_schedules(db: sqlite_utils.Database) -> None:
    """Plans in the order in which they end, and runs of backfills."""
    for statement in _split(_FIFTH):
        db.execute(statement)


@STATE()
def m006_endings(db: sqlite_utils.Database) -> None:
    """How a run ends that was cancelled or timed out, once its clean-up jobs have ended."""
    db.execute("ALTER TABLE runs ADD COLUMN ending TEXT CHECK (ending IN ('cancel', 'fail'))")


@STATE()
def m007_installation(db: sqlite_utils.Database) -> None:
    """What jobs leave outside says which control plane's it is: two may share a cluster."""
    db.execute("CREATE TABLE installation (name TEXT NOT NULL) STRICT")
    db.execute("INSERT INTO installation VALUES (lower(hex(randomblob(8))))")


@STATE()
def m008_children(db: sqlite_utils.Database) -> None:
    """Runs that are jobs of other runs. `deadline_ms`: the time-out of the job's attempt."""
    for statement in _split(
        """
        CREATE TABLE children (
            run_id INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
            job_id INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            started_ms INTEGER NOT NULL,
            waits INTEGER NOT NULL CHECK (waits IN (0, 1, 2)),
            deadline_ms INTEGER
        ) STRICT;
        CREATE INDEX children_job ON children (job_id);
        CREATE INDEX children_deadline ON children (deadline_ms) WHERE deadline_ms IS NOT NULL;
        """
    ):
        db.execute(statement)


@STATE()
def m009_notices(db: sqlite_utils.Database) -> None:
    """Runs that have ended, and which entry of their pipeline's `notify` is still to be sent."""
    db.execute(
        """
        CREATE TABLE notices (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            entry INTEGER NOT NULL,
            ended_ms INTEGER NOT NULL,
            PRIMARY KEY (run_id, entry, ended_ms)
        ) STRICT, WITHOUT ROWID
        """
    )


def migrate(conn: sqlite3.Connection) -> None:
    """Bring the database up to date, in one transaction: all migrations that are due, or none.

    So the version before can go on where an upgrade fails; and the disk is waited for once.
    """
    db = sqlite_utils.Database(conn)
    if STATE.pending(db):
        with db.atomic():
            STATE.apply(db)


def unknown_migrations(conn: sqlite3.Connection) -> list[str]:
    """What was applied to a database that this version does not know: a newer one made it."""
    applied = {each.name for each in STATE.applied(sqlite_utils.Database(conn))}
    return sorted(
        applied - {each.name for each in STATE.pending(sqlite_utils.Database(memory=True))}
    )


def _split(script: str) -> list[str]:
    # executescript() would commit the migration's own transaction.
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
