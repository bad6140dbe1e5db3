"""Owns what is read of runs and jobs to be shown: pages of them, newest first, and their parts.

No query grows with the history: each walks an index from the newest row on, looks at
`limits.SCANNED_ROWS_MAX` rows at most, and says where the next page goes on.
"""

import sqlite3
from collections.abc import Collection
from typing import Any, Final, TypeAlias

import msgspec

from control.model import limits
from control.model.api.views import AttemptView, JobView, RunView, StageView
from control.model.errors import NotFound
from control.model.numbers import JobId, RunId
from control.model.raw import NULL
from control.model.states import Outcome, State, Trigger
from control.model.times import to_rfc3339, to_rfc3339_or_none
from store.queries import Statements
from store.revision_cache import Outline, Outlines

_SQL = Statements("views")
Row: TypeAlias = tuple[Any, ...]  # As sqlite3 gives it; STRICT tables say what is in it.
OpenJob: TypeAlias = tuple[str, str, State, int | None]  # Stage, name, state, when it began.
_PARENT: Final = msgspec.json.Decoder(tuple[RunId | None, JobId | None])
_LETTERS: Final = {state[0]: state for state in State}  # All five differ.
_PAST_ALL: Final = 2**63 - 1
_CLOCK_SLACK_MS: Final = 60_000  # Ids follow time only as well as the host's clock does.


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are asked for."""

    pipeline: str | None = None
    state: State | None = None
    client: str | None = None
    since_ms: int = 0


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """A job among the others of its run, to explain what it waits for."""

    run_state: State
    run_reason: str
    outline: Outline
    states: tuple[State, ...]  # Of all jobs, by index.
    idx: int


class Views:
    """Reads runs and jobs as the API shows them. Every method takes a connection that reads."""

    def __init__(self, outlines: Outlines) -> None:
        self._outlines = outlines

    def runs(
        self, conn: sqlite3.Connection, wanted: RunFilter, *, below: int | None, limit: int
    ) -> tuple[list[RunView], int | None]:
        """A page of runs, newest first, and below which id the next page begins."""
        ids, following = _matching(conn, wanted, _PAST_ALL if below is None else below, limit)
        sql = f"{_SQL['run_columns']} {_SQL['runs_among']}"
        found: list[RunView] = []
        size = 0
        for row in conn.execute(sql, (_json(ids),)):
            found.append(self._run(conn, row))
            size += len(row[8] or "")
            if size > limits.PAGE_BYTES_MAX and len(found) < len(ids):
                return found, found[-1].id
        return found, following

    def runs_among(self, conn: sqlite3.Connection, run_ids: Collection[RunId]) -> list[RunView]:
        """Those of these runs that exist, newest first."""
        sql = f"{_SQL['run_columns']} {_SQL['runs_among']}"
        return [self._run(conn, row) for row in conn.execute(sql, (_json(run_ids),))]

    def run(self, conn: sqlite3.Connection, run_id: RunId) -> RunView:
        """One run; raises `NotFound`."""
        row = conn.execute(f"{_SQL['run_columns']} {_SQL['run']}", (run_id,)).fetchone()
        if row is None:
            raise _no_run(run_id)
        return self._run(conn, row)

    def jobs(
        self, conn: sqlite3.Connection, run_id: RunId, *, after: int, limit: int
    ) -> tuple[list[JobView], int | None]:
        """A run's jobs in the order of its definition, and after which id the next page begins."""
        found: list[JobView] = []
        size = 0
        for row in conn.execute(_SQL["run_jobs"], (run_id, after, limit)):
            found.append(self._job(conn, row))
            size += len(row[10] or "")
            if len(found) == limit or size > limits.PAGE_BYTES_MAX:
                return found, found[-1].id
        return found, None

    def open_jobs(
        self, conn: sqlite3.Connection, run_ids: Collection[RunId]
    ) -> dict[int, list[OpenJob]]:
        """Of each of these runs, the jobs that have not ended."""
        found: dict[int, list[OpenJob]] = {run_id: [] for run_id in run_ids}
        rows = conn.execute(_SQL["open_jobs"], (_json(run_ids),)).fetchall()
        for run_id, revision_id, idx, state, started_ms in rows:
            job = self._outlines.get(conn, revision_id).jobs[idx]
            found[run_id].append((job.stage, job.name, State(state), started_ms))
        return found

    def outline(self, conn: sqlite3.Connection, revision_id: int) -> Outline:
        """What never changes of a revision that exists."""
        return self._outlines.get(conn, revision_id)

    def jobs_among(self, conn: sqlite3.Connection, job_ids: Collection[JobId]) -> list[JobView]:
        """Those of these jobs that exist, without their outputs."""
        rows = conn.execute(_SQL["jobs_among"], (_json(job_ids),))
        return [self._job(conn, row) for row in rows]

    def job(self, conn: sqlite3.Connection, job_id: JobId) -> JobView:
        """One job with its earlier attempts; raises `NotFound`."""
        row = conn.execute(_SQL["job"], (job_id,)).fetchone()
        if row is None:
            raise _no_job(job_id)
        return self._job(conn, row, _attempts(conn, job_id))

    def links(self, conn: sqlite3.Connection, job_id: JobId) -> Links:
        """What a job waits for, and in which state that is; raises `NotFound`."""
        row = conn.execute(_SQL["job_states"], (job_id,)).fetchone()
        if row is None:
            raise _no_job(job_id)
        return Links(
            run_state=State(row[4]),
            run_reason=row[5],
            outline=self._outlines.get(conn, row[1]),
            states=tuple(_LETTERS[letter] for letter in row[6]),
            idx=job_id - row[2],
        )

    def _run(self, conn: sqlite3.Connection, row: Row) -> RunView:
        (run_id, pipeline, revision, client, trigger, state, reason, priority, run_input) = row[:9]
        allowed, created_ms, started_ms, finished_ms, scheduled_ms, schedule_id = row[9:15]
        outline = self._outlines.get(conn, row[15])
        parent = _PARENT.decode(row[17]) if row[17] is not None else (None, None)
        return RunView(
            id=run_id,
            pipeline=pipeline,
            revision=revision,
            client=client,
            trigger=Trigger(trigger),
            state=State(state),
            reason=reason,
            priority=priority,
            input=_raw(run_input),
            allowed_failures=allowed,
            created_at=to_rfc3339_or_none(created_ms) or "",
            started_at=to_rfc3339_or_none(started_ms),
            finished_at=to_rfc3339_or_none(finished_ms),
            scheduled_for=to_rfc3339_or_none(scheduled_ms),
            schedule_id=schedule_id,
            parent_run_id=parent[0],
            parent_job_id=parent[1],
            stages=[
                StageView(name=name, counts={_LETTERS[k]: n for k, n in counts.items()})
                for name, counts in outline.counts(str(row[16]))
            ],
        )

    def _job(
        self, conn: sqlite3.Connection, row: Row, earlier: list[AttemptView] | None = None
    ) -> JobView:
        (job_id, run_id, idx, state, reason, priority, attempt, worker, partition) = row[:9]
        progress, output, error, created_ms, ready_ms, started_ms, finished_ms = row[9:16]
        outline = self._outlines.get(conn, row[18]).jobs[idx]
        return JobView(
            id=job_id,
            run_id=run_id,
            name=outline.name,
            stage=outline.stage,
            kind=outline.kind,
            version=outline.version,
            state=State(state),
            reason=reason,
            priority=priority,
            attempt=attempt,
            retry_attempt=outline.retry_attempt,
            worker=worker,
            partition=partition,
            progress=progress,
            output=_raw(output),
            error=error,
            created_at=to_rfc3339(created_ms),
            ready_at=to_rfc3339_or_none(ready_ms),
            started_at=to_rfc3339_or_none(started_ms),
            finished_at=to_rfc3339_or_none(finished_ms),
            exit_code=row[16],
            log_bytes=row[17],
            child_run_id=row[19],
            attempts=earlier or [],
        )


