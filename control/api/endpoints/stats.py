"""Owns the calls for reports: what ended, how long it took; from the facts in DuckDB."""

import io
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

import msgspec
import trio

from control.admission.fair_use import FairUse
from control.admission.lanes import interruptible
from control.api.endpoints.schemas import (
    ExportQuery,
    HistoryQuery,
    RowsQuery,
    Sql,
    TaskQuery,
    WindowQuery,
)
from control.api.http.problems import one
from control.api.http.request import ApiResponse, Call, Operation, Route, routes_of
from control.api.http.single_flight_cache import SingleFlightCache
from control.api.ports import Reports
from control.core.reports import histogram
from control.core.reports.time_window import window_ms
from control.model import limits
from control.model.api.reports import (
    PartitionStats,
    PipelineStats,
    QueryResult,
    Summary,
    TaskDetail,
    TaskStats,
    WorkerAttempt,
    WorkerStats,
)
from control.model.api.views import Page
from control.model.clock import Clock
from control.model.errors import Busy, Unavailable
from store.facts.user_queries import UserQueries

TAG: Final = "statistics"
_SQL: Final = msgspec.json.Decoder(Sql)
_Kept = SingleFlightCache[Hashable, msgspec.Struct]
_Row_co = TypeVar("_Row_co", bound=msgspec.Struct, covariant=True)


class _Rows(Protocol[_Row_co]):
    def __call__(self, window_ms: int, now_ms: int, limit: int) -> Sequence[_Row_co]: ...


