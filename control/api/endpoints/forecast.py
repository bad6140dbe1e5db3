"""Owns the call for the forecast, and how long runs of pipelines should take."""

from collections.abc import Iterable, Mapping

from control.api.auth.permissions import only_of
from control.api.endpoints.runs import read_time
from control.api.endpoints.schemas import ForecastQuery
from control.api.http.problems import one
from control.api.http.request import ApiResponse, Call, Operation, Route, routes_of
from control.api.ports import Balancing
from control.core.reports.forecast import Shape, edges, forecast, shape
from control.model import limits
from control.model.api.forecast import Forecast
from control.model.clock import Clock
from store import schedules
from store.database.connection import Connection
from store.database.reader import Reader
from store.database.writer import Offload
from store.revision_cache import Outline
from store.schedules import PlannedTimes
from store.views import Views

Outlined = Mapping[int, Outline | None]  # By revision.


class ForecastCalls:
    """Carries out the call for the forecast."""

    def __init__(
        self, *, reader: Reader, views: Views, offload: Offload, balancing: Balancing, clock: Clock
    ) -> None:
        self._reader = reader
        self._views = views
        self._offload = offload
        self._balancing = balancing
        self._clock = clock

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(self._forecast)

    @Operation(
        method="GET",
        path="/v1/forecast",
        name="forecast",
        summary="How many slots planned runs will keep busy, up to 48 hours ahead",
        tag="schedules",
        answer=Forecast,
        query=ForecastQuery,
        errors=(422,),
    )
    async def _forecast(self, call: Call) -> ApiResponse:
        query, now_ms, own = call.query(ForecastQuery), self._clock.wall_ms(), only_of(call.who)
        until_ms = now_ms + limits.PLAN_AHEAD_MS
        if query.until is not None:
            # Beyond that nothing is planned yet, which is not the same as nothing to do.
            until_ms = min(read_time(query.until, "until"), until_ms)
        if until_ms <= now_ms:
            raise one("until", "not in the future")
        most, bucket_ms = limits.FORECAST_BUCKETS_MAX, query.bucket * 1_000
        if len(edges(now_ms, until_ms, bucket_ms)) - 1 > most:
            hint = "ask for longer ones, or for less time"
            raise one("bucket", f"more than {most} stretches of {query.bucket} s", hint)

        def look(conn: Connection) -> tuple[list[PlannedTimes], int, Outlined]:
            due, reached_ms = schedules.due_times(
                conn, until_ms=until_ms, limit=limits.FORECAST_RUNS_MAX, client=own
            )
            return due, reached_ms, outlines(self._views, conn, (each.revision_id for each in due))

        due, reached_ms, found = await self._reader.read(look)
        shaped = shapes(self._balancing, {each.revision_id: each.pipeline for each in due}, found)
        planned = [(shaped[each.revision_id], each.times_ms) for each in due]
        at_ms = edges(now_ms, max(reached_ms, now_ms + 1), bucket_ms)
        items, unknown = await self._offload(lambda: forecast(planned, at_ms))
        rules = self._balancing.rules()
        slots = 0 if rules is None else rules.slots
        return ApiResponse(body=Forecast(items=items, slots=slots, unknown=unknown))


def outlines(views: Views, conn: Connection, revisions: Iterable[int]) -> Outlined:
    """What runs of these revisions consist of; None: too many jobs for one call."""
    left = limits.EXPECTED_JOBS_MAX
    found: dict[int, Outline | None] = {}
    for revision_id in revisions:
        if revision_id not in found:
            outline = views.outline(conn, revision_id)
            found[revision_id] = outline if len(outline.jobs) <= left else None
            left -= len(outline.jobs) if found[revision_id] else 0
    return found


def shapes(
    balancing: Balancing, pipelines: Mapping[int, str], found: Outlined
) -> Mapping[int, Shape | None]:
    """What a run of each revision should need, by the names of their pipelines; None: not known."""
    expected = balancing.expected
    shaped: dict[int, Shape | None] = {}
    for revision_id, pipeline in pipelines.items():
        outline = found[revision_id]
        jobs = () if outline is None else outline.jobs
        known = shape((job.stage, expected(pipeline, job.name)) for job in jobs)
        shaped[revision_id] = None if outline is None else known
    return shaped