def client_of_run(conn: sqlite3.Connection, run_id: RunId) -> str:
    """Whose run it is; raises `NotFound`."""
    row = conn.execute(_SQL["run_client"], (run_id,)).fetchone()
    if row is None:
        raise _no_run(run_id)
    return str(row[0])


def client_of_job(conn: sqlite3.Connection, job_id: JobId) -> str:
    """Whose job it is; raises `NotFound`."""
    row = conn.execute(_SQL["job_client"], (job_id,)).fetchone()
    if row is None:
        raise _no_job(job_id)
    return str(row[0])


def open_runs(conn: sqlite3.Connection) -> int:
    """How many runs have not ended; counted in an index that holds only those."""
    return int(conn.execute(_SQL["open_runs"]).fetchone()[0])


def waiting_jobs(conn: sqlite3.Connection) -> int:
    """How many jobs wait; kept for each client, so nothing is counted."""
    return int(conn.execute(_SQL["waiting_jobs"]).fetchone()[0])


def _attempts(conn: sqlite3.Connection, job_id: JobId) -> list[AttemptView]:
    return [
        AttemptView(
            attempt=attempt,
            outcome=Outcome(outcome),
            worker=worker,
            partition=partition,
            error=error,
            exit_code=exit_code,
            log_bytes=log_bytes,
            started_at=to_rfc3339_or_none(started_ms),
            finished_at=to_rfc3339(finished_ms),
        )
        for (
            attempt,
            outcome,
            worker,
            partition,
            error,
            exit_code,
            log_bytes,
            started_ms,
            finished_ms,
        ) in conn.execute(_SQL["attempts"], (job_id,))
    ]


