"""Owns the DuckDB file of facts: what ended and how long it took, counted once; the reports.

Everything here blocks and is called through the `offload` port. Each call has a cursor of its
own; one call at a time writes, one makes a report, one exports, and one copies facts for users'
queries, which are carried out elsewhere (`user_queries.py`).
"""

import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Final, Literal, TypeVar

import duckdb
import msgspec
import structlog

from control.model import limits
from control.model.api.reports import (
    ClassStats,
    DurationBucket,
    Learned,
    PartitionStats,
    PipelineStats,
    SlowAttempt,
    Spread,
    Summary,
    TaskDetail,
    TaskStats,
    WorkerAttempt,
    WorkerStats,
)
from control.model.errors import Rejected, StoreFailed
from control.model.life import Lost
from store.facts.fact import Counted, Fact
from store.facts.file import open_facts, require_file
from store.queries import Statements, columns_of

T = TypeVar("T", bound=msgspec.Struct)
Param = str | int | float
Format = Literal["parquet", "csv", "json"]
Interruptible = Literal["report", "export", "copy"]

LOG = structlog.get_logger("store")
_SQL: Final = Statements("facts")
_ENCODER: Final = msgspec.json.Encoder()


class _Task(msgspec.Struct, frozen=True, kw_only=True):
    low: float | None
    wait: Spread
    duration: Spread


_NAMES: Final = Fact.__struct_fields__
_VALUES: Final = attrgetter(*_NAMES)


