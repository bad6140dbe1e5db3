"""Owns the calls about jobs: show, change, cancel, logs, explain."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeAlias

import msgspec
import trio

from control.admission.fair_use import FairUse
from control.api.auth.permissions import check_numbered
from control.api.endpoints.schemas import ChangeJob, LogsQuery
from control.api.endpoints.wait_reasons import with_reasons
from control.api.explain import Family, Told, explain
from control.api.http.request import TEXT, ApiResponse, Call, Operation, Route, routes_of
from control.api.ports import AttemptLogs, Balancing
from control.model import limits
from control.model.api.balancer import Waits
from control.model.api.explanation import Explanation
from control.model.api.views import JobView
from control.model.clock import Clock
from control.model.errors import BalancerSilent, NotFound
from control.model.names import Change
from control.model.numbers import JobId
from control.model.states import FINAL, State
from control.transactions.run_transactions import Ledger
from store import views
from store.database.connection import Connection
from store.database.reader import Reader
from store.database.writer import Tx, Writer
from store.views import Links, Views

TAG: Final = "jobs"
# How long the log of an attempt that has ended is; None: it has not ended.
LogBytes: TypeAlias = Callable[[], Awaitable[int | None]]
_CHANGE: Final = msgspec.json.Decoder(ChangeJob)


class JobCalls:
    """Carries out the calls about jobs."""

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
        fair: FairUse,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ledger = ledger
        self._views = views
        self._balancing = balancing
        self._logs = logs
        self._clock = clock
        self._fair = fair

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(self._show, self._change, self._cancel, self._show_logs, self._explain)

    @Operation(
        method="GET",
        path="/v1/jobs/{job_id}",
        name="showJob",
        summary="Show a job with its earlier attempts",
        tag=TAG,
        answer=JobView,
        errors=(404, 422),
    )
    async def _show(self, call: Call) -> ApiResponse:
        job = await self._job(call, JobId(call.number("job_id")))
        (shown,) = await with_reasons(self._balancing, [job], self._clock.wall_ms())
        return ApiResponse(body=shown)

    async def _job(self, call: Call, job_id: JobId) -> JobView:
        who, shown = call.who, self._views

        def look(conn: Connection) -> JobView:
            check_numbered(who, f"job {job_id}", views.client_of_job(conn, job_id))
            return shown.job(conn, job_id)

        return await self._reader.read(look)

    @Operation(
        method="PATCH",
        path="/v1/jobs/{job_id}",
        name="changeJob",
        summary="Move a waiting job in the order",
        tag=TAG,
        answer=JobView,
        body=ChangeJob,
        errors=(400, 404, 409, 413, 415, 422),
    )
    async def _change(self, call: Call) -> ApiResponse:
        job_id, who, now_ms = JobId(call.number("job_id")), call.who, self._clock.wall_ms()
        asked = await call.json(_CHANGE)

        def work(tx: Tx) -> None:
            check_numbered(who, f"job {job_id}", views.client_of_job(tx.conn, job_id))
            self._ledger.set_priority(tx, job_id, asked.priority, now_ms=now_ms)

        await self._writer.write(work)
        return ApiResponse(body=await self._job(call, job_id))

    @Operation(
        method="POST",
        path="/v1/jobs/{job_id}/cancel",
        name="cancelJob",
        summary="End a job now",
        tag=TAG,
        answer=JobView,
        errors=(404, 409, 422),
    )
    async def _cancel(self, call: Call) -> ApiResponse:
        job_id, who, now_ms = JobId(call.number("job_id")), call.who, self._clock.wall_ms()

        def work(tx: Tx) -> None:
            check_numbered(who, f"job {job_id}", views.client_of_job(tx.conn, job_id))
            reason = f"cancelled by {who.client_id}"
            self._ledger.cancel_job(tx, job_id, reason, now_ms=now_ms)

        await self._writer.write(work)
        return ApiResponse(body=await self._job(call, job_id))

    @Operation(
        method="GET",
        path="/v1/jobs/{job_id}/logs",
        name="jobLogs",
        summary="An attempt's log as it was written, control characters and all",
        tag=TAG,
        media=TEXT,
        answer=str,
        query=LogsQuery,
        errors=(404, 422),
    )
    async def _show_logs(self, call: Call) -> ApiResponse:
        query = call.query(LogsQuery)
        job = await self._job(call, JobId(call.number("job_id")))
        attempt = query.attempt or job.attempt
        if attempt > job.attempt:
            message = f"job {job.id} has had no attempt {attempt} yet"
            raise NotFound(message)
        logs = self._logs
        await logs.check(job.id, attempt)  # An answer that has begun could say nothing of it.
        if not query.follow:
            return ApiResponse(stream=logs.read(job.id, attempt))

        await call.hold(self._fair.followers)

        async def log_bytes() -> int | None:
            try:
                now = await self._reader.read(lambda conn: self._views.job(conn, job.id))
            except NotFound:
                return 0  # Deleted meanwhile: there is no more to come.
            for earlier in now.attempts:
                if earlier.attempt == attempt:
                    return earlier.log_bytes
            ended = now.attempt != attempt or now.state in FINAL
            return now.log_bytes if ended else None

        return ApiResponse(
            stream=self._followed(logs.follow(job.id, attempt, log_bytes), log_bytes)
        )

    async def _followed(
        self, pieces: AsyncGenerator[bytes, None], log_bytes: LogBytes
    ) -> AsyncGenerator[bytes, None]:
        """A log that ends only when the state says so: who reads the job next sees its end.

        The result reaches the logs by the bus, and may be there before the state has it.
        """
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
        with trio.move_on_after(limits.LOG_LAST_S):
            while True:
                changed = self._writer.changed(Change.JOBS)
                if await log_bytes() is not None:
                    return
                await changed.wait()

    @Operation(
        method="GET",
        path="/v1/jobs/{job_id}/explain",
        name="explainJob",
        summary="Why a job waits, runs, or ended",
        tag=TAG,
        answer=Explanation,
        errors=(404, 422),
    )
    async def _explain(self, call: Call) -> ApiResponse:
        job_id, who, shown = JobId(call.number("job_id")), call.who, self._views

        def look(conn: Connection) -> tuple[JobView, Links, Family]:
            check_numbered(who, f"job {job_id}", views.client_of_job(conn, job_id))
            job = shown.job(conn, job_id)
            family = Family(run=shown.run(conn, job.run_id))
            if (child := job.child_run_id) is not None:
                family = Family(
                    run=family.run,
                    child=shown.run(conn, child),
                    open_jobs=shown.open_jobs(conn, [child])[child],
                )
            return job, shown.links(conn, job_id), family

        job, links, family = await self._reader.read(look)
        balancing = self._balancing
        waits: Waits | None = None
        silence: str | None = None
        if job.state == State.READY and job.ready_at is not None:
            try:
                waits = await balancing.waits(job_id)
            except BalancerSilent as error:
                silence = str(error)
        expected_s = balancing.expected(family.run.pipeline, job.name)
        told = Told(waits=waits, silence=silence, expected_s=expected_s)
        return ApiResponse(body=explain(job, links, told, family, now_ms=self._clock.wall_ms()))
