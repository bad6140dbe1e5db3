"""Owns the tables of runs and jobs as the services that move them use them.

Everything here runs inside the writer's transaction and works on many rows at once.
"""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from control.model.numbers import JobId, RunId
from control.model.state_rows import AttemptRow, JobRow, NewRun, RunRow
from store.queries import Statements

_SQL = Statements("runs")
_INSERT_RUNS = _SQL.bulk("insert_runs")
_INSERT_JOBS = _SQL.bulk("insert_jobs")
_SAVE_JOBS = _SQL.bulk("save_jobs")
_SAVE_RUNS = _SQL.bulk("save_runs")
_INSERT_OUTPUTS = _SQL.bulk("insert_outputs")
_INSERT_ATTEMPTS = _SQL.bulk("insert_attempts")
_RUNS = msgspec.json.Decoder(list[RunRow])
_NULL = b"null"


def next_ids(conn: sqlite3.Connection) -> tuple[RunId, JobId]:
    """The next free run id and job id; ids are never used twice, also after deletions."""
    runs, jobs = conn.execute(_SQL["sequences"]).fetchone()
    return RunId(runs + 1), JobId(jobs + 1)


def insert(conn: sqlite3.Connection, runs: Sequence[tuple[NewRun, RunRow]]) -> None:
    """Store new runs with their jobs."""
    _INSERT_RUNS.run(
        conn,
        [
            (
                run.id,
                run.revision_id,
                run.pipeline,
                run.client,
                run.trigger,
                run.state,
                run.reason,
                run.priority,
                None if (text := bytes(new.input)) == _NULL else text.decode(),
                run.allowed_failures,
                run.created_ms,
                run.started_ms,
                run.finished_ms,
                run.deadline_ms,
                run.schedule_id,
                new.scheduled_for_ms,
                run.depth,
                None if run.root_run_id == run.id else run.root_run_id,
                run.jobs[0].id,
                len(run.jobs),
            )
            for new, run in runs
        ],
    )
    _INSERT_JOBS.run(
        conn,
        [
            (j.id, run.id, j.idx, j.state, j.reason, j.priority, j.ready_ms, j.finished_ms)
            for _, run in runs
            for j in run.jobs
        ],
    )


def load(conn: sqlite3.Connection, run_ids: Iterable[RunId]) -> list[RunRow]:
    """The runs that exist among these, with all their jobs by index."""
    wanted = msgspec.json.encode(list(run_ids)).decode()
    found: str = conn.execute(_SQL["load"], (wanted,)).fetchone()[0]
    return _RUNS.decode(found)


def save_jobs(conn: sqlite3.Connection, jobs: Sequence[JobRow]) -> None:
    """Write jobs back."""
    changed = _SAVE_JOBS.run(
        conn,
        [
            (
                j.id,
                j.state,
                j.reason,
                j.priority,
                j.attempt,
                j.failures,
                j.lost,
                j.worker,
                j.partition,
                j.progress,
                j.error,
                j.exit_code,
                j.log_bytes,
                j.ready_ms,
                j.delayed,
                j.started_ms,
                j.finished_ms,
            )
            for j in jobs
        ],
    )
    assert changed == len(jobs), "a job vanished inside a transaction"


def save_runs(conn: sqlite3.Connection, runs: Sequence[RunRow]) -> None:
    """Write runs back, without their jobs."""
    _SAVE_RUNS.run(
        conn,
        [
            (
                run.id,
                run.state,
                run.reason,
                run.priority,
                run.allowed_failures,
                run.started_ms,
                run.finished_ms,
                run.deadline_ms,
                run.ending,
            )
            for run in runs
        ],
    )


def insert_outputs(conn: sqlite3.Connection, outputs: Sequence[tuple[int, str]]) -> None:
    """Keep jobs' outputs (JSON text); a retried job's newer one replaces the older."""
    _INSERT_OUTPUTS.run(conn, outputs)


def outputs(conn: sqlite3.Connection, job_ids: Collection[JobId]) -> dict[JobId, bytes]:
    """The outputs of those of these jobs that have one, as JSON."""
    if not job_ids:
        return {}
    wanted = msgspec.json.encode(list(job_ids)).decode()
    return {job: text.encode() for job, text in conn.execute(_SQL["outputs"], (wanted,))}


def output_sizes(conn: sqlite3.Connection, job_ids: Collection[JobId]) -> dict[JobId, int]:
    """The bytes of each output of these jobs, without reading one."""
    wanted = msgspec.json.encode(list(job_ids)).decode()
    return dict(conn.execute(_SQL["output_sizes"], (wanted,)))