class StatsCalls:
    """Carries out the calls for reports."""

    def __init__(self, *, reports: Reports, clock: Clock, fair: FairUse) -> None:
        self._reports = reports
        self._clock = clock
        self._fair = fair
        self._queries = UserQueries(self._copy)
        # A cursor that moves asks of one worker after the other: all others' answers stay.
        self._kept_of_all: _Kept = SingleFlightCache(limits.REPORTS_KEPT_MAX)
        self._kept_of_one: _Kept = SingleFlightCache(limits.REPORTS_KEPT_MAX)

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(
            self._summary,
            self._pipelines,
            self._slow_tasks,
            self._partitions,
            self._workers,
            self._task,
            self._worker,
            self._export,
            self._sql,
        )

    @Operation(
        method="GET",
        path="/v1/stats/summary",
        name="statsSummary",
        summary="All that ended in a window of time",
        tag=TAG,
        answer=Summary,
        query=WindowQuery,
        errors=(422,),
    )
    async def _summary(self, call: Call) -> ApiResponse:
        window, reports = window_ms(call.query(WindowQuery).window), self._reports
        return await self._report(
            call.key,
            self._kept_of_all,
            ("summary", window),
            window,
            lambda now_ms: reports.summary(window, now_ms),
        )

    @Operation(
        method="GET",
        path="/v1/stats/pipelines",
        name="statsPipelines",
        summary="What ended, by pipeline, the one with the most jobs first",
        tag=TAG,
        answer=Page[PipelineStats],
        query=RowsQuery,
        errors=(422,),
    )
    async def _pipelines(self, call: Call) -> ApiResponse:
        return await self._rows(call, "pipelines", self._reports.pipelines)

    @Operation(
        method="GET",
        path="/v1/stats/slow-tasks",
        name="statsSlowTasks",
        summary="Where the slots' time goes, by job of a pipeline",
        tag=TAG,
        answer=Page[TaskStats],
        query=RowsQuery,
        errors=(422,),
    )
    async def _slow_tasks(self, call: Call) -> ApiResponse:
        return await self._rows(call, "slow tasks", self._reports.slow_tasks)

    @Operation(
        method="GET",
        path="/v1/stats/partitions",
        name="statsPartitions",
        summary="What ended, by partition",
        tag=TAG,
        answer=Page[PartitionStats],
        query=RowsQuery,
        errors=(422,),
    )
    async def _partitions(self, call: Call) -> ApiResponse:
        return await self._rows(call, "partitions", self._reports.partitions)

    @Operation(
        method="GET",
        path="/v1/stats/workers",
        name="statsWorkers",
        summary="What ended, by worker, the busiest first",
        tag=TAG,
        answer=Page[WorkerStats],
        query=RowsQuery,
        errors=(422,),
    )
    async def _workers(self, call: Call) -> ApiResponse:
        return await self._rows(call, "workers", self._reports.workers)

    @Operation(
        method="GET",
        path="/v1/stats/task",
        name="statsTask",
        summary="How long the attempts at one job of a pipeline took, and which took longest",
        tag=TAG,
        answer=TaskDetail,
        query=TaskQuery,
        errors=(422,),
    )
    async def _task(self, call: Call) -> ApiResponse:
        query = call.query(TaskQuery)
        window, reports = window_ms(query.window), self._reports
        of = query.pipeline, query.job
        return await self._report(
            call.key,
            self._kept_of_one,
            ("task", of, window, query.limit),
            window,
            lambda now_ms: reports.task(of, window, now_ms, query.limit, histogram.bounds),
        )

    @Operation(
        method="GET",
        path="/v1/workers/{worker_id}/history",
        name="workerHistory",
        summary="What one worker executed, newest first, also when it is gone",
        tag=TAG,
        answer=Page[WorkerAttempt],
        query=HistoryQuery,
        errors=(422,),
    )
    async def _worker(self, call: Call) -> ApiResponse:
        query, worker = call.query(HistoryQuery), call.text("worker_id")
        if len(worker) > limits.NAME_CHARS_MAX:
            raise one("worker_id", f"longer than {limits.NAME_CHARS_MAX} characters")
        window, reports = window_ms(query.window), self._reports
        return await self._report(
            call.key,
            self._kept_of_one,
            ("worker", worker, window, query.limit),
            window,
            lambda now_ms: Page(items=list(reports.worker(worker, window, now_ms, query.limit))),
        )

    @Operation(
        method="GET",
        path="/v1/stats/export",
        name="exportStats",
        summary="Facts as a file, one for each attempt that ended",
        tag=TAG,
        answer=str,
        media="application/octet-stream",
        query=ExportQuery,
        errors=(409, 422),
    )
    async def _export(self, call: Call) -> ApiResponse:
        query, reports = call.query(ExportQuery), self._reports
        form, since_ms = query.format, None
        if query.window is not None:
            since_ms = self._clock.wall_ms() - window_ms(query.window)

        def written() -> BinaryIO:
            # Without a name from the start of the answer: nothing is left behind, whatever ends.
            with tempfile.TemporaryDirectory(prefix="taskplane-") as directory:
                path = Path(directory) / f"facts.{form}"
                reports.export(path, form, since_ms)
                return path.open("rb")

        if call.headers_only:
            return ApiResponse(stream=self._pieces(io.BytesIO()))
        fair = self._fair
        await call.hold(fair.exports)
        exports = fair.lanes.exports
        with time_limit(limits.EXPORT_S):
            file = await interruptible(written, exports, lambda: reports.interrupt("export"))
        return ApiResponse(stream=self._pieces(file))

    async def _pieces(self, file: BinaryIO) -> AsyncGenerator[bytes, None]:
        with file:
            files = self._fair.lanes.files
            while piece := await files(lambda: file.read(limits.CONNECTION_PIECE_BYTES)):
                yield piece

    @Operation(
        method="POST",
        path="/v1/stats/sql",
        name="queryStats",
        summary="Ask the facts a question of your own",
        tag=TAG,
        answer=QueryResult,
        body=Sql,
        errors=(400, 409, 413, 415, 422),
    )
    async def _sql(self, call: Call) -> ApiResponse:
        asked = await call.json(_SQL)
        await call.hold(self._fair.queries)
        return ApiResponse(body=await self._queries.query(asked.sql, asked.limit))

    async def _copy(self) -> tuple[Path, Sequence[str]]:
        reports, snapshots = self._reports, self._fair.lanes.snapshots
        return await interruptible(reports.copy, snapshots, lambda: reports.interrupt("copy"))

    async def _rows(self, call: Call, name: str, report: _Rows[msgspec.Struct]) -> ApiResponse:
        query = call.query(RowsQuery)
        window = window_ms(query.window)
        return await self._report(
            call.key,
            self._kept_of_all,
            (name, window, query.limit),
            window,
            lambda now_ms: Page(items=list(report(window, now_ms, query.limit))),
        )

    async def _report(
        self,
        key: str,
        kept: _Kept,
        question: Hashable,
        window: int,
        find: Callable[[int], msgspec.Struct],
    ) -> ApiResponse:
        """What a report finds; a dear one may have been found a while ago, as its `Age` says.

        `find` gets the time that it is, and computes in the thread that calls it.
        """

        def measured() -> tuple[msgspec.Struct, float]:
            begin_s = time.thread_time()
            body = find(self._clock.wall_ms())
            return body, kept_s(time.thread_time() - begin_s, window / 1000)

        fair, reports = self._fair, self._reports

        async def made() -> tuple[msgspec.Struct, float]:
            async with fair.reports.hold(key):
                with time_limit(limits.REPORT_S):
                    return await interruptible(
                        measured, fair.lanes.reports, lambda: reports.interrupt("report")
                    )

        with trio.move_on_after(limits.REPORT_WAIT_S) as waiting:
            found = await kept.get(question, made)
        if waiting.cancelled_caught:
            message = f"others who asked the same had no answer within {limits.REPORT_WAIT_S:g} s"
            raise Busy(message, retry_after_s=limits.RETRY_AFTER_S)
        age_s = trio.current_time() - found.at
        return ApiResponse(body=found.value, headers={"age": str(int(age_s))})


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `Unavailable` when a report or an export takes longer than it may."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        message = f"it took longer than {seconds:g} s; ask for a shorter window"
        raise Unavailable(message)


def kept_s(cost_s: float, window_s: float) -> float:
    """For how long a report of such a window is given again that took so much CPU."""
    if cost_s < limits.REPORT_DEAR_S:
        return 0.0
    longest_s = min(limits.REPORT_KEPT_S, window_s / limits.REPORT_WINDOW_PARTS)
    return min(limits.REPORT_KEPT_TIMES * cost_s, longest_s)
