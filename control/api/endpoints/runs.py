"""Owns the calls about runs: list, show, delete, cancel, retry, their jobs."""

from collections.abc import Sequence
from typing import Final

import msgspec

from control.api.auth.permissions import check_numbered, only_of
from control.api.endpoints.schemas import JobsQuery, RunsQuery
from control.api.endpoints.wait_reasons import with_reasons
from control.api.http.problems import one
from control.api.http.request import (
    ApiResponse,
    Call,
    Operation,
    Route,
    read_cursor,
    routes_of,
    write_cursor,
)
from control.api.ports import AttemptLogs, Balancing
from control.core.reports.eta import Unended, remaining_s
from control.model import limits
from control.model.api.views import JobView, Page, RunView
from control.model.clock import Clock
from control.model.numbers import RunId
from control.model.states import FINAL
from control.model.times import from_rfc3339
from control.transactions.run_transactions import Ledger
from store import retention, views
from store.database.connection import Connection
from store.database.reader import Reader
from store.database.writer import Tx, Writer
from store.retention import Removed
from store.views import OpenJob, RunFilter, Views

TAG: Final = "runs"


class RunCalls:
    """Carries out the calls about runs."""

    def __init__(
        self,
        *,
        reader: Reader,
        writer: Writer,
        ledger: Ledger,
        views: Views,
        balancing: Balancing,
        logs: AttemptLogs,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ledger = ledger
        self._views = views
        self._balancing = balancing
        self._logs = logs
        self._clock = clock

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(
            self._list, self._show, self._delete, self._cancel, self._retry, self._jobs
        )

    @Operation(
        method="GET",
        path="/v1/runs",
        name="listRuns",
        summary="List runs, newest first",
        tag=TAG,
        answer=Page[RunView],
        query=RunsQuery,
        errors=(422,),
    )
    async def _list(self, call: Call) -> ApiResponse:
        query = call.query(RunsQuery)
        own = only_of(call.who)
        if own is not None and query.client not in {None, own}:
            return ApiResponse(body=Page[RunView](items=[]))
        wanted = RunFilter(
            pipeline=query.pipeline,
            state=query.state,
            client=own or query.client,
            since_ms=0 if query.since is None else read_time(query.since, "since"),
        )
        below = read_cursor(query.cursor)
        shown = self._views

        def look(
            conn: Connection,
        ) -> tuple[list[RunView], int | None, dict[int, list[OpenJob]]]:
            found, following = shown.runs(conn, wanted, below=below, limit=query.limit)
            return found, following, shown.open_jobs(conn, _looked_into(found))

        found, following, progress = await self._reader.read(look)
        page = [self._expected(run, progress.get(run.id)) for run in found]
        return ApiResponse(body=Page(items=page, next_cursor=write_cursor(following)))

    @Operation(
        method="GET",
        path="/v1/runs/{run_id}",
        name="showRun",
        summary="Show a run",
        tag=TAG,
        answer=RunView,
        errors=(404, 422),
    )
    async def _show(self, call: Call) -> ApiResponse:
        return await self._shown(call, RunId(call.number("run_id")))

    async def _shown(self, call: Call, run_id: RunId) -> ApiResponse:
        shown = self._views
        run, progress = await self._reader.read(
            lambda conn: (shown.run(conn, run_id), shown.open_jobs(conn, [run_id]))
        )
        check_numbered(call.who, f"run {run_id}", run.client)
        return ApiResponse(body=self._expected(run, progress[run_id]))

    def _expected(self, run: RunView, progress: Sequence[OpenJob] | None) -> RunView:
        """The run with how long it should still take. `progress` None: nobody looked into it."""
        if run.state in FINAL or progress is None:
            return run
        expected = self._balancing.expected
        jobs = [
            Unended(
                stage=stage,
                state=state,
                expected_s=expected(run.pipeline, name),
                started_ms=started_ms,
            )
            for stage, name, state, started_ms in progress
        ]
        seconds = remaining_s(jobs, self._clock.wall_ms())
        return msgspec.structs.replace(run, expected_seconds=seconds)

    @Operation(
        method="DELETE",
        path="/v1/runs/{run_id}",
        name="deleteRun",
        summary="Delete a run that has ended, with its jobs, outputs, and logs",
        tag=TAG,
        status=204,
        errors=(404, 409, 422),
    )
    async def _delete(self, call: Call) -> ApiResponse:
        run_id, who = RunId(call.number("run_id")), call.who

        def work(tx: Tx) -> Removed:
            check_numbered(who, f"run {run_id}", views.client_of_run(tx.conn, run_id))
            return retention.delete_run(tx.conn, run_id)

        await self._logs.forget([await self._writer.write(work)])
        return ApiResponse()

    @Operation(
        method="POST",
        path="/v1/runs/{run_id}/cancel",
        name="cancelRun",
        summary="End a run now",
        tag=TAG,
        answer=RunView,
        errors=(404, 409, 422),
    )
    async def _cancel(self, call: Call) -> ApiResponse:
        run_id, who, now_ms = RunId(call.number("run_id")), call.who, self._clock.wall_ms()

        def work(tx: Tx) -> None:
            check_numbered(who, f"run {run_id}", views.client_of_run(tx.conn, run_id))
            reason = f"cancelled by {who.client_id}"
            self._ledger.cancel_run(tx, run_id, reason, now_ms=now_ms)

        await self._writer.write(work)
        return await self._shown(call, run_id)

    @Operation(
        method="POST",
        path="/v1/runs/{run_id}/retry",
        name="retryRun",
        summary="Run the failed and cancelled jobs of a run again",
        tag=TAG,
        answer=RunView,
        errors=(404, 409, 422, 429),
    )
    async def _retry(self, call: Call) -> ApiResponse:
        run_id, who, now_ms = RunId(call.number("run_id")), call.who, self._clock.wall_ms()

        def work(tx: Tx) -> None:
            check_numbered(who, f"run {run_id}", views.client_of_run(tx.conn, run_id))
            self._ledger.retry_run(tx, run_id, now_ms=now_ms)

        await self._writer.write(work)
        return await self._shown(call, run_id)

    @Operation(
        method="GET",
        path="/v1/runs/{run_id}/jobs",
        name="listJobs",
        summary="List a run's jobs in the order of its definition",
        tag=TAG,
        answer=Page[JobView],
        query=JobsQuery,
        errors=(404, 422),
    )
    async def _jobs(self, call: Call) -> ApiResponse:
        run_id, query = RunId(call.number("run_id")), call.query(JobsQuery)
        who, after = call.who, read_cursor(query.cursor) or 0
        shown = self._views

        def look(conn: Connection) -> tuple[list[JobView], int | None]:
            check_numbered(who, f"run {run_id}", views.client_of_run(conn, run_id))
            return shown.jobs(conn, run_id, after=after, limit=query.limit)

        found, following = await self._reader.read(look)
        found = await with_reasons(self._balancing, found, self._clock.wall_ms())
        return ApiResponse(body=Page(items=found, next_cursor=write_cursor(following)))


def _looked_into(runs: Sequence[RunView]) -> list[RunId]:
    """The open runs whose open jobs are looked at: so many that it does not take long."""
    left, found = limits.EXPECTED_JOBS_MAX, []
    for run in runs:
        counts = [stage.counts for stage in run.stages] if run.state not in FINAL else []
        jobs = sum(n for count in counts for state, n in count.items() if state not in FINAL)
        if 0 < jobs <= left:
            left -= jobs
            found.append(run.id)
    return found


def read_time(text: str, path: str) -> int:
    """A time as a caller writes it, in milliseconds; raises `Invalid`."""
    try:
        return from_rfc3339(text)
    except ValueError as error:
        raise one(path, str(error)) from error