def inputs(conn: sqlite3.Connection, run_ids: Collection[RunId]) -> dict[RunId, bytes]:
    """The inputs of those of these runs that have one, as JSON."""
    wanted = msgspec.json.encode(list(run_ids)).decode()
    return {run: text.encode() for run, text in conn.execute(_SQL["inputs"], (wanted,))}


def insert_attempts(conn: sqlite3.Connection, attempts: Sequence[AttemptRow]) -> None:
    """Keep attempts that others followed."""
    _INSERT_ATTEMPTS.run(
        conn,
        [
            (
                a.job_id,
                a.attempt,
                a.outcome,
                a.worker,
                a.partition,
                a.error,
                a.exit_code,
                a.log_bytes,
                a.started_ms,
                a.finished_ms,
            )
            for a in attempts
        ],
    )


def add_waiting(conn: sqlite3.Connection, deltas: Mapping[str, int]) -> None:
    """Keep each client's count of waiting jobs: nothing ever has to count them."""
    for client, delta in deltas.items():
        if delta:
            conn.execute(_SQL["add_waiting"], (delta, client))


def waiting(conn: sqlite3.Connection) -> int:
    """How many jobs wait, of all clients."""
    return conn.execute(_SQL["waiting"]).fetchone()[0] or 0


def client_queue(conn: sqlite3.Connection, client: str) -> tuple[int, int | None]:
    """How many jobs of this client wait, and how many may."""
    row = conn.execute(_SQL["client_queue"], (client,)).fetchone()
    return (0, None) if row is None else (row[0], row[1])


def definition(conn: sqlite3.Connection, revision_id: int) -> tuple[bytes, int | None]:
    """A revision's pipeline definition, as JSON, and its number; None: it is not stored."""
    text, revision = conn.execute(_SQL["definition"], (revision_id,)).fetchone()
    return text.encode(), revision


def installation(conn: sqlite3.Connection) -> str:
    """The random name of this control plane's data; a backup of it has the same."""
    found: str = conn.execute(_SQL["installation"]).fetchone()[0]
    return found


def ended_attempts(conn: sqlite3.Connection, jobs: Sequence[int]) -> dict[int, int]:
    """The last attempt of each of these jobs that was not lost; jobs without one are missing."""
    ids = msgspec.json.encode(jobs).decode()
    return dict(conn.execute(_SQL["ended_attempts"], (ids,)).fetchall())


def run_of_job(conn: sqlite3.Connection, job_id: JobId) -> RunId | None:
    """The run a job belongs to; None when there is no such job."""
    row = conn.execute(_SQL["run_of_job"], (job_id,)).fetchone()
    return None if row is None else row[0]


def next_timer_ms(conn: sqlite3.Connection) -> int | None:
    """The next instant at which a run's deadline comes or a retry is due."""
    at_ms: int | None = conn.execute(_SQL["next_timer"]).fetchone()[0]
    return at_ms


def open_after(conn: sqlite3.Connection, run_id: RunId, limit: int) -> list[RunId]:
    """The first runs with larger ids that have not ended, in order."""
    return [row[0] for row in conn.execute(_SQL["open_after"], (run_id, limit))]


def timers_due(conn: sqlite3.Connection, now_ms: int, limit: int) -> list[RunId]:
    """Runs with a deadline or a retry that has come."""
    return [row[0] for row in conn.execute(_SQL["timers_due"], (now_ms, limit))]


def author(conn: sqlite3.Connection, revision_id: int) -> str | None:
    """The client that wrote a stored pipeline's revision; None: it was run without being stored."""
    row = conn.execute(_SQL["author"], (revision_id,)).fetchone()
    return None if row is None else row[0]


def is_ending(conn: sqlite3.Connection, run_id: RunId) -> bool:
    """Whether a run was broken off, and waits for its clean-up jobs."""
    return bool(conn.execute(_SQL["ending"], (run_id,)).fetchone()[0])


def family(conn: sqlite3.Connection, root_run_id: int) -> int:
    """How many runs a run has started, through all the triggers that followed."""
    row = conn.execute(_SQL["family"], (root_run_id,)).fetchone()
    return 0 if row is None else row[0]


def grow_family(conn: sqlite3.Connection, root_run_id: int) -> None:
    """A run of this family was triggered."""
    conn.execute(_SQL["grow_family"], (root_run_id,))
