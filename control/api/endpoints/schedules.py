"""Owns the calls about schedules: list, pause, resume, trigger, backfill, what is planned."""

from typing import Annotated, Final

import msgspec
import structlog
from msgspec import Meta

from control.api.auth.permissions import check_numbered, only_of
from control.api.endpoints.forecast import Outlined, outlines, shapes
from control.api.endpoints.runs import read_time
from control.api.endpoints.schemas import Backfill, BackfillQuery, ScheduledQuery, SchedulesQuery
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
from control.api.ports import Balancing
from control.core.pipelines.ownership import bar
from control.core.reports.forecast import Shape
from control.core.schedules import cron
from control.core.schedules.plan import idle_reason
from control.model import limits
from control.model.api.schedules import PlannedView, ScheduleView
from control.model.api.views import Page, RunView
from control.model.clock import Clock
from control.model.names import Change
from control.model.numbers import RunId
from control.model.state_rows import NewRun
from control.model.states import Trigger
from control.model.times import to_rfc3339, to_rfc3339_or_none
from control.transactions.run_transactions import Ledger, check_starts
from store import clients, schedules
from store.database.connection import Connection
from store.database.reader import Reader
from store.database.writer import Offload, Tx, Writer
from store.schedules import Schedule, Upcoming
from store.views import Views

LOG = structlog.get_logger("schedules")
TAG: Final = "schedules"
_BACKFILL: Final = msgspec.json.Decoder(Backfill)


