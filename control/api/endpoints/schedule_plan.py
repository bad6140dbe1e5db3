"""Owns the call for what schedules have planned, in short: its size is that of the schedules.

A list of every planned run has tens of thousands of rows where some fire each few seconds.
"""

import msgspec

from control.api.auth.permissions import only_of
from control.api.endpoints.forecast import Outlined, outlines, shapes
from control.api.endpoints.schemas import PlanQuery
from control.api.http.request import (
    ApiResponse,
    Call,
    Operation,
    Route,
    read_cursor,
    routes_of,
    write_cursor,
)
from control.api.http.single_flight_cache import SingleFlightCache
from control.api.ports import Balancing
from control.model import limits
from control.model.api.schedules import PlannedStretch, PlannedView, SchedulePlan
from control.model.api.views import Page
from control.model.clock import Clock
from control.model.state_rows import PlannedRun
from control.model.times import to_rfc3339
from store import schedules
from store.database.connection import Connection
from store.database.reader import Reader
from store.schedules import Schedule, Sums
from store.views import Views


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at the database has found."""

    page: list[Schedule]
    sums: dict[int, Sums]
    next: dict[int, list[PlannedRun]]
    stretches: dict[int, list[tuple[int, int]]]
    outlined: Outlined


class SchedulePlanCalls:
    """Carries out the call. However many ask, the database is read once in a while."""

    def __init__(self, *, reader: Reader, views: Views, balancing: Balancing, clock: Clock) -> None:
        self._reader = reader
        self._views = views
        self._balancing = balancing
        self._clock = clock
        self._kept: SingleFlightCache[tuple[PlanQuery, str | None], Page[SchedulePlan]] = (
            SingleFlightCache(limits.PLANS_KEPT_MAX)
        )

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(self._show)

    @Operation(
        method="GET",
        path="/v1/schedules/plan",
        name="showPlan",
        summary="Show in short what each schedule has planned for the next 48 hours",
        tag="schedules",
        answer=Page[SchedulePlan],
        query=PlanQuery,
        errors=(422,),
    )
    async def _show(self, call: Call) -> ApiResponse:
        query, own = call.query(PlanQuery), only_of(call.who)

        async def find() -> tuple[Page[SchedulePlan], float]:
            return await self._find(query, own), limits.PLANS_EVERY_S

        return ApiResponse(body=(await self._kept.get((query, own), find)).value)

    async def _find(self, query: PlanQuery, own: str | None) -> Page[SchedulePlan]:
        now_ms, after = self._clock.wall_ms(), read_cursor(query.cursor) or 0
        most = limits.PAGE_MAX if query.bucket is None else limits.PLAN_STRETCHED_MAX
        limit = min(query.limit, most)

        def look(conn: Connection) -> _Read:
            page = schedules.listing(conn, after=after, limit=limit, client=own)
            ids = [each.id for each in page]
            return _Read(
                page=page,
                sums=schedules.plan_sums(conn, ids),
                next=schedules.plan_next(conn, ids, query.next),
                stretches={}
                if query.bucket is None
                else schedules.plan_stretches(
                    conn,
                    ids,
                    now_ms=now_ms,
                    until_ms=now_ms + limits.PLAN_AHEAD_MS,
                    bucket_ms=query.bucket * 1_000,
                ),
                outlined=outlines(self._views, conn, (each.revision_id for each in page)),
            )

        read = await self._reader.read(look)
        pipelines = {each.revision_id: each.pipeline for each in read.page}
        shaped = shapes(self._balancing, pipelines, read.outlined)
        items = []
        for each in read.page:
            shape = shaped[each.revision_id]
            seconds = None if shape is None else shape.seconds
            items.append(_shown(each, read, seconds, now_ms))
        more = read.page[-1].id if len(read.page) == limit else None
        return Page(items=items, next_cursor=write_cursor(more))


def _shown(each: Schedule, read: _Read, seconds: float | None, now_ms: int) -> SchedulePlan:
    sums = read.sums.get(each.id, Sums())
    until_ms = min(each.planned_until_ms, now_ms + limits.PLAN_AHEAD_MS)
    return SchedulePlan(
        schedule_id=each.id,
        at=to_rfc3339(now_ms),
        until=to_rfc3339(max(until_ms, 0)),
        runs=sums.runs,
        shortest_seconds=None if sums.shortest_ms is None else sums.shortest_ms / 1_000,
        next=[
            PlannedView(
                schedule_id=each.id,
                pipeline=each.pipeline,
                nominal=to_rfc3339(run.nominal_ms),
                due=to_rfc3339(run.due_ms),
                waiting=run.waiting,
                backfill=run.backfill,
                expected_seconds=seconds,
            )
            for run in read.next.get(each.id, [])
        ],
        stretches=[
            PlannedStretch(at=to_rfc3339(first_ms), runs=runs)
            for first_ms, runs in read.stretches.get(each.id, [])
        ],
    )