def _matching(
    conn: sqlite3.Connection, wanted: RunFilter, below: int, limit: int
) -> tuple[list[int], int | None]:
    """Ids of matching runs, and below which to look for more; None: there can be none."""
    values: dict[str, str | int | None] = {
        "pipeline": wanted.pipeline,
        "client": wanted.client,
        "state": wanted.state,
        "since": wanted.since_ms,
        "below": below,
        "from": first_run_since(conn, wanted.since_ms - _CLOCK_SLACK_MS) if wanted.since_ms else 0,
        "limit": limit,
        "scanned": limits.SCANNED_ROWS_MAX,
    }
    scan = _SQL[_narrowest(wanted)]
    reached: int | None = None
    if sum(part is not None for part in (wanted.pipeline, wanted.client, wanted.state)) > 1 or (
        wanted.state == State.DONE
    ):
        # The index alone does not find them, and what it passes over has to be bounded.
        row = conn.execute(f"{scan} {_SQL['reached']}", values).fetchone()
        if row is not None:
            reached = values["from"] = int(row[0])
    ids = [run_id for (run_id,) in conn.execute(f"{scan} {_SQL['matching']}", values)]
    return ids, ids[-1] if len(ids) == limit else reached


def _narrowest(wanted: RunFilter) -> str:
    """The scan that looks at the fewest rows: few runs are open, or have failed."""
    if wanted.state in {State.READY, State.IN_PROGRESS}:
        return "scan_open"
    if wanted.pipeline is not None:
        return "scan_pipeline"
    if wanted.client is not None:
        return "scan_client"
    return "scan_failed" if wanted.state in {State.ERROR, State.CANCELLED} else "scan_all"


def first_run_since(conn: sqlite3.Connection, since_ms: int) -> int:
    """The first id of a run created then or later, by bisection: ids grow with time."""
    low, high = 0, int(conn.execute(_SQL["last_id"]).fetchone()[0]) + 1
    while low < high:
        middle = (low + high) // 2
        row = conn.execute(_SQL["at_or_after"], (middle,)).fetchone()
        if row is None or row[1] >= since_ms:
            high = middle
        else:
            low = int(row[0]) + 1
    return low


def _raw(text: str | None) -> msgspec.Raw:
    return NULL if text is None else msgspec.Raw(text.encode())


def _json(ids: Collection[int]) -> str:
    return msgspec.json.encode(list(ids)).decode()


def _no_run(run_id: RunId) -> NotFound:
    return NotFound(f"there is no run {run_id}")


def _no_job(job_id: JobId) -> NotFound:
    return NotFound(f"there is no job {job_id}")