class Backfilled(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill planned."""

    planned: Annotated[int, Meta(description="Runs that were not there before.", examples=[24])]
    found: Annotated[int, Meta(description="Nominal times in that stretch.", examples=[24])]


class ScheduleCalls:
    """Carries out the calls about schedules."""

    def __init__(
        self,
        *,
        reader: Reader,
        writer: Writer,
        ledger: Ledger,
        views: Views,
        offload: Offload,
        balancing: Balancing,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ledger = ledger
        self._views = views
        self._offload = offload
        self._balancing = balancing
        self._clock = clock

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(
            self._list,
            self._planned,
            self._pause,
            self._resume,
            self._trigger,
            self._backfill,
            self._backfill_size,
        )

    @Operation(
        method="GET",
        path="/v1/schedules",
        name="listSchedules",
        summary="List schedules",
        tag=TAG,
        answer=Page[ScheduleView],
        query=SchedulesQuery,
        errors=(422,),
    )
    async def _list(self, call: Call) -> ApiResponse:
        query, own = call.query(SchedulesQuery), only_of(call.who)
        after = read_cursor(query.cursor) or 0

        def look(conn: Connection) -> tuple[list[Schedule], Outlined]:
            page = schedules.listing(
                conn, after=after, limit=query.limit, pipeline=query.pipeline, client=own
            )
            return page, outlines(self._views, conn, (each.revision_id for each in page))

        page, found = await self._reader.read(look)
        shaped = shapes(self._balancing, {each.revision_id: each.pipeline for each in page}, found)
        more = page[-1].id if len(page) == query.limit else None
        shown = [_view(each, shaped[each.revision_id]) for each in page]
        return ApiResponse(body=Page(items=shown, next_cursor=write_cursor(more)))

    @Operation(
        method="GET",
        path="/v1/scheduled-runs",
        name="listScheduledRuns",
        summary="List the runs planned for the next 48 hours, by when they start",
        tag=TAG,
        answer=Page[PlannedView],
        query=ScheduledQuery,
        errors=(422,),
    )
    async def _planned(self, call: Call) -> ApiResponse:
        query, own = call.query(ScheduledQuery), only_of(call.who)
        until_ms = self._clock.wall_ms() + limits.PLAN_AHEAD_MS
        if query.until is not None:
            until_ms = read_time(query.until, "until")
        after = _read_place(query.cursor)

        def look(conn: Connection) -> tuple[list[Upcoming], Outlined]:
            page = schedules.upcoming(
                conn, until_ms=until_ms, after=after, limit=query.limit, client=own
            )
            return page, outlines(self._views, conn, (each.revision_id for each in page))

        page, found = await self._reader.read(look)
        shaped = shapes(self._balancing, {each.revision_id: each.pipeline for each in page}, found)
        shown = [
            PlannedView(
                schedule_id=each.schedule_id,
                pipeline=each.pipeline,
                nominal=to_rfc3339(each.nominal_ms),
                due=to_rfc3339(each.due_ms),
                waiting=each.waiting,
                backfill=each.backfill,
                expected_seconds=_seconds(shaped[each.revision_id]),
            )
            for each in page
        ]
        more = None
        if len(page) == query.limit:
            more = f"{page[-1].due_ms}.{page[-1].schedule_id}.{page[-1].nominal_ms}"
        return ApiResponse(body=Page(items=shown, next_cursor=more))

    @Operation(
        method="POST",
        path="/v1/schedules/{schedule_id}/pause",
        name="pauseSchedule",
        summary="Let a schedule start nothing",
        tag=TAG,
        answer=ScheduleView,
        errors=(404, 422),
    )
    async def _pause(self, call: Call) -> ApiResponse:
        return await self._set_paused(call, paused=True)

    @Operation(
        method="POST",
        path="/v1/schedules/{schedule_id}/resume",
        name="resumeSchedule",
        summary="Let a paused schedule go on; it has missed nothing",
        tag=TAG,
        answer=ScheduleView,
        errors=(404, 422),
    )
    async def _resume(self, call: Call) -> ApiResponse:
        return await self._set_paused(call, paused=False)

    async def _set_paused(self, call: Call, *, paused: bool) -> ApiResponse:
        schedule_id, now_ms = call.number("schedule_id"), self._clock.wall_ms()

        def work(tx: Tx) -> tuple[Schedule, int]:
            _mine(call, tx.conn, schedule_id)
            tx.touch(Change.SCHEDULES)
            return schedules.set_paused(tx.conn, schedule_id, paused=paused, now_ms=now_ms)

        changed, dropped = await self._writer.write(work)
        if dropped:
            LOG.info("schedule.dropped", schedule=schedule_id, count=dropped, reason="it is paused")
        found = await self._reader.read(
            lambda conn: outlines(self._views, conn, [changed.revision_id])
        )
        shaped = shapes(self._balancing, {changed.revision_id: changed.pipeline}, found)
        return ApiResponse(body=_view(changed, shaped[changed.revision_id], dropped))

    @Operation(
        method="POST",
        path="/v1/schedules/{schedule_id}/trigger",
        name="triggerSchedule",
        summary="Start a run of a schedule now, with its input, beside those that are planned",
        tag=TAG,
        answer=RunView,
        status=201,
        errors=(404, 409, 422, 429),
    )
    async def _trigger(self, call: Call) -> ApiResponse:
        schedule_id, now_ms = call.number("schedule_id"), self._clock.wall_ms()
        trigger = Trigger.MANUAL if call.by_hand else Trigger.API

        def work(tx: Tx) -> RunId:
            schedule = _mine(call, tx.conn, schedule_id)
            check_starts(tx, schedule.client)
            priority, max_running = clients.limits_of(tx.conn, schedule.client)
            new = NewRun(
                revision_id=schedule.revision_id,
                client=schedule.client,
                client_priority=priority,
                max_running=max_running,
                trigger=trigger,
                created_ms=now_ms,
                input=schedule.spec.input,
                schedule_id=schedule_id,
            )
            return self._ledger.submit(tx, [new])[0].id

        run_id = await self._writer.write(work)
        shown = self._views
        return ApiResponse(body=await self._reader.read(lambda conn: shown.run(conn, run_id)))

    @Operation(
        method="POST",
        path="/v1/schedules/{schedule_id}/backfill",
        name="backfillSchedule",
        summary="Start runs for the nominal times in a stretch of the past that have none",
        tag=TAG,
        answer=Backfilled,
        status=201,
        body=Backfill,
        errors=(400, 404, 409, 413, 415, 422),
    )
    async def _backfill(self, call: Call) -> ApiResponse:
        schedule_id, now_ms = call.number("schedule_id"), self._clock.wall_ms()
        asked = await call.json(_BACKFILL)
        times = await self._times(call, "from", asked.start, asked.until)

        def work(tx: Tx) -> int:
            check_starts(tx, _mine(call, tx.conn, schedule_id).client)
            tx.touch(Change.PLAN)
            rows = [(nominal_ms, now_ms) for nominal_ms in times]
            return schedules.plan(tx.conn, schedule_id, rows, backfill=True)

        planned = await self._writer.write(work)
        return ApiResponse(body=Backfilled(planned=planned, found=len(times)))

    @Operation(
        method="GET",
        path="/v1/schedules/{schedule_id}/backfill",
        name="sizeBackfill",
        summary="Show how many runs a backfill of a stretch of the past would start",
        tag=TAG,
        answer=Backfilled,
        query=BackfillQuery,
        errors=(404, 422),
    )
    async def _backfill_size(self, call: Call) -> ApiResponse:
        schedule_id = call.number("schedule_id")
        await self._reader.read(lambda conn: _mine(call, conn, schedule_id))
        asked = call.query(BackfillQuery)
        times = await self._times(call, "since", asked.since, asked.until)
        missing = await self._reader.read(
            lambda conn: schedules.count_missing(conn, schedule_id, times)
        )
        return ApiResponse(body=Backfilled(planned=missing, found=len(times)))

    async def _times(self, call: Call, name: str, start: str, until: str) -> list[int]:
        """The nominal times of a backfill; the schedule must be one of the caller's.

        `name`: what its begin is called where it was asked.
        """
        schedule_id, now_ms = call.number("schedule_id"), self._clock.wall_ms()
        from_ms, until_ms = read_time(start, name), read_time(until, "until")
        if until_ms < from_ms:
            raise one("until", f"earlier than {name}")
        if until_ms > now_ms:
            raise one("until", "later than now; what is to come is planned by itself")
        found = await self._reader.read(lambda conn: _mine(call, conn, schedule_id))
        most = limits.BACKFILL_MAX
        # `from` itself counts, so the search begins just before it; years of seconds take a while.
        times = await self._offload(
            lambda: cron.nominal_times(
                found.spec, after_ms=from_ms - 1, until_ms=until_ms, limit=most + 1
            )
        )
        if len(times) > most:
            hint = "ask for a shorter stretch"
            raise one("until", f"more than {most} nominal times are in it", hint)
        return list(times)


def _mine(call: Call, conn: Connection, schedule_id: int) -> Schedule:
    schedule = schedules.get(conn, schedule_id)
    check_numbered(call.who, f"schedule {schedule_id}", schedule.client)
    return schedule


def _view(schedule: Schedule, shape: Shape | None, dropped: int = 0) -> ScheduleView:
    due, nominal = schedule.next_due_ms, schedule.next_nominal_ms
    return ScheduleView(
        id=schedule.id,
        pipeline=schedule.pipeline,
        client=schedule.client,
        paused=schedule.paused,
        reason=idle_reason(schedule.spec, paused=schedule.paused, bar=bar(schedule.owner)),
        spec=schedule.spec,
        next_at=to_rfc3339_or_none(due),
        next_nominal=to_rfc3339_or_none(nominal),
        expected_seconds=_seconds(shape),
        dropped=dropped,
    )


def _seconds(shape: Shape | None) -> float | None:
    return None if shape is None else shape.seconds


def _read_place(cursor: str | None) -> tuple[int, int, int]:
    if cursor is None:
        return (-1, -1, -1)
    parts = cursor.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - due time, schedule, nominal time.
        raise one("cursor", "not a cursor of this list")
    due, schedule, nominal = (read_cursor(part) or 0 for part in parts)
    return (due, schedule, nominal)