class Facts:
    """The file. Opened by the first call, and again by the one after a failure.

    Methods raise `StoreFailed` when the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._exports = path.with_name(f"{path.name}.export")
        self._conn: duckdb.DuckDBPyConnection | None = None
        self._file = 0  # Its inode.
        self._opening = threading.Lock()
        self._writing = threading.Lock()
        self._reporting = threading.Lock()
        self._exporting = threading.Lock()
        self._copying = threading.Lock()
        self._running: dict[Interruptible, duckdb.DuckDBPyConnection] = {}
        self._pending: list[Fact] | None = None  # Appended since the copy; None: copy all.
        self._parts: list[str] = []
        self._part = 0

    def append(
        self,
        facts: Sequence[Fact],
        topic: str,
        reached: Mapping[int, int],
        withdrawn: Collection[tuple[int, int, int]] = (),
    ) -> None:
        """Store facts and, for each partition of the topic, the last offset they come from.

        `withdrawn`: runs, jobs, and attempts whose ends by a worker do not count, should they be
        stored.
        """
        with self._writing, self._cursor() as cursor:
            cursor.begin()
            if withdrawn:
                ends = columns_of(withdrawn, "runs", "jobs", "attempts")
                row = cursor.execute(_SQL["withdraw"], ends).fetchone()
                if row and row[0]:
                    self._pending = None
            if facts:
                columns = zip(*map(_VALUES, facts), strict=True)
                text = _ENCODER.encode(dict(zip(_NAMES, columns, strict=True))).decode()
                cursor.execute(_SQL["append"], {"facts": text})
            for partition, offset in reached.items():
                values = {"topic": topic, "partition": partition, "offset": offset}
                cursor.execute(_SQL["reach"], values)
            cursor.commit()
            if self._pending is not None:
                self._pending.extend(facts)
                if len(self._pending) > limits.QUERY_FACTS_PENDING_MAX:
                    self._pending = None

    def reached(self, topic: str) -> dict[int, int]:
        """The last offset that is counted, by partition; what is at or below it is in."""
        with self._writing, self._cursor() as cursor:
            return dict(cursor.execute(_SQL["reached"], {"topic": topic}).fetchall())

    def skipped(self, limit: int) -> list[tuple[int, int, int]]:
        """Runs, jobs, and attempts that ended without having been started, newest first."""
        with self._writing, self._cursor() as cursor:
            return cursor.execute(_SQL["skipped"], {"limit": limit}).fetchall()

    def counted(self, jobs: Collection[int]) -> set[Counted]:
        """The facts that there are of these jobs."""
        with self._writing, self._cursor() as cursor:
            return set(cursor.execute(_SQL["counted"], {"jobs": list(jobs)}).fetchall())

    def epoch(self) -> int:
        """The epoch of the state that these facts belong to."""
        with self._writing, self._cursor() as cursor:
            row = cursor.execute(_SQL["epoch"]).fetchone()
            return int(row[0]) if row else 1

    def retries(self) -> list[tuple[int, int]]:
        """Jobs and attempts that have facts, but for first attempts."""
        with self._writing, self._cursor() as cursor:
            return cursor.execute(_SQL["retries"]).fetchall()

    def enter(self, epoch: int, lost: Lost) -> int:
        """Belong to another epoch from now on; gives how many facts were of a lost life."""
        with self._writing, self._cursor() as cursor:
            cursor.begin()
            values = {
                "last_job": lost.last_job_id,
                "last_id": lost.last_id,
                **columns_of(lost.open_jobs, "open_jobs", "open_attempts"),
                **columns_of(lost.counted, "counted_jobs", "counted_attempts"),
                **columns_of(lost.skipped_again, "skipped_jobs", "skipped_attempts"),
                **columns_of(lost.ended_again, "ended_jobs", "ended_attempts"),
                **columns_of(lost.beyond, "beyond_jobs", "beyond_attempts"),
            }
            row = cursor.execute(_SQL["forget_lost"], values).fetchone()
            if lost.from_start:
                cursor.execute(_SQL["forget_reached"])
            cursor.execute(_SQL["leave_epoch"])
            cursor.execute(_SQL["enter_epoch"], {"epoch": epoch})
            cursor.commit()
            self._pending = None
            return int(row[0]) if row else 0

    def forget_reached(self) -> None:
        """Offsets count anew: the results come from another bus from now on."""
        with self._writing, self._cursor() as cursor:
            cursor.execute(_SQL["forget_reached"])

    def prune(self, before_ms: int) -> int:
        """Delete what ended before that; gives how many facts."""
        with self._writing, self._cursor() as cursor:
            self._pending = None
            row = cursor.execute(_SQL["prune"], {"before_ms": before_ms}).fetchone()
            return int(row[0]) if row else 0

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._opening:
            if self._conn is not None:
                self._conn.close()
                self._conn = None

    def interrupt(self, what: Interruptible) -> None:
        """End what is being made of this; it raises `StoreFailed`."""
        running = self._running.get(what)
        if running is not None:
            running.interrupt()

    # Reports.

    def summary(self, window_ms: int, now_ms: int) -> Summary:
        """All that ended in the window."""
        span = {"window_ms": window_ms, "now_ms": now_ms}
        (total,) = self._report("summary", Summary, **span)
        classes = self._report("classes", ClassStats, **span)
        return msgspec.structs.replace(total, classes=tuple(classes))

    def pipelines(
        self, window_ms: int, now_ms: int, limit: int = limits.REPORT_ROWS_MAX
    ) -> list[PipelineStats]:
        """Each pipeline, the one with the most jobs first."""
        span = {"window_ms": window_ms, "now_ms": now_ms, "limit": limit}
        return self._report("pipelines", PipelineStats, **span)

    def slow_tasks(
        self, window_ms: int, now_ms: int, limit: int = limits.REPORT_ROWS_MAX
    ) -> list[TaskStats]:
        """Each job of each pipeline, the one with the largest share of slot-seconds first."""
        span = {"window_ms": window_ms, "now_ms": now_ms, "limit": limit}
        return self._report("slow_tasks", TaskStats, buckets=limits.TREND_BUCKETS, **span)

    def partitions(
        self, window_ms: int, now_ms: int, limit: int = limits.REPORT_ROWS_MAX
    ) -> list[PartitionStats]:
        """Each partition, by number."""
        span = {"window_ms": window_ms, "now_ms": now_ms, "limit": limit}
        return self._report("partitions", PartitionStats, **span)

    def workers(
        self, window_ms: int, now_ms: int, limit: int = limits.REPORT_ROWS_MAX
    ) -> list[WorkerStats]:
        """Each worker, the busiest first."""
        span = {"window_ms": window_ms, "now_ms": now_ms, "limit": limit}
        return self._report("workers", WorkerStats, **span)

    def task(
        self,
        of: tuple[str, str],
        window_ms: int,
        now_ms: int,
        limit: int,
        bounds: Callable[[float, float], Sequence[float]],
    ) -> TaskDetail:
        """The attempts at a job of a pipeline, and which took longest.

        `bounds` gives the histogram's limits, for what hardly any is below, and the longest.
        """
        pipeline, job = of
        span = {"window_ms": window_ms, "now_ms": now_ms}
        asked: dict[str, Param] = {"pipeline": pipeline, "job": job, **span}
        with self._reporting, self._cursor("report") as cursor:
            cursor.begin()  # All of it at one instant: every duration is below the last bound.
            (total,) = _rows(cursor, "task", _Task, **asked)
            counts: list[DurationBucket] = []
            if total.low is not None and total.duration.max is not None:
                limits_s = bounds(total.low, total.duration.max)
                found = cursor.execute(_SQL["histogram"], {"bounds": [*limits_s], **asked})
                by_place = dict(found.fetchall())
                counts = [
                    DurationBucket(below=below, n=by_place.get(place, 0))
                    for place, below in enumerate(limits_s)
                ]
            return TaskDetail(
                pipeline=pipeline,
                job=job,
                histogram=tuple(counts),
                wait=total.wait,
                duration=total.duration,
                slowest=tuple(_rows(cursor, "slowest", SlowAttempt, limit=limit, **asked)),
            )

    def worker(
        self, worker: str, window_ms: int, now_ms: int, limit: int = limits.REPORT_ROWS_MAX
    ) -> list[WorkerAttempt]:
        """What a worker executed that ended in the window, newest first."""
        span = {"window_ms": window_ms, "now_ms": now_ms, "limit": limit}
        return self._report("worker", WorkerAttempt, worker=worker, **span)

    def durations(self, limit: int = limits.WARM_KEYS_MAX) -> list[Learned]:
        """The last durations of the jobs that ended most recently, for a balancer's start."""
        return self._report("durations", Learned, limit=limit, each=limits.WARM_DURATIONS_MAX)

    def copy(self) -> tuple[Path, list[str]]:
        """Bring the copy for users' queries up to date; gives its directory, and its files.

        The first one is of all facts; later ones add what was appended since.
        """
        with self._copying, self._cursor("copy") as cursor:
            with self._writing:
                pending, self._pending = self._pending, []
                if len(self._parts) >= limits.QUERY_PARTS_MAX:
                    pending = None
                if pending is None:
                    cursor.begin()
                    cursor.execute(_SQL["touch"]).fetchall()
            try:
                self._add_part(cursor, pending)
            except BaseException:
                self._pending = None  # The next one is of all facts.
                raise
            return self._exports.resolve(), [*self._parts]

    def _add_part(self, cursor: duckdb.DuckDBPyConnection, pending: Sequence[Fact] | None) -> None:
        if pending is not None and not pending:
            return
        stale = self._parts if pending is None else []
        name = f"part-{self._part}.parquet"
        self._part += 1
        path = str(self._exports.resolve() / name)
        if pending is None:
            cursor.execute(_SQL["copy_all"], {"path": path})
        else:
            text = _ENCODER.encode(pending).decode()
            cursor.execute(_SQL["copy_pending"], {"path": path, "facts": text})
        self._parts = [name] if pending is None else [*self._parts, name]
        for each in stale:
            (self._exports / each).unlink(missing_ok=True)

    def load(self, parquet: Path) -> None:
        """Add the facts of an export, as a file that is moved from there."""
        with self._writing, self._cursor() as cursor:
            source = self._exports / parquet.name
            shutil.move(parquet, source)
            try:
                cursor.execute(_SQL["load"], {"path": str(source.resolve())})
            finally:
                source.unlink(missing_ok=True)

    def export(self, path: Path, form: Format, since_ms: int | None = None) -> int:
        """Write facts to a file, in the order in which they ended; gives how many.

        `since_ms`: only of jobs that became ready after that; None: all.
        """
        with self._exporting, self._cursor("export") as cursor:
            target = self._exports / f"facts.{form}"  # SQL may write nowhere else.
            try:
                values = {"path": str(target), "format": form, "since_ms": since_ms}
                row = cursor.execute(_SQL["export"], values).fetchone()
                shutil.move(target, path)
            except OSError as error:
                message = f"the facts could not be exported: {error}"
                raise Rejected(message) from error
            finally:
                target.unlink(missing_ok=True)
            return int(row[0]) if row else 0

    def _report(self, name: str, row: type[T], **values: Param) -> list[T]:
        with self._reporting, self._cursor("report") as cursor:
            return _rows(cursor, name, row, **values)

    @contextmanager
    def _cursor(
        self, interruptible: Interruptible | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor: duckdb.DuckDBPyConnection | None = None
        try:
            with self._opening:
                if self._conn is None:
                    self._conn = open_facts(self._path, self._exports)
                    self._file = os.stat(self._path).st_ino
                else:
                    require_file(self._path, self._file)
                cursor = self._conn.cursor()
            if interruptible is not None:
                self._running[interruptible] = cursor
            yield cursor
        except duckdb.InterruptException as error:
            message = "it took too long, or its request was cancelled"
            raise StoreFailed(message) from error
        except (duckdb.Error, OSError) as error:
            # DuckDB may refuse everything after a failed write until the file is opened anew.
            self.close()
            message = f"the file of facts cannot be used: {error}"
            raise StoreFailed(message) from error
        finally:
            if interruptible is not None:
                self._running.pop(interruptible, None)
            if cursor is not None:
                cursor.close()  # Rolls back what was not committed.


def _rows(cursor: duckdb.DuckDBPyConnection, name: str, row: type[T], **values: Param) -> list[T]:
    cursor.execute(_SQL[name], values)
    columns = [column[0] for column in cursor.description]
    return [
        msgspec.convert(dict(zip(columns, found, strict=True)), row) for found in cursor.fetchall()
    ]
